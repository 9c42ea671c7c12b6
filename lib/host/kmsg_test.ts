import assert from "node:assert/strict";
import fc from "fast-check";
import { decodeKmsg, parseKmsgRecord, splitKmsg } from "./kmsg.ts";

Deno.test("parseKmsgRecord() reads what the kernel writes", async (t) => {
  const rows: [what: string, text: string, expected: Partial<ReturnType<typeof parseKmsgRecord>>][] = [
    ["an error of the kernel", "3,508,1785971631,-;Killed\n", {
      level: 3,
      facility: 0,
      seq: 508,
      stampUs: 1785971631,
      text: "Killed",
    }],
    ["a userspace record", "12,635,2129854069,-;text\n", { level: 4, facility: 1, text: "text" }],
    ["a userspace record that claims to be the kernel's", "14,1,2,-;<0>x\n", { facility: 1, text: "<0>x" }],
    ["a fragment", "6,1,2,c;,oom_memcg=/a\n", { text: ",oom_memcg=/a" }],
    ["more fields than today", "6,1,2,-,caller=T123,next=1;x;y\n", { text: "x;y" }],
    ["continuation lines", "6,1,2,-;pci\n SUBSYSTEM=pci\n DEVICE=+pci:0000:05:00.0\n", { text: "pci" }],
    ["an empty text", "6,1,2,-;\n", { text: "" }],
    ["escapes as they are", "6,1,2,-;a\\x0ab\n", { text: "a\\x0ab" }],
    ["8 KiB", `6,1,2,-;${"x".repeat(8170)}\n`, { text: "x".repeat(8170) }],
    ["no newline at the end", "6,1,2,-;x", { text: "x" }],
  ];
  for (const [what, text, expected] of rows) {
    await t.step(what, () => {
      const record = parseKmsgRecord(text);
      assert.deepEqual({ ...record, ...expected }, record);
    });
  }
});

Deno.test("parseKmsgRecord() refuses what is no record", async (t) => {
  for (
    const text of [
      "",
      "\n",
      "x",
      "6;x",
      "6,1;x",
      "-1,1,2,-;x",
      " 6,1,2,-;x",
      "6,1,2,-",
      "6,1,99999999999999999,-;x",
    ]
  ) {
    await t.step(JSON.stringify(text), () => assert.equal(parseKmsgRecord(text), undefined));
  }
});

Deno.test("splitKmsg() parts records, not their continuation lines", () => {
  assert.deepEqual(splitKmsg("6,1,2,-;a\n K=v\n"), ["6,1,2,-;a\n K=v\n"]);
  assert.deepEqual(splitKmsg("6,1,2,-;a\n K=v\n6,2,3,-;b\n6,3,4,-;c\n K=w\n"), [
    "6,1,2,-;a\n K=v",
    "6,2,3,-;b",
    "6,3,4,-;c\n K=w",
  ]);
  assert.deepEqual(splitKmsg(""), []);
});

Deno.test("decodeKmsg() gives printable ASCII and newlines, whatever the bytes", () => {
  const encode = (text: string) => new TextEncoder().encode(text);
  assert.equal(decodeKmsg(encode("6,1,2,-;a\u001b[2Jé\n")), "6,1,2,-;a\\x1b[2J\\xc3\\xa9\n");
  assert.equal(decodeKmsg(encode("plain\n")), "plain\n");
  fc.assert(fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
    assert.match(decodeKmsg(bytes), /^[\x20-\x7e\n]*$/);
    for (const text of splitKmsg(decodeKmsg(bytes))) parseKmsgRecord(text);
  }));
});

Deno.test("parseKmsgRecord() gives back what was put in", () => {
  const text = fc.string({
    unit: fc.integer({ min: 0x20, max: 0x7e }).map((code) => String.fromCharCode(code)),
  });
  fc.assert(
    fc.property(fc.nat(23), fc.nat(2 ** 31), fc.nat(2 ** 31), text, (priority, seq, stampUs, words) => {
      const record = parseKmsgRecord(`${priority},${seq},${stampUs},-,caller=T1;${words}\n KEY=value\n`);
      assert.deepEqual(record, { level: priority & 7, facility: priority >> 3, seq, stampUs, text: words });
    }),
  );
});
