// The network map: devices in metres, links by signal-to-noise ratio, messages of one round.
// Plain SVG, drawn by keyed reconciliation, so that nothing is rebuilt when data arrive.
// Half of a link belongs to the message that the device at that end received.
import { fillLegend } from "./map_legend.js";
import {
  button, drawDevice, drawHull, gridLines, hit, html, layersOf, make, onWheel, overTime, set, still, tell,
  within,
} from "./mesh_draw.js";
import {
  clamp, deviceRadius, fitted, hasMoved, labelPlace, onTheWay, toPixels, WHOLE, zoomed,
} from "./mesh_geometry.js";

/**
 * @typedef {import("./mesh_draw.js").TaskLook} TaskLook
 * @typedef {import("./mesh_geometry.js").Base} Base
 * @typedef {import("./mesh_geometry.js").Point} Point
 * @typedef {import("./mesh_geometry.js").View} View
 *
 * @typedef {object} MapNode
 * @property {string} id its number
 * @property {number} x metres to the east
 * @property {number} y metres to the north
 * @property {string} task
 * @property {number | null} ring share of the ring around it that is full
 * @property {string} label
 * @property {string[]} tip
 *
 * The message that one end of a link received.
 * @typedef {object} HalfLink
 * @property {string} color
 * @property {number} width
 * @property {boolean} lost
 * @property {boolean} flow whether anything was sent
 * @property {string[]} tip
 *
 * @typedef {{ a: string, b: string, to_a: HalfLink | null, to_b: HalfLink | null }} MapLink
 *
 * What Python sends of a round.
 * @typedef {object} MapMessage
 * @property {string} rev changes with the rest
 * @property {number} height in pixels
 * @property {MapNode[]} nodes
 * @property {MapLink[]} links
 * @property {Record<string, TaskLook>} tasks
 * @property {import("./map_legend.js").Snr | null} snr the colours of links
 * @property {string} summary
 * @property {{ name: string, members: string[] }[]} [hulls] clusters of two or more
 * @property {boolean} [quiet] whether no dots run along the links
 *
 * @typedef {{ line: SVGElement, flow: SVGElement, hit: SVGElement }} HalfParts
 * @typedef {{ group: SVGElement, a: HalfParts, b: HalfParts }} LinkParts
 * @typedef {Record<"group" | "back" | "track" | "ring" | "body" | "number" | "label", SVGElement>} NodeParts
 */

/** @type {WeakMap<Element, NetworkMap>} */
const maps = new WeakMap();
const PAD = { left: 26, right: 26, top: 26, bottom: 40 };
const EXTENT = { least: 1, thin: 0.02, air: 1.12 }; // rings and labels stand out over the devices
/** @type {[number, number]} */
const ZOOM = [0.5, 12];
const MOVE_MS = 250;

class NetworkMap {
  /**
   * @param {Element} host
   * @param {MapMessage} data
   */
  constructor(host, data) {
    this.data = data;
    this.root = html("div", "mt-map", host);
    this.root.dataset.testid = "network-map";
    const bar = html("div", "bar", this.root);
    this.summary = html("span", "summary", bar);
    const zoom = html("div", "zoom", bar);
    button(zoom, "−", "Zoom out", () => this.zoom(1 / 1.4));
    button(zoom, "+", "Zoom in", () => this.zoom(1.4));
    button(zoom, "Fit", "Show the whole mesh", () => this.fit());
    this.stage = html("div", "stage", this.root);
    this.svg = make("svg", { role: "group" }, this.stage);
    this.layers = layersOf(/** @type {const} */ (["grid", "hulls", "links", "draft", "nodes", "labels", "scale"]), this.svg);
    this.tip = html("div", "tip", this.stage);
    this.tip.hidden = true;
    this.legend = html("div", "legend", this.root);
    this.legendSignature = "";
    /** @type {Map<string, MapNode>} */
    this.nodes = new Map();
    /** @type {Map<string, MapLink>} */
    this.links = new Map();
    /** @type {Map<string, NodeParts>} */
    this.nodeParts = new Map();
    /** @type {Map<string, LinkParts>} */
    this.linkParts = new Map();
    /** @type {Map<string, Point> | null} places on their way to those of the nodes */
    this.shown = null;
    this.size = { width: 0, height: 0 };
    /** @type {Base | null} there as soon as the map has a width */
    this.base = null;
    this.view = WHOLE;
    /** @type {(Point & { view: View }) | null} where the hand took hold of the map */
    this.pan = null;
    this.radius = 12;
    this.moving = 0;
    this.listen();
    this.watcher = new ResizeObserver(() => this.layout());
    this.watcher.observe(this.stage);
  }

