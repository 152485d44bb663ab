// The strokes of a plot over time: its axes, an area, a line.

import { drawn } from "./page.js";
import { minutes } from "./scales.js";
import { clock } from "./words.js";

const HEIGHT = 200;
const EDGE = { left: 52, right: 20, top: 8, bottom: 24 };
/** Milliseconds that the axis of time shows at least. */
const SPAN = 120_000;
/** Room that the name of a minute needs. */
const TICK_WIDTH = 90;

/** Where things go in a drawing of this width, with values over these times (in milliseconds). */
export function frame(width, times) {
  const to = times.at(-1) ?? Date.now();
  const from = Math.min(times[0] ?? to, to - SPAN);
  const right = width - EDGE.right;
  const across = time => EDGE.left + (right - EDGE.left) * (time - from) / (to - from);
  return { width, right, from, to, across, depth: HEIGHT - EDGE.top - EDGE.bottom };
}

export function picture({ width }, label, strokes) {
  const size = { viewBox: `0 0 ${width} ${HEIGHT}`, width, height: HEIGHT };
  return drawn("svg", { ...size, role: "img", "aria-label": label }, ...strokes);
}

/** A line at each of the scale's values, and the time in minutes. */
export function axes(frame, scale, name) {
  const levels = scale.ticks.flatMap(value => {
    const y = EDGE.top + scale.place(value);
    return [
      drawn("line", { class: "grid", x1: EDGE.left, x2: frame.right, y1: y, y2: y }),
      drawn("text", { x: EDGE.left - 8, y: y + 4, "text-anchor": "end" }, name(value)),
    ];
  });
  const most = Math.max(2, Math.floor((frame.right - EDGE.left) / TICK_WIDTH));
  const times = minutes(frame.from, frame.to, most).map(time => {
    const place = { x: frame.across(time), y: HEIGHT - 6, "text-anchor": "middle" };
    return drawn("text", place, clock(time).slice(0, 5));
  });
  return [...levels, ...times];
}

/** What lies between two rows of values. */
export function area(kind, frame, scale, times, upper, lower) {
  const at = (value, n) => place(frame, scale, times[n], value).join(",");
  const outline = [...upper.map(at), ...lower.map(at).reverse()];
  return drawn("polygon", { class: `area ${kind}`, points: outline.join(" ") });
}

/** A line that is broken where there was nothing. A moment by itself is a dash. */
export function curve(kind, frame, scale, times, values) {
  const steps = values.map((value, n) => {
    if (value === null) return "";
    const to = place(frame, scale, times[n], value).join(" ");
    const [before, after] = [values[n - 1] ?? null, values[n + 1] ?? null];
    if (before !== null) return `L${to}`;
    return after === null ? `M${to}m-2 0h4` : `M${to}`;
  });
  return drawn("path", { class: `curve ${kind}`, d: steps.join("") });
}

/** The moment that is read out. */
export function cursor(frame, time) {
  const x = frame.across(time);
  return drawn("line", { class: "cursor", x1: x, x2: x, y1: EDGE.top, y2: HEIGHT - EDGE.bottom });
}

function place(frame, scale, time, value) {
  return [frame.across(time).toFixed(1), (EDGE.top + scale.place(value)).toFixed(1)];
}
