// Numbers, sizes and times as people read them.

const whole = new Intl.NumberFormat("en");
const NOTHING = "–";

/** A count: 12,345. */
export const count = number => whole.format(number);

/** A number with about three digits that count. */
export function short(number) {
  const digits = number === 0 || number >= 99.95 ? 0 : number >= 9.995 ? 1 : 2;
  return number >= 1000 ? whole.format(Math.round(number)) : number.toFixed(digits);
}

/** A share of a whole, or a dash where there is no whole. */
export function percent(part, all) {
  if (!all) return NOTHING;
  const share = 100 * part / all;
  // Not "100 %" while anything is missing, nor "0 %" while there is anything.
  const near = Math.min(part < all ? 99.9 : 100, Math.max(part > 0 ? 0.1 : 0, share));
  return `${near.toFixed(near === 0 || near === 100 ? 0 : 1)} %`;
}

/** A number in as few digits as it has, for an axis. */
export const plain = number => whole.format(Number(number.toPrecision(2)));

/** Milliseconds, or seconds where there are thousands of them. */
export function milliseconds(ms, digits = short) {
  if (ms === null || ms === undefined) return NOTHING;
  return ms < 1000 ? `${digits(ms)} ms` : `${digits(ms / 1000)} s`;
}

const UNITS = [["d", 86_400], ["h", 3_600], ["min", 60], ["s", 1]];

/** Seconds, in the two largest units that say something. */
export function duration(seconds) {
  if (seconds === null || seconds === undefined) return NOTHING;
  if (seconds < 0) return `−${duration(-seconds)}`;
  if (seconds > 0 && seconds < 1) return milliseconds(seconds * 1000);
  if (seconds < 60) return `${Number.isInteger(seconds) ? seconds : short(seconds)} s`;
  const at = UNITS.findIndex(([, size]) => seconds >= size);
  const [[large, size], [small, part]] = [UNITS[at], UNITS[at + 1]];
  const parts = Math.round(seconds / part);
  const rest = parts % (size / part);
  return `${Math.floor(parts * part / size)} ${large}${rest ? ` ${rest} ${small}` : ""}`;
}

/** Bytes, in powers of 1024. */
export function bytes(number) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  const power = Math.min(units.length - 1, Math.floor(Math.log2(Math.max(1, number)) / 10));
  return `${power ? short(number / 1024 ** power) : count(number)} ${units[power]}`;
}

/** The time of day of an RFC 3339 time, in UTC. */
export const clock = time => new Date(time).toISOString().slice(11, 19);

/** Its date and time of day, in UTC. */
export const moment = time => new Date(time).toISOString().slice(0, 19).replace("T", " ");

/** One of it, or so many: "1 URL", "3 URLs". */
export const counted = (number, one, many = `${one}s`) => `${count(number)} ${number === 1 ? one : many}`;

/** Whether all of a URL is there, but for its query: a long one is told without its end. */
export const isWhole = url => !/[^?]…(\?…)?$/u.test(url);

/** Whether a rule only says what it would do. */
export const inShadow = rule => rule.cache.endsWith("in shadow");
