/**
 * Opens the C library before any test does, for tests that count what they leave open: davit opens it once for the
 * life of the process.
 *
 * @module
 */
import { libc } from "../lib/host/libc.ts";
import { Statfs } from "../lib/host/statfs.ts";

libc();
new Statfs("/").read();
