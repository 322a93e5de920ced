// What the map editor draws: small pure pieces, and SVG elements kept by key.
export const NS = "http://www.w3.org/2000/svg";
export const clamp = (value, low, high) => Math.min(high, Math.max(low, value));
export const still = () => matchMedia("(prefers-reduced-motion: reduce)").matches;
export const pairKey = (a, b) => (a < b ? `${a}|${b}` : `${b}|${a}`);
export const tenth = (value) => Math.round(value * 10) / 10;

export function set(element, attributes) {
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
}

export function make(name, attributes, parent) {
  const element = set(document.createElementNS(NS, name), attributes ?? {});
  parent?.append(element);
  return element;
}

export function html(name, className, parent, text = "") {
  const element = document.createElement(name);
  element.className = className;
  element.textContent = text;
  parent?.append(element);
  return element;
}

// Path of a marker with about the area of a circle of radius r.
export function markerPath(marker, r) {
  const [s, d, t] = [r * 0.89, r * 1.25, r * 1.3];
  if (marker === "square") return `M${-s} ${-s}H${s}V${s}H${-s}Z`;
  if (marker === "diamond") return `M0 ${-d}L${d} 0L0 ${d}L${-d} 0Z`;
  if (marker === "triangle") return `M0 ${-t}L${t * 0.98} ${t * 0.7}H${-t * 0.98}Z`;
  return `M${-r} 0a${r} ${r} 0 1 0 ${2 * r} 0a${r} ${r} 0 1 0 ${-2 * r} 0Z`;
}

// The largest of 1, 2, 5 times a power of ten that takes at most `most` pixels.
export function niceLength(pixelsPerMetre, most) {
  const longest = most / pixelsPerMetre;
  const power = 10 ** Math.floor(Math.log10(longest));
  return [5, 2, 1].map((step) => step * power).find((length) => length <= longest) ?? power;
}

export const metres = (length) =>
  length >= 1000 ? `${+(length / 1000).toPrecision(3)} km` : `${+length.toPrecision(3)} m`;

export function rate(bits) {
  const [unit, factor] = bits >= 1e9 ? ["G", 1e9] : bits >= 1e6 ? ["M", 1e6] : bits >= 1e3 ? ["k", 1e3] : ["", 1];
  return `${+(bits / factor).toPrecision(3)} ${unit}bit/s`;
}

// What the curve of single links says of a distance: linear between its points, in log distance.
export function linkAt(curve, distance) {
  if (!curve) return null;
  const d = curve.distance_m;
  const at = clamp(distance, d[0], d[d.length - 1]);
  let high = d.findIndex((each) => each >= at);
  if (high < 1) high = 1;
  const share = Math.log(at / d[high - 1]) / Math.log(d[high] / d[high - 1]);
  const between = (list) => {
    const [a, b] = [list[high - 1], list[high]];
    return a === null || b === null ? null : a + (b - a) * share;
  };
  return { snr: between(curve.snr_db), rate: between(curve.rate_bit_s), lost: between(curve.outage_prob) };
}

function channels(hex) {
  return [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16));
}

// Colour, width and dash of a link: three signs of one quality, so that colour is never alone.
export function linkLook(link, look) {
  if (!link || link.snr === null) return { color: look.strong, width: 2.5, dash: "none" };
  const share = clamp((link.snr - look.low_db) / (look.high_db - look.low_db), 0, 1);
  const [a, b] = [channels(look.weak), channels(look.strong)];
  const color = `rgb(${a.map((v, i) => Math.round(v + (b[i] - v) * share)).join(",")})`;
  return { color, width: 1.5 + 2.5 * share, dash: link.lost > 0.1 ? "5 5" : "none" };
}

export function linkWords(link, distance) {
  const words = [`distance ${metres(distance)}`];
  if (link && link.snr !== null) {
    words.push(`SNR ${link.snr.toFixed(1)} dB · ${rate(link.rate)} alone on the air`);
    if (link.lost > 0.0005) words.push(`lost ${(100 * link.lost).toFixed(1)} % of the time`);
  }
  return words;
}

// Andrew's monotone chain; fewer than three points are their own hull.
export function convexHull(points) {
  const sorted = [...points].sort((p, q) => p.x - q.x || p.y - q.y);
  if (sorted.length < 3) return sorted;
  const turn = (o, a, b) => (a.x - o.x) * (b.y - o.y) - (a.y - o.y) * (b.x - o.x);
  const half = (list) => {
    const kept = [];
    for (const p of list) {
      while (kept.length > 1 && turn(kept[kept.length - 2], kept[kept.length - 1], p) <= 0) kept.pop();
      kept.push(p);
    }
    return kept.slice(0, -1);
  };
  return [...half(sorted), ...half(sorted.reverse())];
}

export function gridLines(layer, scaleLayer, size, origin, pixelsPerMetre) {
  const step = niceLength(pixelsPerMetre, 130);
  const gap = step * pixelsPerMetre;
  layer.replaceChildren();
  for (let x = origin.x % gap; x < size.width; x += gap) make("line", { x1: x, y1: 0, x2: x, y2: size.height }, layer);
  for (let y = origin.y % gap; y < size.height; y += gap) make("line", { x1: 0, y1: y, x2: size.width, y2: y }, layer);
  scaleLayer.replaceChildren();
  const [left, bottom] = [14, size.height - 14];
  make("path", { d: `M${left} ${bottom - 5}V${bottom}H${left + gap}V${bottom - 5}` }, scaleLayer);
  make("text", { x: left + gap + 6, y: bottom + 1 }, scaleLayer).textContent = metres(step);
  return step;
}

export function drawHulls(layer, hulls, place, radius) {
  layer.replaceChildren();
  for (const members of hulls) {
    const outline = convexHull(members.map(place));
    const d = `M${outline.map((p) => `${p.x} ${p.y}`).join("L")}Z`;
    const group = make("g", { "data-hull": members.length }, layer);
    make("path", { d, class: "hull-edge", "stroke-width": radius * 4.4 + 3 }, group);
    make("path", { d, class: "hull", "stroke-width": radius * 4.4 }, group);
  }
}

// Clusters after the first `step` merges, those of two devices and more.
export function clustersAfter(ids, steps, step) {
  let groups = ids.map((id) => [id]);
  for (const merge of steps.slice(0, step)) {
    const both = [...merge.left, ...merge.right].map((number) => ids[number]);
    groups = groups.filter((group) => !both.includes(group[0]));
    groups.push(both);
  }
  return groups.filter((group) => group.length > 1);
}
