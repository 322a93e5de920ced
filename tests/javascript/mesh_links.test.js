import assert from "node:assert/strict";
import { test } from "node:test";

import { linkAt, linkLook, linkWords, metres, rate, weakest } from "../../dashboard/static/mesh_links.js";

const CURVE = { distance_m: [10, 100, 1000], snr_db: [40, 20, 0], rate_bit_s: [4e6, 2e6, 0], outage_prob: [0, 0.1, 1], range_m: 100 };
const LOOK = { low_db: 0, high_db: 20, weak: "#000000", strong: "#ff8040" };

for (const [length, wanted] of [[0.2, "0.2 m"], [999, "999 m"], [1000, "1 km"], [1234.5, "1.23 km"], [12.345, "12.3 m"]]) {
  test(`${length} m is written ${wanted}`, () => assert.equal(metres(length), wanted));
}

for (const [bits, wanted] of [[0, "0 bit/s"], [999, "999 bit/s"], [1000, "1 kbit/s"], [2.5e6, "2.5 Mbit/s"], [1e9, "1 Gbit/s"]]) {
  test(`${bits} bits a second are written ${wanted}`, () => assert.equal(rate(bits), wanted));
}

test("at a point of the curve a link is what the curve says", () => {
  const found = linkAt(CURVE, 100);
  assert.deepEqual(found, { snr: 20, rate: 2e6, lost: 0.1 });
});

test("between two points a link goes with the logarithm of its length", () => {
  const found = linkAt(CURVE, Math.sqrt(10) * 10);
  assert.ok(Math.abs(found.snr - 30) < 1e-9);
  assert.ok(Math.abs(found.rate - 3e6) < 1e-3);
  assert.ok(Math.abs(found.lost - 0.05) < 1e-9);
});

test("beyond its ends the curve goes on as at them", () => {
  assert.equal(linkAt(CURVE, 1).snr, 40);
  assert.equal(linkAt(CURVE, 0).snr, 40);
  assert.equal(linkAt(CURVE, 1e6).snr, 0);
});

test("where a level is not known, none is made up between", () => {
  const found = linkAt({ ...CURVE, snr_db: [40, null, 0] }, 50);
  assert.equal(found.snr, null);
  assert.ok(found.rate > 2e6);
});

test("without a curve nothing is known", () => assert.equal(linkAt(null, 5), null));

test("a strong link is wide, whole and in the strong colour", () => {
  assert.deepEqual(linkLook({ snr: 99, rate: 1, lost: 0 }, LOOK), { color: "rgb(255,128,64)", width: 4, dash: "none" });
});

test("a weak link that loses much is thin and dashed", () => {
  assert.deepEqual(linkLook({ snr: -5, rate: 1, lost: 0.11 }, LOOK), { color: "rgb(0,0,0)", width: 1.5, dash: "5 5" });
});

test("halfway between the levels a link has half of each colour", () => {
  assert.deepEqual(linkLook({ snr: 10, rate: 1, lost: 0.1 }, LOOK), { color: "rgb(128,64,32)", width: 2.75, dash: "none" });
});

test("levels and colours of a link need not begin at nothing", () => {
  const look = { low_db: 5, high_db: 25, weak: "#102030", strong: "#304050" };
  assert.deepEqual(linkLook({ snr: 10, rate: 1, lost: 0 }, look), { color: "rgb(24,40,56)", width: 2.125, dash: "none" });
});

test("a link of unknown level looks like any other", () => {
  const wanted = { color: "#ff8040", width: 2.5, dash: "none" };
  assert.deepEqual(linkLook(null, LOOK), wanted);
  assert.deepEqual(linkLook({ snr: null, rate: null, lost: 1 }, LOOK), wanted);
});

test("the weakest link is the one with the lowest known level", () => {
  const links = [12, null, -3, 0].map((snr, number) => ({ snr, rate: 1, lost: 0, number }));
  assert.equal(weakest(links).number, 2);
  assert.equal(weakest([{ snr: null, rate: null, lost: 0 }]), null);
  assert.equal(weakest([]), null);
});

test("a link is told with its length, its level and what is lost", () => {
  assert.deepEqual(linkWords({ snr: 12.34, rate: 1.5e6, lost: 0.0312 }, 1500), [
    "distance 1.5 km", "SNR 12.3 dB · 1.5 Mbit/s alone on the air", "lost 3.1 % of the time",
  ]);
});

test("what is hardly ever lost, or not known, is not told", () => {
  assert.equal(linkWords({ snr: 12, rate: 1e6, lost: 0.0005 }, 10).length, 2);
  assert.deepEqual(linkWords({ snr: null, rate: null, lost: 0 }, 10), ["distance 10 m"]);
});
