// Writes docs/dashboard.png and docs/dashboard-dark.png: the dashboard after some minutes of a shop's day.

import { once } from "node:events";
import { mkdirSync } from "node:fs";
import { request } from "node:http";
import { join, resolve } from "node:path";
import { setTimeout } from "node:timers/promises";
import { launch, open, shows } from "./browser.js";
import { Stack } from "./stack.js";

const DOCS = resolve(import.meta.dirname, "../../../docs");
const MINUTES = 6;

let isOver = false;
const stack = await Stack.start({ redis: true, delay: "180ms" });
const browser = await launch();
try {
  await Promise.all([traffic(), pictures()]);
} finally {
  await browser.close();
  await stack.stop();
}

async function pictures() {
  try {
    mkdirSync(DOCS, { recursive: true });
    await setTimeout(MINUTES * 60_000);
    for (const [colorScheme, name] of [["light", "dashboard.png"], ["dark", "dashboard-dark.png"]]) {
      const page = await open(browser, stack.admin, { colorScheme, viewport: { width: 1200, height: 1050 } });
      await shows(page, "#rules tbody tr", "/cached_products");
      await page.screenshot({ path: join(DOCS, name) });
    }
  } finally {
    isOver = true;
  }
}

/** Mostly lists and products that are stored, at times more of them, and some of what cannot be. */
async function traffic() {
  for (let n = 0; !isOver; n++) {
    const wave = Math.sin(Date.now() / 25_000) + Math.sin(Date.now() / 70_000) / 2;
    await Promise.all([
      get("/cached_products"),
      get(`/products/${n % 12 + 1}`),
      n % 9 === 0 && get("/products"),
      n % 60 === 0 && get("/cached_products", { cookie: "session=1" }),
      n % 90 === 0 && get("/about"),
      setTimeout(60 + 30 * wave),
    ]);
  }
}

/** As a client of the shop asks, by its name. */
async function get(path, headers = {}) {
  const asked = request(stack.data + path, { headers: { ...headers, host: "shop.example" } }).end();
  const [response] = await once(asked, "response");
  await response.resume().toArray();
}
