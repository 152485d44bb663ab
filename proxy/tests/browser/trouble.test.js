// What somebody on call comes for: an edit that was refused, a Redis that is down, a token.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { close, fits, isAccessible, launch, NARROW, open, shows } from "./browser.js";
import { RULES, Stack } from "./stack.js";

const TOKEN = "correct-horse-battery";

let stack, browser;
before(async () => [stack, browser] = await Promise.all([Stack.start({ token: TOKEN, redis: true }), launch()]));
after(() => Promise.all([browser?.close(), stack?.stop()]));

async function enter(page, token) {
  await page.getByLabel("Token", { exact: true }).fill(token);
  await page.getByRole("button", { name: "Continue" }).click();
}

async function openWithToken(options) {
  const page = await open(browser, stack.admin, options);
  await enter(page, TOKEN);
  await shows(page, "#pulse", "live");
  return page;
}

test("the token is asked for, and only the right one shows anything", async () => {
  const page = await open(browser, stack.admin);
  await shows(page, "#token", "The admin token");
  assert.equal(await page.locator("#dashboard").isVisible(), false);
  await isAccessible(page, "a token is wanted");
  await enter(page, "wrong-horse-battery!");
  await shows(page, "#token", "This is not the token of this sidecar.");
  assert.equal(await page.locator("#dashboard").isVisible(), false);
  await isAccessible(page, "a wrong token");
  await enter(page, "für-elise");
  await shows(page, "#token", "visible ASCII characters");
  await enter(page, TOKEN);
  await shows(page, "#state", "Ready");
  await page.reload();
  await shows(page, "#state", "Ready");
  const kept = await page.evaluate(() =>
    [location.href, document.cookie, localStorage.length, sessionStorage.length]);
  assert.deepEqual(kept, [`${stack.admin}/`, "", 0, 1]);
  await page.getByRole("button", { name: "Forget the token" }).click();
  await shows(page, "#token", "The admin token");
  assert.equal(await page.evaluate(() => sessionStorage.length), 0);
  await close(page);
});

test("an edit that is refused is shown with its error, until it is mended", async () => {
  const page = await openWithToken({ viewport: NARROW });
  await stack.edit(RULES.replace("cache: 60s", "cache: 60"));
  await shows(page, "#state", "was refused");
  await shows(page, "#state pre", /60/);
  await shows(page, "#configuration", "refused at");
  await shows(page, "#rules tbody tr", /^\/products\/\*60s/);
  await isAccessible(page, "an edit is refused");
  await fits(page, "an edit is refused");
  await stack.edit(RULES.replace("cache: 60s", "cache: 90s"));
  await shows(page, "#rules tbody tr", /^\/products\/\*90s/);
  await shows(page, "#configuration", "applied at");
  assert.equal(await page.locator("#state").getByText("was refused").count(), 0);
  await close(page);
});

for (const colorScheme of ["light", "dark"]) {
  test(`Redis is down, in ${colorScheme}: it is said so, and so is its return`, async () => {
    const page = await openWithToken({ colorScheme });
    await shows(page, "#state", "Ready");
    await stack.killRedis();
    await shows(page, "#state", /Degraded.*while Redis is away/);
    await shows(page, "#parts div", /^Redisdown/);
    assert.match(await page.title(), /^Degraded/);
    await isAccessible(page, `Redis is down, ${colorScheme}`);

    await page.getByRole("radio", { name: "A tag" }).check();
    await page.getByLabel("Tag, as the app").fill("products");
    await page.getByRole("button", { name: "Purge…", exact: true }).click();
    await page.getByRole("dialog").getByRole("button", { name: "Purge" }).click();
    await shows(page, "#purge .outcome", "Not everywhere: purged on this sidecar alone");
    await isAccessible(page, `a purge without Redis, ${colorScheme}`);

    await stack.startRedis();
    await shows(page, "#state", "Ready");
    await shows(page, "#parts div", /^Redisup/);
    await page.getByRole("button", { name: "Ask again" }).click();
    await shows(page, "#purge .outcome", "is gone on every live sidecar");
    await close(page);
  });
}

for (const colorScheme of ["light", "dark"]) {
  test(`the app is down, in ${colorScheme}: it is said so, and so is its return`, async () => {
    const page = await openWithToken({ colorScheme, viewport: NARROW });
    await stack.killShop();
    for (let n = 0; n < 20; n++) await stack.get("/products");
    await shows(page, "#state", /The app gives no answer.*\d of \d+ requests? failed in the last minute/);
    assert.equal(await page.locator("#state").getByText("Ready").count(), 0);
    assert.match(await page.title(), /^The app gives no answer/);
    await shows(page, "#rules tbody tr", /^\/productsoff.*origin-failed \d/);
    await isAccessible(page, `the app is down, ${colorScheme}`);
    await fits(page, "the app is down");

    await stack.startShop();
    await stack.get("/products");
    await shows(page, "#state .warn", "Requests failed");
    await isAccessible(page, `the app is back, ${colorScheme}`);
    await close(page);
  });
}
