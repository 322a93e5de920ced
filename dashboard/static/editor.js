// The map editor. Edits are applied here at once and sent to Python as numbered operations in a
// state value until they are acknowledged, so that none is lost while the script is busy.
import {
  clamp, clustersAfter, drawHulls, gridLines, html, linkAt, linkLook, linkWords, make, markerPath,
  metres, niceLength, pairKey, set, still, tenth,
} from "./editor_draw.js";

const editors = new WeakMap();
const PAD = 34;
const MOVE_MS = 250;
const LONG_PRESS_MS = 450;
const STEADY = { mouse: 3, pen: 4, touch: 8 }; // pixels a hand may tremble before a press is a drag
const BRUSH_STEP = 5; // pixels between the places a fast brush or eraser looks at
const TOOLS = [
  ["select", "Select", "V", "Drag a device. Drag on free ground selects a box; Shift adds."],
  ["hand", "Hand", "H", "Drag the map. Ctrl and wheel zooms."],
  ["add", "Device", "N", "Click free ground to place a device with the chosen task."],
  ["link", "Link", "L", "Drag from one device to another."],
  ["paint", "Paint", "P", "Click or drag over devices to give them the chosen task."],
  ["erase", "Erase", "E", "Click or drag over links and devices to remove them."],
];
const KEYS = [
  ["Tab", "next device"], ["Arrows", "move the selected devices by the snap step"], ["Shift Arrows", "ten times as far"],
  ["Enter", "select the device; with Link chosen: start a link, then end it or remove the one there"], ["Shift Enter", "add it to the selection"],
  ["N", "Device tool; Enter on the map places one in its middle"], ["L", "Link tool"], ["P", "Paint tool; Enter paints the device"],
  ["T", "next task"], ["E", "Erase tool"], ["Delete", "remove the selected devices"], ["Ctrl A", "select all"],
  ["Ctrl Z, Ctrl Y", "undo, redo"], ["+ −", "zoom"], ["0", "show the whole mesh"], ["S", "snap on and off"], ["Esc", "let go"],
];

class Editor {
  constructor(host) {
    this.root = html("div", "mt-editor", host);
    this.root.dataset.testid = "topology-editor";
    this.client = crypto.randomUUID();
    this.seq = 0;
    this.pending = [];
    this.made = 0;
    this.nodes = new Map();
    this.links = new Map();
    this.nodeParts = new Map();
    this.linkParts = new Map();
    this.selected = new Set();
    this.view = { k: 1, x: 0, y: 0 };
    this.snap = true;
    this.step = null;
    this.fingers = new Map();
    this.moving = 0;
    this.build();
    this.setTool("select");
    this.listen();
    this.watcher = new ResizeObserver(() => this.layout());
    this.watcher.observe(this.stage);
  }

  // ---------- data from Python, edits to it ----------
  update(data, api) {
    this.api = api;
    const first = !this.data;
    const before = new Map([...this.nodes].map(([id, n]) => [id, { x: n.x, y: n.y }]));
    if (JSON.stringify(this.data?.steps) !== JSON.stringify(data.steps)) this.step = data.steps?.length ? 0 : null;
    this.data = data;
    this.pending = this.pending.filter((op) => op.seq > (data.ack[this.client] ?? 0));
    this.nodes = new Map(data.devices.map((d) => [d.id, { ...d }]));
    this.links = new Map(data.links.map(([a, b]) => [pairKey(a, b), { a, b }]));
    for (const op of this.pending) this.apply(op);
    if (this.drag?.kind === "move") this.dragTo(this.drag.by);
    for (const id of this.selected) if (!this.nodes.has(id)) this.selected.delete(id);
    this.task = this.task in data.tasks ? this.task : Object.keys(data.tasks)[0];
    if (data.fit !== this.fitted) { this.fitted = data.fit; this.base = null; this.view = { k: 1, x: 0, y: 0 }; }
    this.chrome();
    this.layout();
    const moved = [...this.nodes].some(([id, n]) => {
      const old = before.get(id);
      return old && Math.hypot(old.x - n.x, old.y - n.y) > 0.2;
    });
    if (!first && moved && !this.drag && !this.pending.length && !still()) this.glide(before);
    this.mark();
  }

  edit(op, words) {
    const stroke = this.drag?.stroke; // what one movement paints or erases is undone in one step
    const stamped = { ...op, seq: ++this.seq, ...(stroke ? { stroke } : {}) };
    this.pending.push(stamped);
    this.apply(stamped);
    this.say(words);
    this.draw();
    this.mark();
    this.api.setStateValue("edits", { client: this.client, ops: [...this.pending] });
  }

