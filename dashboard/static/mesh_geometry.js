// Places, lengths and outlines on a map of a mesh. Pure: no element is touched here.

/**
 * A place; x goes to the right or east, y down on the screen and north in metres.
 * @typedef {{ x: number, y: number }} Point
 *
 * How the whole mesh lies on the screen: pixels per metre, and the pixel of the place (0, 0).
 * @typedef {{ scale: number, x: number, y: number }} Base
 *
 * Zoom and shift of the hand, on top of the base.
 * @typedef {{ k: number, x: number, y: number }} View
 *
 * A rectangle of the screen that is free for the mesh.
 * @typedef {{ left: number, top: number, width: number, height: number }} Room
 *
 * How far a mesh reaches at least: in metres, as a share of its other side, and air around it.
 * @typedef {{ least: number, thin: number, air: number }} Extent
 *
 * @typedef {{ width: number, height: number }} Size
 * @typedef {{ x1: number, y1: number, x2: number, y2: number }} Segment
 * @typedef {"circle" | "square" | "diamond" | "triangle"} Marker
 */

/** @type {View} */
export const WHOLE = { k: 1, x: 0, y: 0 };

/** @type {(value: number, low: number, high: number) => number} */
export const clamp = (value, low, high) => Math.min(high, Math.max(low, value));

/** @type {(value: number) => number} */
export const tenth = (value) => Math.round(value * 10) / 10;

/** @type {(p: Point, q: Point) => number} */
export const apart = (p, q) => Math.hypot(p.x - q.x, p.y - q.y);

/**
 * The place at a share of the way from one to another.
 * @param {Point} from
 * @param {Point} to
 * @param {number} share
 * @returns {Point}
 */
export function along(from, to, share) {
  return { x: from.x + (to.x - from.x) * share, y: from.y + (to.y - from.y) * share };
}

/**
 * The base that shows all places in the middle of a room.
 * @param {Point[]} places
 * @param {Room} room
 * @param {Extent} extent
 * @returns {Base}
 */
export function fitted(places, room, { least, thin, air }) {
  const [xs, ys] = [places.map((p) => p.x), places.map((p) => p.y)];
  const [x0, x1, y0, y1] = [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)];
  const wide = Math.max(x1 - x0, (y1 - y0) * thin, least) * air;
  const high = Math.max(y1 - y0, (x1 - x0) * thin, least) * air;
  const scale = Math.min(room.width / wide, room.height / high);
  return {
    scale,
    x: room.left + room.width / 2 - ((x0 + x1) / 2) * scale,
    y: room.top + room.height / 2 + ((y0 + y1) / 2) * scale,
  };
}

/**
 * Where a place in metres is on the screen.
 * @param {Base} base
 * @param {View} view
 * @param {Point} place
 * @returns {Point}
 */
export function toPixels(base, view, place) {
  return {
    x: (base.x + place.x * base.scale) * view.k + view.x,
    y: (base.y - place.y * base.scale) * view.k + view.y,
  };
}

/**
 * The place in metres that a pixel shows.
 * @param {Base} base
 * @param {View} view
 * @param {Point} pixel
 * @returns {Point}
 */
export function toMetres(base, view, pixel) {
  return {
    x: ((pixel.x - view.x) / view.k - base.x) / base.scale,
    y: -((pixel.y - view.y) / view.k - base.y) / base.scale,
  };
}

/**
 * The view after a zoom; what lies at `still` stays there.
 * @param {View} view
 * @param {number} factor
 * @param {Point} still
 * @param {[number, number]} limits
 * @returns {View}
 */
export function zoomed(view, factor, still, [low, high]) {
  const k = clamp(view.k * factor, low, high);
  const ratio = k / view.k;
  return { k, x: still.x - (still.x - view.x) * ratio, y: still.y - (still.y - view.y) * ratio };
}

/**
 * What two fingers do to a view: how far they went apart, where they began, where they went.
 * @param {[Point, Point]} from
 * @param {[Point, Point]} to
 * @returns {{ factor: number, middle: Point, by: Point }}
 */
export function pinched([a, b], [p, q]) {
  return {
    factor: apart(p, q) / Math.max(1, apart(a, b)),
    middle: { x: (a.x + b.x) / 2, y: (a.y + b.y) / 2 },
    by: { x: (p.x + q.x - a.x - b.x) / 2, y: (p.y + q.y - a.y - b.y) / 2 },
  };
}

/**
 * Whether something that was there before is now farther away than `least` metres.
 * @param {Map<string, Point>} before
 * @param {Map<string, Point>} now
 * @param {number} least
 */
export function hasMoved(before, now, least) {
  return [...now].some(([id, place]) => {
    const old = before.get(id);
    return old !== undefined && apart(old, place) > least;
  });
}

/**
 * Places on their way from before to now, quick at first; what is new is there at once.
 * @param {Map<string, Point>} before
 * @param {Map<string, Point>} now
 * @param {number} share of the time that is over
 * @returns {Map<string, Point>}
 */
export function onTheWay(before, now, share) {
  const eased = 1 - (1 - share) ** 3;
  return new Map([...now].map(([id, place]) => [id, along(before.get(id) ?? place, place, eased)]));
}

/**
 * Radius of a device on the screen.
 * @param {number} count of the devices
 * @param {number} least
 */
