// The pointer on the map editor: what a hand drags, draws, paints, erases, and what it points at.
import { hit, onWheel, tell, within } from "./mesh_draw.js";
import { movesBy, movesSince } from "./mesh_edits.js";
import { apart, inBox, passed, pinched, snapped, zoomed } from "./mesh_geometry.js";
import { linkAt, linkWords, metres, weakest } from "./mesh_links.js";

/**
 * @typedef {import("./mesh_geometry.js").Point} Point
 * @typedef {import("./mesh_geometry.js").View} View
 *
 * What the hand has hold of. `pressed` is where it came down: before it has left that place it
 * clicks and does not drag.
 * @typedef {{ kind: "pinch", from: [Point, Point], view: View }} Pinch
 * @typedef {{ kind: "pan", x: number, y: number, view: View }} Pan
 * @typedef {{ kind: "erase" | "paint", pressed: Point, begun: boolean, last: Point, stroke: string }} Brush
 * @typedef {{ kind: "link", from: string, at: Point, over: string | null }} Draft
 * @typedef {{ kind: "box", x: number, y: number, to: Point, keep: Set<string> }} Box
 * @typedef {object} Carried
 * @property {"move"} kind
 * @property {string} id the device under the hand
 * @property {Point} from the place in metres where the hand took it
 * @property {Point} pressed
 * @property {boolean} begun
 * @property {Point} by how far they have gone
 * @property {Map<string, Point>} start where they were
 * @typedef {Pinch | Pan | Brush | Draft | Box | Carried} Drag
 */

const LONG_PRESS_MS = 450;
/** @type {Record<string, number>} pixels a hand may tremble before a press is a drag */
const STEADY = { mouse: 3, pen: 4, touch: 8 };
const BRUSH_STEP = 5; // pixels between the places a fast brush or eraser looks at
/** @type {[number, number]} */
export const ZOOM = [0.2, 40];

export class Hand {
  /** @param {import("./editor.js").Editor} editor */
  constructor(editor) {
    this.editor = editor;
    this.svg = editor.bars.svg;
    this.tip = editor.bars.tip;
    /** @type {Drag | null} */
    this.drag = null;
    /** @type {Map<number, Point>} by the number of the pointer */
    this.fingers = new Map();
    /** @type {string | null} the device under the pointer */
    this.hovered = null;
    /** @type {PointerEvent | null} */
    this.latest = null;
    this.framed = false;
    this.press = 0;
    this.listen();
  }

  listen() {
    const { svg, editor } = this;
    svg.onpointerdown = (event) => this.down(event);
    svg.onpointermove = (event) => this.moveTo(event);
    svg.onpointerup = (event) => this.up(event);
    svg.onpointercancel = () => { this.fingers.clear(); this.letGo(); editor.draw(); };
    svg.onpointerleave = () => { this.tip.hidden = true; this.hovered = null; editor.scene.drawDraft(); };
    svg.ondblclick = (event) => {
      if (editor.tool === "select" && !this.under(event).node) editor.addDevice(this.at(event));
    };
    onWheel(svg, (factor, at) => editor.zoom(factor, at));
    svg.addEventListener("focusin", (event) => {
      const id = hit(event.target, "node");
      const shown = event.target instanceof Element && event.target.matches(":focus-visible");
      if (id && shown) this.tell(this.nodeWords(id), editor.place(id));
    });
    svg.addEventListener("focusout", () => { this.tip.hidden = true; });
  }

  /**
   * What lies under a pointer; while it is captured the event names the map itself.
   * @param {{ clientX: number, clientY: number, target?: EventTarget | null }} event
   */
  under(event) {
    const target = document.elementFromPoint(event.clientX, event.clientY) ?? event.target ?? null;
    return { node: hit(target, "node"), link: hit(target, "link") };
  }

  /**
   * Where a pointer is, in metres.
   * @param {MouseEvent} event
   */
  at(event) { return this.editor.metres(within(this.svg, event)); }

  /**
   * @param {string[]} lines
   * @param {Point} at
   */
  tell(lines, at) { tell(this.tip, lines, at, this.editor.size.width); }

