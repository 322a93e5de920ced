import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";

import {
  applyEdit, clustersAfter, mergeWords, movesBy, movesSince, Outbox, pairKey,
} from "../../dashboard/static/mesh_edits.js";

let devices = new Map();
let links = new Map();

beforeEach(() => {
  devices = new Map(["0", "1", "2"].map((id, i) => [id, { id, x: 10 * i, y: 0, task: "sum" }]));
  links = new Map([["0", "1"], ["1", "2"]].map(([a, b]) => [pairKey(a, b), { a, b }]));
});

const apply = (edit) => applyEdit(edit, devices, links);

test("a link has one key, whichever end is named first", () => {
  assert.equal(pairKey("b", "a"), pairKey("a", "b"));
  assert.notEqual(pairKey("1", "23"), pairKey("12", "3"));
});

test("a device is added with its place and task, and comes last", () => {
  apply({ op: "add", id: "new", x: 1, y: 2, task: "sort", seq: 7 });
  assert.deepEqual([...devices.keys()], ["0", "1", "2", "new"]);
  assert.deepEqual(devices.get("new"), { id: "new", x: 1, y: 2, task: "sort" });
});

test("devices move; one that has gone is not brought back", () => {
  apply({ op: "move", moves: [["1", 5, 6], ["gone", 1, 1]] });
  assert.deepEqual(devices.get("1"), { id: "1", x: 5, y: 6, task: "sum" });
  assert.equal(devices.size, 3);
});

test("painted devices change their task and keep their place", () => {
  apply({ op: "task", ids: ["0", "gone"], task: "sort" });
  assert.deepEqual(devices.get("0"), { id: "0", x: 0, y: 0, task: "sort" });
  assert.equal(devices.get("1").task, "sum");
});

test("linking twice, or from the other end, makes one link", () => {
  apply({ op: "link", a: "2", b: "0" });
  apply({ op: "link", a: "0", b: "2" });
  assert.equal(links.size, 3);
});

test("a link is removed from either end", () => {
  apply({ op: "unlink", links: [["1", "0"]] });
  assert.deepEqual([...links.keys()], ["1|2"]);
});

test("a removed device takes its links with it", () => {
  apply({ op: "remove", ids: ["0"] });
  assert.deepEqual([...devices.keys()], ["1", "2"]);
  assert.deepEqual([...links.keys()], ["1|2"]);
});

test("the last devices cannot be removed", () => {
  apply({ op: "remove", ids: ["0", "1", "2"] });
  assert.equal(devices.size, 3);
  assert.equal(links.size, 2);
});

test("undo and redo are left to Python", () => {
  const before = structuredClone([devices, links]);
  apply({ op: "undo" });
  apply({ op: "redo" });
  assert.deepEqual([devices, links], before);
});

test("edits on their way are numbered in order", () => {
  const outbox = new Outbox("abc");
  outbox.add({ op: "undo" }, null);
  outbox.add({ op: "redo" }, "s");
  assert.deepEqual(outbox.message(), {
    client: "abc", ops: [{ op: "undo", seq: 1 }, { op: "redo", seq: 2, stroke: "s" }],
  });
});

test("what Python acknowledges is forgotten, and no number is given twice", () => {
  const outbox = new Outbox("abc");
  for (let i = 0; i < 3; i++) outbox.add({ op: "undo" }, null);
  outbox.forget({ abc: 2, other: 9 });
  assert.deepEqual(outbox.pending.map((edit) => edit.seq), [3]);
  outbox.forget({ abc: 3 });
  outbox.add({ op: "undo" }, null);
  assert.deepEqual(outbox.pending.map((edit) => edit.seq), [4]);
});

test("what another client sent is not one's own", () => {
  const outbox = new Outbox("abc");
  outbox.add({ op: "undo" }, null);
  outbox.forget({ other: 5 });
  assert.equal(outbox.pending.length, 1);
});

test("a message stays as it was sent", () => {
  const outbox = new Outbox("abc");
  outbox.add({ op: "undo" }, null);
  const sent = outbox.message();
  outbox.add({ op: "redo" }, null);
  assert.equal(sent.ops.length, 1);
});

test("keys of new devices differ, and strokes between edits", () => {
  const outbox = new Outbox("01234567-89ab");
  assert.deepEqual([outbox.newKey(), outbox.newKey()], ["01234567-1", "01234567-2"]);
  const first = outbox.newStroke();
  outbox.add({ op: "undo" }, first);
  assert.notEqual(outbox.newStroke(), first);
});

test("devices are moved by the same way, in whole decimetres", () => {
  assert.deepEqual(movesBy(["0", "2", "gone"], devices, { x: 0.26, y: -1 }), [["0", 0.3, -1], ["2", 20.3, -1]]);
});

test("of dragged devices those count that are elsewhere now", () => {
  const start = new Map([["0", { x: 0, y: 0 }], ["1", { x: 10, y: 3 }], ["2", { x: 19, y: 0 }], ["gone", { x: 1, y: 1 }]]);
  assert.deepEqual(movesSince(start, devices), [["1", 10, 0], ["2", 20, 0]]);
});

const MERGES = [
  { left: [0], right: [2], collision: 0.125 },
  { left: [1], right: [3], collision: 0.25 },
  { left: [0, 2], right: [1, 3], collision: 0.5 },
];

for (const [step, wanted] of [[0, []], [1, [["a", "c"]]], [2, [["a", "c"], ["b", "d"]]], [3, [["a", "c", "b", "d"]]]]) {
  test(`after ${step} merges the clusters are ${JSON.stringify(wanted)}`, () => {
    assert.deepEqual(clustersAfter(["a", "b", "c", "d"], MERGES, step), wanted);
  });
}

test("a merge is told with its devices and how often they collide", () => {
  assert.equal(mergeWords(MERGES, 3), "Merge 3 of 3: 0, 2 and 1, 3, collision 50.0 %");
  assert.equal(mergeWords(MERGES, 0), "Merge 0 of 3: every device for itself");
});
