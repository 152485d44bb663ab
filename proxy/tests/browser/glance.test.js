// What is seen at a glance, and that it is alive.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { close, fits, isAccessible, launch, NARROW, open, shows } from "./browser.js";
import { RULES, Stack } from "./stack.js";

let stack, browser;
before(async () => [stack, browser] = await Promise.all([Stack.start(), launch()]));
after(() => Promise.all([browser?.close(), stack?.stop()]));

test("the numbers move with the traffic", async () => {
  const page = await open(browser, stack.admin);
  await shows(page, "#state", "Ready");
  await shows(page, "#numbers div", /^Hit ratio–/);
  for (let n = 0; n < 10; n++) await stack.get("/cached_products");
  await stack.get("/products");
  await stack.get("/cached_products", { cookie: "session=1" });

  // Nine hits of twelve, as soon as the step of five seconds is over.
  await shows(page, "#numbers div", /^Hit ratio75\.0 %/);
  await shows(page, "#numbers div", /12 since the start/);
  await shows(page, "#numbers div", /^A hit takes\d.* ms/);
  await shows(page, "#numbers div", /^The app takes\d.* ms/);
  await shows(page, "#numbers div", /^Origin time saved\d/);
  await shows(page, "#parts div", /^Redisnot used/);
  await shows(page, "#parts div", /^Memory.* of 8\.00 MiB/);

  await shows(page, "#rules tbody tr", /^\/cached_products300s1181\.8 %211; 81\.8 %\S+ m?s savedhit \S+ ms; \S+ msapp \S+ ms; \S+ ms.*cookie 1/);
  await shows(page, "#rules tbody tr", /^\/productsoff10 %11; 0 %0 s savedapp \S+ ms; \S+ ms.*rule-off 1/);
  await shows(page, "#hottest tbody tr", /\/cached_products\/cached_products11/);
  await shows(page, "#misses tbody tr", /\/products1bypass rule-off/);
  await close(page);
});

test("a plot is there for the eye, for the pointer, and as a table", async () => {
  const page = await open(browser, stack.admin);
  await stack.get("/cached_products");
  const plot = page.locator("#requests-plot");
  await shows(page, "#requests-plot .when", /^at \d\d:\d\d:\d\d$/);
  assert.match(await plot.locator("svg").getAttribute("aria-label"), /hits [\d.]+; sent to the app [\d.]+;/);
  const before = await plot.locator(".when").textContent();
  await plot.locator(".drawing").hover({ position: { x: 60, y: 60 } });
  assert.equal(await plot.locator(".cursor").count(), 1);
  await page.mouse.move(0, 0);
  await plot.locator(".cursor").waitFor({ state: "detached" });
  await plot.getByText("As a table").click();
  await plot.locator("tbody tr").first().waitFor();
  assert.match(before, /^at/);
  await isAccessible(page, "with a table open");
  await close(page);
});

test("a tab that nobody sees asks nothing, and goes on when it is seen", async () => {
  const page = await open(browser, stack.admin);
  await page.clock.install();
  await page.reload();
  await shows(page, "#pulse", "live");
  let asked = 0;
  page.on("request", () => asked++);
  const see = hidden => page.evaluate(hidden => {
    Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
    document.dispatchEvent(new Event("visibilitychange"));
  }, hidden);
  await see(true);
  await page.waitForLoadState("networkidle");
  const until = asked;
  const pulse = await page.locator("#pulse").textContent();
  await page.clock.runFor(60_000);
  assert.equal(asked, until);
  await see(false);
  await page.waitForFunction(pulse => document.getElementById("pulse").textContent !== pulse, pulse);
  await close(page);
});

for (const colorScheme of ["light", "dark"]) {
  test(`in ${colorScheme}, wide and narrow, nothing is amiss`, async () => {
    for (const viewport of [undefined, { width: 1180, height: 800 }, { width: 1024, height: 700 }, { width: 720, height: 900 }, NARROW]) {
      const page = await open(browser, stack.admin, { colorScheme, viewport });
      await shows(page, "#rules tbody tr", "/cached_products");
      await isAccessible(page, `${colorScheme} at ${page.viewportSize().width}`);
      await fits(page, colorScheme);
      await close(page);
    }
  });
}

test("light and dark differ, and both are as the system says", async () => {
  const ground = async colorScheme => {
    const page = await open(browser, stack.admin, { colorScheme });
    const colour = await page.evaluate(() => getComputedStyle(document.body).backgroundColor);
    await close(page);
    return colour.match(/\d+/g).reduce((sum, part) => sum + Number(part), 0);
  };
  assert(await ground("light") > 600);
  assert(await ground("dark") < 120);
});

test("the sidecar's end is told, and its own words are text", async () => {
  const page = await open(browser, stack.admin);
  await shows(page, "#state", "Ready");
  await stack.get("/cached_products?<img src=x onerror=alert(1)>");
  await shows(page, "#hottest tbody tr", "?…");
  assert.equal(await page.locator("img").count(), 0);
  await page.route("**/stats", route => route.abort());
  await shows(page, "#state", /No answer since \d\d:\d\d:\d\d UTC/);
  assert.match(await page.title(), /^No answer since/);
  await isAccessible(page, "without an answer");
  await page.unroute("**/stats");
  await shows(page, "#state", "Ready");
  await close(page);
});

test("of many rules, those without a request are folded, and one in shadow says that it is", async () => {
  const page = await open(browser, stack.admin);
  await stack.get("/cached_products");
  const more = Array.from({ length: 30 }, (_, n) => `  - match: /more/${n}\n    cache: { ttl: 60s, shadow: true }\n`);
  await stack.edit(RULES + more.join(""));
  await shows(page, "#rules summary", /^3\d rules without a request since the start$/);
  await shows(page, "#rules > .table tbody tr", "/cached_products");
  await stack.get("/more/7");
  await shows(page, "#rules > .table tbody tr", /^\/more\/760s, in shadow/);
  await page.locator("#rules summary").click();
  await page.locator("#rules .unused tbody tr", { hasText: "/more/8" }).waitFor();
  await isAccessible(page, "with rules unfolded");
  await fits(page, "with rules unfolded");
  await stack.edit(RULES);
  await page.locator("#rules .unused").waitFor({ state: "hidden" });
  await close(page);
});
