// Makes every sidecar forget something, after a second look at what that is.

import { NoAnswer, Refused, TokenNeeded, send } from "./api.js";
import { byId, element, prose, refill, within } from "./page.js";
import { count, milliseconds } from "./words.js";

/** What can be named: the body that names it, and what goes with it. */
const KINDS = {
  url: {
    body: value => ({ urls: [value] }),
    title: "this URL?",
    text: "All its variants, for http and https.",
  },
  tag: {
    body: value => ({ tags: [value] }),
    title: "this tag?",
    text: "Every response that carries it, on every host.",
  },
  rule: {
    body: value => ({ rules: [value] }),
    title: "this rule?",
    text: "Every response that it has stored.",
  },
  all: {
    body: () => ({ all: true }),
    title: "everything?",
    text: "Every response that is stored: the app then has to bear all of the requests.",
  },
};

export function setUpPurge() {
  const form = within("purge", "form");
  form.addEventListener("change", showField);
  form.addEventListener("submit", event => {
    event.preventDefault();
    review();
  });
  const dialog = byId("confirm");
  for (const button of dialog.querySelectorAll("button")) {
    button.addEventListener("click", () => dialog.close(button.value));
  }
  // However it was closed before, Escape means no.
  dialog.addEventListener("cancel", () => dialog.returnValue = "no");
  showField();
}

/** The rules that can be purged are those in force. */
export function showPurgeable(rules) {
  const names = rules.map(rule => rule.name).filter(name => name !== null);
  const field = byId("purge-rule");
  const chosen = field.value;
  refill(field, names, () => names.map(name => element("option", {}, name)));
  if (names.includes(chosen)) field.value = chosen;
}

/** Fills the form, and asks for confirmation at once. */
export function openPurge(kind, value) {
  within("purge", `input[value=${kind}]`).checked = true;
  byId("purge-soft").checked = false;
  showField();
  byId(`purge-${kind}`).value = value;
  review();
}

const chosenKind = () => within("purge", "input[name=what]:checked").value;

/** The field of the kind that is chosen, and no other. */
function showField() {
  for (const row of byId("purge").querySelectorAll("[data-for]")) {
    const wanted = row.dataset.for === chosenKind();
    row.hidden = !wanted;
    for (const field of row.querySelectorAll("input, select")) field.required = wanted;
  }
}

async function review() {
  const kind = chosenKind();
  const { body, title, text } = KINDS[kind];
  const value = kind === "all" ? "" : byId(`purge-${kind}`).value.trim();
  const soft = byId("purge-soft").checked;
  if (await confirmed(soft ? "Mark as stale" : "Purge", title, text, value)) await purge({ ...body(value), soft });
}

function confirmed(action, title, text, value) {
  const dialog = byId("confirm");
  byId("confirm-title").textContent = `${action} ${title}`;
  byId("confirm-text").textContent = text;
  byId("confirm-what").textContent = value;
  dialog.querySelector(".danger").textContent = action;
  dialog.returnValue = "no";
  dialog.showModal();
  return new Promise(decided => {
    dialog.addEventListener("close", () => decided(dialog.returnValue === "yes"), { once: true });
  });
}

async function purge(body) {
  say("busy", "Purging, and waiting until every sidecar has said that it is done …");
  try {
    const { value } = await send("purge", body);
    done(value);
  } catch (error) {
    failed(error, body);
  }
}

function failed(error, body) {
  if (error instanceof NoAnswer) say("bad", "No answer: whether it was purged is not known. Ask again.", body);
  else if (error instanceof TokenNeeded) say("bad", "The token is not taken any more. Nothing was purged.");
  else if (error instanceof Refused && error.status === 503) say("bad", `Not everywhere: ${error.message}.`, body);
  else if (error instanceof Refused) say("bad", `Nothing was purged: ${error.message}.`);
  else throw error;
}

function done({ reached, soft, members, waited_ms: waited, purged, elsewhere }) {
  const what = purged.all ? "Everything" : [...purged.urls, ...purged.tags, ...purged.rules].join(", ");
  if (elsewhere.length > 0) return say("warn", otherwise(elsewhere[0]));
  if (reached !== "fleet") return say("warn", `${what}: on its way to every sidecar.`);
  const where = `on every live sidecar (${count(members)}), after ${milliseconds(waited)}`;
  say("good", `${what} ${soft ? "is marked as stale" : "is gone"} ${where}.`);
}

function otherwise({ url, hosts, forwarded }) {
  const told = [];
  if (hosts.length > 0) {
    told.push(`Nothing was stored for ${url}: clients ask for that path with the host ${hosts.join(" or ")}.`);
  }
  if (forwarded.length > 0) {
    const proxied = forwarded.map(({ host, forwarded_host: client }) => `${host} and X-Forwarded-Host ${client}`);
    told.push(`${url} does not name what a trusted proxy asks for with the host ${proxied.join(" or ")}: purge that by tag or rule.`);
  }
  return told.join(" ");
}

/** @param body what to send once more, where that may help */
function say(level, text, body) {
  const again = body === undefined ? null : element("button", { click: () => purge(body) }, "Ask again");
  const notice = element("div", { class: `notice ${level}` }, element("p", {}, ...prose(text)), again);
  within("purge", ".outcome").replaceChildren(notice);
}