  /** @param {MapMessage} data */
  update(data) {
    const before = this.nodes;
    this.data = data;
    this.nodes = new Map(data.nodes.map((node) => [node.id, node]));
    this.links = new Map(data.links.map((link) => [`${link.a}|${link.b}`, link]));
    this.svg.setAttribute("aria-label", `Map of the mesh in metres: ${data.summary}`);
    this.summary.textContent = data.summary;
    this.drawLegend();
    this.layout();
    if (hasMoved(before, this.nodes, 0.05) && !still()) this.glide(before);
    this.root.dataset.rev = data.rev; // tests wait for this
  }

  dispose() {
    this.watcher.disconnect();
    this.moving++;
    this.root.remove();
  }

  // ---------- metres and pixels ----------
  layout() {
    const width = this.stage.clientWidth;
    if (!width) return;
    const { height, nodes } = this.data;
    this.size = { width, height };
    const room = {
      left: PAD.left, width: width - PAD.left - PAD.right,
      top: PAD.top, height: height - PAD.top - PAD.bottom,
    };
    this.base = fitted(nodes, room, EXTENT);
    set(this.svg, { width, height, viewBox: `0 0 ${width} ${height}` });
    this.radius = deviceRadius(nodes.length, 6.5);
    if (width < 420) this.radius = Math.min(this.radius, 9);
    this.draw();
  }

  /** @param {string} id */
  node(id) {
    const node = this.nodes.get(id);
    if (!node) throw new Error(`The map has no device ${id}`);
    return node;
  }

  /**
   * Where a device is on the screen.
   * @param {string} id
   */
  place(id) {
    return this.pixels(this.shown?.get(id) ?? this.node(id));
  }

  /** @param {Point} point in metres */
  pixels(point) {
    return toPixels(this.base ?? { scale: 1, x: 0, y: 0 }, this.view, point);
  }

  /**
   * @param {number} factor
   * @param {Point} [at]
   */
  zoom(factor, at = { x: this.size.width / 2, y: this.size.height / 2 }) {
    this.view = zoomed(this.view, factor, at, ZOOM);
    this.draw();
  }

  fit() {
    this.view = WHOLE;
    this.draw();
  }

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

  // ---------- drawing ----------
  draw() {
    if (!this.base) return;
    const { grid, scale } = this.layers;
    gridLines(grid, scale, this.size, this.pixels({ x: 0, y: 0 }), this.base.scale * this.view.k);
    this.drawHulls();
    for (const [key, parts] of this.linkParts) {
      if (!this.links.has(key)) { parts.group.remove(); this.linkParts.delete(key); }
    }
    for (const [key, link] of this.links) this.drawLink(key, link);
    for (const [id, parts] of this.nodeParts) {
      if (!this.nodes.has(id)) { parts.group.remove(); parts.label.remove(); this.nodeParts.delete(id); }
    }
    for (const [id, node] of this.nodes) this.drawNode(id, node);
  }

  drawHulls() {
    this.layers.hulls.replaceChildren();
    for (const { name, members } of this.data.hulls ?? []) {
      drawHull(this.layers.hulls, name, members.map((id) => this.place(id)), this.radius * 4.6);
    }
  }

  /** @param {string} key */
  newLink(key) {
    const group = make("g", { class: "link", "data-link": key }, this.layers.links);
    /** @type {(end: string) => HalfParts} */
    const half = (end) => ({
      line: make("line", { class: "half" }, group),
      flow: make("line", { class: "flow" }, group),
      hit: make("line", { class: "hit", "data-half": end }, group),
    });
    const parts = { group, a: half("a"), b: half("b") };
    this.linkParts.set(key, parts);
    return parts;
  }

  /**
   * @param {string} key
   * @param {MapLink} link
   */
  drawLink(key, link) {
    const parts = this.linkParts.get(key) ?? this.newLink(key);
    const [p, q] = [this.place(link.a), this.place(link.b)];
    this.drawHalf(parts.a, link.to_a, p, q);
    this.drawHalf(parts.b, link.to_b, q, p);
  }

  /**
   * @param {HalfParts} parts
   * @param {HalfLink | null} half
   * @param {Point} here the end that received
   * @param {Point} far the end that sent
   */
  drawHalf(parts, half, here, far) {
    const at = { x1: (here.x + far.x) / 2, y1: (here.y + far.y) / 2, x2: here.x, y2: here.y };
    set(parts.hit, at);
    set(parts.line, { ...at, visibility: half ? "visible" : "hidden" });
    const flows = half?.flow && !half.lost && !this.data.quiet;
    // From the other device to this one: the dots run the way the message went.
    const path = { x1: far.x, y1: far.y, x2: here.x, y2: here.y };
    set(parts.flow, { ...path, visibility: flows ? "visible" : "hidden" });
    if (!half) return;
    const width = half.width * clamp(this.radius / 12, 0.45, 1);
    if (flows) set(parts.flow, { "stroke-width": Math.max(2.4, width) });
    set(parts.line, {
      stroke: half.color,
      "stroke-width": width,
      "stroke-dasharray": half.lost ? "4 5" : "none",
      "data-lost": half.lost ? 1 : 0,
    });
  }

