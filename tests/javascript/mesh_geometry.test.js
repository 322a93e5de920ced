import assert from "node:assert/strict";
import { test } from "node:test";

import * as geometry from "../../dashboard/static/mesh_geometry.js";

const BASE = { scale: 4, x: 100, y: 200 };
const VIEW = { k: 2, x: 10, y: -20 };
/** @type {(at: number[], wanted: number[]) => void} */
const near = (at, wanted) => at.forEach((value, i) => assert.ok(Math.abs(value - wanted[i]) < 1e-9, `${at} is not ${wanted}`));

test("clamp keeps a value within its limits", () => {
  assert.deepEqual([-1, 3, 9].map((value) => geometry.clamp(value, 0, 5)), [0, 3, 5]);
});

test("tenth rounds to whole decimetres", () => {
  assert.equal(geometry.tenth(1.26), 1.3);
  assert.equal(geometry.tenth(-0.349), -0.3);
});

test("apart is the distance by Pythagoras", () => {
  assert.equal(geometry.apart({ x: 1, y: 2 }, { x: 4, y: -2 }), 5);
});

test("along goes from one place to the other", () => {
  const [from, to] = [{ x: 0, y: 10 }, { x: 8, y: 6 }];
  assert.deepEqual(geometry.along(from, to, 0), from);
  assert.deepEqual(geometry.along(from, to, 1), to);
  assert.deepEqual(geometry.along(from, to, 0.25), { x: 2, y: 9 });
});

test("north is up and east is right on the screen", () => {
  const at = geometry.toPixels(BASE, geometry.WHOLE, { x: 5, y: 7 });
  assert.deepEqual(at, { x: 120, y: 172 });
});

test("zoom and shift come after the base", () => {
  assert.deepEqual(geometry.toPixels(BASE, VIEW, { x: 5, y: 7 }), { x: 250, y: 324 });
});

test("metres and pixels are each other's inverse", () => {
  const place = { x: -3.7, y: 12.4 };
  const { x, y } = geometry.toMetres(BASE, VIEW, geometry.toPixels(BASE, VIEW, place));
  near([x, y], [place.x, place.y]);
});

test("a mesh is fitted into the middle of its room", () => {
  const room = { left: 20, top: 10, width: 200, height: 100 };
  const places = [{ x: 0, y: 0 }, { x: 50, y: 100 }];
  const base = geometry.fitted(places, room, { least: 1, thin: 0, air: 1 });
  assert.equal(base.scale, 1);
  assert.deepEqual(geometry.toPixels(base, geometry.WHOLE, { x: 25, y: 50 }), { x: 120, y: 60 });
  assert.equal(geometry.toPixels(base, geometry.WHOLE, places[1]).y, room.top);
  assert.equal(geometry.toPixels(base, geometry.WHOLE, places[0]).y, room.top + room.height);
});

test("a mesh far from its origin is fitted by how far it reaches", () => {
  const room = { left: 5, top: 7, width: 400, height: 100 };
  const places = [{ x: 100, y: -50 }, { x: 300, y: -40 }];
  const base = geometry.fitted(places, room, { least: 1, thin: 0.1, air: 1 });
  assert.equal(base.scale, 2);
  assert.deepEqual(geometry.toPixels(base, geometry.WHOLE, { x: 200, y: -45 }), { x: 205, y: 57 });
});

test("a thin mesh counts as a share of its length across, lying or standing", () => {
  const room = { left: 0, top: 0, width: 100, height: 100 };
  const extent = { least: 1, thin: 0.2, air: 1 };
  const lying = geometry.fitted([{ x: 20, y: 5 }, { x: 70, y: 5 }], { ...room, height: 10 }, extent);
  const standing = geometry.fitted([{ x: 5, y: 20 }, { x: 5, y: 70 }], { ...room, width: 10 }, extent);
  assert.deepEqual([lying.scale, standing.scale], [1, 1]);
});

test("air around a mesh makes it smaller", () => {
  const room = { left: 0, top: 0, width: 100, height: 100 };
  const base = geometry.fitted([{ x: 0, y: 0 }, { x: 40, y: 40 }], room, { least: 1, thin: 0, air: 1.25 });
  assert.equal(base.scale, 2);
});

test("one device alone, or a row of them, has a size as well", () => {
  const room = { left: 0, top: 0, width: 100, height: 100 };
  assert.equal(geometry.fitted([{ x: 3, y: 3 }], room, { least: 10, thin: 0, air: 1 }).scale, 10);
  const row = geometry.fitted([{ x: 0, y: 0 }, { x: 50, y: 0 }], { ...room, height: 1 }, { least: 1, thin: 0.02, air: 1 });
  assert.equal(row.scale, 1);
});

