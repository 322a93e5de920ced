// The bars, buttons and words around the map of the editor.
import { button, html, layersOf, make, taskIcon } from "./mesh_draw.js";

/**
 * @typedef {"select" | "hand" | "add" | "link" | "paint" | "erase"} Tool
 *
 * What the buttons do.
 * @typedef {object} Actions
 * @property {(tool: Tool) => void} setTool
 * @property {() => void} undo
 * @property {() => void} redo
 * @property {(factor: number) => void} zoom
 * @property {() => void} fit
 * @property {() => void} toggleSnap
 * @property {(by: number) => void} step through the merges of a clustering
 * @property {() => void} play
 *
 * @typedef {ReturnType<typeof build>} Bars
 */

/** @type {[tool: Tool, label: string, key: string, hint: string][]} */
export const TOOLS = [
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
const LAYERS = /** @type {const} */ (["grid", "hulls", "links", "draft", "nodes", "scale"]);

/**
 * Buttons that belong together.
 * @param {Element} bar
 * @param {string} label
 */
function group(bar, label) {
  const seg = html("div", "seg", bar);
  seg.setAttribute("role", "group");
  seg.setAttribute("aria-label", label);
  return seg;
}

/**
 * Everything that the editor shows, within `root`.
 * @param {HTMLElement} root
 * @param {Actions} act
 */
export function build(root, act) {
  const bar = html("div", "bar", root);
  const toolButtons = tools(group(bar, "Tools"), act);
  const history = group(bar, "Undo and redo");
  const undo = button(history, "↶", "Undo (Ctrl Z)", act.undo);
  const redo = button(history, "↷", "Redo (Ctrl Y)", act.redo);
  const zoom = group(bar, "View");
  button(zoom, "−", "Zoom out", () => act.zoom(1 / 1.4));
  button(zoom, "+", "Zoom in", () => act.zoom(1.4));
  button(zoom, "Fit", "Show the whole mesh", act.fit);
  const snap = button(zoom, "Snap", "Snap to a grid (S)", act.toggleSnap);
  const keysButton = button(zoom, "?", "Keys", () => {
    keys.hidden = !keys.hidden;
    keysButton.setAttribute("aria-expanded", String(!keys.hidden));
  });
  keysButton.setAttribute("aria-expanded", "false");
  const tasks = group(bar, "Task of new and painted devices");
  const map = stage(root);
  const stepping = steps(root, act);
  const foot = html("div", "foot", root);
  const summary = html("span", "item", foot);
  const hint = html("span", "item", foot);
  const legend = html("span", "item", foot);
  const keys = keyList(root);
  const said = html("div", "said", root);
  said.setAttribute("aria-live", "polite");
  return { ...map, ...stepping, toolButtons, undo, redo, snap, tasks, summary, hint, legend, said };
}

/**
 * @param {Element} seg
 * @param {Actions} act
 */
function tools(seg, act) {
  return new Map(TOOLS.map(([id, label, key, hint]) => {
    const made = button(seg, label, `${label} (${key}): ${hint}`, () => act.setTool(id));
    made.dataset.toolButton = id;
    return [id, made];
  }));
}

/** @param {Element} root */
function stage(root) {
  const made = html("div", "stage", root);
  const svg = make("svg", { role: "application", tabindex: 0, "aria-label": "Map of the mesh in metres" }, made);
  const layers = layersOf(LAYERS, svg);
  const tip = html("div", "tip", made);
  tip.hidden = true;
  return { stage: made, svg, layers, tip };
}

/**
 * @param {Element} root
 * @param {Actions} act
 */
function steps(root, act) {
  const bar = html("div", "bar steps", root);
  bar.hidden = true;
  const seg = group(bar, "Steps of the clustering");
  button(seg, "Back", "One merge back", () => act.step(-1));
  button(seg, "Next", "One merge on", () => act.step(1));
  button(seg, "Play", "Play the merges", act.play);
  return { steps: bar, stepWords: html("span", "", bar) };
}

/** @param {Element} root */
function keyList(root) {
  const keys = html("div", "keys", root);
  keys.hidden = true;
  for (const [key, what] of KEYS) {
    const line = html("div", "", keys);
    html("kbd", "", line, key);
    line.append(` ${what}`);
  }
  return keys;
}

/**
 * One button for each task, made anew when there are more or fewer; the chosen one is pressed.
 * @param {Element} bar
 * @param {Record<string, import("./mesh_draw.js").TaskLook>} tasks
 * @param {string} chosen
 * @param {(task: string) => void} choose
 */
export function fillTasks(bar, tasks, chosen, choose) {
  const names = Object.keys(tasks);
  if (bar.childElementCount !== names.length) {
    bar.replaceChildren(...names.map((name) => {
      const made = html("button", "", null);
      made.type = "button";
      made.dataset.task = name;
      taskIcon(tasks[name], made);
      made.append(tasks[name].title);
      made.onclick = () => choose(name);
      return made;
    }));
  }
  for (const each of bar.children) each.setAttribute("aria-pressed", String(each.getAttribute("data-task") === chosen));
}

/**
 * What the colours of links mean; nothing where there are none.
 * @param {Element} legend
 * @param {import("./mesh_links.js").LinkScale | null} look
 */
export function fillLegend(legend, look) {
  legend.replaceChildren();
  if (!look) return;
  legend.append(`SNR ${look.low_db}`);
  html("i", "", legend).style.background = `linear-gradient(90deg, ${look.weak}, ${look.strong})`;
  legend.append(`${look.high_db} dB · dashed: lost more than 1 in 10`);
}
