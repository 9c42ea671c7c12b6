import assert from "node:assert/strict";
import fc from "fast-check";
import { tempDir } from "../../testdata/temp.ts";
import type { Fields, Log } from "../host/log.ts";
import { silent } from "../host/log.ts";
import { findCredentials } from "./credentials.ts";
import { parseNetrc, shellValue } from "./netrc.ts";
import { DOCKER_HUB } from "./reference.ts";

const SECRET = "s3cr3t";

interface Case {
  /** By path below the home directory. */
  files: Record<string, string>;
  host?: string;
  user?: string;
  env?: Record<string, string>;
  repository?: string;
  mode?: number;
}

/** What is found in a home directory made of `files`, and every warning as one text. */
async function look(
  { files, host = "nvcr.io", user, env = {}, repository = "nvidia/pytorch", mode = 0o600 }: Case,
): Promise<{ found: unknown; warnings: string[] }> {
  await using home = await tempDir("credentials");
  for (const [name, text] of Object.entries(files)) {
    await Deno.mkdir(home.join(name.replace(/[^/]*$/, "")), { recursive: true });
    await Deno.writeTextFile(home.join(name), text, { mode });
  }
  const warnings: string[] = [];
  const warn = (message: string, fields?: Fields) =>
    void warnings.push(`${message} ${JSON.stringify(fields)}`);
  const log: Log = { ...silent, warn };
  const absolute = Object.fromEntries(
    Object.entries(env).map(([key, value]) => [key, value.replace("~", home.path)]),
  );
  const find = findCredentials({ env: { HOME: home.path, ...absolute }, user, repository, log });
  await find(host);
  const found = (await find(host))?.credentials;
  assert(!warnings.join("\n").includes(SECRET), "a secret was logged");
  return { found, warnings };
}

function basic(username: string, password = SECRET): unknown {
  return { kind: "basic", username, password };
}

function auths(entries: Record<string, unknown>, more: Record<string, unknown> = {}): string {
  return JSON.stringify({ auths: entries, ...more });
}

const ME = { auth: btoa(`me:${SECRET}`) };
const ENROOT = ".config/enroot/.credentials";
const DOCKER = ".docker/config.json";

Deno.test("findCredentials() reads every kind of file", async (t) => {
  const netrc = `machine nvcr.io login me password ${SECRET}\n`;
  const hub = { "https://index.docker.io/v1/": ME };
  const cases: Record<string, Case & { want: unknown }> = {
    netrc: { files: { ".netrc": netrc }, want: basic("me") },
    "NETRC": { files: { "n": netrc }, env: { NETRC: "~/n" }, want: basic("me") },
    enroot: {
      files: { [ENROOT]: `machine nvcr.io login $oauthtoken password ${SECRET}` },
      want: basic("$oauthtoken"),
    },
    ENROOT_CONFIG_PATH: {
      files: { "e/.credentials": netrc },
      env: { ENROOT_CONFIG_PATH: "~/e" },
      want: basic("me"),
    },
    XDG_CONFIG_HOME: {
      files: { "x/enroot/.credentials": netrc },
      env: { XDG_CONFIG_HOME: "~/x" },
      want: basic("me"),
    },
    "variable in enroot": {
      files: { [ENROOT]: "machine nvcr.io login me password ${NGC_KEY}" },
      env: { NGC_KEY: SECRET },
      want: basic("me"),
    },
    docker: { files: { [DOCKER]: auths({ "nvcr.io": ME }) }, want: basic("me") },
    DOCKER_CONFIG: {
      files: { "d/config.json": auths({ "nvcr.io": ME }) },
      env: { DOCKER_CONFIG: "~/d" },
      want: basic("me"),
    },
    "docker hub": { files: { [DOCKER]: auths(hub) }, host: DOCKER_HUB, want: basic("me") },
    "docker hub in netrc": {
      files: { ".netrc": `machine docker.io login me password ${SECRET}` },
      host: DOCKER_HUB,
      want: basic("me"),
    },
    identity: {
      files: { [DOCKER]: auths({ "nvcr.io": { auth: btoa("<token>:"), identitytoken: SECRET } }) },
      want: { kind: "identity", token: SECRET },
    },
    "registry token": {
      files: { [DOCKER]: auths({ "nvcr.io": { registrytoken: SECRET } }) },
      want: { kind: "bearer", token: SECRET },
    },
    "plain fields": {
      files: { [DOCKER]: auths({ "https://nvcr.io/v2/": { username: "me", password: SECRET } }) },
      want: basic("me"),
    },
    "utf-8": {
      files: { [DOCKER]: auths({ "nvcr.io": { auth: "bcO8OnDDpHNz" } }) },
      want: basic("mü", "päss"),
    },
    "longest path": {
      files: {
        "run/containers/auth.json": auths({
          "nvcr.io": { auth: btoa("host:x") },
          "nvcr.io/nvidia": ME,
          "nvcr.io/nvid": { auth: btoa("wrong:x") },
        }),
      },
      env: { XDG_RUNTIME_DIR: "~/run" },
      want: basic("me"),
    },
    REGISTRY_AUTH_FILE: {
      files: { "r.json": auths({ "nvcr.io": ME }), [ENROOT]: "machine nvcr.io login other password x" },
      env: { REGISTRY_AUTH_FILE: "~/r.json" },
      want: basic("me"),
    },
    "the user chooses": {
      files: { ".netrc": `machine nvcr.io login a password x machine nvcr.io login me password ${SECRET}` },
      user: "me",
      want: basic("me"),
    },
    "another user's entry is passed over": {
      files: { [DOCKER]: auths({ "nvcr.io": { auth: btoa("a:x") } }), ".netrc": netrc },
      user: "me",
      want: basic("me"),
    },
    "a login is not needed with a user": {
      files: { ".netrc": `machine nvcr.io password ${SECRET}` },
      user: "me",
      want: basic("me"),
    },
    default: { files: { ".netrc": `default login me password ${SECRET}` }, want: basic("me") },
    port: {
      files: { ".netrc": `machine h login a password x machine h:5000 login me password ${SECRET}` },
      host: "h:5000",
      want: basic("me"),
    },
    "another host": {
      files: { ".netrc": netrc, [DOCKER]: auths({ "nvcr.io": ME }) },
      host: "x.nvcr.io",
      want: undefined,
    },
    "empty file": { files: { [DOCKER]: "" }, want: undefined },
    "no home": { files: {}, env: { HOME: "" }, want: undefined },
    "a device": { files: {}, env: { NETRC: "/dev/null" }, want: undefined },
  };
  for (const [name, { want, ...given }] of Object.entries(cases)) {
    await t.step(name, async () => {
      const { found, warnings } = await look(given);
      assert.deepEqual(found, want);
      assert.deepEqual(warnings, []);
    });
  }
});

