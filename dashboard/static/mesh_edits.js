// A mesh under the hand: devices, links, and what the numbered edits do to them. Pure.
// dashboard/design/drawing.py applies the same edits for good; undo and redo are known there alone.
import { tenth } from "./mesh_geometry.js";

/**
 * @typedef {import("./mesh_geometry.js").Point} Point
 *
 * A device: its key, its place in metres, its task.
 * @typedef {{ id: string, x: number, y: number, task: string }} Device
 *
 * @typedef {{ a: string, b: string }} Link
 * @typedef {[id: string, x: number, y: number]} Move
 *
 * What a hand can do to a mesh.
 * @typedef {(
 *   | { op: "add", id: string, x: number, y: number, task: string }
 *   | { op: "move", moves: Move[] }
 *   | { op: "task", ids: string[], task: string }
 *   | { op: "link", a: string, b: string }
 *   | { op: "unlink", links: [string, string][] }
 *   | { op: "remove", ids: string[] }
 *   | { op: "undo" }
 *   | { op: "redo" }
 * )} Edit
 *
 * An edit on its way to Python; edits of one stroke are undone in one step.
 * @typedef {Edit & { seq: number, stroke?: string }} SentEdit
 *
 * One step of the clustering: the devices with these numbers became one cluster.
 * @typedef {{ left: number[], right: number[], collision: number }} Merge
 */

/** @type {(a: string, b: string) => string} */
export const pairKey = (a, b) => (a < b ? `${a}|${b}` : `${b}|${a}`);

/**
 * Change devices and links by one edit. What is out of date changes nothing.
 * @param {Edit} edit
 * @param {Map<string, Device>} devices
 * @param {Map<string, Link>} links
 */
export function applyEdit(edit, devices, links) {
  if (edit.op === "add") devices.set(edit.id, { id: edit.id, x: edit.x, y: edit.y, task: edit.task });
  else if (edit.op === "move") for (const [id, x, y] of edit.moves) Object.assign(devices.get(id) ?? {}, { x, y });
  else if (edit.op === "task") for (const id of edit.ids) Object.assign(devices.get(id) ?? {}, { task: edit.task });
  else if (edit.op === "link") links.set(pairKey(edit.a, edit.b), { a: edit.a, b: edit.b });
  else if (edit.op === "unlink") for (const [a, b] of edit.links) links.delete(pairKey(a, b));
  else if (edit.op === "remove" && edit.ids.length < devices.size) {
    for (const id of edit.ids) devices.delete(id);
    for (const [key, l] of links) if (!devices.has(l.a) || !devices.has(l.b)) links.delete(key);
  }
}

/** The edits of one client that are on their way to Python. */
export class Outbox {
  /** @param {string} client */
  constructor(client) {
    this.client = client;
    /** @type {SentEdit[]} */
    this.pending = [];
    this.sent = 0;
    this.made = 0;
  }

  /**
   * Number an edit; those of one stroke of a brush are undone in one step.
   * @param {Edit} edit
   * @param {string | null} stroke
   */
  add(edit, stroke) {
    this.pending.push({ ...edit, seq: ++this.sent, ...(stroke ? { stroke } : {}) });
  }

  /**
   * Drop what Python has.
   * @param {Record<string, number>} acknowledged by client, the number of the last one that it has
   */
  forget(acknowledged) {
    this.pending = this.pending.filter((edit) => edit.seq > (acknowledged[this.client] ?? 0));
  }

  message() { return { client: this.client, ops: [...this.pending] }; }

  /** A key for a new device that no other client gives. */
  newKey() { return `${this.client.slice(0, 8)}-${++this.made}`; }

  /** A name for the stroke that begins now. */
  newStroke() { return `${this.client.slice(0, 8)}-${this.sent}`; }
}

/**
 * Devices moved by the same way, in whole decimetres.
 * @param {Iterable<string>} ids
 * @param {Map<string, Point>} from
 * @param {Point} by
 * @returns {Move[]}
 */
export function movesBy(ids, from, by) {
  return [...ids].flatMap((id) => {
    const place = from.get(id);
    return place ? [/** @type {Move} */ ([id, tenth(place.x + by.x), tenth(place.y + by.y)])] : [];
  });
}

/**
 * Where devices are that were dragged; those that are back, or gone, are left out.
 * @param {Map<string, Point>} start
 * @param {Map<string, Point>} now
 * @returns {Move[]}
 */
export function movesSince(start, now) {
  return [...start].flatMap(([id, from]) => {
    const place = now.get(id);
    const moved = place && (place.x !== from.x || place.y !== from.y);
    return moved ? [/** @type {Move} */ ([id, place.x, place.y])] : [];
  });
}

/**
 * Clusters after the first `step` merges, those of two devices and more.
 * @param {string[]} ids keys of the devices in the order of their numbers
 * @param {Merge[]} merges
 * @param {number} step
 */
export function clustersAfter(ids, merges, step) {
  let groups = ids.map((id) => [id]);
  for (const merge of merges.slice(0, step)) {
    const both = [...merge.left, ...merge.right].map((number) => ids[number]);
    groups = groups.filter((group) => !both.includes(group[0]));
    groups.push(both);
  }
  return groups.filter((group) => group.length > 1);
}

/**
 * What a merge says of itself.
 * @param {Merge[]} merges
 * @param {number} step how many of them are done
 */
export function mergeWords(merges, step) {
  const merge = step ? merges[step - 1] : undefined;
  return `Merge ${step} of ${merges.length}` + (merge
    ? `: ${merge.left.join(", ")} and ${merge.right.join(", ")}, collision ${(100 * merge.collision).toFixed(1)} %`
    : ": every device for itself");
}
