/**
 * Reads the JUnit file of `deno test --junit-path`, as Deno 2.9.6 writes it (measured):
 * - per suite first the tests, then all their steps, a step named `<its test> > <step>`;
 * - an ignored test has `<skipped/>` and a time, one that --filter left out has `<skipped/>` and no time;
 * - a test that was under way when the run was interrupted, or that an uncaught error took along, has `<error>`;
 * - a module that fails to load or throws outside its tests leaves no trace here, only Deno's exit status does.
 *
 * @module
 */

/** One test or step. */
export interface TestCase {
  /** Absolute path of the module. */
  readonly file: string;
  readonly name: string;
  readonly line: number;
  /** "left out" by --filter. */
  readonly outcome: "passed" | "failed" | "skipped" | "left out";
  readonly isStep: boolean;
}

const ELEMENT_REGEXP = /<testcase ([^>]*)>(.*?)<\/testcase>/gs;

/** All cases, in the file's order. `cwd` is where deno test ran: module names are relative to it. */
export function parseJunit(xml: string, cwd: string): TestCase[] {
  const cases: TestCase[] = [];
  const tests = new Map<string, Set<string>>();
  for (const [, head = "", body = ""] of xml.matchAll(ELEMENT_REGEXP)) {
    const attributes = attributesOf(head);
    const name = attributes.get("name") ?? "";
    const file = new URL(attributes.get("classname") ?? "", `file://${cwd}/`).pathname;
    const known = tests.get(file) ?? new Set();
    const isStep = prefixesOf(name).some((prefix) => known.has(prefix));
    if (!isStep) tests.set(file, known.add(name));
    const outcome = outcomeOf(body, attributes.has("time"));
    cases.push({
      file: decodeURIComponent(file),
      name,
      line: Number(attributes.get("line")),
      outcome,
      isStep,
    });
  }
  return cases;
}

function outcomeOf(body: string, hasTime: boolean): TestCase["outcome"] {
  if (body.includes("<failure") || body.includes("<error")) return "failed";
  if (!body.includes("<skipped")) return "passed";
  return hasTime ? "skipped" : "left out";
}

/** "a > b > c" gives "a" and "a > b". */
function prefixesOf(name: string): string[] {
  return [...name.matchAll(/ > /g)].map(({ index }) => name.slice(0, index));
}

function attributesOf(head: string): Map<string, string> {
  return new Map(
    [...head.matchAll(/([\w-]+)="([^"]*)"/g)].map(([, key = "", value = ""]) => [key, unescape(value)]),
  );
}

const ENTITIES: Record<string, string> = { lt: "<", gt: ">", amp: "&", quot: '"', apos: "'" };

function unescape(text: string): string {
  return text.replace(/&(?:#(\d+)|#x([0-9a-f]+)|(\w+));/gi, (whole, decimal, hex, name) => {
    if (name !== undefined) return ENTITIES[name] ?? whole;
    return String.fromCodePoint(decimal === undefined ? parseInt(hex, 16) : Number(decimal));
  });
}
