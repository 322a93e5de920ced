// SVG and HTML elements of the maps of a mesh.
import { clamp, gridOf, hullPath, markerPath, niceLength, notePlace } from "./mesh_geometry.js";
import { metres } from "./mesh_links.js";

/**
 * @typedef {import("./mesh_geometry.js").Point} Point
 * @typedef {import("./mesh_geometry.js").Size} Size
 * @typedef {Record<string, string | number | boolean>} Attributes
 *
 * How the devices of a task are drawn.
 * @typedef {object} TaskLook
 * @property {string} title
 * @property {string} color
 * @property {import("./mesh_geometry.js").Marker} marker
 * @property {boolean} filled
 */

const NS = "http://www.w3.org/2000/svg";
export const still = () => matchMedia("(prefers-reduced-motion: reduce)").matches;

/**
 * @template {Element} E
 * @param {E} element
 * @param {Attributes} attributes
 */
export function set(element, attributes) {
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, String(value));
  return element;
}

/**
 * A new SVG element.
 * @template {keyof SVGElementTagNameMap} N
 * @param {N} name
 * @param {Attributes} attributes
 * @param {Element} parent
 */
export function make(name, attributes, parent) {
  const element = set(document.createElementNS(NS, name), attributes);
  parent.append(element);
  return element;
}

/**
 * A new HTML element.
 * @template {keyof HTMLElementTagNameMap} N
 * @param {N} name
 * @param {string} className
 * @param {Element | null} parent
 */
export function html(name, className, parent, text = "") {
  const element = document.createElement(name);
  element.className = className;
  element.textContent = text;
  parent?.append(element);
  return element;
}

/**
 * A new button; its title is its name for those who do not see it.
 * @param {Element} parent
 * @param {string} text
 * @param {string} title
 * @param {() => void} act
 */
export function button(parent, text, title, act) {
  const made = html("button", "", parent, text);
  made.type = "button";
  made.title = title;
  made.setAttribute("aria-label", title);
  made.onclick = act;
  return made;
}

/**
 * The layers of a map, the first at the bottom.
 * @template {string} N
 * @param {readonly N[]} names
 * @param {SVGSVGElement} svg
 */
export function layersOf(names, svg) {
  const made = names.map((name) => [name, make("g", { class: name }, svg)]);
  return /** @type {Record<N, SVGGElement>} */ (Object.fromEntries(made));
}

/**
 * The value of `data-KIND` of what an event hit, or of what holds it.
 * @param {EventTarget | null} target
 * @param {"node" | "link"} kind
 */
export function hit(target, kind) {
  const found = target instanceof Element ? target.closest(`[data-${kind}]`) : null;
  return found?.getAttribute(`data-${kind}`) ?? null;
}

/**
 * Where a pointer is, seen from the corner of an element.
 * @param {Element} element
 * @param {MouseEvent} event
 * @returns {Point}
 */
export function within(element, event) {
  const box = element.getBoundingClientRect();
  return { x: event.clientX - box.left, y: event.clientY - box.top };
}

/**
 * Have Ctrl and the wheel zoom; plain scrolling belongs to the page.
 * @param {SVGSVGElement} svg
 * @param {(factor: number, at: Point) => void} zoom
 */
export function onWheel(svg, zoom) {
  svg.addEventListener("wheel", (event) => {
    if (!event.ctrlKey && !event.metaKey) return;
    event.preventDefault();
    zoom(event.deltaY < 0 ? 1.15 : 1 / 1.15, within(svg, event));
  }, { passive: false });
}

/**
 * Call `draw` for every frame with the share of the time that is over, as long as it says true.
 * @param {number} ms
 * @param {(share: number) => boolean} draw
 */
export function overTime(ms, draw) {
  const begun = performance.now();
  /** @param {number} now */
  const frame = (now) => {
    const share = clamp((now - begun) / ms, 0, 1);
    if (draw(share) && share < 1) requestAnimationFrame(frame);
  };
  requestAnimationFrame(frame);
}

/**
 * Show lines of text beside a place, the first one bold.
 * @param {HTMLElement} tip
 * @param {string[]} lines
 * @param {Point} at
 * @param {number} width of the map
 */
export function tell(tip, lines, at, width) {
  tip.replaceChildren(...lines.map((line, i) => html(i ? "div" : "b", "", null, line)));
  tip.hidden = false;
  const place = notePlace(at, { width: tip.offsetWidth, height: tip.offsetHeight }, width);
  tip.style.left = `${place.left}px`;
  tip.style.top = `${place.top}px`;
}

/**
 * Grid lines, and a bar that tells their distance.
 * @param {Element} layer
 * @param {Element} scaleLayer
 * @param {Size} size
 * @param {Point} origin
 * @param {number} pixelsPerMetre
 */
export function gridLines(layer, scaleLayer, size, origin, pixelsPerMetre) {
  const step = niceLength(pixelsPerMetre, 130);
  const gap = step * pixelsPerMetre;
  layer.replaceChildren();
  for (const line of gridOf(size, origin, gap)) make("line", line, layer);
  scaleLayer.replaceChildren();
  const [left, bottom] = [14, size.height - 14];
  make("path", { d: `M${left} ${bottom - 5}V${bottom}H${left + gap}V${bottom - 5}` }, scaleLayer);
  make("text", { x: left + gap + 6, y: bottom + 1 }, scaleLayer).textContent = metres(step);
}

/**
 * The outline of a cluster, with room around its devices.
 * @param {Element} layer
 * @param {string | number} name
 * @param {Point[]} places
 * @param {number} width
 */
export function drawHull(layer, name, places, width) {
  const d = hullPath(places);
  const group = make("g", { "data-hull": name }, layer);
  make("path", { d, class: "hull-edge", "stroke-width": width + 3 }, group);
  make("path", { d, class: "hull", "stroke-width": width }, group);
}

/**
 * The marker of a task as a small picture beside its name.
 * @param {TaskLook} look
 * @param {Element} parent
 */
export function taskIcon(look, parent) {
  const icon = make("svg", { width: 14, height: 14, viewBox: "-9 -9 18 18", "aria-hidden": "true" }, parent);
  make("path", { d: markerPath(look.marker, 6.4), fill: look.filled ? look.color : "none", stroke: look.color, "stroke-width": 2.2 }, icon);
}

/**
 * The body of a device, and its number where it is large enough.
 * @param {{ body: SVGElement, number: SVGElement }} parts
 * @param {TaskLook} look
 * @param {number} r
 * @param {string} number
 */
export function drawDevice(parts, look, r, number) {
  set(parts.body, {
    d: markerPath(look.marker, r),
    stroke: look.color,
    fill: look.filled ? look.color : "var(--st-background-color)",
    "stroke-width": look.filled ? 0 : Math.max(2, r * 0.27),
  });
  parts.number.textContent = number;
  set(parts.number, {
    class: look.filled ? "number on" : "number",
    "font-size": r * 0.9,
    y: look.marker === "triangle" ? r * 0.18 : 0,
  });
}
