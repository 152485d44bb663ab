// The big numbers, and the parts that the sidecar stands on.

import { byId, element, list, refill } from "./page.js";
import { bytes, clock, count, counted, duration, milliseconds, percent, short } from "./words.js";

/** Steps of the window that "now" means: a minute. */
const NOW = 12;

const sum = (points, field) => points.reduce((all, point) => all + point[field], 0);

/** How much, how well, how fast. */
export function showNumbers({ window: { step_seconds: step, points }, totals }) {
  const recent = points.slice(-NOW);
  const rate = recent.length === 0 ? 0 : sum(recent, "requests") / (recent.length * step);
  const lately = `last ${duration(Math.max(1, points.length) * step)}`;
  const ever = text => `${text} since the start`;
  const ratio = percent(sum(points, "hits"), sum(points, "requests"));
  const saved = sum(points, "origin_saved_seconds");
  list(byId("numbers"), [
    ["Hit ratio", ratio, lately, ever(percent(totals.hits, totals.requests))],
    ["Requests a second", short(rate), "last minute", ever(count(totals.requests))],
    ["A hit takes", ...latency(points, "hit_ms")],
    ["The app takes", ...latency(points, "forwarded_ms")],
    ["Origin time saved", duration(saved), lately, ever(duration(totals.origin_saved_seconds))],
    ["Errors", count(sum(points, "errors")), lately, ever(count(totals.errors))],
  ]);
}

/** Of the last step in which there was any. */
function latency(points, field) {
  const last = points.findLast(point => point[field] !== null);
  if (last === undefined) return [milliseconds(null), "none yet"];
  const { p50, p99 } = last[field];
  return [milliseconds(p50), `p50; the p99 is ${milliseconds(p99)}`, `at ${clock(last.at)}`];
}

/** Where responses are kept, and the app. */
export function showParts({ store: { memory, redis }, upstream: { busy, idle, queued } }) {
  const parts = [
    memoryPart(memory),
    redis === null ? { name: "Redis", says: ["not used", "responses are in memory alone"] } : redisPart(redis),
    {
      name: "Connections to the app",
      says: [`${count(busy)} busy`, `${count(idle)} idle; ${counted(queued, "request")} waiting for one`],
    },
  ];
  refill(byId("parts"), parts, () => parts.map(({ name, level = "", says }) =>
    element("div", { class: level }, element("dt", {}, name), ...says.map(text => element("dd", {}, text)))));
}

function memoryPart({ resources, bytes: used, budget_bytes: budget }) {
  const says = budget === 0 ? ["not used"] : [`${bytes(used)} of ${bytes(budget)}`, counted(resources, "resource")];
  return { name: "Memory", says };
}

function redisPart({ up, tracked, breaker, hits, misses, errors, timeouts, dropped_writes: dropped }) {
  const open = Object.keys(breaker).filter(which => breaker[which] !== "closed");
  const told = tracked ? "tells what changes" : "does not tell what changes";
  const state = open.length === 0 ? "closed" : `open for ${open.map(which => `${which}s`).join(" and ")}`;
  const troubles = [counted(errors, "error"), counted(timeouts, "timeout"), `${counted(dropped, "write")} dropped`];
  return {
    name: "Redis",
    level: up && open.length === 0 ? "" : "bad",
    says: [
      up ? "up" : "down",
      // Of one that is down, it is no news whether it is spared.
      up ? `${told}; breaker ${state}` : told,
      `${percent(hits, hits + misses)} of ${counted(hits + misses, "look-up")} found`,
      troubles.join(", "),
    ],
  };
}
