// What the rules do, and which URLs are asked for most. On a narrow screen a row is a block of names and
// values; the roles are said again because such a layout would take them away.

import { lookUp } from "./lookup.js";
import { byId, drawn, element, refill, within, write } from "./page.js";
import { openPurge } from "./purge.js";
import { bytes, count, counted, duration, inShadow, isWhole, milliseconds, moment, percent } from "./words.js";

const NO_RULE = "no rule matches";
/** URLs of each list that are shown. */
const URLS = 10;
/** Rules from which on those without a request are folded away. */
const MANY = 20;
/** Reasons named for a rule; the rest are in the metrics. */
const REASONS = 4;

/** The rules in their order, with what became of their requests. */
export function showRules(rules) {
  const shadow = rules.some(inShadow);
  const columns = [
    column("Rule", rule => ruleName(rule.name)),
    column("Cache", rule => rule.cache),
    number("Requests", rule => count(rule.recent.requests)),
    column("Hit ratio", rule => ratio(rule.recent.hits, rule.recent.requests)),
    number("To the app", rule => count(rule.recent.forwarded)),
    number("Since the start", sinceStart),
    ...(shadow ? [number("Would be hits", rule => percent(rule.would_hit, inShadow(rule) ? rule.requests : 0))] : []),
    number("Takes; p99", latencies),
    number("Bytes", rule => bytes(rule.bytes)),
    column("Why not a hit", rule => reasons(rule.details)),
    column("Action", rule => rule.name === null ? "" : purgeButton(rule.name)),
  ];
  const unused = rules.length > MANY ? rules.filter(rule => rule.requests === 0) : [];
  table(within("rules", ".table"), "Rules", columns, rules.filter(rule => !unused.includes(rule)));
  const folded = within("rules", ".unused");
  folded.hidden = unused.length === 0;
  write(folded.querySelector("summary"), `${counted(unused.length, "rule")} without a request since the start`);
  table(folded.querySelector(".table"), "Rules without a request", columns, unused);
}

const HOTTEST = [
  column("URL, and its rule", each => resource(each, "hot")),
  number("Requests", each => count(each.requests)),
  column("Hit ratio", each => ratio(each.hits, each.requests)),
];

const MISSES = [
  column("URL, and its rule", each => resource(each, "miss")),
  number("To the app", each => count(each.forwarded)),
  column("The last time, because", each => words(each.outcome, each.detail)),
];

/** What is asked for most, and what is sent to the app most. */
export function showResources({ since, hottest, misses }) {
  const hint = `Since ${moment(since)}. Of a query only that there is one.`;
  for (const place of ["hottest", "misses"]) write(within(place, ".hint"), hint);
  table(within("hottest", ".table"), "URLs asked for most", HOTTEST, hottest.slice(0, URLS));
  table(within("misses", ".table"), "URLs sent to the app most", MISSES, misses.slice(0, URLS));
}

function column(name, show) {
  return { name, show, kind: "" };
}

function number(name, show) {
  return { name, show, kind: "number" };
}

const ruleName = name => name ?? element("i", {}, NO_RULE);

const code = word => element("code", {}, word);

const words = (...all) => element("span", {}, ...all.filter(Boolean).flatMap(word => [code(word), " "]));

/** A URL that leads to what is known of it, if all of it is there, and the rule that it falls under. */
function resource({ url, headers, rule }, list) {
  const key = [list, url, ...headers.flat()].join(" ");
  const link = isWhole(url) ? button("link", key, `Look up ${url}`, () => lookUp({ url, headers }), url) : url;
  return element("span", { class: "resource" }, link, element("i", {}, rule ?? NO_RULE));
}

function purgeButton(rule) {
  return button("quiet", `purge ${rule}`, `Purge rule ${rule}`, () => openPurge("rule", rule), "Purge…");
}

function button(kind, key, label, click, text) {
  return element("button", { class: kind, "data-key": key, "aria-label": label, click }, text);
}

function ratio(hits, requests) {
  const share = requests ? 100 * hits / requests : 0;
  const bar = drawn("svg", { class: "bar", viewBox: "0 0 100 6", preserveAspectRatio: "none", "aria-hidden": "true" },
    drawn("rect", { class: "rest", width: 100, height: 6 }),
    drawn("rect", { class: "hit", width: share, height: 6 }));
  return element("span", { class: "ratio" }, bar, percent(hits, requests));
}

const lines = (...texts) => element("span", { class: "lines" }, ...texts.map(text => element("span", {}, text)));

/** How many, the share of hits, and the origin's time that those saved. */
function sinceStart({ requests, hits, origin_saved_seconds: saved }) {
  return lines(`${count(requests)}; ${percent(hits, requests)}`, `${duration(saved)} saved`);
}

/** What half of the requests took at most, and 99 of 100. */
function latencies({ hit_ms: hit, forwarded_ms: app }) {
  const took = Object.entries({ hit, app }).filter(([, ms]) => ms !== null);
  return took.length === 0 ? "" :
    lines(...took.map(([who, { p50, p99 }]) => `${who} ${milliseconds(p50)}; ${milliseconds(p99)}`));
}

function reasons(details) {
  const most = Object.entries(details).filter(([, times]) => times > 0).sort(([, a], [, b]) => b - a);
  const named = most.slice(0, REASONS).map(([word, times]) => element("span", {}, code(word), ` ${count(times)}`));
  const more = most.length - REASONS;
  return element("span", { class: "reasons" }, ...named, more > 0 ? `and ${more} more` : null);
}

/** The first cell of a row names it. */
function table(place, title, columns, rows) {
  const names = columns.map(({ name }) => name);
  refill(place, [names, rows], () => {
    if (rows.length === 0) return [element("p", { class: "hint" }, "None yet.")];
    const heads = columns.map(({ name, kind }) =>
      element("th", { role: "columnheader", scope: "col", class: kind }, name));
    return [element("table", { role: "table", "aria-label": title },
      element("thead", { role: "rowgroup" }, element("tr", { role: "row" }, ...heads)),
      element("tbody", { role: "rowgroup" }, ...rows.map(row => line(columns, row))))];
  });
}

function line([first, ...others], row) {
  const cells = others.map(({ name, kind, show }) =>
    element("td", { role: "cell", class: kind, "data-name": name }, show(row)));
  const head = element("th", { role: "rowheader", scope: "row" }, first.show(row));
  return element("tr", { role: "row" }, head, ...cells);
}