  /** @param {PointerEvent} event */
  down(event) {
    if (event.button > 1) return;
    const { editor } = this;
    this.fingers.set(event.pointerId, within(this.svg, event));
    this.svg.setPointerCapture(event.pointerId);
    this.tip.hidden = true;
    const [first, second, third] = this.fingers.values();
    if (second && !third) {
      this.letGo(); // a second finger zooms: the first one meant nothing
      this.drag = { kind: "pinch", from: [first, second], view: editor.view };
      editor.draw();
      return;
    }
    const { node, link } = this.under(event);
    this.begin(event, node, link);
    if (event.pointerType === "touch" && node) {
      this.press = setTimeout(() => { this.letGo(); editor.selected.add(node); editor.draw(); }, LONG_PRESS_MS);
    }
    editor.draw();
  }

  /**
   * Take hold of what the chosen tool takes hold of.
   * @param {PointerEvent} event
   * @param {string | null} node
   * @param {string | null} link
   */
  begin(event, node, link) {
    const { editor } = this;
    const at = within(this.svg, event);
    if (event.button === 1 || editor.tool === "hand") this.drag = { kind: "pan", ...at, view: editor.view };
    else if (editor.tool === "erase" || editor.tool === "paint") {
      this.drag = { kind: editor.tool, pressed: at, begun: false, last: at, stroke: editor.outbox.newStroke() };
      this.brush(this.drag, node, link);
    }
    else if (editor.tool === "link" && node) this.drag = { kind: "link", from: node, at, over: null };
    else if (editor.tool === "add" && !node) { editor.addDevice(this.at(event)); this.drag = null; }
    else if (node) this.grab(node, event);
    else {
      this.drag = { kind: "box", ...at, to: at, keep: new Set(event.shiftKey ? editor.selected : []) };
      if (!event.shiftKey) editor.selected.clear();
    }
  }

  letGo() { // what is under way is not done; devices go back to where they were taken
    clearTimeout(this.press);
    if (this.drag?.kind === "move") this.editor.put([...this.drag.start].map(([id, { x, y }]) => [id, x, y]));
    this.drag = null;
    this.tip.hidden = true;
  }

  /**
   * @param {Brush} drag
   * @param {string | null} node
   * @param {string | null} link
   */
  brush(drag, node, link) {
    if (drag.kind === "erase") this.editor.erase(node, link);
    else if (node) this.editor.paint([node]);
  }

  /**
   * @param {string} id
   * @param {PointerEvent} event
   */
  grab(id, event) {
    const { editor } = this;
    if (event.shiftKey) editor.toggle(id);
    else if (!editor.selected.has(id)) editor.selected = new Set([id]);
    editor.task = editor.node(id).task;
    editor.chrome();
    const ids = editor.selected.has(id) ? editor.selected : [id];
    /** @type {[string, Point][]} */
    const start = [...ids].map((each) => [each, { x: editor.node(each).x, y: editor.node(each).y }]);
    this.drag = {
      kind: "move", id, from: this.at(event), pressed: within(this.svg, event), begun: false,
      by: { x: 0, y: 0 }, start: new Map(start),
    };
  }

  /**
   * Carry devices to a place; the one under the hand snaps, the others keep their distance.
   * @param {Carried} drag
   * @param {Point} by
   */
  carry(drag, by) {
    drag.by = by;
    const lead = drag.start.get(drag.id);
    if (!lead) return;
    const wanted = { x: lead.x + by.x, y: lead.y + by.y };
    const there = by.x || by.y ? snapped(wanted, this.editor.snapStep) : lead;
    this.editor.put(movesBy(drag.start.keys(), drag.start, { x: there.x - lead.x, y: there.y - lead.y }));
  }

  /** @param {PointerEvent} event */
  moveTo(event) {
    if (this.fingers.has(event.pointerId)) this.fingers.set(event.pointerId, within(this.svg, event));
    const { drag } = this;
    if (!drag) {
      this.hover(event);
      return;
    }
    this.latest = event;
    if (this.framed) return;
    this.framed = true; // many moves, one drawing per frame
    requestAnimationFrame(() => {
      this.framed = false;
      if (this.drag === drag && this.latest) this.dragged(drag, this.latest);
    });
  }

  /**
   * @param {Drag} drag
   * @param {PointerEvent} event
   */
  dragged(drag, event) {
    const at = within(this.svg, event);
    if ("pressed" in drag) {
      drag.begun ||= apart(at, drag.pressed) > (STEADY[event.pointerType] ?? STEADY.mouse);
      if (!drag.begun) return; // a click, not a drag
    }
    switch (drag.kind) {
      case "move": this.dragDevices(drag, event); return;
      case "link": this.dragLink(drag, event, at); return;
      case "box": this.dragBox(drag, at); break;
      case "pan": this.editor.view = { ...drag.view, x: drag.view.x + at.x - drag.x, y: drag.view.y + at.y - drag.y }; break;
      case "pinch": this.pinch(drag); break;
      default: this.dragBrush(drag, at);
    }
    this.editor.draw();
  }

