import assert from "node:assert/strict";
import { Failure } from "../failure.ts";
import { formatServer, parseServer } from "./address.ts";

Deno.test("parseServer() reads sockets and hosts", async (t) => {
  for (
    const [text, expected, formatted] of [
      ["/run/d.sock", { transport: "unix", path: "/run/d.sock" }, "unix:/run/d.sock"],
      ["unix:/run/d.sock", { transport: "unix", path: "/run/d.sock" }, "unix:/run/d.sock"],
      ["unix:///run/d.sock", { transport: "unix", path: "/run/d.sock" }, "unix:/run/d.sock"],
      ["unix:/a:80", { transport: "unix", path: "/a:80" }, "unix:/a:80"],
      ["127.0.0.1:80", { transport: "tcp", hostname: "127.0.0.1", port: 80 }, "127.0.0.1:80"],
      ["http://pod-1:4711/", { transport: "tcp", hostname: "pod-1", port: 4711 }, "pod-1:4711"],
      ["tcp://[::1]:4711", { transport: "tcp", hostname: "::1", port: 4711 }, "[::1]:4711"],
    ] as const
  ) {
    await t.step(text, () => {
      assert.deepEqual(parseServer(text), expected);
      assert.equal(formatServer(parseServer(text)), formatted);
    });
  }
});

Deno.test("parseServer() refuses the rest", async (t) => {
  for (
    const text of [
      "",
      "d.sock",
      "unix:d.sock",
      "host",
      "host:0",
      "host:65536",
      "::1:80",
      "http://h:1/x",
      "a b:1",
      "u@h:1",
    ]
  ) {
    await t.step(text, () => {
      assert.throws(
        () => parseServer(text),
        (error) => error instanceof Failure && error.code === "bad_server",
      );
    });
  }
});