Deno.test("findCredentials() warns once, goes on, and shows no content", async (t) => {
  const good = { ".netrc": `machine nvcr.io login me password ${SECRET}` };
  const cases: Record<string, Case & { warning: RegExp; want?: unknown }> = {
    "command in enroot's file": {
      files: { ...good, [ENROOT]: `machine nvcr.io login me password $(cat /etc/${SECRET} | head -1)` },
      warning: /not run or expanded.*\.credentials.*nvcr\.io/,
      want: basic("me"),
    },
    "unset variable": {
      files: { [ENROOT]: `machine nvcr.io login me password $${SECRET}` },
      warning: /not run or expanded/,
    },
    "broken JSON": {
      files: { ...good, [DOCKER]: `{"auths": {"nvcr.io": {"auth": "${SECRET}" "x"}}}` },
      warning: /not valid JSON.*config\.json.*"line":"1"/,
      want: basic("me"),
    },
    "broken entry": {
      files: { ...good, [DOCKER]: auths({ "nvcr.io": { auth: `%${SECRET}` } }) },
      warning: /cannot read an entry.*nvcr\.io/,
      want: basic("me"),
    },
    "broken netrc": {
      files: { ".netrc": `machine nvcr.io login me password ${SECRET}\n\nnonsense ${SECRET}` },
      warning: /cannot read a line.*"lines":"3"/,
      want: basic("me"),
    },
    helper: {
      files: { [DOCKER]: auths({ "nvcr.io": {} }, { credsStore: "desktop" }) },
      warning: /helpers are not run.*config\.json/,
    },
    "helper for the host": {
      files: { [DOCKER]: JSON.stringify({ credHelpers: { "nvcr.io": "x" } }) },
      warning: /helpers are not run/,
    },
    "open to all": {
      files: good,
      mode: 0o644,
      warning: /everybody on this host.*\.netrc/,
      want: basic("me"),
    },
    "a directory on the way": {
      files: good,
      env: { REGISTRY_AUTH_FILE: `/${"x".repeat(300)}` },
      warning: /ENAMETOOLONG/,
      want: basic("me"),
    },
    huge: { files: { ".netrc": " ".repeat(1_100_000) }, warning: /too large/ },
  };
  for (const [name, { warning, want, ...given }] of Object.entries(cases)) {
    await t.step(name, async () => {
      const { found, warnings } = await look(given);
      assert.deepEqual(found, want);
      assert.equal(warnings.length, 1, warnings.join("\n"));
      assert.match(warnings[0]!, warning);
    });
  }
});

Deno.test("findCredentials() says nothing of helpers when a file has the credentials", async () => {
  const files = {
    [DOCKER]: JSON.stringify({ credsStore: "x" }),
    ".netrc": `machine nvcr.io login me password ${SECRET}`,
  };
  assert.deepEqual(await look({ files }), { found: basic("me"), warnings: [] });
});

Deno.test("parseNetrc() reads curl's dialect", () => {
  const { entries, badLines } = parseNetrc(
    '# machine x login y\nmachine A login "a b\\"c" password #p\n  account z\nmacdef init\nmachine evil\n\ndefault login d\nmachine',
  );
  assert.deepEqual(
    entries,
    [
      { machine: "a", login: 'a b"c', password: "#p" },
      { machine: undefined, login: "d", password: undefined },
    ].map((entry) => entry),
  );
  assert.deepEqual(badLines, [8]);
});

Deno.test("parseNetrc() takes any text", () => {
  const word = fc.constantFrom(
    "machine",
    "login",
    "password",
    "default",
    "macdef",
    "$(",
    ")",
    "`",
    '"',
    "\n",
    " ",
    "#",
    "a",
  );
  fc.assert(fc.property(fc.array(word).map((words) => words.join("")), fc.boolean(), (text, shell) => {
    const { badLines } = parseNetrc(text, { shell });
    const lines = text.split("\n").length;
    assert(badLines.every((line) => line >= 1 && line <= lines));
  }));
});

Deno.test("shellValue() expands variables and nothing else", () => {
  const env = { KEY: "v", EMPTY: "" };
  assert.equal(shellValue("$KEY", env), "v");
  assert.equal(shellValue("${KEY}", env), "v");
  assert.equal(shellValue("$oauthtoken", env), "$oauthtoken");
  assert.equal(shellValue("pa\\$s", env), "pa$s");
  for (const text of ["$EMPTY", "$NONE", "$(id)", "a`id`b", "x$(id)"]) {
    assert.equal(shellValue(text, env), undefined);
  }
});
