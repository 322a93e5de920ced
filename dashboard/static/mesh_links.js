// What a link of a given length gives, in numbers, looks and words. Pure.
import { clamp } from "./mesh_geometry.js";

/**
 * What single links give by distance; a level is null where the channel has no such number.
 * @typedef {object} LinkCurve
 * @property {number[]} distance_m
 * @property {(number | null)[]} snr_db
 * @property {(number | null)[]} rate_bit_s
 * @property {(number | null)[]} outage_prob
 * @property {number | null} range_m where one message in ten is lost
 *
 * @typedef {{ snr: number | null, rate: number | null, lost: number | null }} Quality
 *
 * Between which levels a link goes from the weak to the strong colour.
 * @typedef {{ low_db: number, high_db: number, weak: string, strong: string }} LinkScale
 */

/** @type {(value: number) => string} */
const short = (value) => String(Number(value.toPrecision(3)));

/** @type {(length: number) => string} */
export const metres = (length) => (length >= 1000 ? `${short(length / 1000)} km` : `${short(length)} m`);

/** @param {number} bits */
export function rate(bits) {
  /** @type {[string, number][]} */
  const units = [["G", 1e9], ["M", 1e6], ["k", 1e3]];
  const [unit, factor] = units.find(([, least]) => bits >= least) ?? ["", 1];
  return `${short(bits / factor)} ${unit}bit/s`;
}

/**
 * What the curve of single links says of a distance: linear between its points, in log distance.
 * @param {LinkCurve | null} curve
 * @param {number} distance
 * @returns {Quality | null}
 */
export function linkAt(curve, distance) {
  if (!curve) return null;
  const d = curve.distance_m;
  const at = clamp(distance, d[0], d[d.length - 1]);
  const high = Math.max(1, d.findIndex((each) => each >= at));
  const share = Math.log(at / d[high - 1]) / Math.log(d[high] / d[high - 1]);
  /** @type {(list: (number | null)[]) => number | null} */
  const between = (list) => {
    const [a, b] = [list[high - 1], list[high]];
    return a === null || b === null ? null : a + (b - a) * share;
  };
  return { snr: between(curve.snr_db), rate: between(curve.rate_bit_s), lost: between(curve.outage_prob) };
}

/** @type {(hex: string) => number[]} */
const channels = (hex) => [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16));

/**
 * Colour, width and dash of a link: three signs of one quality, so that colour is never alone.
 * @param {Quality | null} link
 * @param {LinkScale} look
 */
export function linkLook(link, look) {
  if (!link || link.snr === null) return { color: look.strong, width: 2.5, dash: "none" };
  const share = clamp((link.snr - look.low_db) / (look.high_db - look.low_db), 0, 1);
  const [a, b] = [channels(look.weak), channels(look.strong)];
  const color = `rgb(${a.map((v, i) => Math.round(v + (b[i] - v) * share)).join(",")})`;
  return { color, width: 1.5 + 2.5 * share, dash: (link.lost ?? 0) > 0.1 ? "5 5" : "none" };
}

/**
 * The link that hears least; null where no level is known.
 * @template {Quality} Q
 * @param {Q[]} links
 */
export function weakest(links) {
  const known = links.flatMap((link) => (link.snr === null ? [] : [{ ...link, snr: link.snr }]));
  return known.length ? known.reduce((a, b) => (a.snr < b.snr ? a : b)) : null;
}

/**
 * Lines of text on a link.
 * @param {Quality | null} link
 * @param {number} distance
 */
export function linkWords(link, distance) {
  const words = [`distance ${metres(distance)}`];
  if (!link || link.snr === null) return words;
  words.push(`SNR ${link.snr.toFixed(1)} dB · ${rate(link.rate ?? 0)} alone on the air`);
  const lost = link.lost ?? 0;
  if (lost > 0.0005) words.push(`lost ${(100 * lost).toFixed(1)} % of the time`);
  return words;
}
