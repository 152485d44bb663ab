// Pieces of the page. Whatever comes from the sidecar gets in as text, never as markup.

/** The element that the page has under this id. */
export const byId = id => document.getElementById(id);

/** The first element in `place` that fits a selector. */
export const within = (place, selector) => byId(place).querySelector(selector);

/** An element with attributes and children; a child may be text, or nothing. */
export function element(name, attributes = {}, ...children) {
  return filled(document.createElement(name), attributes, children);
}

/** The same, of a drawing. */
export function drawn(name, attributes = {}, ...children) {
  return filled(document.createElementNS("http://www.w3.org/2000/svg", name), attributes, children);
}

function filled(made, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") made.addEventListener(name, value);
    else if (value !== false && value !== null) made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.filter(child => child !== null && child !== undefined));
  return made;
}

/** Text, written only if it is another: what is the same must not be read out again. */
export function write(place, text) {
  if (place.textContent !== text) place.textContent = text;
}

/** A sentence in which names stand in backquotes, as the sidecar writes them. */
export function prose(text) {
  const parts = text.split("`");
  // A backquote without another is one of the text.
  return parts.length % 2 === 0 ? [text] : parts.map((part, at) => at % 2 === 0 ? part : element("code", {}, part));
}

const shown = new WeakMap();

/**
 * Has `draw` fill a place anew, if `facts` are not those that it shows. So a selection, the focus and a
 * screen reader's place survive whatever has not changed.
 */
export function refill(place, facts, draw) {
  const key = JSON.stringify(facts);
  if (shown.get(place) === key) return;
  shown.set(place, key);
  const focused = place.contains(document.activeElement) ? document.activeElement.dataset.key : undefined;
  place.replaceChildren(...draw());
  if (focused) place.querySelector(`[data-key="${CSS.escape(focused)}"]`)?.focus();
}

/** Fills a list of names and values; a value may be several. */
export function list(place, pairs) {
  refill(place, pairs, () => pairs.map(([name, ...values]) =>
    element("div", {}, element("dt", {}, name), ...values.map(value => element("dd", {}, ...prose(value))))));
}
