import assert from "node:assert/strict";
import { type DeviceCounters, parseDisks, parseNetDevices, TrafficMeter } from "./device_traffic.ts";

const NETDEV = `Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo: 2155735634   82136    0    0    0     0          0         0 2155735634   82136    0    0    0     0       0          0
  eth0: 1000 5 0 0 0 0 0 0 2000 6 0 0 0 0 0 0
bond0.17:18446744073709551615 5 0 0 0 0 0 0 7 6 0 0 0 0 0 0
`;

const DISKSTATS = `   7       0 loop0 9 0 9 0 9 0 9 0 0 0 0 0 0 0 0 0 0
 254       0 vda 100 1 2048 30 200 2 4096 60 0 70 80 0 0 0 0 0 0
 254       1 vda1 90 1 2000 30 190 2 4000 60 0 70 80 0 0 0 0 0 0
 259       0 nvme0n1 1 0 36028797018963968 0 1 0 8 0 0 0 0
 252       0 dm-0 5 5 5 5 5 5 5 5 5 5 5
 253       0 zram0 1 1 1 1 1 1 1 1 1 1 1
`;

const device = (name: string, inBytes: number, outBytes: number): DeviceCounters => ({
  name,
  inBytes,
  outBytes,
});

Deno.test("parseNetDevices() leaves the loopback out and keeps large counters exact", () => {
  assert.deepEqual(parseNetDevices(NETDEV), [
    device("eth0", 1000, 2000),
    { name: "bond0.17", inBytes: 18446744073709551615n, outBytes: 7 },
  ]);
  assert.deepEqual(parseNetDevices(""), []);
});

Deno.test("parseDisks() takes whole disks that are no part of others, in bytes", () => {
  const isWhole = (name: string) => name !== "vda1";
  assert.deepEqual(parseDisks(DISKSTATS, isWhole), [
    device("vda", 2048 * 512, 4096 * 512),
    { name: "nvme0n1", inBytes: 36028797018963968n * 512n, outBytes: 8 * 512 },
  ]);
});

Deno.test("TrafficMeter adds up hardware only, where there is some", () => {
  const meter = new TrafficMeter((name) => name.startsWith("eth"));
  assert.equal(meter.next([device("eth0", 100, 10), device("docker0", 50, 5)]), undefined);
  assert.deepEqual(meter.next([device("eth0", 130, 11), device("docker0", 90, 9)]), {
    inBytes: 30,
    outBytes: 1,
  });
});

Deno.test("TrafficMeter adds up the others where there is no hardware", () => {
  const meter = new TrafficMeter(() => false);
  meter.next([device("veth1", 100, 10), device("tun0", 1, 1)]);
  assert.deepEqual(meter.next([device("veth1", 130, 11), device("tun0", 2, 1)]), {
    inBytes: 31,
    outBytes: 1,
  });
});

Deno.test("TrafficMeter is not fooled by devices that come, go or begin anew", () => {
  const asked: string[] = [];
  const meter = new TrafficMeter((name) => asked.push(name) > 0);
  meter.next([device("a", 1000, 0), device("b", 500, 0)]);
  assert.deepEqual(meter.next([device("a", 1010, 0), device("c", 9e9, 9e9)]), { inBytes: 10, outBytes: 0 });
  assert.deepEqual(meter.next([device("a", 3, 0), device("b", 600, 0), device("c", 9e9, 9e9)]), {
    inBytes: 0,
    outBytes: 0,
  });
  assert.deepEqual(meter.next([device("a", 5, 0), device("b", 601, 0)]), { inBytes: 3, outBytes: 0 });
  assert.deepEqual(asked, ["a", "b", "c", "b"]);
  meter.forget();
  assert.equal(meter.next([device("a", 50, 0)]), undefined);
});