  apply(op) {
    if (op.op === "add") this.nodes.set(op.id, { id: op.id, x: op.x, y: op.y, task: op.task });
    else if (op.op === "move") for (const [id, x, y] of op.moves) Object.assign(this.nodes.get(id) ?? {}, { x, y });
    else if (op.op === "task") for (const id of op.ids) Object.assign(this.nodes.get(id) ?? {}, { task: op.task });
    else if (op.op === "link") this.links.set(pairKey(op.a, op.b), { a: op.a, b: op.b });
    else if (op.op === "unlink") for (const [a, b] of op.links) this.links.delete(pairKey(a, b));
    else if (op.op === "remove" && op.ids.length < this.nodes.size) {
      for (const id of op.ids) this.nodes.delete(id);
      for (const [key, l] of this.links) if (!this.nodes.has(l.a) || !this.nodes.has(l.b)) this.links.delete(key);
      for (const id of op.ids) this.selected.delete(id);
    }
    // undo and redo are known to Python alone
  }

  mark() {
    this.root.dataset.pending = this.pending.length;
    this.root.dataset.rev = this.data.rev;
    this.summary.textContent = `${this.nodes.size} devices · ${this.links.size} links`;
  }

  say(words) { if (words) this.said.textContent = words; }
  name(id) { return `device ${[...this.nodes.keys()].indexOf(id)}`; }

  addDevice(at) {
    const id = `${this.client.slice(0, 8)}-${++this.made}`;
    this.selected = new Set([id]);
    this.edit({ op: "add", id, ...this.snapped(at), task: this.task }, `Device added at ${at.x.toFixed(1)} m, ${at.y.toFixed(1)} m`);
  }

  link(a, b) {
    if (a === b || this.links.has(pairKey(a, b))) return;
    this.edit({ op: "link", a, b }, `Link between ${this.name(a)} and ${this.name(b)}`);
  }

  remove(ids) {
    if (!ids.length) return;
    if (ids.length >= this.nodes.size) return this.say("One device stays: a mesh has one at least");
    this.edit({ op: "remove", ids }, `${ids.length} devices removed`);
  }

  paint(ids, task = this.task) {
    const painted = ids.filter((id) => this.nodes.get(id)?.task !== task);
    if (painted.length) this.edit({ op: "task", ids: painted, task }, `${this.data.tasks[task].title} for ${painted.length} devices`);
  }

  nudge(dx, dy) {
    const moves = [...this.selected].map((id) => {
      const n = this.nodes.get(id);
      return [id, tenth(n.x + dx), tenth(n.y + dy)];
    });
    if (moves.length) this.edit({ op: "move", moves }, `Moved to ${moves[0][1]} m, ${moves[0][2]} m`);
  }

