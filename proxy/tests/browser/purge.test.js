// Purging: after a second look, with its effect on the next request, and told in plain words.

import assert from "node:assert/strict";
import { after, before, beforeEach, test } from "node:test";
import { close, fits, isAccessible, launch, NARROW, open, shows } from "./browser.js";
import { Stack } from "./stack.js";

let stack, browser, page;
before(async () => [stack, browser] = await Promise.all([Stack.start(), launch()]));
after(() => Promise.all([browser?.close(), stack?.stop()]));
beforeEach(async () => {
  await stack.get("/cached_products");
  assert.match(await stack.get("/cached_products"), /^hit/);
  page = await open(browser, stack.admin);
});

const confirm = name => page.getByRole("dialog").getByRole("button", { name });

async function isPurged() {
  await shows(page, "#purge .outcome", "is gone on every live sidecar (1)");
  assert.match(await stack.get("/cached_products"), /^fwd=uri-miss/);
  await close(page);
}

test("by URL", async () => {
  await page.getByLabel("URL, with all its variants").fill(`${stack.data}/cached_products`);
  await page.getByRole("button", { name: "Purge…", exact: true }).click();
  await shows(page, "#confirm", "Purge this URL?");
  await shows(page, "#confirm", `${stack.data}/cached_products`);
  await isAccessible(page, "the question");
  await confirm("Purge").click();
  await isPurged();
});

test("by tag, in the dark and narrow", async () => {
  await close(page);
  page = await open(browser, stack.admin, { viewport: NARROW, colorScheme: "dark" });
  await page.getByRole("radio", { name: "A tag" }).check();
  await page.getByLabel("Tag, as the app").fill("products");
  await page.getByRole("button", { name: "Purge…", exact: true }).click();
  await shows(page, "#confirm", "Purge this tag?");
  await isAccessible(page, "the question, dark");
  await fits(page, "the question");
  await confirm("Purge").click();
  await shows(page, "#purge .outcome", "is gone");
  await isAccessible(page, "the answer, dark");
  await fits(page, "the answer");
  await isPurged();
});

test("by rule, from its row", async () => {
  await page.getByRole("button", { name: "Purge rule /cached_products" }).click();
  await shows(page, "#confirm", "Purge this rule?");
  await confirm("Purge").click();
  await isPurged();
});

test("everything", async () => {
  await page.getByRole("radio", { name: "Everything" }).check();
  await page.getByRole("button", { name: "Purge…", exact: true }).click();
  await shows(page, "#confirm", "Purge everything?");
  await confirm("Purge").click();
  await isPurged();
});

test("with the keyboard alone", async () => {
  await page.getByLabel("URL, with all its variants").waitFor();
  await reach("To the content");
  await page.keyboard.press("Enter");
  await reach("A URL");
  await page.keyboard.press("ArrowRight");
  await page.keyboard.press("ArrowRight");
  await reach("Rule that has stored it");
  await page.keyboard.type("/cached");
  await reach("Purge…");
  await page.keyboard.press("Enter");
  await shows(page, "#confirm", "/cached_products");
  assert.equal(await focused(), "Cancel", "what destroys is not what Enter does");
  await page.keyboard.press("Escape");
  assert.equal(await page.getByRole("dialog").count(), 0);
  assert.equal(await focused(), "Purge…");
  assert.match(await stack.get("/cached_products"), /^hit/);
  await page.keyboard.press("Enter");
  await reach("Purge");
  await page.keyboard.press("Enter");
  await isPurged();
});

test("soft: what is stored stays, and is stale", async () => {
  await page.getByRole("radio", { name: "A rule" }).check();
  await page.getByLabel("Only mark it stale").check();
  await page.getByRole("button", { name: "Purge…", exact: true }).click();
  await confirm("Mark as stale").click();
  await shows(page, "#purge .outcome", "is marked as stale on every live sidecar");
  assert.match(await stack.get("/cached_products"), /^fwd=stale/);
  await close(page);
});

test("what is no URL is refused, in the sidecar's words", async () => {
  await page.getByLabel("URL, with all its variants").fill("/cached_products");
  await page.getByRole("button", { name: "Purge…", exact: true }).click();
  await confirm("Purge").click();
  await shows(page, "#purge .outcome", /Nothing was purged: .*names no host/);
  assert.match(await stack.get("/cached_products"), /^hit/);
  await close(page);
});

/** What the element with the focus is called. */
function focused() {
  return page.evaluate(() => {
    const { activeElement: at } = document;
    return (at.labels?.[0] ?? at).textContent.trim();
  });
}

/** Presses the tab key until it is there; what has the focus must show it. */
async function reach(name) {
  for (let presses = 0; presses < 60; presses++) {
    await page.keyboard.press("Tab");
    if (await focused() !== name) continue;
    const outline = await page.evaluate(() => getComputedStyle(document.activeElement).outlineStyle);
    assert.notEqual(outline, "none", `${name} does not show that it has the focus`);
    return;
  }
  assert.fail(`the keyboard does not reach ${name}`);
}