test("what lies under the pointer stays there while it zooms", () => {
  const still = { x: 70, y: 40 };
  const under = geometry.toMetres(BASE, VIEW, still);
  const view = geometry.zoomed(VIEW, 1.4, still, [0.5, 12]);
  assert.equal(view.k, 2.8);
  const { x, y } = geometry.toPixels(BASE, view, under);
  near([x, y], [still.x, still.y]);
});

test("zoom ends at its limits, and then nothing shifts", () => {
  const most = { k: 12, x: 5, y: 6 };
  assert.deepEqual(geometry.zoomed(most, 3, { x: 50, y: 50 }, [0.5, 12]), most);
  assert.equal(geometry.zoomed(most, 0.001, { x: 0, y: 0 }, [0.5, 12]).k, 0.5);
});

test("two fingers that go apart zoom, and shift by the way of their middle", () => {
  const found = geometry.pinched([{ x: 2, y: 4 }, { x: 12, y: 8 }], [{ x: 1, y: 10 }, { x: 21, y: 18 }]);
  assert.deepEqual(found, { factor: 2, middle: { x: 7, y: 6 }, by: { x: 4, y: 8 } });
});

test("two fingers on one spot do not zoom without end", () => {
  const spot = { x: 3, y: 3 };
  assert.equal(geometry.pinched([spot, spot], [{ x: 0, y: 0 }, { x: 8, y: 6 }]).factor, 10);
});

test("only what was there before can have moved", () => {
  const before = new Map([["a", { x: 0, y: 0 }]]);
  assert.equal(geometry.hasMoved(before, new Map([["b", { x: 9, y: 9 }]]), 0.1), false);
  assert.equal(geometry.hasMoved(before, new Map([["a", { x: 0, y: 0.1 }]]), 0.1), false);
  assert.equal(geometry.hasMoved(before, new Map([["a", { x: 0.2, y: 0 }]]), 0.1), true);
});

test("devices go quickly at first, and new ones are there at once", () => {
  const before = new Map([["a", { x: 0, y: 8 }]]);
  const now = new Map([["a", { x: 8, y: 0 }], ["b", { x: 1, y: 1 }]]);
  const half = geometry.onTheWay(before, now, 0.5);
  assert.deepEqual(half.get("a"), { x: 7, y: 1 });
  assert.deepEqual(half.get("b"), { x: 1, y: 1 });
  assert.deepEqual(geometry.onTheWay(before, now, 1), now);
});

test("many devices are drawn smaller", () => {
  assert.deepEqual([16, 17, 40, 41].map((count) => geometry.deviceRadius(count, 7)), [12, 9, 9, 7]);
});

test("a place snaps to the nearest line of the grid", () => {
  assert.deepEqual(geometry.snapped({ x: 12.4, y: -12.6 }, 5), { x: 10, y: -15 });
  assert.deepEqual(geometry.snapped({ x: 0.31, y: 0.39 }, 0.1), { x: 0.3, y: 0.4 });
});

test("a fast brush looks at all places between two frames", () => {
  const places = geometry.passed({ x: 0, y: 0 }, { x: 0, y: 12 }, 5);
  assert.deepEqual(places, [{ x: 0, y: 4 }, { x: 0, y: 8 }, { x: 0, y: 12 }]);
});

test("a brush that stands still looks once, where it is", () => {
  assert.deepEqual(geometry.passed({ x: 3, y: 3 }, { x: 3, y: 3 }, 5), [{ x: 3, y: 3 }]);
});

test("a box holds what lies between its corners, however it was drawn", () => {
  const places = new Map(Object.entries({ in: { x: 1, y: 1 }, edge: { x: 2, y: 0 }, east: { x: 3, y: 1 }, north: { x: 1, y: 3 } }));
  const [p, q] = [{ x: 0, y: 2 }, { x: 2, y: 0 }];
  assert.deepEqual(geometry.inBox(places, p, q), ["in", "edge"]);
  assert.deepEqual(geometry.inBox(places, q, p), ["in", "edge"]);
});

test("words stand below a device that has no neighbour there", () => {
  assert.deepEqual(geometry.labelPlace({ x: 50, y: 50 }, 20, []), { x: 50, y: 81 });
  assert.deepEqual(geometry.labelPlace({ x: 50, y: 50 }, 20, [{ x: 50, y: 300 }]), { x: 50, y: 81 });
});

test("words go over a device with a neighbour below it", () => {
  assert.deepEqual(geometry.labelPlace({ x: 50, y: 50 }, 20, [{ x: 50, y: 90 }]), { x: 50, y: 26 });
});

test("words go where most room is when there is little everywhere", () => {
  const others = [{ x: 50, y: 81 }, { x: 50, y: 26 }, { x: 20, y: 54 }, { x: 100, y: 54 }];
  assert.deepEqual(geometry.labelPlace({ x: 50, y: 50 }, 20, others), { x: 86, y: 54 });
});

