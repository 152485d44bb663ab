// Asks every two seconds how things are, and has each part of the page show it.

import { NoAnswer, Refused, TokenNeeded, read } from "./api.js";
import { showConfiguration } from "./configuration.js";
import { setUpLookUp } from "./lookup.js";
import { showNumbers, showParts } from "./numbers.js";
import { byId, write } from "./page.js";
import { setUpPlots, showPlots } from "./plots.js";
import { setUpPurge, showPurgeable } from "./purge.js";
import { showNothing, showState, showUnreachable } from "./state.js";
import { showResources, showRules } from "./tables.js";
import { askForToken, setUpToken, tokenIsRight } from "./token.js";
import { clock } from "./words.js";

const PAUSE = 2_000;

let timer;
let asking = false;
/** The sidecar's own time when it last answered. */
let heard = null;

async function refresh() {
  clearTimeout(timer);
  if (asking || document.hidden) return;
  asking = true;
  try {
    const [stats, resources] = await Promise.all([read("stats"), read("resources")]);
    show(stats.value, resources.value);
    timer = setTimeout(refresh, PAUSE);
  } catch (error) {
    failed(error);
  } finally {
    asking = false;
  }
}

function show(stats, resources) {
  heard = stats.now;
  tokenIsRight();
  reveal(true);
  write(byId("whose"), `${stats.version} at ${location.host}`);
  write(byId("pulse"), `live, ${clock(stats.now)} UTC`);
  showState(stats);
  showNumbers(stats);
  showPlots(stats.window);
  showParts(stats);
  showRules(stats.rules);
  showResources(resources);
  showPurgeable(stats.rules);
  showConfiguration(stats);
}

function failed(error) {
  if (error instanceof TokenNeeded) {
    reveal(false);
    return askForToken();
  }
  // Whatever it was, it may pass.
  timer = setTimeout(refresh, PAUSE);
  write(byId("pulse"), heard ? `not live since ${clock(heard)} UTC` : "not live");
  if (error instanceof NoAnswer) return showUnreachable(heard, "");
  if (error instanceof Refused) return showUnreachable(heard, `The sidecar says: ${error.message}.`);
  showUnreachable(heard, "This page cannot show what it got.");
  reportError(error);
}

function reveal(known) {
  for (const id of ["dashboard", "sections"]) byId(id).hidden = !known;
  if (known) return;
  for (const id of ["whose", "pulse"]) write(byId(id), "");
  showNothing();
  heard = null;
}

setUpToken(refresh);
setUpPlots();
setUpLookUp();
setUpPurge();
// A tab that nobody looks at asks nothing, nor does one that waits for a token.
document.addEventListener("visibilitychange", () => byId("token").hidden && refresh());
refresh();
