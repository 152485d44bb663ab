// The first thing to see: is all well, and if not, what is the matter.

import { byId, element, prose, refill } from "./page.js";
import { clock, moment } from "./words.js";

const READY = {
  ready: ["good", "Ready", "Requests are answered, and nothing is missing."],
  degraded: ["warn", "Degraded", "Requests are answered, but something is missing:"],
  "not ready": ["bad", "Not ready", "Requests should not be sent here:"],
};

/** What `/stats` says of it. */
export function showState({ health, config }) {
  const [level, title, text] = READY[health.status] ?? ["bad", health.status, ""];
  const notices = [{ level, title, text, reasons: health.reasons }];
  const last = config.last_reload;
  if (last?.result === "refused") {
    notices.push({
      level: "bad",
      title: `The last edit of ${config.file} was refused`,
      text: `At ${moment(last.at)}. What was in force before stays so, since ${moment(config.loaded)}:`,
      error: last.error,
    });
  }
  if (config.needs_restart.length > 0) {
    notices.push({
      level: "warn",
      title: "The file says what only a restart can change",
      text: "",
      reasons: config.needs_restart,
    });
  }
  show(notices, level === "good" && notices.length > 1 ? "Look here" : title);
}

/** There is no answer since `heard`, or one that is of no use, as `why` says in a sentence. */
export function showUnreachable(heard, why) {
  const title = heard ? `No answer since ${clock(heard)} UTC` : "No answer";
  const seen = heard ? "What stands below is from then." : "";
  const text = [why, seen, "It is asked again every two seconds."].filter(Boolean).join(" ");
  show([{ level: "bad", title, text }], title);
}

/** Nothing is known. */
export const showNothing = () => show([], "");

function show(notices, inTitle) {
  document.title = inTitle === "" ? "sidecache" : `${inTitle} · sidecache`;
  refill(byId("state"), notices, () => notices.map(notice));
}

function notice({ level, title, text, reasons = [], error }) {
  return element("div", { class: `notice ${level}` },
    element("h2", {}, title),
    text === "" ? null : element("p", {}, ...prose(text)),
    reasons.length === 0 ? null : element("ul", {}, ...reasons.map(reason => element("li", {}, ...prose(reason)))),
    error === undefined ? null : element("pre", { tabindex: 0, role: "group", "aria-label": "The error" }, error));
}
