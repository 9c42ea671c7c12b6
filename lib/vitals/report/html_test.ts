import assert from "node:assert/strict";
import { type OpenPage, startBrowser } from "../../../testdata/browser.ts";
import { needs } from "../../../testdata/needs.ts";
import { tempDir } from "../../../testdata/temp.ts";
import { VitalsLog } from "../../../testdata/vitals_log.ts";
import { writeHtml } from "./html.ts";
import { readLog } from "./reader.ts";
import { judgeLogs } from "./report.ts";

const GIB = 2 ** 30;
const HOSTILE =
  `</pre></script><script>window.pwned=1</script><img src=x onerror="window.pwned=2"><!--<script>\u001b[31m\u202e'"&amp;`;

/** A run with all there is to draw, and the worst text in each place that a log fills. */
function hostileLog(): string {
  const log = new VitalsLog().start({ hostname: HOSTILE }).samples(100, (index) => ({
    mem_current: (20 + index * 0.4) * GIB,
    cpu_busy_pct: 50 + 40 * Math.sin(index / 5),
  }));
  for (let round = 0; round < 20; round++) {
    log.samples(3);
    for (let gpu = 0; gpu < 8; gpu++) log.gpu({ gpu, uuid: `GPU-${gpu}`, util_pct: 60 + gpu * 4 });
  }
  log.gpu({ gpu: HOSTILE, uuid: HOSTILE });
  log.event("kernel", { tag: "xid", class: "application", xid: 31, text: HOSTILE });
  log.wait(60_000).event("resume", { gap_ms: 60_000 }).samples(3);
  return log.event("oom", { scope: "own", pid: 3695, comm: HOSTILE, oom_memcg: HOSTILE }).sample().text();
}

async function writePage(path: string, texts: readonly string[]): Promise<void> {
  const histories = [];
  for (const text of texts) histories.push(...await readLog(new Blob([text]).stream(), { name: HOSTILE }));
  await writeHtml(path, judgeLogs(histories, {}));
}

/** For each chart, how many of its pixels are not the background. */
async function inkOf({ page }: OpenPage): Promise<number[]> {
  return await page.evaluate(() =>
    // deno-lint-ignore no-explicit-any -- runs in the browser, whose types the program does not have
    [...(globalThis as any).document.querySelectorAll("canvas")].map((canvas: any) => {
      const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
      let ink = 0;
      for (let index = 3; index < data.length; index += 4) if (data[index] !== 0) ink++;
      return ink;
    })
  );
}

const LOOKS = [
  { name: "a phone, light", width: 390, height: 844, colorScheme: "light" },
  { name: "a phone, dark", width: 390, height: 844, colorScheme: "dark" },
  { name: "a desktop, light", width: 1280, height: 900, colorScheme: "light" },
  { name: "a desktop, dark", width: 1280, height: 900, colorScheme: "dark" },
] as const;

Deno.test({
  name: "the HTML report draws its charts in Chromium, asks nobody, and is safe from its log",
  ...needs({ programs: ["chromium"] }),
  async fn(t) {
    await using dir = await tempDir("html");
    const path = dir.join("report.html");
    await writePage(path, [hostileLog(), new VitalsLog().start().samples(50).text(), ""]);
    await using browser = await startBrowser();
    for (const { name, ...look } of LOOKS) {
      await t.step(name, async () => {
        await using opened = await browser.open(path, look);
        const { page, complaints } = opened;
        await page.waitForFunction("document.documentElement.dataset.drawn === 'true'");
        await page.waitForFunction("document.querySelectorAll('canvas').length === 20");
        const ink = await inkOf(opened);
        assert.equal(ink.length, 12 + 8);
        for (const pixels of ink) assert.ok(pixels > 500, `${ink}`);
        // Nothing wider than the screen: no sideways scrolling on a phone.
        assert.equal(await page.evaluate("document.documentElement.scrollWidth"), look.width);
        const back = await page.evaluate("getComputedStyle(document.body).backgroundColor");
        assert.equal(back, look.colorScheme === "dark" ? "rgb(15, 19, 24)" : "rgb(251, 251, 250)");
        assert.equal(await page.evaluate("window.pwned"), undefined);
        assert.equal(await page.evaluate("document.querySelectorAll('img').length"), 0);
        assert.ok(
          (await page.textContent("pre"))?.includes("</pre></script><script>window.pwned=1</script>"),
        );
        assert.deepEqual(complaints, []);
      });
    }
    await t.step("buttons change what is drawn", async () => {
      await using opened = await browser.open(path, LOOKS[2]);
      const { page, complaints } = opened;
      await page.waitForFunction("document.querySelectorAll('canvas').length === 20");
      const before = await inkOf(opened);
      await page.getByRole("button", { name: "last 5 min" }).first().click();
      await page.waitForFunction(
        "document.querySelector('button[aria-pressed=true]').textContent === 'last 5 min'",
      );
      await page.evaluate(
        "new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve)))",
      );
      assert.deepEqual(complaints, []); // before the second look at the pixels, which Chromium thinks is slow
      assert.notDeepEqual(await inkOf(opened), before);
    });
    await t.step("an injected script would not run", async () => {
      const broken = (await Deno.readTextFile(path)).replace("<h1>", "<script>window.pwned=3</script><h1>");
      await Deno.writeTextFile(dir.join("broken.html"), broken);
      await using opened = await browser.open(dir.join("broken.html"), LOOKS[0]);
      await opened.page.waitForFunction("document.documentElement.dataset.drawn === 'true'");
      assert.equal(await opened.page.evaluate("window.pwned"), undefined);
      assert.match(opened.complaints.join(), /Content Security Policy/);
    });
  },
});

Deno.test("the HTML report is one file that names no other", async () => {
  await using dir = await tempDir("html");
  const path = dir.join("report.html");
  await writePage(path, [hostileLog()]);
  const page = await Deno.readTextFile(path);
  assert.equal(page.match(/<script/g)?.length, 3);
  assert.equal(page.match(/<\/script>/g)?.length, 3);
  assert.ok(!page.includes("\u001b") && !page.includes("\u202e"));
  const [markup] = page.split("<script");
  assert.doesNotMatch(markup!.replaceAll(/<style>.*?<\/style>/gs, ""), /\b(?:src|href)="(?!data:,")/);
  assert.deepEqual((await Array.fromAsync(Deno.readDir(dir.path))).map(({ name }) => name), ["report.html"]);
});
