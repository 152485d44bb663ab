// Asks for the token, where the sidecar wants one.

import { hasToken, useToken } from "./api.js";
import { byId, within, write } from "./page.js";

/** What an HTTP field can carry, as a sidecar's token must be. */
const FIT = /^[\x21-\x7e]+$/;

/** @param {() => void} again what to do with a new token */
export function setUpToken(again) {
  within("token", "form").addEventListener("submit", event => {
    event.preventDefault();
    const value = byId("token-value").value.trim();
    if (FIT.test(value)) {
      useToken(value);
      again();
    } else {
      write(byId("token-error"), "A token is of visible ASCII characters, without blanks.");
    }
  });
  byId("forget").addEventListener("click", () => {
    useToken(null);
    again();
  });
}

/** Shows the form instead of the dashboard. */
export function askForToken() {
  write(byId("token-error"), hasToken() ? "This is not the token of this sidecar." : "");
  useToken(null);
  const field = byId("token-value");
  field.value = "";
  byId("token").hidden = false;
  field.focus();
}

/** Hides it: the token was right, or none is needed. */
export function tokenIsRight() {
  byId("token").hidden = true;
  byId("token-value").value = "";
  byId("forget").hidden = !hasToken();
}