test("a note stands over a place, under it at the upper edge, and within the map", () => {
  const note = { width: 100, height: 40 };
  assert.deepEqual(geometry.notePlace({ x: 200, y: 100 }, note, 400), { left: 200, top: 34 });
  assert.deepEqual(geometry.notePlace({ x: 200, y: 70 }, note, 400), { left: 200, top: 98 });
  assert.equal(geometry.notePlace({ x: 3, y: 100 }, note, 400).left, 56);
  assert.equal(geometry.notePlace({ x: 399, y: 100 }, note, 400).left, 344);
});

test("a note that is wider than the map begins at its left edge", () => {
  assert.equal(geometry.notePlace({ x: 30, y: 100 }, { width: 100, height: 40 }, 60).left, 56);
});

/** @type {(path: string) => number[][]} corners of a path of straight lines */
function corners(path) {
  let at = [0, 0];
  return [...path.matchAll(/([MLHV])([-\d. ]*)/g)].map(([, letter, text]) => {
    const numbers = text.trim().split(" ").map(Number);
    if (letter === "H") at = [numbers[0], at[1]];
    else if (letter === "V") at = [at[0], numbers[0]];
    else at = numbers;
    return at;
  });
}

/** @type {(points: number[][]) => number} Gauss's area formula */
const area = (points) => Math.abs(points.reduce((sum, [x, y], i) => {
  const [nextX, nextY] = points[(i + 1) % points.length];
  return sum + x * nextY - nextX * y;
}, 0)) / 2;

for (const [marker, count] of [["square", 4], ["diamond", 4], ["triangle", 3]]) {
  test(`a ${marker} has ${count} corners and about the area of the circle`, () => {
    const points = corners(geometry.markerPath(marker, 10));
    assert.equal(points.length, count);
    assert.ok(Math.abs(area(points) / (Math.PI * 100) - 1) < 0.31, String(area(points)));
  });
}

test("the point of a triangle is up, and its base is level", () => {
  const [top, right, left] = corners(geometry.markerPath("triangle", 10));
  near([...top, ...right, ...left], [0, -13, 12.74, 9.1, -12.74, 9.1]);
});

test("any other marker is a circle through both ends of its diameter", () => {
  assert.equal(geometry.markerPath("circle", 6), "M-6 0a6 6 0 1 0 12 0a6 6 0 1 0 -12 0Z");
});

for (const [pixelsPerMetre, most, wanted] of [[1, 130, 100], [1, 99, 50], [1, 20, 20], [1, 19, 10], [130, 130, 1], [0.01, 130, 10000], [13, 13, 1], [40, 13, 0.2]]) {
  test(`at ${pixelsPerMetre} pixels a metre, ${most} pixels show ${wanted} m`, () => {
    assert.equal(geometry.niceLength(pixelsPerMetre, most), wanted);
  });
}

test("the hull of a square leaves out what is inside and on its edges", () => {
  const square = [[0, 0], [2, 0], [2, 2], [0, 2], [1, 1], [1, 0]].map(([x, y]) => ({ x, y }));
  const hull = geometry.convexHull(square).map(({ x, y }) => `${x},${y}`);
  assert.deepEqual(hull.sort(), ["0,0", "0,2", "2,0", "2,2"]);
});

test("a hull turns one way, and the points given stay in their order", () => {
  const points = [[5, 1], [0, 0], [4, 4], [1, 5], [2, 2]].map(([x, y]) => ({ x, y }));
  const before = structuredClone(points);
  const hull = geometry.convexHull(points);
  assert.equal(hull.length, 4);
  hull.forEach((o, i) => {
    const [a, b] = [hull[(i + 1) % 4], hull[(i + 2) % 4]];
    assert.ok((a.x - o.x) * (b.y - o.y) - (a.y - o.y) * (b.x - o.x) > 0);
  });
  assert.deepEqual(points, before);
});

test("devices in one column have a hull of its ends", () => {
  const hull = geometry.convexHull([7, 1, 4].map((y) => ({ x: 3, y })));
  assert.deepEqual(hull, [{ x: 3, y: 1 }, { x: 3, y: 7 }]);
});

test("two devices have a line for a hull", () => {
  assert.equal(geometry.hullPath([{ x: 4, y: 1 }, { x: 2, y: 3 }]), "M2 3L4 1Z");
});

test("grid lines go through the origin and stay on the map", () => {
  const lines = geometry.gridOf({ width: 100, height: 50 }, { x: 230, y: -15 }, 40);
  assert.deepEqual(lines.filter((l) => l.x1 === l.x2).map((l) => l.x1), [30, 70]);
  assert.deepEqual(lines.filter((l) => l.y1 === l.y2).map((l) => l.y1), [-15, 25]);
  assert.deepEqual(lines[0], { x1: 30, y1: 0, x2: 30, y2: 50 });
});
