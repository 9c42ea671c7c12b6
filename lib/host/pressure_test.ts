import assert from "node:assert/strict";
import { parsePressure, pressureState } from "./pressure.ts";
import { KeptFile } from "./procfs.ts";

const SOME = "some avg10=38.44 avg60=1.00 avg300=0.10 total=51900772";
const FULL = "full avg10=0.50 avg60=0.00 avg300=0.00 total=9223372036854775807";

Deno.test("parsePressure() reads both rows, and one alone", () => {
  assert.deepEqual(parsePressure(`${SOME}\n${FULL}\n`), {
    some: { avg10: 38.44, totalUsec: 51900772 },
    full: { avg10: 0.5, totalUsec: 9223372036854775807n },
  });
  // CPU pressure before 5.13
  assert.deepEqual(parsePressure(`${SOME}\n`), {
    some: { avg10: 38.44, totalUsec: 51900772 },
    full: undefined,
  });
});

Deno.test("parsePressure() refuses what is none", () => {
  for (
    const text of [
      "",
      "something else",
      "some avg10=1.00",
      "some avg10=x total=1",
      "some total=",
      `${FULL}\n`,
    ]
  ) {
    assert.equal(parsePressure(text), undefined, text);
  }
});

Deno.test("pressureState() tells a kernel without PSI from one that was not booted with it", () => {
  const states = [undefined, "EOPNOTSUPP", "ENOENT", "EACCES", "EPERM", "EIO"].map(pressureState);
  assert.deepEqual(states, ["ok", "off", "absent", "denied", "denied", "absent"]);
});

Deno.test("the live pressure of this machine, where it has any", () => {
  using file = new KeptFile("/proc/pressure/memory");
  const text = file.readHead();
  if (text === undefined) return assert.notEqual(pressureState(file.failure), "ok");
  assert.ok(parsePressure(text)?.full !== undefined);
});
