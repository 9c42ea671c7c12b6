/**
 * A real Chromium for tests: Debian's package, driven by playwright-core, without a network.
 *
 * @module
 */
import type { Browser, Page } from "playwright-core";
import { findProgram } from "./needs.ts";

/** A page that was opened, and all that went wrong on it. */
export interface OpenPage extends AsyncDisposable {
  readonly page: Page;
  /** Console messages but logs, exceptions, dialogs, and requests of anything but the page itself. */
  readonly complaints: readonly string[];
}

/** How a page is looked at. */
export interface Look {
  readonly width: number;
  readonly height: number;
  readonly colorScheme: "light" | "dark";
}

/** Starts the browser; `await using` ends it. */
export async function startBrowser(): Promise<
  AsyncDisposable & { open(path: string, look: Look): Promise<OpenPage> }
> {
  const { chromium } = await import("playwright-core");
  const browser = await chromium.launch({
    executablePath: findProgram("chromium")!,
    // Root has no sandbox; nothing may leave this machine but what a page asks for, and that is watched.
    args: ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--proxy-server=127.0.0.1:9"],
  });
  return {
    open: (path, look) => open(browser, path, look),
    [Symbol.asyncDispose]: () => browser.close(),
  };
}

async function open(browser: Browser, path: string, { width, height, colorScheme }: Look): Promise<OpenPage> {
  const page = await browser.newPage({ viewport: { width, height }, colorScheme });
  const complaints: string[] = [];
  page.on("console", (message) => complaints.push(`console ${message.type()}: ${message.text()}`));
  page.on("pageerror", (error) => complaints.push(`exception: ${error.stack}`));
  page.on("dialog", (dialog) => {
    complaints.push(`dialog: ${dialog.message()}`);
    dialog.dismiss().catch(() => {}); // it may have closed with its page
  });
  const url = `file://${path}`;
  page.on("request", (request) => {
    if (request.url() !== url && !request.url().startsWith("data:")) {
      complaints.push(`request: ${request.url()}`);
    }
  });
  await page.goto(url);
  return { page, complaints, [Symbol.asyncDispose]: () => page.close() };
}
