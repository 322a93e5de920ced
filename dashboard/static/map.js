// The network map: devices in metres, links by signal-to-noise ratio, messages of one round.
// Plain SVG, drawn by keyed reconciliation, so that nothing is rebuilt when data arrive.
// Half of a link belongs to the message that the device at that end received.
const maps = new WeakMap();
const NS = "http://www.w3.org/2000/svg";
const PAD = { left: 26, right: 26, top: 26, bottom: 40 };
const MOVE_MS = 250;

const clamp = (value, low, high) => Math.min(high, Math.max(low, value));
const still = () => matchMedia("(prefers-reduced-motion: reduce)").matches;

function make(name, attributes = {}, parent = null) {
  const element = document.createElementNS(NS, name);
  set(element, attributes);
  parent?.append(element);
  return element;
}

function set(element, attributes) {
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
}

function html(name, className, parent, text = "") {
  const element = document.createElement(name);
  element.className = className;
  element.textContent = text;
  parent?.append(element);
  return element;
}

// Path of a marker with about the area of a circle of radius r.
function markerPath(marker, r) {
  const s = r * 0.89;
  const d = r * 1.25;
  const t = r * 1.3;
  if (marker === "square") return `M${-s} ${-s}H${s}V${s}H${-s}Z`;
  if (marker === "diamond") return `M0 ${-d}L${d} 0L0 ${d}L${-d} 0Z`;
  if (marker === "triangle") return `M0 ${-t}L${t * 0.98} ${t * 0.7}H${-t * 0.98}Z`;
  return `M${-r} 0a${r} ${r} 0 1 0 ${2 * r} 0a${r} ${r} 0 1 0 ${-2 * r} 0Z`;
}

// The largest of 1, 2, 5 times a power of ten that takes at most `most` pixels.
function niceLength(pixelsPerMetre, most) {
  const longest = most / pixelsPerMetre;
  const power = 10 ** Math.floor(Math.log10(longest));
  return [5, 2, 1].map((step) => step * power).find((length) => length <= longest) ?? power;
}

function metres(length) {
  return length >= 1000 ? `${length / 1000} km` : `${length} m`;
}

