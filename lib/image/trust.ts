/**
 * Which certificates a registry may show: Deno's own list (Mozilla's), the host's, as curl and enroot use it, and
 * `--ca-file`. Reading Debian's bundle and giving it to a client takes 3 ms (219 KB, measured).
 *
 * @module
 */
import { Failure, messageOf } from "../failure.ts";
import { errnoOf } from "../host/errno.ts";
import type { Log } from "../host/log.ts";

/** Where distributions keep the host's list. */
const HOST_BUNDLES = [
  "/etc/ssl/certs/ca-certificates.crt",
  "/etc/pki/tls/certs/ca-bundle.crt",
  "/etc/ssl/ca-bundle.pem",
];

/** What is trusted beside Deno's own list. */
export interface TrustOptions {
  readonly env: Readonly<Record<string, string>>;
  /** PEM. */
  readonly caFile?: string | undefined;
  readonly log: Log;
}

/** PEM texts to trust; throws a Failure when `caFile` cannot be used. The host's list is optional. */
export async function readTrust({ env, caFile, log }: TrustOptions): Promise<string[]> {
  const own = caFile === undefined ? [] : [await readCaFile(caFile)];
  const bundles = env.SSL_CERT_FILE ? [env.SSL_CERT_FILE] : HOST_BUNDLES;
  for (const path of bundles) {
    try {
      const pem = await Deno.readTextFile(path);
      assertUsable(pem);
      return [...own, pem];
    } catch (error) {
      if (errnoOf(error) === "ENOENT" && !env.SSL_CERT_FILE) continue;
      log.warn("cannot use this host's certificate list", { file: path, reason: messageOf(error) });
    }
  }
  return own;
}

async function readCaFile(path: string): Promise<string> {
  const hint = "--ca-file wants the certificate of the registry's authority in PEM form";
  let pem: string;
  try {
    pem = await Deno.readTextFile(path);
  } catch (error) {
    throw new Failure("NOINPUT", `Cannot read the CA file "${path}": ${messageOf(error)}`, {
      code: "bad_ca_file",
      hint,
      cause: error,
    });
  }
  try {
    assertUsable(pem);
  } catch (error) {
    throw new Failure("DATAERR", `Cannot use the CA file "${path}": ${messageOf(error)}`, {
      code: "bad_ca_file",
      hint,
      cause: error,
    });
  }
  return pem;
}

/** Deno takes any text without complaint and trusts nothing then; broken certificates it names. */
function assertUsable(pem: string): void {
  if (!pem.includes("-----BEGIN CERTIFICATE-----")) throw new TypeError("it holds no PEM certificate");
  Deno.createHttpClient({ caCerts: [pem] }).close();
}
