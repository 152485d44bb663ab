// From values to places in a drawing, and the round values that its axes name.

/** The least round number (1, 2 or 5 times a power of ten) that is not below `value`. */
export function roundUp(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map(step => step * power).find(round => round >= value * (1 - 1e-9));
}

/** From 0 to at least `most`, with the values to name. */
export function linear(most, height) {
  const top = roundUp(Math.max(most, 1));
  const ticks = [0, top / 2, top];
  return { ticks, place: value => height * (1 - value / top) };
}

/** Powers of ten around the values, for what differs by orders of magnitude. */
export function logarithmic(values, height) {
  const logs = values.filter(value => value > 0).map(Math.log10);
  const low = Math.floor(Math.min(0, ...logs));
  const high = Math.max(low + 2, Math.ceil(Math.max(1, ...logs)));
  const ticks = Array.from({ length: high - low + 1 }, (_, at) => 10 ** (low + at));
  const place = value => height * (1 - (Math.max(Math.log10(value), low) - low) / (high - low));
  return { ticks, place };
}

/** Whole minutes between two times in milliseconds, in at most `most` spans, or ten minutes apart. */
export function minutes(from, to, most) {
  const minute = 60_000;
  const steps = [1, 2, 5, 10].map(step => step * minute);
  const step = steps.find(size => (to - from) / size <= most) ?? 10 * minute;
  const first = Math.ceil(from / step) * step;
  return Array.from({ length: Math.max(0, Math.floor((to - first) / step) + 1) }, (_, at) => first + at * step);
}