  // ---------- metres and pixels ----------
  layout() {
    const width = this.stage.clientWidth;
    if (!width || !this.data) return;
    const height = this.data.height;
    this.size = { width, height };
    set(this.svg, { width, height, viewBox: `0 0 ${width} ${height}` });
    if (!this.base || this.base.width !== width) {
      const list = [...this.nodes.values()];
      const [xs, ys] = [list.map((n) => n.x), list.map((n) => n.y)];
      const [x0, x1, y0, y1] = [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)];
      const wide = Math.max(x1 - x0, 10) * 1.1;
      const high = Math.max(y1 - y0, 10) * 1.1;
      const scale = Math.min((width - 2 * PAD) / wide, (height - 2 * PAD) / high);
      this.base = { width, scale, x: width / 2 - ((x0 + x1) / 2) * scale, y: height / 2 + ((y0 + y1) / 2) * scale };
    }
    const count = this.nodes.size;
    this.radius = count <= 16 ? 12 : count <= 40 ? 9 : 7;
    this.draw();
  }

  get scale() { return this.base.scale * this.view.k; }
  get snapStep() { return this.snap ? niceLength(this.scale, 13) : 0.1; }

  pixels(p) {
    return { x: (this.base.x + p.x * this.base.scale) * this.view.k + this.view.x, y: (this.base.y - p.y * this.base.scale) * this.view.k + this.view.y };
  }

  at(event) {
    const box = this.svg.getBoundingClientRect();
    return this.metres({ x: event.clientX - box.left, y: event.clientY - box.top });
  }

  metres(p) {
    return { x: ((p.x - this.view.x) / this.view.k - this.base.x) / this.base.scale, y: -((p.y - this.view.y) / this.view.k - this.base.y) / this.base.scale };
  }

  snapped(p) {
    const step = Math.max(0.1, this.snapStep);
    return { x: tenth(Math.round(p.x / step) * step), y: tenth(Math.round(p.y / step) * step) };
  }

  place(id) { return this.pixels(this.shown?.get(id) ?? this.nodes.get(id)); }

  zoom(factor, x = this.size.width / 2, y = this.size.height / 2) {
    const k = clamp(this.view.k * factor, 0.2, 40);
    const r = k / this.view.k;
    this.view = { k, x: x - (x - this.view.x) * r, y: y - (y - this.view.y) * r };
    this.draw();
  }

  fit() { this.base = null; this.view = { k: 1, x: 0, y: 0 }; this.layout(); }

  glide(before) {
    const run = ++this.moving;
    const start = performance.now();
    const frame = (now) => {
      if (run !== this.moving) return;
      const share = clamp((now - start) / MOVE_MS, 0, 1);
      const eased = 1 - (1 - share) ** 3;
      this.shown = share === 1 ? null : new Map([...this.nodes].map(([id, n]) => {
        const old = before.get(id) ?? n;
        return [id, { x: old.x + (n.x - old.x) * eased, y: old.y + (n.y - old.y) * eased }];
      }));
      this.draw();
      if (share < 1) requestAnimationFrame(frame);
    };
    requestAnimationFrame(frame);
  }

  // ---------- drawing, keyed: nothing is rebuilt when data arrive ----------
  draw() {
    if (!this.base || !this.data) return;
    gridLines(this.layers.grid, this.layers.scale, this.size, this.pixels({ x: 0, y: 0 }), this.scale);
    const ids = [...this.nodes.keys()];
    const hulls = this.step === null ? this.data.clusters.filter((c) => c.every((id) => this.nodes.has(id)))
      : clustersAfter(this.data.devices.map((d) => d.id), this.data.steps, this.step).filter((c) => c.every((id) => this.nodes.has(id)));
    drawHulls(this.layers.hulls, hulls, (id) => this.place(id), this.radius);
    for (const [key, parts] of this.linkParts) if (!this.links.has(key)) { parts.group.remove(); this.linkParts.delete(key); }
    for (const [key, link] of this.links) if (this.nodes.has(link.a) && this.nodes.has(link.b)) this.drawLink(key, link);
    for (const [id, parts] of this.nodeParts) {
      if (this.nodes.has(id)) continue;
      // The keys must go on working after the device with the focus has gone.
      if (parts.group.contains(document.activeElement)) this.svg.focus({ preventScroll: true });
      parts.group.remove();
      this.nodeParts.delete(id);
    }
    ids.forEach((id, number) => this.drawNode(id, number));
    this.drawDraft();
  }

  drawMoved(ids) { // while dragging, only what moves
    const numbers = [...this.nodes.keys()];
    for (const id of ids) this.drawNode(id, numbers.indexOf(id));
    for (const [key, link] of this.links) if (ids.has(link.a) || ids.has(link.b)) this.drawLink(key, link);
    this.drawDraft();
  }

  quality(link) {
    const [a, b] = [this.nodes.get(link.a), this.nodes.get(link.b)];
    const distance = Math.hypot(a.x - b.x, a.y - b.y);
    return { distance, ...linkAt(this.data.curve, distance) ?? { snr: null, rate: null, lost: 0 } };
  }

  drawLink(key, link) {
    let parts = this.linkParts.get(key);
    if (!parts) {
      const group = make("g", { class: "link", "data-link": key }, this.layers.links);
      parts = { group, line: make("line", { class: "line" }, group), hit: make("line", { class: "hit" }, group) };
      this.linkParts.set(key, parts);
    }
    const [p, q] = [this.place(link.a), this.place(link.b)];
    const ends = { x1: p.x, y1: p.y, x2: q.x, y2: q.y };
    const quality = this.quality(link);
    const look = linkLook(quality, this.data.look);
    set(parts.hit, ends);
    set(parts.line, { ...ends, stroke: look.color, "stroke-width": look.width, "stroke-dasharray": look.dash, "data-snr": quality.snr === null ? "" : quality.snr.toFixed(1) });
  }

  drawNode(id, number) {
    let parts = this.nodeParts.get(id);
    if (!parts) {
      const group = make("g", { class: "node", "data-node": id, tabindex: 0, role: "button" }, this.layers.nodes);
      parts = { group, back: make("circle", { class: "back" }, group), body: make("path", { class: "body" }, group), number: make("text", { class: "number" }, group) };
      this.nodeParts.set(id, parts);
    }
    const node = this.nodes.get(id);
    const look = this.data.tasks[node.task];
    const [r, at] = [this.radius, this.place(id)];
    const selected = this.selected.has(id);
    set(parts.group, {
      transform: `translate(${at.x},${at.y})`, "data-x": node.x, "data-y": node.y, "data-task": node.task,
      "aria-label": `Device ${number}, ${look.title}, at ${node.x} m east, ${node.y} m north`, "aria-pressed": selected,
      class: `node${selected ? " selected" : ""}${this.drag?.over === id ? " target" : ""}`,
    });
    set(parts.back, { r: r * 1.55 });
    set(parts.body, { d: markerPath(look.marker, r), stroke: look.color, fill: look.filled ? look.color : "var(--st-background-color)", "stroke-width": look.filled ? 0 : Math.max(2, r * 0.27) });
    parts.number.textContent = r > 6 ? number : "";
    set(parts.number, { class: look.filled ? "number on" : "number", "font-size": r * 0.9, y: look.marker === "triangle" ? r * 0.18 : 0 });
  }

  drawDraft() {
    const layer = this.layers.draft;
    layer.replaceChildren();
    const drag = this.drag;
    if (drag?.kind === "link" && this.nodes.has(drag.from)) {
      const p = this.place(drag.from);
      const q = drag.over ? this.place(drag.over) : drag.at;
      if (q) make("line", { x1: p.x, y1: p.y, x2: q.x, y2: q.y }, layer);
    } else if (drag?.kind === "box") {
      make("rect", { x: Math.min(drag.x, drag.to.x), y: Math.min(drag.y, drag.to.y), width: Math.abs(drag.to.x - drag.x), height: Math.abs(drag.to.y - drag.y) }, layer);
    }
    const range = this.data.curve?.range_m;
    const ringed = drag?.kind === "move" ? drag.id : drag?.kind === "link" ? drag.from
      : this.hovered ?? (this.selected.size === 1 ? [...this.selected][0] : null);
    if (range && ringed && this.nodes.has(ringed)) {
      const p = this.place(ringed);
      make("circle", { cx: p.x, cy: p.y, r: range * this.scale, "data-range": range }, layer);
    }
  }

  // ---------- bars ----------
  build() {
    const bar = html("div", "bar", this.root);
    const group = (label) => { const seg = html("div", "seg", bar); seg.setAttribute("role", "group"); seg.setAttribute("aria-label", label); return seg; };
    const button = (seg, text, title, act) => {
      const b = html("button", "", seg, text);
      b.type = "button"; b.title = title; b.setAttribute("aria-label", title); b.onclick = act;
      return b;
    };
    this.toolButtons = new Map();
    const tools = group("Tools");
    for (const [id, label, key, hint] of TOOLS) {
      const b = button(tools, label, `${label} (${key}): ${hint}`, () => this.setTool(id));
      b.dataset.toolButton = id;
      this.toolButtons.set(id, b);
    }
    const history = group("Undo and redo");
    this.undoButton = button(history, "↶", "Undo (Ctrl Z)", () => this.edit({ op: "undo" }, "Undone"));
    this.redoButton = button(history, "↷", "Redo (Ctrl Y)", () => this.edit({ op: "redo" }, "Done again"));
    const zoom = group("View");
    button(zoom, "−", "Zoom out", () => this.zoom(1 / 1.4));
    button(zoom, "+", "Zoom in", () => this.zoom(1.4));
    button(zoom, "Fit", "Show the whole mesh", () => this.fit());
    this.snapButton = button(zoom, "Snap", "Snap to a grid (S)", () => this.toggleSnap());
    this.keysButton = button(zoom, "?", "Keys", () => { this.keys.hidden = !this.keys.hidden; this.keysButton.setAttribute("aria-expanded", !this.keys.hidden); });
    this.keysButton.setAttribute("aria-expanded", "false");
    this.taskBar = group("Task of new and painted devices");
    this.stage = html("div", "stage", this.root);
    this.svg = make("svg", { role: "application", tabindex: 0, "aria-label": "Map of the mesh in metres" }, this.stage);
    this.layers = {};
    for (const name of ["grid", "hulls", "links", "draft", "nodes", "scale"]) this.layers[name] = make("g", { class: name }, this.svg);
    this.tip = html("div", "tip", this.stage);
    this.tip.hidden = true;
    this.steps = html("div", "bar steps", this.root);
    this.steps.hidden = true;
    const stepping = html("div", "seg", this.steps);
    stepping.setAttribute("role", "group");
    stepping.setAttribute("aria-label", "Steps of the clustering");
    button(stepping, "Back", "One merge back", () => this.toStep(this.step - 1));
    button(stepping, "Next", "One merge on", () => this.toStep(this.step + 1));
    this.playButton = button(stepping, "Play", "Play the merges", () => this.play());
    this.stepWords = html("span", "", this.steps);
    this.foot = html("div", "foot", this.root);
    this.summary = html("span", "item", this.foot);
    this.hint = html("span", "item", this.foot);
    this.legend = html("span", "item", this.foot);
    this.keys = html("div", "keys", this.root);
    this.keys.hidden = true;
    for (const [key, what] of KEYS) {
      const line = html("div", "", this.keys);
      html("kbd", "", line, key);
      line.append(` ${what}`);
    }
    this.said = html("div", "said", this.root);
    this.said.setAttribute("aria-live", "polite");
  }

  chrome() {
    const { data } = this;
    this.undoButton.disabled = !data.can_undo;
    this.redoButton.disabled = !data.can_redo;
    this.snapButton.setAttribute("aria-pressed", this.snap);
    const names = Object.keys(data.tasks);
    if (this.taskBar.childElementCount !== names.length) {
      this.taskBar.replaceChildren(...names.map((name) => {
        const look = data.tasks[name];
        const b = html("button", "", null);
        b.type = "button"; b.dataset.task = name;
        const icon = make("svg", { width: 14, height: 14, viewBox: "-9 -9 18 18", "aria-hidden": "true" }, b);
        make("path", { d: markerPath(look.marker, 6.4), fill: look.filled ? look.color : "none", stroke: look.color, "stroke-width": 2.2 }, icon);
        b.append(look.title);
        b.onclick = () => { this.task = name; this.paint([...this.selected]); this.chrome(); };
        return b;
      }));
    }
    for (const b of this.taskBar.children) b.setAttribute("aria-pressed", b.dataset.task === this.task);
    this.steps.hidden = this.step === null;
    if (this.step !== null) this.stepText();
    this.legend.replaceChildren();
    if (data.curve) {
      this.legend.append(`SNR ${data.look.low_db}`);
      html("i", "", this.legend).style.background = `linear-gradient(90deg, ${data.look.weak}, ${data.look.strong})`;
      this.legend.append(`${data.look.high_db} dB · dashed: lost more than 1 in 10`);
    }
  }

  setTool(id) {
    this.tool = id;
    this.root.dataset.tool = id;
    for (const [name, b] of this.toolButtons) b.setAttribute("aria-pressed", name === id);
    this.hint.textContent = TOOLS.find((tool) => tool[0] === id)[3];
  }

  toggleSnap() { this.snap = !this.snap; this.chrome(); this.say(this.snap ? "Snap on" : "Snap off"); }

  // ---------- steps of the clustering ----------
  toStep(step) {
    this.step = clamp(step, 0, this.data.steps.length);
    this.stepText();
    this.draw();
  }

  stepText() {
    const merge = this.data.steps[this.step - 1];
    this.stepWords.textContent = `Merge ${this.step} of ${this.data.steps.length}` + (merge ? `: ${merge.left.join(", ")} and ${merge.right.join(", ")}, collision ${(100 * merge.collision).toFixed(1)} %` : ": every device for itself");
    this.root.dataset.step = this.step;
  }

  play() {
    if (this.step === this.data.steps.length) this.toStep(0);
    clearInterval(this.player);
    this.player = setInterval(() => {
      if (this.step === null || this.step >= (this.data.steps?.length ?? 0)) return clearInterval(this.player);
      this.toStep(this.step + 1);
    }, 700);
  }

  // ---------- pointer ----------
  listen() {
    const { svg } = this;
    svg.onpointerdown = (event) => this.down(event);
    svg.onpointermove = (event) => this.moveTo(event);
    svg.onpointerup = (event) => this.up(event);
    svg.onpointercancel = () => { this.fingers.clear(); this.letGo(); this.draw(); };
    svg.onpointerleave = () => { this.tip.hidden = true; this.hovered = null; this.drawDraft(); };
    svg.ondblclick = (event) => { if (this.tool === "select" && !this.under(event).node) this.addDevice(this.at(event)); };
    svg.addEventListener("wheel", (event) => {
      if (!event.ctrlKey && !event.metaKey) return; // plain scrolling belongs to the page
      event.preventDefault();
      const box = svg.getBoundingClientRect();
      this.zoom(event.deltaY < 0 ? 1.15 : 1 / 1.15, event.clientX - box.left, event.clientY - box.top);
    }, { passive: false });
    this.root.addEventListener("keydown", (event) => this.key(event));
    svg.addEventListener("focusin", (event) => {
      const id = event.target.closest?.("[data-node]")?.dataset.node;
      if (id && event.target.matches(":focus-visible")) this.tell(this.nodeWords(id), this.place(id));
    });
    svg.addEventListener("focusout", () => { this.tip.hidden = true; });
  }

  under(event) {
    const target = document.elementFromPoint(event.clientX, event.clientY) ?? event.target;
    return { node: target.closest?.("[data-node]")?.dataset.node, link: target.closest?.("[data-link]")?.dataset.link };
  }

  local(event) {
    const box = this.svg.getBoundingClientRect();
    return { x: event.clientX - box.left, y: event.clientY - box.top };
  }

  down(event) {
    if (event.button > 1) return undefined;
    this.fingers.set(event.pointerId, this.local(event));
    this.svg.setPointerCapture(event.pointerId);
    this.tip.hidden = true;
    if (this.fingers.size === 2) {
      this.letGo(); // a second finger zooms: the first one meant nothing
      this.drag = { kind: "pinch", from: [...this.fingers.values()], view: { ...this.view } };
      return this.draw();
    }
    const { node, link } = this.under(event);
    const at = this.local(event);
    if (event.button === 1 || this.tool === "hand") this.drag = { kind: "pan", ...at, view: { ...this.view } };
    else if (this.tool === "erase" || this.tool === "paint") {
      this.drag = { kind: this.tool, pressed: at, last: at, stroke: `${this.client.slice(0, 8)}-${this.seq}` };
      this.brush(node, link);
    }
    else if (this.tool === "link" && node) this.drag = { kind: "link", from: node, at };
    else if (this.tool === "add" && !node) { this.addDevice(this.at(event)); this.drag = null; }
    else if (node) this.grab(node, event);
    else {
      this.drag = { kind: "box", ...at, to: at, keep: event.shiftKey ? new Set(this.selected) : new Set() };
      if (!event.shiftKey) this.selected.clear();
    }
    if (event.pointerType === "touch" && node) {
      this.press = setTimeout(() => { this.letGo(); this.selected.add(node); this.draw(); }, LONG_PRESS_MS);
    }
    return this.draw();
  }

  letGo() { // what is under way is not done; devices go back to where they were taken
    clearTimeout(this.press);
    for (const [id, p] of this.drag?.start ?? []) Object.assign(this.nodes.get(id) ?? {}, p);
    this.drag = null;
    this.tip.hidden = true;
  }

  brush(node, link) {
    if (this.drag.kind === "erase") this.erase(node, link);
    else if (node) this.paint([node]);
  }

  grab(node, event) {
    if (event.shiftKey) this.selected.has(node) ? this.selected.delete(node) : this.selected.add(node);
    else if (!this.selected.has(node)) this.selected = new Set([node]);
    this.task = this.nodes.get(node).task;
    this.chrome();
    const ids = this.selected.has(node) ? this.selected : new Set([node]);
    this.drag = { kind: "move", id: node, from: this.at(event), pressed: this.local(event), by: { x: 0, y: 0 }, start: new Map([...ids].map((id) => [id, { x: this.nodes.get(id).x, y: this.nodes.get(id).y }])) };
  }

  dragTo(by) {
    this.drag.by = by;
    const lead = this.drag.start.get(this.drag.id);
    if (!lead) return;
    const there = by.x || by.y ? this.snapped({ x: lead.x + by.x, y: lead.y + by.y }) : lead;
    const [dx, dy] = [there.x - lead.x, there.y - lead.y];
    for (const [id, p] of this.drag.start) Object.assign(this.nodes.get(id) ?? {}, { x: tenth(p.x + dx), y: tenth(p.y + dy) });
  }

  moveTo(event) {
    if (this.fingers.has(event.pointerId)) this.fingers.set(event.pointerId, this.local(event));
    const { drag } = this;
    if (!drag) return this.hover(event);
    this.latest = event;
    if (this.framed) return;
    this.framed = true; // many moves, one drawing per frame
    requestAnimationFrame(() => { this.framed = false; if (this.drag === drag) this.dragged(this.latest); });
  }

  dragged(event) {
    const { drag } = this;
    const at = this.local(event);
    if (drag.pressed) {
      drag.begun ||= Math.hypot(at.x - drag.pressed.x, at.y - drag.pressed.y) > (STEADY[event.pointerType] ?? STEADY.mouse);
      if (!drag.begun) return undefined; // a click, not a drag
    }
    if (drag.kind === "move") {
      clearTimeout(this.press);
      const here = this.at(event);
      this.dragTo({ x: here.x - drag.from.x, y: here.y - drag.from.y });
      this.tell(this.nodeWords(drag.id, true), this.place(drag.id));
      return this.drawMoved(new Set(drag.start.keys()));
    }
    if (drag.kind === "link") {
      drag.at = at;
      const { node } = this.under(event);
      drag.over = node && node !== drag.from ? node : null;
      const [from, to] = [this.nodes.get(drag.from), drag.over ? this.nodes.get(drag.over) : this.at(event)];
      const distance = Math.hypot(from.x - to.x, from.y - to.y);
      this.tell([drag.over ? `${this.name(drag.from)} to ${this.name(drag.over)}` : this.name(drag.from), ...linkWords(linkAt(this.data.curve, distance), distance)], at);
      [...this.nodes.keys()].forEach((id, number) => this.drawNode(id, number));
      return this.drawDraft();
    }
    if (drag.kind === "box") {
      drag.to = at;
      const [a, b] = [this.metres({ x: Math.min(drag.x, at.x), y: Math.max(drag.y, at.y) }), this.metres({ x: Math.max(drag.x, at.x), y: Math.min(drag.y, at.y) })];
      const inside = [...this.nodes].filter(([, n]) => n.x >= a.x && n.x <= b.x && n.y >= a.y && n.y <= b.y).map(([id]) => id);
      this.selected = new Set([...drag.keep, ...inside]);
    } else if (drag.kind === "erase" || drag.kind === "paint") {
      const box = this.svg.getBoundingClientRect();
      const far = Math.hypot(at.x - drag.last.x, at.y - drag.last.y);
      const looks = Math.max(1, Math.ceil(far / BRUSH_STEP));
      for (let i = 1; i <= looks; i++) { // a fast hand passes over what lies between two frames
        const [x, y] = ["x", "y"].map((axis) => drag.last[axis] + ((at[axis] - drag.last[axis]) * i) / looks);
        const { node, link } = this.under({ clientX: box.left + x, clientY: box.top + y });
        this.brush(node, link);
      }
      drag.last = at;
    } else if (drag.kind === "pan") this.view = { ...this.view, x: drag.view.x + at.x - drag.x, y: drag.view.y + at.y - drag.y };
    else if (drag.kind === "pinch" && this.fingers.size === 2) {
      const [p, q] = [...this.fingers.values()];
      const [a, b] = drag.from;
      const factor = Math.hypot(p.x - q.x, p.y - q.y) / Math.max(1, Math.hypot(a.x - b.x, a.y - b.y));
      this.view = { ...drag.view };
      this.zoom(factor, (a.x + b.x) / 2, (a.y + b.y) / 2);
      this.view.x += (p.x + q.x - a.x - b.x) / 2;
      this.view.y += (p.y + q.y - a.y - b.y) / 2;
    }
    return this.draw();
  }

  up(event) {
    clearTimeout(this.press);
    const { drag } = this;
    // The last move may still wait for its frame.
    if (drag && ["move", "link", "box", "erase", "paint"].includes(drag.kind)) this.dragged(event);
    this.fingers.delete(event.pointerId);
    this.drag = null;
    this.tip.hidden = true;
    if (drag?.kind === "move") {
      const moves = [...drag.start].map(([id]) => [id, this.nodes.get(id)?.x, this.nodes.get(id)?.y]).filter(([id, x, y]) => {
        const from = drag.start.get(id);
        return x !== undefined && (x !== from.x || y !== from.y);
      });
      if (moves.length) this.edit({ op: "move", moves }, `Moved to ${moves[0][1]} m, ${moves[0][2]} m`);
    } else if (drag?.kind === "link") {
      if (drag.over) this.link(drag.from, drag.over);
    }
    this.draw();
  }

  erase(node, link) {
    if (node) this.remove([node]);
    else if (link && this.links.has(link)) {
      const { a, b } = this.links.get(link);
      this.edit({ op: "unlink", links: [[a, b]] }, `Link between ${this.name(a)} and ${this.name(b)} removed`);
    }
  }

  // ---------- words beside the pointer ----------
  hover(event) {
    const { node, link } = this.under(event);
    if (node !== this.hovered) { this.hovered = node; this.drawDraft(); }
    if (node) return this.tell(this.nodeWords(node), this.place(node));
    if (link && this.links.has(link)) {
      const l = this.links.get(link);
      const quality = this.quality(l);
      return this.tell([`${this.name(l.a)} to ${this.name(l.b)}`, ...linkWords(quality, quality.distance)], this.local(event));
    }
    this.tip.hidden = true;
    return undefined;
  }

  nodeWords(id, moving = false) {
    const node = this.nodes.get(id);
    const own = [...this.links.values()].filter((l) => l.a === id || l.b === id);
    const words = [`${this.name(id)} · ${this.data.tasks[node.task].title}`, `${node.x} m east, ${node.y} m north`, `${own.length} links`];
    const known = own.map((l) => this.quality(l)).filter((q) => q.snr !== null);
    if (moving && known.length) {
      const worst = known.reduce((a, b) => (a.snr < b.snr ? a : b));
      words.push(`weakest: ${metres(worst.distance)}, ${worst.snr.toFixed(1)} dB`);
    }
    return words;
  }

  tell(lines, at) {
    this.tip.replaceChildren(...lines.map((line, i) => html(i ? "div" : "b", "", null, line)));
    this.tip.hidden = false;
    const half = this.tip.offsetWidth / 2 + 6;
    this.tip.style.left = `${clamp(at.x, half, Math.max(half, this.size.width - half))}px`;
    const over = at.y > this.tip.offsetHeight + 34;
    this.tip.style.top = `${over ? at.y - 26 - this.tip.offsetHeight : at.y + 28}px`;
  }

  // ---------- keyboard ----------
  key(event) {
    if (event.altKey) return;
    const focus = event.target.closest?.("[data-node]")?.dataset.node;
    const onMap = this.svg.contains(event.target);
    const control = event.ctrlKey || event.metaKey;
    const step = Math.max(0.1, this.snapStep) * (event.shiftKey ? 10 : 1);
    const arrows = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, step], ArrowDown: [0, -step] };
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    if (control && key === "z") this.edit({ op: event.shiftKey ? "redo" : "undo" }, event.shiftKey ? "Done again" : "Undone");
    else if (control && key === "y") this.edit({ op: "redo" }, "Done again");
    else if (control && key === "a" && onMap) { this.selected = new Set(this.nodes.keys()); this.draw(); }
    else if (control || !onMap) return;
    else if (arrows[key]) { if (focus && !this.selected.has(focus)) this.selected = new Set([focus]); this.nudge(...arrows[key]); }
    else if (key === "Delete" || key === "Backspace") this.remove(this.selected.size ? [...this.selected] : focus ? [focus] : []);
    else if (key === "Enter" || key === " ") this.enter(focus, event.shiftKey);
    else if (key === "Escape") { this.letGo(); this.selected.clear(); this.linking = null; this.setTool("select"); this.draw(); }
    else if (key === "t") {
      const names = Object.keys(this.data.tasks);
      this.task = names[(names.indexOf(this.task) + 1) % names.length];
      this.paint(this.selected.size ? [...this.selected] : focus ? [focus] : []);
      this.chrome();
    } else if (key === "+" || key === "=") this.zoom(1.4);
    else if (key === "-") this.zoom(1 / 1.4);
    else if (key === "0") this.fit();
    else if (key === "s") this.toggleSnap();
    else {
      const tool = TOOLS.find((each) => each[2].toLowerCase() === key);
      if (!tool) return;
      this.setTool(tool[0]);
    }
    event.preventDefault();
    event.stopPropagation(); // Streamlit has single-key shortcuts of its own (r, c)
  }

  enter(focus, shift) {
    if (this.tool === "add") return this.addDevice(this.metres({ x: this.size.width / 2, y: this.size.height / 2 }));
    if (!focus) return undefined;
    if (this.tool === "link") {
      if (!this.linking) { this.linking = focus; return this.say(`Link from ${this.name(focus)}: go to another device and press Enter`); }
      const from = this.linking;
      this.linking = null;
      return this.links.has(pairKey(from, focus)) ? this.erase(null, pairKey(from, focus)) : this.link(from, focus);
    }
    if (this.tool === "paint") return this.paint([focus]);
    if (this.tool === "erase") return this.remove([focus]);
    if (shift) this.selected.has(focus) ? this.selected.delete(focus) : this.selected.add(focus);
    else this.selected = this.selected.has(focus) && this.selected.size === 1 ? new Set() : new Set([focus]);
    return this.draw();
  }

  dispose() {
    this.watcher.disconnect();
    clearInterval(this.player);
    this.moving++;
    this.root.remove();
  }
}

export function draw(component) {
  const host = component.parentElement.querySelector(".mt-editor-host");
  if (!host) return;
  if (!editors.has(host)) {
    host.replaceChildren();
    editors.set(host, new Editor(host));
  }
  editors.get(host).update(component.data, component);
}

export function dispose({ parentElement }) {
  const host = parentElement.querySelector(".mt-editor-host");
  editors.get(host)?.dispose();
  editors.delete(host);
}
