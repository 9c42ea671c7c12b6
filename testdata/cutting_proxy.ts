/**
 * A TCP proxy on loopback that does what networks do: it cuts every connection at a steady rhythm, and loses, delays
 * or doubles what belongs to one kind of request.
 *
 * @module
 */

/** What happens to requests whose first line matches, and to the replies to them. */
export interface Mischief {
  /** As `/^PUT /`. */
  readonly request: RegExp;
  /**
   * lose: the server gets the request, the connection ends before its reply; delay: the reply waits; repeat: the reply
   * comes twice; resend: the server gets the request a second time, on a connection of its own.
   */
  readonly how: "lose" | "delay" | "repeat" | "resend";
  /** Only this many times; 1. */
  readonly times?: number;
  /** For delay; 0. */
  readonly delayMs?: number;
}

/** How the proxy treats what goes through it. */
export interface CuttingOptions {
  readonly cutEveryMs?: number;
  readonly mischief?: Mischief;
}

/** A proxy that runs until it is disposed. */
export interface CuttingProxy extends AsyncDisposable {
  /** `127.0.0.1:PORT`. */
  readonly address: string;
  /** Connections that were cut by rhythm. */
  cuts(): number;
  /** How often the mischief was done. */
  mischiefs(): number;
}

/** Starts a proxy to `target`. */
export function cuttingProxy(
  target: Deno.ConnectOptions | Deno.UnixConnectOptions,
  { cutEveryMs, mischief }: CuttingOptions,
): CuttingProxy {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const connections = new Set<Deno.Conn>();
  const running = new Set<Promise<void>>();
  let [cuts, mischiefs] = [0, 0];

  function cutAll(): void {
    for (const connection of connections) close(connection);
    connections.clear();
  }

  function isMischief(bytes: Uint8Array): boolean {
    if (mischief === undefined || mischiefs >= (mischief.times ?? 1)) return false;
    return mischief.request.test(new TextDecoder().decode(bytes.subarray(0, 200)).split("\r\n", 1)[0]!);
  }

  async function connect(): Promise<Deno.Conn> {
    const connection = "path" in target ? await Deno.connect(target) : await Deno.connect(target);
    connections.add(connection);
    return connection;
  }

  async function resend(bytes: Uint8Array): Promise<void> {
    const second = await connect();
    await writeAll(second, bytes);
    await second.read(new Uint8Array(4096));
    close(second);
  }

  async function serve(client: Deno.Conn): Promise<void> {
    connections.add(client);
    const server = await connect();
    let isMarked = false;
    const up = pass(client, server, async (bytes) => {
      isMarked ||= isMischief(bytes);
      await writeAll(server, bytes);
      if (isMarked && mischief?.how === "resend") await resend(bytes);
    });
    const down = pass(server, client, async (bytes) => {
      const how = isMarked ? mischief?.how : undefined;
      isMarked = false;
      if (how !== undefined) mischiefs++;
      if (how === "lose") throw new Deno.errors.ConnectionReset("lost on purpose");
      if (how === "delay") await new Promise((resolve) => setTimeout(resolve, mischief?.delayMs ?? 0));
      await writeAll(client, bytes);
      if (how === "repeat") await writeAll(client, bytes);
    });
    await Promise.race([up, down]);
    for (const connection of [client, server]) {
      close(connection);
      connections.delete(connection);
    }
    await Promise.all([up, down]);
  }

  async function accept(): Promise<void> {
    for await (const client of listener) {
      const work = serve(client).catch(() => close(client)); // a server that is gone: the client sees a cut
      running.add(work);
      void work.finally(() => running.delete(work));
    }
  }

  const accepting = accept();
  const timer = cutEveryMs === undefined ? undefined : setInterval(() => {
    cuts += connections.size;
    cutAll();
  }, cutEveryMs);
  return {
    address: `127.0.0.1:${(listener.addr as Deno.NetAddr).port}`,
    cuts: () => cuts,
    mischiefs: () => mischiefs,
    async [Symbol.asyncDispose]() {
      clearInterval(timer);
      listener.close();
      cutAll();
      await accepting;
      await Promise.all(running);
    },
  };
}

/** Hands on what comes, until either side ends. */
async function pass(
  from: Deno.Conn,
  to: Deno.Conn,
  handle: (bytes: Uint8Array) => Promise<void>,
): Promise<void> {
  const buffer = new Uint8Array(256 * 1024);
  try {
    for (;;) {
      const count = await from.read(buffer);
      if (count === null) return;
      await handle(buffer.subarray(0, count));
    }
  } catch {
    // Cut, on purpose or by the other side; what is left of the pair is closed by the caller.
  } finally {
    close(to);
  }
}

async function writeAll(to: Deno.Conn, bytes: Uint8Array): Promise<void> {
  for (let at = 0; at < bytes.length;) at += await to.write(bytes.subarray(at));
}

function close(connection: Deno.Conn): void {
  try {
    connection.close();
  } catch {
    // Closed already: by the rhythm, by the other direction, or by its end.
  }
}
