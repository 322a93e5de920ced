// The map editor. Edits are applied here at once and sent to Python as numbered operations in a
// state value until they are acknowledged, so that none is lost while the script is busy.
import { build, fillLegend, fillTasks, TOOLS } from "./editor_bars.js";
import { Hand, ZOOM } from "./editor_hand.js";
import { onKey } from "./editor_keys.js";
import { Scene } from "./editor_scene.js";
import { html, overTime, set, still } from "./mesh_draw.js";
import { applyEdit, mergeWords, movesBy, Outbox, pairKey } from "./mesh_edits.js";
import {
  apart, clamp, deviceRadius, fitted, hasMoved, niceLength, onTheWay, snapped, toMetres, toPixels,
  WHOLE, zoomed,
} from "./mesh_geometry.js";
import { linkAt } from "./mesh_links.js";

/**
 * @typedef {import("./editor_bars.js").Tool} Tool
 * @typedef {import("./mesh_edits.js").Device} Device
 * @typedef {import("./mesh_edits.js").Edit} Edit
 * @typedef {import("./mesh_edits.js").Link} Link
 * @typedef {import("./mesh_edits.js").Move} Move
 * @typedef {import("./mesh_geometry.js").Base} Base
 * @typedef {import("./mesh_geometry.js").Point} Point
 *
 * What Python sends of the drawing.
 * @typedef {object} EditorMessage
 * @property {number} rev changes with the drawing
 * @property {Record<string, number>} ack by client: number of the last edit that Python has
 * @property {Device[]} devices
 * @property {[string, string][]} links
 * @property {Record<string, import("./mesh_draw.js").TaskLook>} tasks
 * @property {import("./mesh_links.js").LinkCurve | null} curve
 * @property {import("./mesh_links.js").LinkScale} look
 * @property {string[][]} clusters members of those of two or more
 * @property {import("./mesh_edits.js").Merge[]} steps of a clustering
 * @property {number} height in pixels
 * @property {string} fit another value shows the whole mesh again
 * @property {boolean} can_undo
 * @property {boolean} can_redo
 */

/** @type {WeakMap<Element, Editor>} */
const editors = new WeakMap();
const PAD = 34;
const EXTENT = { least: 10, thin: 0, air: 1.1 };
const MOVE_MS = 250;

export class Editor {
  /**
   * @param {Element} host
   * @param {Component<EditorMessage>} component
   */
  constructor(host, component) {
    this.component = component;
    this.root = html("div", "mt-editor", host);
    this.root.dataset.testid = "topology-editor";
    this.outbox = new Outbox(crypto.randomUUID());
    /** @type {Map<string, Device>} */
    this.nodes = new Map();
    /** @type {Map<string, Link>} */
    this.links = new Map();
    /** @type {Set<string>} */
    this.selected = new Set();
    /** @type {string | null} the device where Enter has begun a link */
    this.linking = null;
    this.task = "";
    /** @type {Tool} */
    this.tool = "select";
    /** @type {Map<string, Point> | null} places on their way to those of the devices */
    this.shown = null;
    this.size = { width: 0, height: 0 };
    /** @type {Base | null} there as soon as the map has a width */
    this.base = null;
    this.baseWidth = 0;
    this.view = WHOLE;
    this.radius = 12;
    /** @type {string | null} */
    this.fitted = null;
    this.snap = true;
    this.merges = "";
    /** @type {number | null} how many merges are shown */
    this.step = null;
    this.player = 0;
    this.moving = 0;
    this.bars = build(this.root, {
      setTool: (tool) => this.setTool(tool),
      undo: () => this.undo(),
      redo: () => this.redo(),
      zoom: (factor) => this.zoom(factor),
      fit: () => this.fit(),
      toggleSnap: () => this.toggleSnap(),
      step: (by) => this.toStep((this.step ?? 0) + by),
      play: () => this.play(),
    });
    this.setTool("select");
    this.hand = new Hand(this);
    this.scene = new Scene(this);
    this.root.addEventListener("keydown", (event) => onKey(this, event));
    this.watcher = new ResizeObserver(() => this.layout());
    this.watcher.observe(this.bars.stage);
  }

  get data() { return this.component.data; }

  // ---------- data from Python, edits to it ----------
  /** @param {Component<EditorMessage>} component */
  update(component) {
    this.component = component;
    const { data } = component;
    const before = new Map([...this.nodes].map(([id, n]) => [id, { x: n.x, y: n.y }]));
    const merges = JSON.stringify(data.steps);
    if (merges !== this.merges) this.step = data.steps.length ? 0 : null;
    this.merges = merges;
    this.receive(data);
    if (data.fit !== this.fitted) { this.fitted = data.fit; this.base = null; this.view = WHOLE; }
    this.chrome();
    this.layout();
    const busy = this.hand.drag || this.outbox.pending.length;
    if (hasMoved(before, this.nodes, 0.2) && !busy && !still()) this.glide(before);
    this.mark();
  }