// Andrew's monotone chain; fewer than three points are their own hull.
function convexHull(points) {
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

class NetworkMap {
  constructor(host) {
    this.root = html("div", "mt-map", host);
    this.root.dataset.testid = "network-map";
    const bar = html("div", "bar", this.root);
    this.summary = html("span", "summary", bar);
    const zoom = html("div", "zoom", bar);
    for (const [label, title, act] of [
      ["−", "Zoom out", () => this.zoom(1 / 1.4)],
      ["+", "Zoom in", () => this.zoom(1.4)],
      ["Fit", "Show the whole mesh", () => this.fit()],
    ]) {
      const button = html("button", "", zoom, label);
      button.type = "button";
      button.title = title;
      button.setAttribute("aria-label", title);
      button.onclick = act;
    }
    this.stage = html("div", "stage", this.root);
    this.svg = make("svg", { role: "group" }, this.stage);
    this.layers = {};
    for (const name of ["grid", "hulls", "links", "draft", "nodes", "labels", "scale"]) {
      this.layers[name] = make("g", { class: name }, this.svg);
    }
    this.tip = html("div", "tip", this.stage);
    this.tip.hidden = true;
    this.legend = html("div", "legend", this.root);
    this.nodes = new Map();
    this.links = new Map();
    this.nodeParts = new Map();
    this.linkParts = new Map();
    this.view = { k: 1, x: 0, y: 0 };
    this.moving = 0;
    this.listen();
    this.watcher = new ResizeObserver(() => this.layout());
    this.watcher.observe(this.stage);
  }

  update(data, api) {
    this.api = api;
    const before = new Map([...this.nodes].map(([id, node]) => [id, { x: node.x, y: node.y }]));
    this.data = data;
    this.nodes = new Map(data.nodes.map((node) => [node.id, node]));
    this.links = new Map(data.links.map((link) => [`${link.a}|${link.b}`, link]));
    this.svg.setAttribute("aria-label", `Map of the mesh in metres: ${data.summary}`);
    this.summary.textContent = data.summary;
    this.drawLegend();
    this.layout();
    const moved = [...this.nodes].some(([id, node]) => {
      const old = before.get(id);
      return old && Math.hypot(old.x - node.x, old.y - node.y) > 0.05;
    });
    if (moved && !still()) this.glide(before);
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
    if (!width || !this.data) return;
    const height = this.data.height;
    const xs = this.data.nodes.map((node) => node.x);
    const ys = this.data.nodes.map((node) => node.y);
    const [x0, x1, y0, y1] = [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)];
    const inner = { w: width - PAD.left - PAD.right, h: height - PAD.top - PAD.bottom };
    const wide = Math.max(x1 - x0, (y1 - y0) * 0.02, 1);
    const high = Math.max(y1 - y0, (x1 - x0) * 0.02, 1);
    const room = 1.12; // rings and labels stand out over the devices
    const scale = Math.min(inner.w / (wide * room), inner.h / (high * room));
    this.size = { width, height };
    this.base = {
      scale,
      x: PAD.left + inner.w / 2 - ((x0 + x1) / 2) * scale,
      y: PAD.top + inner.h / 2 + ((y0 + y1) / 2) * scale,
    };
    set(this.svg, { width, height, viewBox: `0 0 ${width} ${height}` });
    const count = this.data.nodes.length;
    this.radius = count <= 16 ? 12 : count <= 40 ? 9 : 6.5;
    if (width < 420) this.radius = Math.min(this.radius, 9);
    this.draw();
  }

  pixels(point) {
    return {
      x: (this.base.x + point.x * this.base.scale) * this.view.k + this.view.x,
      y: (this.base.y - point.y * this.base.scale) * this.view.k + this.view.y,
    };
  }

  place(id) {
    return this.pixels(this.shown?.get(id) ?? this.nodes.get(id));
  }

  zoom(factor, cx = this.size.width / 2, cy = this.size.height / 2) {
    const k = clamp(this.view.k * factor, 0.5, 12);
    const ratio = k / this.view.k;
    this.view = { k, x: cx - (cx - this.view.x) * ratio, y: cy - (cy - this.view.y) * ratio };
    this.draw();
  }

  fit() {
    this.view = { k: 1, x: 0, y: 0 };
    this.draw();
  }

  glide(before) {
    const run = ++this.moving;
    const begun = performance.now();
    const step = (now) => {
      if (run !== this.moving) return;
      const share = clamp((now - begun) / MOVE_MS, 0, 1);
      const eased = 1 - (1 - share) ** 3;
      this.shown = share === 1 ? null : new Map([...this.nodes].map(([id, node]) => {
        const old = before.get(id) ?? node;
        return [id, { x: old.x + (node.x - old.x) * eased, y: old.y + (node.y - old.y) * eased }];
      }));
      this.draw();
      if (share < 1) requestAnimationFrame(step);
    };
    requestAnimationFrame(step);
  }

  // ---------- drawing ----------
  draw() {
    if (!this.base) return;
    this.drawGrid();
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

  drawGrid() {
    const { width, height } = this.size;
    const scale = this.base.scale * this.view.k;
    const step = niceLength(scale, 130);
    const origin = this.pixels({ x: 0, y: 0 });
    const grid = this.layers.grid;
    grid.replaceChildren();
    const gap = step * scale;
    for (let x = origin.x % gap; x < width; x += gap) make("line", { x1: x, y1: 0, x2: x, y2: height }, grid);
    for (let y = origin.y % gap; y < height; y += gap) make("line", { x1: 0, y1: y, x2: width, y2: y }, grid);
    const bar = this.layers.scale;
    bar.replaceChildren();
    const [left, bottom] = [14, height - 14];
    make("path", { d: `M${left} ${bottom - 5}V${bottom}H${left + gap}V${bottom - 5}` }, bar);
    make("text", { x: left + gap + 6, y: bottom + 1 }, bar).textContent = metres(step);
  }

  // Clusters of two or more as outlines with room around their devices.
  drawHulls() {
    const layer = this.layers.hulls;
    layer.replaceChildren();
    for (const hull of this.data.hulls ?? []) {
      const places = hull.members.map((id) => this.place(id));
      const outline = convexHull(places);
      const group = make("g", { "data-hull": hull.name }, layer);
      const d = `M${outline.map((p) => `${p.x} ${p.y}`).join("L")}Z`;
      make("path", { d, class: "hull-edge", "stroke-width": this.radius * 4.6 + 3 }, group);
      make("path", { d, class: "hull", "stroke-width": this.radius * 4.6 }, group);
    }
  }

  drawLink(key, link) {
    let parts = this.linkParts.get(key);
    if (!parts) {
      const group = make("g", { class: "link", "data-link": key }, this.layers.links);
      parts = { group };
      for (const end of ["a", "b"]) {
        parts[end] = make("line", { class: "half" }, group);
        parts[`${end}Flow`] = make("line", { class: "flow" }, group);
        parts[`${end}Hit`] = make("line", { class: "hit", "data-half": end }, group);
      }
      this.linkParts.set(key, parts);
    }
    const [p, q] = [this.place(link.a), this.place(link.b)];
    const middle = { x: (p.x + q.x) / 2, y: (p.y + q.y) / 2 };
    for (const [end, from] of [["a", p], ["b", q]]) {
      const half = link[end === "a" ? "to_a" : "to_b"];
      const at = { x1: middle.x, y1: middle.y, x2: from.x, y2: from.y };
      set(parts[`${end}Hit`], at);
      set(parts[end], { ...at, visibility: half ? "visible" : "hidden" });
      const flows = half?.flow && !half.lost && !this.data.quiet;
      // From the other device to this one: the dots run the way the message went.
      const far = from === p ? q : p;
      const path = { x1: far.x, y1: far.y, x2: from.x, y2: from.y };
      set(parts[`${end}Flow`], { ...path, visibility: flows ? "visible" : "hidden" });
      if (flows) {
        const width = Math.max(2.4, half.width * clamp(this.radius / 12, 0.45, 1));
        set(parts[`${end}Flow`], { "stroke-width": width });
      }
      if (!half) continue;
      set(parts[end], {
        stroke: half.color,
        "stroke-width": half.width * clamp(this.radius / 12, 0.45, 1),
        "stroke-dasharray": half.lost ? "4 5" : "none",
        "data-lost": half.lost ? 1 : 0,
      });
    }
  }

  drawNode(id, node) {
    let parts = this.nodeParts.get(id);
    if (!parts) {
      const group = make("g", { class: "node", "data-node": id, tabindex: 0, role: "img" }, this.layers.nodes);
      parts = {
        group,
        back: make("circle", { class: "back" }, group),
        track: make("circle", { class: "track" }, group),
        ring: make("circle", { class: "ring", transform: "rotate(-90)" }, group),
        body: make("path", { class: "body" }, group),
        number: make("text", { class: "number" }, group),
        label: make("text", { class: "label" }, this.layers.labels), // over all devices
      };
      this.nodeParts.set(id, parts);
    }
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
    set(parts.body, {
      d: markerPath(look.marker, r),
      stroke: look.color,
      fill: look.filled ? look.color : "var(--st-background-color)",
      "stroke-width": look.filled ? 0 : Math.max(2, r * 0.27),
    });
    const known = node.ring !== null && node.ring !== undefined;
    const round = 2 * Math.PI * ringRadius;
    for (const part of [parts.track, parts.ring]) {
      set(part, { r: ringRadius, visibility: known ? "visible" : "hidden", "stroke-width": r * 0.26 });
    }
    set(parts.back, { r: known ? ringRadius : r * 1.3 });
    set(parts.ring, { stroke: look.color, "stroke-dasharray": `${known ? round * node.ring : 0} ${round}` });
    parts.number.textContent = r > 7 ? id : "";
    set(parts.number, {
      class: look.filled ? "number on" : "number",
      "font-size": r * 0.9,
      y: look.marker === "triangle" ? r * 0.18 : 0,
    });
    parts.label.textContent = r > 7 ? (node.label ?? "") : "";
    set(parts.label, parts.label.textContent ? this.labelPlace(id, at, ringRadius) : at);
  }

  // Below the device, or on another side where a neighbour would lie under the words.
  labelPlace(id, at, ring) {
    const sides = [[0, ring + 11], [0, -ring - 4], [ring + 16, 4], [-ring - 16, 4]];
    const spots = sides.map(([dx, dy]) => ({ x: at.x + dx, y: at.y + dy }));
    const others = [...this.nodes.keys()].filter((other) => other !== id).map((other) => this.place(other));
    const room = (spot) => Math.min(...others.map((p) => Math.hypot(p.x - spot.x, p.y - spot.y)));
    return spots.find((spot) => room(spot) > ring + 12)
      ?? spots.reduce((a, b) => (room(b) > room(a) ? b : a));
  }

  drawLegend() {
    const { tasks, snr } = this.data;
    const signature = JSON.stringify([tasks, snr]);
    if (signature === this.legendSignature) return;
    this.legendSignature = signature;
    this.legend.replaceChildren();
    for (const look of Object.values(tasks)) {
      const item = html("span", "item", this.legend);
      const icon = make("svg", { width: 14, height: 14, viewBox: "-9 -9 18 18", "aria-hidden": "true" }, item);
      make("path", { d: markerPath(look.marker, 6.4), fill: look.filled ? look.color : "none", stroke: look.color, "stroke-width": 2.2 }, icon);
      item.append(look.title);
    }
    if (!snr) return;
    const item = html("span", "item snr", this.legend);
    item.append(`SNR ${snr.low}`);
    const bar = html("i", "", item);
    bar.style.background = `linear-gradient(90deg, ${snr.colors.join(", ")})`;
    item.append(`${snr.high} dB`);
    if (snr.lost) {
      const lost = html("span", "item", this.legend);
      const icon = make("svg", { width: 24, height: 8, viewBox: "0 0 24 8", "aria-hidden": "true" }, lost);
      make("line", { x1: 1, y1: 4, x2: 23, y2: 4, stroke: snr.lost, "stroke-width": 2.5, "stroke-dasharray": "4 4" }, icon);
      lost.append("lost message");
    }
  }

  // ---------- pointer and keyboard ----------
  listen() {
    const { svg } = this;
    svg.onpointerdown = (event) => {
      if (event.button !== 0) return;
      svg.setPointerCapture(event.pointerId);
      this.pan = { x: event.clientX, y: event.clientY, view: { ...this.view } };
      this.hide();
    };
    svg.onpointermove = (event) => {
      if (!this.pan) return this.point(event);
      this.view = {
        ...this.view,
        x: this.pan.view.x + event.clientX - this.pan.x,
        y: this.pan.view.y + event.clientY - this.pan.y,
      };
      this.draw();
    };
    svg.onpointerup = svg.onpointercancel = () => { this.pan = null; };
    svg.onpointerleave = () => this.hide();
    svg.addEventListener("wheel", (event) => {
      if (!event.ctrlKey && !event.metaKey) return; // plain scrolling belongs to the page
      event.preventDefault();
      const box = svg.getBoundingClientRect();
      this.zoom(event.deltaY < 0 ? 1.15 : 1 / 1.15, event.clientX - box.left, event.clientY - box.top);
    }, { passive: false });
    svg.addEventListener("focusin", (event) => {
      const id = event.target.closest?.("[data-node]")?.dataset.node;
      if (id !== undefined) this.show(this.nodes.get(id).tip, this.place(id));
    });
    svg.addEventListener("focusout", () => this.hide());
  }

  point(event) {
    const box = this.svg.getBoundingClientRect();
    const at = { x: event.clientX - box.left, y: event.clientY - box.top };
    const id = event.target.closest?.("[data-node]")?.dataset.node;
    if (id !== undefined) return this.show(this.nodes.get(id).tip, this.place(id));
    const key = event.target.closest?.("[data-link]")?.dataset.link;
    const half = event.target.dataset?.half;
    const link = this.links.get(key);
    const message = link && half && link[half === "a" ? "to_a" : "to_b"];
    if (message) return this.show(message.tip, at);
    return this.hide();
  }

  show(lines, at) {
    this.tip.replaceChildren(...lines.map((line, i) => html(i ? "div" : "b", "", null, line)));
    this.tip.hidden = false;
    const half = this.tip.offsetWidth / 2 + 6;
    const over = at.y > this.tip.offsetHeight + 34;
    this.tip.style.left = `${clamp(at.x, half, Math.max(half, this.size.width - half))}px`;
    this.tip.style.top = `${over ? at.y - 26 - this.tip.offsetHeight : at.y + 28}px`;
  }

  hide() {
    this.tip.hidden = true;
  }
}

export function draw(component) {
  const host = component.parentElement.querySelector(".mt-map-host");
  if (!host) return;
  if (!maps.has(host)) {
    host.replaceChildren();
    maps.set(host, new NetworkMap(host));
  }
  maps.get(host).update(component.data, component);
}

export function dispose({ parentElement }) {
  const host = parentElement.querySelector(".mt-map-host");
  maps.get(host)?.dispose();
  maps.delete(host);
}
