// The first thing to see: is all well, and if not, what is the matter.

import { byId, element, prose, refill } from "./page.js";
import { clock, count, counted, moment } from "./words.js";

const READY = {
  ready: ["good", "Ready", "Requests are answered, and nothing is missing."],
  degraded: ["warn", "Degraded", "Requests are answered, but something is missing:"],
  "not ready": ["bad", "Not ready", "Requests should not be sent here:"],
};

/** Steps of the window that are looked at for failures: a minute. */
const MINUTE = 12;
/** The share of failed requests that is worth a notice, as it is worth an alert. */
const NOTABLE = 0.05;

/** What `/stats` says of it. */
export function showState({ health, config, window, rules }) {
  const [level, title, text] = READY[health.status] ?? ["bad", health.status, ""];
  const notices = [{ level, title, text, reasons: health.reasons }];
  const failing = failures(window.points.slice(-MINUTE), rules);
  // "Requests are answered" would be no more than half of the truth.
  if (failing && level === "good") notices.pop();
  if (failing) notices.unshift(failing);
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
  show(notices, failing?.title ?? (level === "good" && notices.length > 1 ? "Look here" : title));
}

/** Of the steps of a minute: that too many of their requests had an answer of 500 or more. */
function failures(points, rules) {
  const sum = field => points.reduce((all, point) => all + point[field], 0);
  const [failed, all] = [sum("errors"), sum("requests")];
  if (failed === 0 || failed < NOTABLE * all) return undefined;
  const last = points.findLast(point => point.errors > 0);
  const isOver = points.findLast(point => point.requests > 0) !== last;
  // An answer of 500 may be the app's own.
  const isSilent = last.forwarded === 0 && rules.some(rule => rule.details["origin-failed"] > 0);
  return {
    level: isOver ? "warn" : "bad",
    title: isOver ? "Requests failed" : isSilent ? "The app gives no answer" : "Requests fail",
    text: `${count(failed)} of ${counted(all, "request")} failed in the last minute (status 500 or more), `
      + `the last in the seconds before ${clock(last.at)} UTC. The rules below say why.`,
  };
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