  /**
   * The drawing as Python has it, and on top of it what Python does not have yet.
   * @param {EditorMessage} data
   */
  receive(data) {
    this.outbox.forget(data.ack);
    this.nodes = new Map(data.devices.map((d) => [d.id, { ...d }]));
    this.links = new Map(data.links.map(([a, b]) => [pairKey(a, b), { a, b }]));
    for (const edit of this.outbox.pending) this.apply(edit);
    const { drag } = this.hand;
    if (drag?.kind === "move") this.hand.carry(drag, drag.by);
    for (const id of this.selected) if (!this.nodes.has(id)) this.selected.delete(id);
    if (!(this.task in data.tasks)) this.task = Object.keys(data.tasks)[0];
  }

  /**
   * @param {Edit} edit
   * @param {string} words for those who do not see it
   */
  edit(edit, words) {
    const { drag } = this.hand;
    this.outbox.add(edit, drag && "stroke" in drag ? drag.stroke : null);
    this.apply(edit);
    this.say(words);
    this.draw();
    this.mark();
    this.component.setStateValue("edits", this.outbox.message());
  }

  /** @param {Edit} edit */
  apply(edit) {
    applyEdit(edit, this.nodes, this.links);
    if (edit.op === "remove") for (const id of edit.ids) if (!this.nodes.has(id)) this.selected.delete(id);
  }

  mark() {
    this.root.dataset.pending = String(this.outbox.pending.length);
    this.root.dataset.rev = String(this.data.rev);
    this.bars.summary.textContent = `${this.nodes.size} devices · ${this.links.size} links`;
  }

  /** @param {string} words */
  say(words) { if (words) this.bars.said.textContent = words; }

  /** @param {string} id */
  name(id) { return `device ${[...this.nodes.keys()].indexOf(id)}`; }

  /** @param {string} id */
  node(id) {
    const node = this.nodes.get(id);
    if (!node) throw new Error(`The drawing has no device ${id}`);
    return node;
  }

  undo() { this.edit({ op: "undo" }, "Undone"); }
  redo() { this.edit({ op: "redo" }, "Done again"); }

  /** @param {Point} at */
  addDevice(at) {
    const id = this.outbox.newKey();
    this.selected = new Set([id]);
    this.edit({ op: "add", id, ...snapped(at, this.snapStep), task: this.task }, `Device added at ${at.x.toFixed(1)} m, ${at.y.toFixed(1)} m`);
  }

  /**
   * @param {string} a
   * @param {string} b
   */
  link(a, b) {
    if (a === b || this.links.has(pairKey(a, b))) return;
    this.edit({ op: "link", a, b }, `Link between ${this.name(a)} and ${this.name(b)}`);
  }

  /** @param {string[]} ids */
  remove(ids) {
    if (!ids.length) return;
    if (ids.length >= this.nodes.size) this.say("One device stays: a mesh has one at least");
    else this.edit({ op: "remove", ids }, `${ids.length} devices removed`);
  }

  /**
   * Remove the device or the link that an eraser meets.
   * @param {string | null} node
   * @param {string | null} link
   */
  erase(node, link) {
    const linked = this.links.get(link ?? "");
    if (node) this.remove([node]);
    else if (linked) {
      const { a, b } = linked;
      this.edit({ op: "unlink", links: [[a, b]] }, `Link between ${this.name(a)} and ${this.name(b)} removed`);
    }
  }

  /** @param {string[]} ids */
  paint(ids) {
    const { task } = this;
    const painted = ids.filter((id) => this.nodes.get(id)?.task !== task);
    if (painted.length) this.edit({ op: "task", ids: painted, task }, `${this.data.tasks[task].title} for ${painted.length} devices`);
  }

  /** @param {string[]} ids devices that get the task after the chosen one */
  nextTask(ids) {
    const names = Object.keys(this.data.tasks);
    this.task = names[(names.indexOf(this.task) + 1) % names.length];
    this.paint(ids);
    this.chrome();
  }

  /** @param {Move[]} moves */
  move(moves) {
    if (moves.length) this.edit({ op: "move", moves }, `Moved to ${moves[0][1]} m, ${moves[0][2]} m`);
  }

  /**
   * @param {number} x
   * @param {number} y
   */
  nudge(x, y) { this.move(movesBy(this.selected, this.nodes, { x, y })); }

  /**
   * Draw devices elsewhere without an edit.
   * @param {Move[]} moves
   */
  put(moves) { applyEdit({ op: "move", moves }, this.nodes, this.links); }

  /** @param {string} id */
  toggle(id) {
    if (!this.selected.delete(id)) this.selected.add(id);
  }

  selectAll() {
    this.selected = new Set(this.nodes.keys());
    this.draw();
  }

