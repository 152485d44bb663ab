// How numbers are put into words, and where they go in a plot.

import assert from "node:assert/strict";
import { test } from "node:test";
import { linear, logarithmic, minutes } from "../../src/admin/dashboard/scales.js";
import { bytes, counted, duration, isWhole, milliseconds, percent, plain, short } from "../../src/admin/dashboard/words.js";

/** Holds a function to its value for each of some arguments. */
function holds(of, ...cases) {
  for (const [expected, ...given] of cases) assert.equal(of(...given), expected, `${of.name}(${given})`);
}

test("a share is whole only if it is", () => {
  holds(percent, ["–", 0, 0], ["0 %", 0, 7], ["100 %", 7, 7], ["75.0 %", 3, 4],
    ["99.9 %", 999_999, 1_000_000], ["0.1 %", 1, 1_000_000]);
});

test("numbers have the digits that count", () => {
  holds(short, ["0", 0], ["0.05", 0.05], ["9.99", 9.99], ["10.0", 9.996], ["99.9", 99.94], ["100", 99.96],
    ["12,345", 12_345.4]);
  holds(plain, ["0.1", 0.1], ["50", 50], ["2,000", 2_000]);
  holds(counted, ["1 URL", 1, "URL"], ["1,000 URLs", 1_000, "URL"]);
});

test("times have two units at most", () => {
  holds(milliseconds, ["–", null], ["0.10 ms", 0.1], ["999 ms", 999], ["1.50 s", 1_500]);
  holds(duration, ["–", null], ["0 s", 0], ["20.0 ms", 0.02], ["2 s", 2], ["12.5 s", 12.5], ["5 min", 300],
    ["4 min 58 s", 298], ["2 h 1 min", 7_260], ["1 d 1 h", 90_000], ["−5 min", -300]);
});

test("sizes are in powers of 1024", () => {
  holds(bytes, ["0 B", 0], ["1,023 B", 1_023], ["1.00 KiB", 1_024], ["64.0 MiB", 64 * 2 ** 20],
    ["2,048 TiB", 2 ** 51]);
});

test("an axis begins and ends at round values, and holds all of them", () => {
  assert.deepEqual(linear(0, 100).ticks, [0, 0.5, 1]);
  assert.deepEqual(linear(37, 100).ticks, [0, 25, 50]);
  assert.equal(linear(50, 100).place(50), 0);
  assert.equal(linear(50, 100).place(0), 100);
  const { ticks, place } = logarithmic([0.09, 412], 100);
  assert.deepEqual(ticks.map(plain), ["0.01", "0.1", "1", "10", "100", "1,000"]);
  assert.equal(place(0.01), 100);
  assert.equal(place(1_000), 0);
  assert.equal(place(0), 100, "what took no time is at the bottom");
  assert.deepEqual(logarithmic([], 100).ticks, [1, 10, 100]);
});

test("the axis of time names whole minutes, as many as there is room for", () => {
  const minute = 60_000;
  assert.deepEqual(minutes(minute / 2, 3 * minute, 5), [minute, 2 * minute, 3 * minute]);
  assert.deepEqual(minutes(0, 10 * minute, 5), [0, 2, 4, 6, 8, 10].map(n => n * minute));
  assert.deepEqual(minutes(1, 2, 5), []);
});

test("a URL is whole that lacks its query alone", () => {
  holds(isWhole, [true, "http://a/b"], [true, "http://a/b?…"], [false, "http://a/b…"], [false, "http://a/b…?…"]);
});
