// Debian's Chromium, and what every page is held to: nothing against its policy, no error, and no
// request that leaves the sidecar.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { chromium } from "playwright-core";

const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

export const WIDE = { width: 1280, height: 900 };
export const NARROW = { width: 360, height: 740 };

export function launch() {
  return chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
      "--disable-component-update", "--disable-sync"],
  });
}

/** A page in a profile of its own, at the dashboard. */
export async function open(browser, address, { viewport = WIDE, colorScheme = "light", motion = "reduce" } = {}) {
  const context = await browser.newContext({ viewport, colorScheme, reducedMotion: motion });
  const page = await context.newPage();
  page.setDefaultTimeout(15_000);
  page.offences = [];
  page.on("pageerror", error => page.offences.push(String(error)));
  page.on("console", message => {
    if (/Content Security Policy|Trusted|deprecat/i.test(message.text())) page.offences.push(message.text());
  });
  page.on("request", request => {
    if (new URL(request.url()).origin !== address) page.offences.push(`asked for ${request.url()}`);
  });
  await page.goto(address);
  return page;
}

/** Closes a page, which must have done nothing wrong. */
export async function close(page) {
  const { offences } = page;
  await page.context().close();
  assert.deepEqual(offences, []);
}

/** Waits until an element has such a text. */
export const shows = (page, selector, text) => page.locator(selector).filter({ hasText: text }).first().waitFor();

/** Fails if axe-core finds anything in the page as it is. */
export async function isAccessible(page, state) {
  const session = await page.context().newCDPSession(page);
  // By the debugger, which the page's policy does not bind.
  await session.send("Runtime.evaluate", { expression: AXE });
  const run = "axe.run(document, { resultTypes: ['violations'] }).then(found => JSON.stringify(found.violations))";
  const asked = { expression: run, awaitPromise: true };
  const { result, exceptionDetails } = await session.send("Runtime.evaluate", asked);
  assert.equal(exceptionDetails, undefined);
  const found = JSON.parse(result.value).map(({ id, nodes }) => `${id}: ${nodes.map(node => node.html).join(" ")}`);
  assert.deepEqual(found, [], state);
  await session.detach();
}

/** Fails if the page is wider than its window. */
export async function fits(page, state) {
  const { width } = page.viewportSize();
  assert.equal(await page.evaluate(() => document.scrollingElement.scrollWidth), width, state);
}
