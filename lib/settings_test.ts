import assert from "node:assert/strict";
import { tempDir } from "../testdata/temp.ts";
import { configPaths, parseConfig, readConfigFiles } from "./config_file.ts";
import { Failure } from "./failure.ts";
import { resolveSetting, type Sources, variableOf } from "./settings.ts";
import { SETTING_KEYS, type SettingKey } from "./settings_table.ts";

const NOTHING: Sources = { flags: {}, environment: {}, files: [] };

Deno.test("resolveSetting() takes flag, then environment, then the stronger file, then the default", async () => {
  const strong = await parseConfig("/home/config.yaml", "image:\n  retries: 3\n");
  const weak = await parseConfig("/etc/config.yaml", "image:\n  retries: 4\n  connections: 9\n");
  const files = [strong, weak];
  const environment = { DAVIT_IMAGE_RETRIES: "2" };
  const key = "image.retries";
  const at = (sources: Partial<Sources>) => {
    const { value, origin } = resolveSetting(key, { ...NOTHING, ...sources });
    return [value, origin.kind, origin.name];
  };
  assert.deepEqual(at({ flags: { [key]: "1" }, environment, files }), [1, "flag", "--retries"]);
  assert.deepEqual(at({ environment, files }), [2, "environment", "DAVIT_IMAGE_RETRIES"]);
  assert.deepEqual(at({ environment: { DAVIT_IMAGE_RETRIES: "" }, files }), [
    3,
    "file",
    "/home/config.yaml:2",
  ]);
  assert.deepEqual(at({ files: [weak] }), [4, "file", "/etc/config.yaml:2"]);
  assert.deepEqual(at({}), [5, "default", "default"]);
  assert.equal(resolveSetting("image.connections", { ...NOTHING, files }).value, 9);
});

Deno.test("resolveSetting() takes another program's variable after ours and before a file", async () => {
  const files = [await parseConfig("/etc/config.yaml", "vitals:\n  interval: 7\n")];
  const TUIST_RUNNER_VITALS_INTERVAL = "9";
  const at = (environment: Record<string, string>) => {
    const { value, origin } = resolveSetting("vitals.interval", { ...NOTHING, environment, files });
    return [value, origin.name];
  };
  assert.deepEqual(at({ TUIST_RUNNER_VITALS_INTERVAL, DAVIT_VITALS_INTERVAL: "5" }), [
    "5",
    "DAVIT_VITALS_INTERVAL",
  ]);
  assert.deepEqual(at({ TUIST_RUNNER_VITALS_INTERVAL }), ["9", "TUIST_RUNNER_VITALS_INTERVAL"]);
  assert.deepEqual(at({ TUIST_RUNNER_VITALS_INTERVAL: "" }), ["7", "/etc/config.yaml:2"]);
});

Deno.test("resolveSetting() reads every default, and no two settings share a variable or a flag", () => {
  for (const key of SETTING_KEYS) resolveSetting(key, NOTHING);
  assert.equal(new Set(SETTING_KEYS.map(variableOf)).size, SETTING_KEYS.length);
});

Deno.test("resolveSetting() reads lists from repeated flags, variables and files", async () => {
  const key = "image.allow_http";
  const values = (sources: Partial<Sources>) => resolveSetting(key, { ...NOTHING, ...sources }).value;
  assert.deepEqual(values({}), []);
  assert.deepEqual(values({ flags: { [key]: ["a:1", "b"] } }), ["a:1", "b"]);
  assert.deepEqual(values({ environment: { DAVIT_IMAGE_ALLOW_HTTP: "a:1, b  c" } }), ["a:1", "b", "c"]);
  assert.deepEqual(values({ files: [await parseConfig("f", "image: {allow_http: [a:1, b]}")] }), [
    "a:1",
    "b",
  ]);
  assert.deepEqual(values({ files: [await parseConfig("f", "image: {allow_http: b}")] }), ["b"]);
});

Deno.test("resolveSetting() names the origin of a text that it cannot use", async (t) => {
  const file = await parseConfig("/etc/davit/config.yaml", "image:\n  mode: rw\n");
  const rows: [SettingKey, Partial<Sources>, number, RegExp][] = [
    [
      "image.lock_timeout",
      { flags: { "image.lock_timeout": "soon" } },
      64,
      /--lock-timeout: expected a duration.*"soon"/,
    ],
    [
      "image.retries",
      { environment: { DAVIT_IMAGE_RETRIES: "-1" } },
      78,
      /DAVIT_IMAGE_RETRIES: .*from 0 to 100/,
    ],
    ["image.mode", { files: [file] }, 78, /config\.yaml:2: expected an octal mode/],
    ["image.compression", { flags: { "image.compression": "lz5" } }, 64, /one of lz4, none/],
  ];
  for (const [key, sources, exit, says] of rows) {
    await t.step(key, () => {
      assert.throws(() => resolveSetting(key, { ...NOTHING, ...sources }), (error) => {
        assert.ok(error instanceof Failure);
        assert.equal(error.exitStatus, exit);
        assert.match(error.message, says);
        return true;
      });
    });
  }
});

Deno.test("parseConfig() reports every fault with its line", async () => {
  const text = "image:\n  retrys: 3\n  mode: [1, 2]\nlog_level:\n  a: 1\nother: 1\n";
  await assert.rejects(parseConfig("f", text), (error: Failure) => {
    assert.equal(error.exitStatus, 78);
    for (
      const part of ["line 2", "retrys", "line 3", "image.mode", "line 4", "log_level", "line 6", '"other"']
    ) {
      assert.ok(error.message.includes(part), part);
    }
    return true;
  });
  await assert.rejects(parseConfig("f", "image: {"), /line 1/);
  await assert.rejects(parseConfig("f", "- a\n"), /not a map/);
  assert.equal((await parseConfig("f", "")).values.size, 0);
  assert.deepEqual((await parseConfig("f", "image: {mode: 0644}")).values.get("image.mode")?.texts, ["0644"]);
});

Deno.test("readConfigFiles() passes over absent files, not over unreadable ones", async () => {
  await using dir = await tempDir("config");
  await Deno.writeTextFile(dir.join("config.yaml"), "image: {retries: 7}");
  assert.equal((await readConfigFiles([dir.join("none"), dir.join("config.yaml")])).length, 1);
  await assert.rejects(readConfigFiles([dir.path]), /not a regular file/);
  await assert.rejects(readConfigFiles([dir.join("none")], { must: true }), /No such file/);
});

Deno.test("configPaths() follows XDG, and DAVIT_CONFIG stands alone", () => {
  assert.deepEqual(configPaths({ HOME: "/h" }), ["/h/.config/davit/config.yaml", "/etc/davit/config.yaml"]);
  assert.deepEqual(configPaths({ HOME: "/h", XDG_CONFIG_HOME: "/x" })[0], "/x/davit/config.yaml");
  assert.deepEqual(configPaths({}), ["/etc/davit/config.yaml"]);
  assert.deepEqual(configPaths({ DAVIT_CONFIG: "/c.yaml", HOME: "/h" }), ["/c.yaml"]);
});