  /** @param {string} id */
  newNode(id) {
    const group = make("g", { class: "node", "data-node": id, tabindex: 0, role: "img" }, this.layers.nodes);
    const parts = {
      group,
      back: make("circle", { class: "back" }, group),
      track: make("circle", { class: "track" }, group),
      ring: make("circle", { class: "ring", transform: "rotate(-90)" }, group),
      body: make("path", { class: "body" }, group),
      number: make("text", { class: "number" }, group),
      label: make("text", { class: "label" }, this.layers.labels), // over all devices
    };
    this.nodeParts.set(id, parts);
    return parts;
  }

  /**
   * @param {string} id
   * @param {MapNode} node
   */
  drawNode(id, node) {
    const parts = this.nodeParts.get(id) ?? this.newNode(id);
    const r = this.radius;
    const ringRadius = r * 1.62;
    const look = this.data.tasks[node.task];
    const at = this.place(id);
    set(parts.group, {
      transform: `translate(${at.x},${at.y})`,
      "aria-label": node.tip.join(", "),
      "data-task": node.task,
      "data-x": node.x,
      "data-y": node.y,
    });
    drawDevice(parts, look, r, r > 7 ? id : "");
    const known = node.ring !== null;
    const round = 2 * Math.PI * ringRadius;
    for (const part of [parts.track, parts.ring]) {
      set(part, { r: ringRadius, visibility: known ? "visible" : "hidden", "stroke-width": r * 0.26 });
    }
    set(parts.back, { r: known ? ringRadius : r * 1.3 });
    set(parts.ring, { stroke: look.color, "stroke-dasharray": `${round * (node.ring ?? 0)} ${round}` });
    parts.label.textContent = r > 7 ? node.label : "";
    set(parts.label, parts.label.textContent ? labelPlace(at, ringRadius, this.others(id)) : at);
  }

  /** @param {string} id of the device that is left out */
  others(id) {
    return [...this.nodes.keys()].filter((other) => other !== id).map((other) => this.place(other));
  }

  drawLegend() {
    const { tasks, snr } = this.data;
    const signature = JSON.stringify([tasks, snr]);
    if (signature === this.legendSignature) return;
    this.legendSignature = signature;
    fillLegend(this.legend, tasks, snr);
  }

  // ---------- pointer and keyboard ----------
  listen() {
    const { svg } = this;
    svg.onpointerdown = (event) => {
      if (event.button !== 0) return;
      svg.setPointerCapture(event.pointerId);
      this.pan = { x: event.clientX, y: event.clientY, view: this.view };
      this.hide();
    };
    svg.onpointermove = (event) => this.pointed(event);
    svg.onpointerup = svg.onpointercancel = () => { this.pan = null; };
    svg.onpointerleave = () => this.hide();
    onWheel(svg, (factor, at) => this.zoom(factor, at));
    svg.addEventListener("focusin", (event) => {
      const id = hit(event.target, "node");
      if (id !== null) this.show(this.node(id).tip, this.place(id));
    });
    svg.addEventListener("focusout", () => this.hide());
  }

  /** @param {PointerEvent} event */
  pointed(event) {
    if (!this.pan) {
      this.tell(event);
      return;
    }
    const { x, y, view } = this.pan;
    this.view = { ...view, x: view.x + event.clientX - x, y: view.y + event.clientY - y };
    this.draw();
  }

  /** @param {PointerEvent} event */
  tell(event) {
    const id = hit(event.target, "node");
    if (id !== null) {
      this.show(this.node(id).tip, this.place(id));
      return;
    }
    const message = this.message(event.target);
    if (message) this.show(message.tip, within(this.svg, event));
    else this.hide();
  }

  /**
   * The message whose half of a link an event hit.
   * @param {EventTarget | null} target
   */
  message(target) {
    const link = this.links.get(hit(target, "link") ?? "");
    const half = target instanceof SVGElement && target.dataset.half;
    if (!link || !half) return null;
    return half === "a" ? link.to_a : link.to_b;
  }

  /**
   * @param {string[]} lines
   * @param {Point} at
   */
  show(lines, at) {
    tell(this.tip, lines, at, this.size.width);
  }

  hide() {
    this.tip.hidden = true;
  }
}

/** @param {Component<MapMessage>} component */
export function draw({ parentElement, data }) {
  const host = parentElement.querySelector(".mt-map-host");
  if (!host) return;
  let map = maps.get(host);
  if (!map) {
    host.replaceChildren();
    map = new NetworkMap(host, data);
    maps.set(host, map);
  }
  map.update(data);
}

/** @param {Component<MapMessage>} component */
export function dispose({ parentElement }) {
  const host = parentElement.querySelector(".mt-map-host");
  if (!host) return;
  maps.get(host)?.dispose();
  maps.delete(host);
}