export function deviceRadius(count, least) {
  if (count <= 16) return 12;
  return count <= 40 ? 9 : least;
}

/**
 * The nearest place on a grid with this step, in whole decimetres.
 * @param {Point} place
 * @param {number} step
 * @returns {Point}
 */
export function snapped(place, step) {
  return { x: tenth(Math.round(place.x / step) * step), y: tenth(Math.round(place.y / step) * step) };
}

/**
 * Places from one (left out) to another (taken in), at most `step` apart.
 * @param {Point} from
 * @param {Point} to
 * @param {number} step
 */
export function passed(from, to, step) {
  const looks = Math.max(1, Math.ceil(apart(from, to) / step));
  return Array.from({ length: looks }, (_, i) => along(from, to, (i + 1) / looks));
}

/**
 * The names of the places inside a rectangle with these two corners.
 * @param {Map<string, Point>} places
 * @param {Point} p
 * @param {Point} q
 */
export function inBox(places, p, q) {
  /** @type {(value: number, a: number, b: number) => boolean} */
  const within = (value, a, b) => value >= Math.min(a, b) && value <= Math.max(a, b);
  return [...places].filter(([, { x, y }]) => within(x, p.x, q.x) && within(y, p.y, q.y)).map(([id]) => id);
}

/**
 * A place for words: below a device, or on another side where a neighbour would lie under them.
 * @param {Point} at
 * @param {number} ring radius of what is drawn around the device
 * @param {Point[]} others
 * @returns {Point}
 */
export function labelPlace(at, ring, others) {
  const sides = [[0, ring + 11], [0, -ring - 4], [ring + 16, 4], [-ring - 16, 4]];
  const spots = sides.map(([dx, dy]) => ({ x: at.x + dx, y: at.y + dy }));
  /** @type {(spot: Point) => number} */
  const room = (spot) => Math.min(...others.map((p) => apart(p, spot)));
  return spots.find((spot) => room(spot) > ring + 12)
    ?? spots.reduce((a, b) => (room(b) > room(a) ? b : a));
}

/**
 * A place for a note of this size beside a point: over it, or under it where there is no room.
 * @param {Point} at
 * @param {Size} note
 * @param {number} width of the map
 */
export function notePlace(at, note, width) {
  const half = note.width / 2 + 6;
  const over = at.y > note.height + 34;
  return {
    left: clamp(at.x, half, Math.max(half, width - half)),
    top: over ? at.y - 26 - note.height : at.y + 28,
  };
}

/**
 * Path of a marker with about the area of a circle of radius r.
 * @param {Marker} marker
 * @param {number} r
 */
export function markerPath(marker, r) {
  const [s, d, t] = [r * 0.89, r * 1.25, r * 1.3];
  if (marker === "square") return `M${-s} ${-s}H${s}V${s}H${-s}Z`;
  if (marker === "diamond") return `M0 ${-d}L${d} 0L0 ${d}L${-d} 0Z`;
  if (marker === "triangle") return `M0 ${-t}L${t * 0.98} ${t * 0.7}H${-t * 0.98}Z`;
  return `M${-r} 0a${r} ${r} 0 1 0 ${2 * r} 0a${r} ${r} 0 1 0 ${-2 * r} 0Z`;
}

/**
 * The largest of 1, 2, 5 times a power of ten that takes at most `most` pixels.
 * @param {number} pixelsPerMetre
 * @param {number} most
 */
export function niceLength(pixelsPerMetre, most) {
  const longest = most / pixelsPerMetre;
  const power = 10 ** Math.floor(Math.log10(longest));
  return [5, 2, 1].map((step) => step * power).find((length) => length <= longest) ?? power;
}

/**
 * Andrew's monotone chain; fewer than three points are their own hull.
 * @param {Point[]} points
 */
export function convexHull(points) {
  const sorted = [...points].sort((p, q) => p.x - q.x || p.y - q.y);
  if (sorted.length < 3) return sorted;
  /** @type {(o: Point, a: Point, b: Point) => number} */
  const turn = (o, a, b) => (a.x - o.x) * (b.y - o.y) - (a.y - o.y) * (b.x - o.x);
  /** @type {(list: Point[]) => Point[]} */
  const half = (list) => {
    /** @type {Point[]} */
    const kept = [];
    for (const p of list) {
      while (kept.length > 1 && turn(kept[kept.length - 2], kept[kept.length - 1], p) <= 0) kept.pop();
      kept.push(p);
    }
    return kept.slice(0, -1);
  };
  return [...half(sorted), ...half(sorted.reverse())];
}

/**
 * Path around points.
 * @param {Point[]} points
 */
export function hullPath(points) {
  return `M${convexHull(points).map((p) => `${p.x} ${p.y}`).join("L")}Z`;
}

/**
 * The lines of a grid through `origin`, with a gap in pixels.
 * @param {Size} size
 * @param {Point} origin
 * @param {number} gap
 */
export function gridOf(size, origin, gap) {
  /** @type {Segment[]} */
  const lines = [];
  for (let x = origin.x % gap; x < size.width; x += gap) lines.push({ x1: x, y1: 0, x2: x, y2: size.height });
  for (let y = origin.y % gap; y < size.height; y += gap) lines.push({ x1: 0, y1: y, x2: size.width, y2: y });
  return lines;
}