  /**
   * @param {Carried} drag
   * @param {PointerEvent} event
   */
  dragDevices(drag, event) {
    clearTimeout(this.press);
    const here = this.at(event);
    this.carry(drag, { x: here.x - drag.from.x, y: here.y - drag.from.y });
    this.tell(this.nodeWords(drag.id, true), this.editor.place(drag.id));
    this.editor.scene.drawMoved(new Set(drag.start.keys()));
  }

  /**
   * @param {Draft} drag
   * @param {PointerEvent} event
   * @param {Point} at
   */
  dragLink(drag, event, at) {
    const { editor } = this;
    drag.at = at;
    const { node } = this.under(event);
    drag.over = node !== drag.from ? node : null;
    const distance = apart(editor.node(drag.from), drag.over ? editor.node(drag.over) : this.at(event));
    const who = drag.over ? `${editor.name(drag.from)} to ${editor.name(drag.over)}` : editor.name(drag.from);
    this.tell([who, ...linkWords(linkAt(editor.data.curve, distance), distance)], at);
    editor.scene.drawNodes();
    editor.scene.drawDraft();
  }

  /**
   * @param {Box} drag
   * @param {Point} at
   */
  dragBox(drag, at) {
    const { editor } = this;
    drag.to = at;
    const inside = inBox(editor.nodes, editor.metres({ x: drag.x, y: drag.y }), editor.metres(at));
    editor.selected = new Set([...drag.keep, ...inside]);
  }

  /**
   * @param {Brush} drag
   * @param {Point} at
   */
  dragBrush(drag, at) {
    const box = this.svg.getBoundingClientRect();
    // A fast hand passes over what lies between two frames.
    for (const { x, y } of passed(drag.last, at, BRUSH_STEP)) {
      const { node, link } = this.under({ clientX: box.left + x, clientY: box.top + y });
      this.brush(drag, node, link);
    }
    drag.last = at;
  }

  /** @param {Pinch} drag */
  pinch(drag) {
    const [p, q, more] = this.fingers.values();
    if (!q || more) return;
    const { factor, middle, by } = pinched(drag.from, [p, q]);
    const view = zoomed(drag.view, factor, middle, ZOOM);
    this.editor.view = { ...view, x: view.x + by.x, y: view.y + by.y };
  }

  /** @param {PointerEvent} event */
  up(event) {
    clearTimeout(this.press);
    const { drag, editor } = this;
    // The last move may still wait for its frame.
    if (drag && drag.kind !== "pan" && drag.kind !== "pinch") this.dragged(drag, event);
    this.fingers.delete(event.pointerId);
    this.drag = null;
    this.tip.hidden = true;
    if (drag?.kind === "move") editor.move(movesSince(drag.start, editor.nodes));
    else if (drag?.kind === "link" && drag.over) editor.link(drag.from, drag.over);
    editor.draw();
  }

  /**
   * Words beside the pointer.
   * @param {PointerEvent} event
   */
  hover(event) {
    const { editor } = this;
    const { node, link } = this.under(event);
    if (node !== this.hovered) { this.hovered = node; editor.scene.drawDraft(); }
    const linked = editor.links.get(link ?? "");
    if (node) this.tell(this.nodeWords(node), editor.place(node));
    else if (linked) this.tell(this.linkWords(linked), within(this.svg, event));
    else this.tip.hidden = true;
  }

  /** @param {import("./mesh_edits.js").Link} link */
  linkWords(link) {
    const { editor } = this;
    const quality = editor.quality(link);
    return [`${editor.name(link.a)} to ${editor.name(link.b)}`, ...linkWords(quality, quality.distance)];
  }

  /** @param {string} id */
  nodeWords(id, moving = false) {
    const { editor } = this;
    const node = editor.node(id);
    const own = [...editor.links.values()].filter((l) => l.a === id || l.b === id);
    const words = [`${editor.name(id)} · ${editor.data.tasks[node.task].title}`, `${node.x} m east, ${node.y} m north`, `${own.length} links`];
    const worst = moving ? weakest(own.map((l) => editor.quality(l))) : null;
    if (worst) words.push(`weakest: ${metres(worst.distance)}, ${worst.snr.toFixed(1)} dB`);
    return words;
  }
}