  letGo() {
    this.hand.letGo();
    this.selected.clear();
    this.linking = null;
    this.setTool("select");
    this.draw();
  }

  // ---------- metres and pixels ----------
  layout() {
    const width = this.bars.stage.clientWidth;
    if (!width) return;
    const { height } = this.data;
    this.size = { width, height };
    set(this.bars.svg, { width, height, viewBox: `0 0 ${width} ${height}` });
    if (!this.base || this.baseWidth !== width) {
      const room = { left: PAD, top: PAD, width: width - 2 * PAD, height: height - 2 * PAD };
      this.base = fitted([...this.nodes.values()], room, EXTENT);
      this.baseWidth = width;
    }
    this.radius = deviceRadius(this.nodes.size, 7);
    this.draw();
  }

  get drawn() { return this.base ?? { scale: 1, x: 0, y: 0 }; }
  get scale() { return this.drawn.scale * this.view.k; }
  get snapStep() { return Math.max(0.1, this.snap ? niceLength(this.scale, 13) : 0.1); }

  /** @param {Point} p */
  pixels(p) { return toPixels(this.drawn, this.view, p); }

  /** @param {Point} p */
  metres(p) { return toMetres(this.drawn, this.view, p); }

  /** @param {string} id */
  place(id) { return this.pixels(this.shown?.get(id) ?? this.node(id)); }

  /**
   * @param {number} factor
   * @param {Point} [at]
   */
  zoom(factor, at = { x: this.size.width / 2, y: this.size.height / 2 }) {
    this.view = zoomed(this.view, factor, at, ZOOM);
    this.draw();
  }

  fit() { this.base = null; this.view = WHOLE; this.layout(); }

  /** @param {Map<string, Point>} before */
  glide(before) {
    const run = ++this.moving;
    overTime(MOVE_MS, (share) => {
      if (run !== this.moving) return false;
      this.shown = share === 1 ? null : onTheWay(before, this.nodes, share);
      this.draw();
      return true;
    });
  }

  draw() {
    if (this.base) this.scene.draw();
  }

  /** @param {Link} link */
  quality(link) {
    const distance = apart(this.node(link.a), this.node(link.b));
    return { distance, ...linkAt(this.data.curve, distance) ?? { snr: null, rate: null, lost: 0 } };
  }

  // ---------- bars ----------
  chrome() {
    const { bars, data } = this;
    bars.undo.disabled = !data.can_undo;
    bars.redo.disabled = !data.can_redo;
    bars.snap.setAttribute("aria-pressed", String(this.snap));
    fillTasks(bars.tasks, data.tasks, this.task, (task) => this.choose(task));
    bars.steps.hidden = this.step === null;
    if (this.step !== null) this.stepText(this.step);
    fillLegend(bars.legend, data.curve ? data.look : null);
  }

  /** @param {string} task from now on, and of the selected devices */
  choose(task) {
    this.task = task;
    this.paint([...this.selected]);
    this.chrome();
  }

  /** @param {Tool} tool */
  setTool(tool) {
    this.tool = tool;
    this.root.dataset.tool = tool;
    for (const [name, b] of this.bars.toolButtons) b.setAttribute("aria-pressed", String(name === tool));
    this.bars.hint.textContent = TOOLS.find(([name]) => name === tool)?.[3] ?? "";
  }

  toggleSnap() { this.snap = !this.snap; this.chrome(); this.say(this.snap ? "Snap on" : "Snap off"); }

  // ---------- steps of the clustering ----------
  /** @param {number} step */
  toStep(step) {
    this.step = clamp(step, 0, this.data.steps.length);
    this.stepText(this.step);
    this.draw();
  }

  /** @param {number} step */
  stepText(step) {
    this.bars.stepWords.textContent = mergeWords(this.data.steps, step);
    this.root.dataset.step = String(step);
  }

  play() {
    if (this.step === this.data.steps.length) this.toStep(0);
    clearInterval(this.player);
    this.player = setInterval(() => {
      if (this.step === null || this.step >= this.data.steps.length) clearInterval(this.player);
      else this.toStep(this.step + 1);
    }, 700);
  }

  dispose() {
    this.watcher.disconnect();
    clearInterval(this.player);
    this.moving++;
    this.root.remove();
  }
}

/** @param {Component<EditorMessage>} component */
export function draw(component) {
  const host = component.parentElement.querySelector(".mt-editor-host");
  if (!host) return;
  let editor = editors.get(host);
  if (!editor) {
    host.replaceChildren();
    editor = new Editor(host, component);
    editors.set(host, editor);
  }
  editor.update(component);
}

/** @param {Component<EditorMessage>} component */
export function dispose({ parentElement }) {
  const host = parentElement.querySelector(".mt-editor-host");
  if (!host) return;
  editors.get(host)?.dispose();
  editors.delete(host);
}
