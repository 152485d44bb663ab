// Looking up a URL: what is stored of it, what would be done, and why.

import { after, before, test } from "node:test";
import { close, fits, isAccessible, launch, NARROW, open, shows } from "./browser.js";
import { Stack } from "./stack.js";

let stack, browser;
before(async () => [stack, browser] = await Promise.all([Stack.start(), launch()]));
after(() => Promise.all([browser?.close(), stack?.stop()]));

async function lookUp(page, url, headers = "") {
  await page.getByLabel("URL, as clients ask for it").fill(url);
  if (headers !== "") {
    await page.getByText("Header fields").click();
    await page.getByLabel("One on each line").fill(headers);
  }
  await page.getByRole("button", { name: "Look up", exact: true }).click();
}

test("a URL that is stored", async () => {
  await stack.get("/cached_products");
  const page = await open(browser, stack.admin);
  await lookUp(page, `${stack.data}/cached_products`);
  await shows(page, "#look-up .title", /^Now: hit/);
  await shows(page, "#look-up .facts div", /^Rule\/cached_products: .*stored for 5m/);
  await shows(page, "#look-up .facts div", /^Storedstatus 200/);
  await shows(page, "#look-up .facts div", /^Tagsproducts/);
  await shows(page, "#look-up .facts div", /^Age.* of 5 min; fresh for/);
  await isAccessible(page, "a hit is explained");
  await close(page);
});

test("what a rule in shadow has noted is no empty body", async () => {
  const stack = await Stack.start();
  try {
    await stack.edit("\n  - match: /cached_products\n    cache: { ttl: 300s, shadow: true }\n");
    const page = await open(browser, stack.admin);
    await shows(page, "#rules > .table tbody tr", /in shadow/);
    await stack.get("/cached_products");
    await lookUp(page, `${stack.data}/cached_products`);
    await shows(page, "#look-up .title", /^Now: bypass shadow-hit/);
    await shows(page, "#look-up .facts div", /^Storedstatus 200, head only, in memory/);
    await close(page);
  } finally {
    await stack.stop();
  }
});

test("a miss, from the list of misses, with its reason and what to do", async () => {
  await stack.get("/products");
  const page = await open(browser, stack.admin, { viewport: NARROW, colorScheme: "dark" });
  await page.locator("#misses").getByRole("button", { name: /Look up .*\/products$/ }).click();
  await shows(page, "#look-up .title", /^Now: bypass rule-off/);
  await shows(page, "#look-up .verdict", "What to do:");
  await shows(page, "#look-up .facts div", /^Passed over\/cached_products: /);
  await isAccessible(page, "a miss is explained");
  await fits(page, "a miss is explained");
  await close(page);
});

test("with header fields, and with what the app says now", async () => {
  const page = await open(browser, stack.admin);
  await lookUp(page, `${stack.data}/cached_products?page=7`, "Cookie: session=1");
  await shows(page, "#look-up .title", /^Now: bypass cookie/);
  await page.getByLabel("One on each line").fill("");
  await page.getByLabel("Ask the app now").check();
  await page.getByRole("button", { name: "Look up", exact: true }).click();
  await shows(page, "#look-up .title", /^Now: uri-miss/);
  await shows(page, "#look-up .title", /^The app’s answer: 200 stored/);
  await close(page);
});

test("what is no URL is told, in the sidecar's words", async () => {
  const page = await open(browser, stack.admin);
  await lookUp(page, "/cached_products");
  await shows(page, "#look-up .error", "names no host");
  await isAccessible(page, "a look-up that failed");
  await close(page);
});
