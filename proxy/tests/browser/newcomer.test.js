// Who has nothing but the README: an app with the proxy in front, a page that is no hit, the reason why, the rule put
// right while it runs, a purge from the dashboard, and all of it in Prometheus.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { close, launch, open, shows } from "./browser.js";
import { RULES, Stack, until } from "./stack.js";

let stack, browser;
before(async () => [stack, browser] = await Promise.all([Stack.start(), launch()]));
after(() => Promise.all([browser?.close(), stack?.stop()]));

/** Until a page is answered so. */
const becomes = (path, said) => until(path, async tell => said.test(tell(await stack.get(path))));

test("from the first request to the graph", async () => {
  await stack.startPrometheus();
  for (let time = 0; time < 2; time++) assert.equal(await stack.get("/products"), "fwd=bypass; detail=rule-off");

  const why = await stack.command("explain", `${stack.data}/products`);
  assert.match(why, /rule-off/);
  assert.match(why, /the rule that matches says `cache: off`/);
  assert.match(why, /put the rule you meant before it/);

  await stack.edit(RULES.replace("- match: /products\n    cache: off", "- match: /products\n    cache: 60s"));
  await becomes("/products", /^hit; ttl=/);
  assert.match(await stack.command("explain", `${stack.data}/products`), /answered from the cache/);

  const page = await open(browser, stack.admin);
  await page.getByLabel("URL, with all its variants").fill(`${stack.data}/products`);
  await page.getByRole("button", { name: "Purge…", exact: true }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Purge" }).click();
  await shows(page, "#purge .outcome", "is gone on every live sidecar (1)");
  await close(page);
  assert.match(await stack.get("/products"), /^fwd=uri-miss; stored/);
  await becomes("/products", /^hit; ttl=/);

  const purged = 'sidecache_invalidations_total{cause="purge",of="url"}';
  await until(purged, async tell => tell(await stack.measured(purged)) === 1);
  const hits = 'sum(sidecache_requests_total{rule="/products",outcome="hit"})';
  await until(hits, async tell => tell(await stack.measured(hits)) >= 2);
});
