// What the sidecar knows of a URL, and what it would do with a request for it.

import { NoAnswer, Refused, TokenNeeded, send } from "./api.js";
import { byId, element, list, prose, within, write } from "./page.js";
import { openPurge } from "./purge.js";
import { bytes, counted, duration, inShadow, moment } from "./words.js";

/** How a URL is shown of which a query is not kept. */
const HIDDEN_QUERY = "?…";
const QUERY_HINT = "It was asked for with a query, which is not kept: add it to the URL to see that one.";
/** What an explanation advises where all is as it should be. */
const NOTHING_TO_DO = "nothing";

export function setUpLookUp() {
  within("look-up", "form").addEventListener("submit", event => {
    event.preventDefault();
    ask();
  });
}

/** Fills the form with a URL and what a trusted proxy says of it, and asks. */
export function lookUp({ url, headers: said }) {
  byId("look-up-method").value = "GET";
  byId("look-up-url").value = url.endsWith(HIDDEN_QUERY) ? url.slice(0, -HIDDEN_QUERY.length) : url;
  byId("look-up-headers").value = said.map(field => field.join(": ")).join("\n");
  byId("look-up-origin").checked = false;
  byId("look-up").scrollIntoView();
  ask(url.endsWith(HIDDEN_QUERY) ? QUERY_HINT : null);
}

async function ask(hint = null) {
  const place = within("look-up", ".answer");
  const say = text => write(within("look-up", ".error"), text);
  const body = {
    method: byId("look-up-method").value,
    url: byId("look-up-url").value.trim(),
    headers: headers(byId("look-up-headers").value),
    ask_origin: byId("look-up-origin").checked,
  };
  place.setAttribute("aria-busy", "true");
  try {
    const { value } = await send("explain", body);
    say("");
    place.replaceChildren(...answer(value, hint));
    place.hidden = false;
    place.focus({ preventScroll: true });
  } catch (error) {
    place.hidden = true;
    if (error instanceof NoAnswer) say("The sidecar does not answer.");
    else if (error instanceof TokenNeeded) say("The token is not taken any more.");
    else if (error instanceof Refused) say(error.message);
    else throw error;
  } finally {
    place.removeAttribute("aria-busy");
  }
}

/** Lines of `Name: value`. What is none goes to the sidecar as it is, which says what is wrong. */
function headers(text) {
  const lines = text.split("\n").filter(line => line.trim() !== "");
  return lines.map(line => {
    const [name, ...value] = line.split(":");
    return [name.trim(), value.join(":").trim()];
  });
}

function answer(value, hint) {
  const { decision, origin, last } = value;
  const facts = element("dl", { class: "facts" });
  list(facts, factsOf(value));
  return [
    element("h3", {}, `${value.method} ${value.url}`),
    hint === null ? null : element("p", { class: "hint" }, hint),
    verdict("Now", [decision.outcome, decision.detail], decision),
    origin && verdict("The app’s answer", [origin.status, origin.would_store ? "stored" : origin.detail], origin),
    last && verdict(`At ${moment(last.at)}`, [last.status, last.outcome, last.detail], last),
    facts,
    element("button", { click: () => openPurge("url", value.url) }, "Purge this URL…"),
  ].filter(Boolean);
}

function verdict(title, words, { summary, because, action }) {
  const named = words.filter(Boolean).flatMap(word => [element("code", {}, word), " "]);
  return element("div", { class: "verdict" },
    element("p", { class: "title" }, `${title}: `, ...named),
    element("p", { class: "summary" }, ...prose(summary)),
    because ? element("p", {}, ...prose(because)) : null,
    action && action !== NOTHING_TO_DO ? element("p", {}, element("b", {}, "What to do: "), ...prose(action)) : null);
}

function factsOf({ rule, passed_over: passedOver, key, stored, elsewhere }) {
  return [
    ["Rule", ...(rule === null ? ["none matches"] : [`${rule.name}: ${rule.cache}`, ...rule.says])],
    ...(passedOver.length === 0 ? [] : [["Passed over", ...passedOver.map(({ name, why }) => `${name}: ${why}`)]]),
    ...(key === null ? [] : [["Key", key.resource, ...key.headers.map(field => field.join(": "))], ["Selected by", key.selected_by.join(", ") || "the URL alone"]]),
    ...(elsewhere.length === 0 ? [] : [["Asked for with", `${elsewhere.join(" or ")}: write the URL with that host`]]),
    ...(stored === null ? [["Stored", "nothing"]] : storedFacts(stored, rule)),
  ];
}

function storedFacts(stored, rule) {
  const { left_seconds: left, lifetime_seconds: lifetime, age_seconds: age, other_variants: others } = stored;
  const standing = left === null ? "nobody says for how long it is fresh"
    : left >= 0 ? `fresh for ${duration(left)} more` : `stale for ${duration(-left)}`;
  const where = stored.tier === "arriving" ? "on its way into the store" : `in ${stored.tier}`;
  // Of what a rule in shadow would store only the head is kept.
  const size = stored.body_bytes === 0 && rule !== null && inShadow(rule) ? "head only" : bytes(stored.body_bytes);
  return [
    ["Stored", `status ${stored.status}, ${size}, ${where}`,
      ...(others ? [`and ${counted(others, "other variant")}`] : [])],
    ["Age", `${duration(age)}${lifetime === null ? "" : ` of ${duration(lifetime)}`}; ${standing}`],
    ["Tags", stored.tags.join(", ") || "none"],
  ];
}
