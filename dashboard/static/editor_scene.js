// The picture of the mesh in the map editor, keyed: nothing is rebuilt when data arrive.
import { drawDevice, drawHull, gridLines, make, set } from "./mesh_draw.js";
import { clustersAfter } from "./mesh_edits.js";
import { linkLook } from "./mesh_links.js";

/**
 * @typedef {import("./mesh_edits.js").Link} Link
 * @typedef {{ group: SVGElement, line: SVGElement, hit: SVGElement }} LinkParts
 * @typedef {Record<"group" | "back" | "body" | "number", SVGElement>} NodeParts
 */

export class Scene {
  /** @param {import("./editor.js").Editor} editor */
  constructor(editor) {
    this.editor = editor;
    /** @type {Map<string, NodeParts>} */
    this.nodeParts = new Map();
    /** @type {Map<string, LinkParts>} */
    this.linkParts = new Map();
  }

  draw() {
    const { links, nodes } = this.editor;
    this.drawGround();
    for (const [key, parts] of this.linkParts) if (!links.has(key)) { parts.group.remove(); this.linkParts.delete(key); }
    for (const [key, link] of links) if (nodes.has(link.a) && nodes.has(link.b)) this.drawLink(key, link);
    for (const [id, parts] of this.nodeParts) {
      if (nodes.has(id)) continue;
      // The keys must go on working after the device with the focus has gone.
      if (parts.group.contains(document.activeElement)) this.editor.bars.svg.focus({ preventScroll: true });
      parts.group.remove();
      this.nodeParts.delete(id);
    }
    this.drawNodes();
    this.drawDraft();
  }

  /** @param {Set<string>} ids devices that are dragged: only what moves is drawn */
  drawMoved(ids) {
    const { links, nodes } = this.editor;
    const numbers = [...nodes.keys()];
    for (const id of ids) this.drawNode(id, numbers.indexOf(id));
    for (const [key, link] of links) if (ids.has(link.a) || ids.has(link.b)) this.drawLink(key, link);
    this.drawDraft();
  }

  /** Grid, scale, and the outlines of clusters. */
  drawGround() {
    const { bars, data, nodes, radius, scale, size, step } = this.editor;
    gridLines(bars.layers.grid, bars.layers.scale, size, this.editor.pixels({ x: 0, y: 0 }), scale);
    bars.layers.hulls.replaceChildren();
    const all = step === null ? data.clusters : clustersAfter(data.devices.map((d) => d.id), data.steps, step);
    for (const members of all.filter((each) => each.every((id) => nodes.has(id)))) {
      drawHull(bars.layers.hulls, members.length, members.map((id) => this.editor.place(id)), radius * 4.4);
    }
  }

  /** @param {string} key */
  newLink(key) {
    const group = make("g", { class: "link", "data-link": key }, this.editor.bars.layers.links);
    const parts = { group, line: make("line", { class: "line" }, group), hit: make("line", { class: "hit" }, group) };
    this.linkParts.set(key, parts);
    return parts;
  }

  /**
   * @param {string} key
   * @param {Link} link
   */
  drawLink(key, link) {
    const parts = this.linkParts.get(key) ?? this.newLink(key);
    const [p, q] = [this.editor.place(link.a), this.editor.place(link.b)];
    const ends = { x1: p.x, y1: p.y, x2: q.x, y2: q.y };
    const quality = this.editor.quality(link);
    const look = linkLook(quality, this.editor.data.look);
    set(parts.hit, ends);
    set(parts.line, { ...ends, stroke: look.color, "stroke-width": look.width, "stroke-dasharray": look.dash, "data-snr": quality.snr === null ? "" : quality.snr.toFixed(1) });
  }

  /** @param {string} id */
  newNode(id) {
    const group = make("g", { class: "node", "data-node": id, tabindex: 0, role: "button" }, this.editor.bars.layers.nodes);
    const parts = { group, back: make("circle", { class: "back" }, group), body: make("path", { class: "body" }, group), number: make("text", { class: "number" }, group) };
    this.nodeParts.set(id, parts);
    return parts;
  }

  drawNodes() {
    [...this.editor.nodes.keys()].forEach((id, number) => this.drawNode(id, number));
  }

  /**
   * @param {string} id
   * @param {number} number
   */
  drawNode(id, number) {
    const parts = this.nodeParts.get(id) ?? this.newNode(id);
    const node = this.editor.node(id);
    const look = this.editor.data.tasks[node.task];
    const [r, at] = [this.editor.radius, this.editor.place(id)];
    const selected = this.editor.selected.has(id);
    const target = this.editor.hand.drag?.kind === "link" && this.editor.hand.drag.over === id;
    set(parts.group, {
      transform: `translate(${at.x},${at.y})`, "data-x": node.x, "data-y": node.y, "data-task": node.task,
      "aria-label": `Device ${number}, ${look.title}, at ${node.x} m east, ${node.y} m north`, "aria-pressed": selected,
      class: `node${selected ? " selected" : ""}${target ? " target" : ""}`,
    });
    set(parts.back, { r: r * 1.55 });
    drawDevice(parts, look, r, r > 6 ? String(number) : "");
  }

  /** What the hand is about to do, and how far a device reaches. */
  drawDraft() {
    const layer = this.editor.bars.layers.draft;
    layer.replaceChildren();
    const { drag } = this.editor.hand;
    if (drag?.kind === "link" && this.editor.nodes.has(drag.from)) {
      const p = this.editor.place(drag.from);
      const q = drag.over ? this.editor.place(drag.over) : drag.at;
      make("line", { x1: p.x, y1: p.y, x2: q.x, y2: q.y }, layer);
    } else if (drag?.kind === "box") {
      make("rect", { x: Math.min(drag.x, drag.to.x), y: Math.min(drag.y, drag.to.y), width: Math.abs(drag.to.x - drag.x), height: Math.abs(drag.to.y - drag.y) }, layer);
    }
    const range = this.editor.data.curve?.range_m;
    const ringed = this.ringed();
    if (range && ringed && this.editor.nodes.has(ringed)) {
      const p = this.editor.place(ringed);
      make("circle", { cx: p.x, cy: p.y, r: range * this.editor.scale, "data-range": range }, layer);
    }
  }

  /** The device whose reach is shown: the one in hand, pointed at, or selected alone. */
  ringed() {
    const { drag, hovered } = this.editor.hand;
    if (drag?.kind === "move") return drag.id;
    if (drag?.kind === "link") return drag.from;
    return hovered ?? (this.editor.selected.size === 1 ? [...this.editor.selected][0] : null);
  }
}
