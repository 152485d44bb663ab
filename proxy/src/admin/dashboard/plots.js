// The two plots: what was asked, and how long it took. Each is drawn for the width that it has, reads
// out a moment under the pointer, and is there as a table.

import { byId, element, refill, write } from "./page.js";
import { linear, logarithmic } from "./scales.js";
import { area, axes, cursor, curve, frame, picture } from "./strokes.js";
import { clock, counted, milliseconds, plain, short } from "./words.js";

const PLOTS = {
  "requests-plot": {
    title: "Requests a second",
    table: "Requests, as a table",
    lines: [
      { name: "hits", kind: "hit", of: (point, step) => point.hits / step },
      { name: "sent to the app", kind: "forwarded", of: (point, step) => point.forwarded / step },
      { name: "answered by the proxy itself", kind: "own", of: (point, step) => point.own / step },
    ],
    stacked: true,
    show: short,
    name: plain,
    scale: (stacks, height) => linear(Math.max(0, ...stacks.flat()), height),
  },
  "latency-plot": {
    title: "Time to answer, with and without the cache",
    table: "Times, as a table",
    lines: [
      { name: "from the cache, p50", kind: "hit", of: point => point.hit_ms?.p50 ?? null },
      { name: "from the cache, p99", kind: "hit thin", of: point => point.hit_ms?.p99 ?? null },
      { name: "from the app, p50", kind: "forwarded", of: point => point.forwarded_ms?.p50 ?? null },
      { name: "from the app, p99", kind: "forwarded thin", of: point => point.forwarded_ms?.p99 ?? null },
    ],
    stacked: false,
    show: milliseconds,
    name: value => milliseconds(value, plain),
    scale: (series, height) => logarithmic(series.flat().filter(value => value !== null), height),
  },
};

/** The last minutes, and the moment under the pointer, if any. */
let shown = { step: 5, points: [], times: [] };
let pointed = null;

/** Puts them in their place, and has them drawn anew when there is another width to draw for, or another moment to read
    out. */
export function setUpPlots() {
  const sizes = new ResizeObserver(draw);
  for (const id of Object.keys(PLOTS)) {
    byId("plots").append(emptyPlot(id));
    const place = byId(id).querySelector(".drawing");
    sizes.observe(place);
    place.addEventListener("pointermove", event => point(place, event.clientX));
    place.addEventListener("pointerleave", () => point(place, null));
    byId(id).querySelector("details").addEventListener("toggle", () => tabulate(id));
  }
}

function emptyPlot(id) {
  const figure = byId("plot").content.firstElementChild.cloneNode(true);
  const heading = figure.querySelector("h3");
  figure.id = id;
  heading.id = `${id}-title`;
  heading.textContent = PLOTS[id].title;
  figure.setAttribute("aria-labelledby", heading.id);
  figure.querySelector(".scroll").setAttribute("aria-label", PLOTS[id].table);
  return figure;
}

/** The last minutes, as `/stats` has them. */
export function showPlots({ step_seconds: step, points }) {
  shown = { step, points, times: points.map(({ at }) => Date.parse(at)) };
  draw();
}

function draw() {
  for (const id of Object.keys(PLOTS)) {
    drawOne(id);
    tabulate(id);
  }
}

function point(place, x) {
  const { across } = frame(place.clientWidth, shown.times);
  const left = place.getBoundingClientRect().left;
  const distance = time => Math.abs(across(time) - (x - left));
  const nearest = (best, time) => distance(time) < distance(best) ? time : best;
  pointed = x === null || shown.times.length === 0 ? null : shown.times.reduce(nearest);
  draw();
}

function drawOne(id) {
  const { lines, stacked, show, name: tick, scale: scaleFor } = PLOTS[id];
  const { points, times, step } = shown;
  const place = byId(id).querySelector(".drawing");
  const room = frame(place.clientWidth, times);
  const values = lines.map(line => points.map(each => line.of(each, step)));
  const series = stacked ? stack(values) : values;
  const scale = scaleFor(series, room.depth);
  const ground = points.map(() => 0);
  const marks = lines.map(({ kind }, n) => stacked
    ? area(kind, room, scale, times, series[n], series[n - 1] ?? ground)
    : curve(kind, room, scale, times, series[n]));
  const at = pointed === null ? times.length - 1 : times.indexOf(pointed);
  const reading = lines.map(({ kind, name }, n) => ({ kind, name, value: at < 0 ? "–" : show(values[n][at]) }));
  const label = `${reading.map(({ name, value }) => `${name} ${value}`).join("; ")}. The table below has all.`;
  const pointer = pointed !== null && at >= 0 ? [cursor(room, pointed)] : [];
  place.replaceChildren(picture(room, label, [...axes(room, scale, tick), ...marks.reverse(), ...pointer]));
  readOut(byId(id), reading, at < 0 ? "nothing yet" : `at ${clock(times[at])}`);
}

/** Each row of values upon those before it. */
function stack(rows) {
  return rows.map((row, last) => row.map((_, n) => rows.slice(0, last + 1).reduce((sum, each) => sum + each[n], 0)));
}

function readOut(figure, reading, when) {
  write(figure.querySelector(".when"), when);
  refill(figure.querySelector(".reading"), reading, () => reading.map(({ kind, name, value }) =>
    element("span", {}, element("span", { class: `swatch ${kind}` }), `${name} `, element("b", {}, value))));
}

/** The newest first; made only for who has opened it. */
function tabulate(id) {
  const details = byId(id).querySelector("details");
  if (!details.open) return;
  const { lines, show } = PLOTS[id];
  const { points, step } = shown;
  const names = ["Time", ...lines.map(line => line.name)];
  const rows = points.toReversed().map(each => [clock(each.at), ...lines.map(line => show(line.of(each, step)))]);
  refill(details.querySelector(".scroll"), rows, () => [element("table", {},
    element("caption", { class: "unseen" }, `${counted(rows.length, "step")} of ${step} seconds, the newest first`),
    element("thead", {}, element("tr", {}, ...names.map(text => element("th", { scope: "col" }, text)))),
    element("tbody", {}, ...rows.map(([time, ...cells]) => element("tr", {},
      element("th", { scope: "row" }, time), ...cells.map(text => element("td", {}, text)))))) ]);
}
