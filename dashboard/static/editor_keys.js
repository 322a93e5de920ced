// The keyboard on the map editor.
import { TOOLS } from "./editor_bars.js";
import { hit } from "./mesh_draw.js";
import { pairKey } from "./mesh_edits.js";

/** @typedef {import("./editor.js").Editor} Editor */

/**
 * @param {Editor} editor
 * @param {KeyboardEvent} event
 */
export function onKey(editor, event) {
  if (event.altKey) return;
  const control = event.ctrlKey || event.metaKey;
  const onMap = event.target instanceof Node && editor.bars.svg.contains(event.target);
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  const done = control ? withControl(editor, key, event.shiftKey, onMap)
    : onMap && alone(editor, key, event.shiftKey, hit(event.target, "node"));
  if (!done) return;
  event.preventDefault();
  event.stopPropagation(); // Streamlit has single-key shortcuts of its own (r, c)
}

/**
 * Whether the key means something together with Ctrl.
 * @param {Editor} editor
 * @param {string} key
 * @param {boolean} shift
 * @param {boolean} onMap
 */
function withControl(editor, key, shift, onMap) {
  if (key === "y" || (key === "z" && shift)) editor.redo();
  else if (key === "z") editor.undo();
  else if (key === "a" && onMap) editor.selectAll();
  else return false;
  return true;
}

/**
 * Whether the key means something by itself.
 * @param {Editor} editor
 * @param {string} key
 * @param {boolean} shift
 * @param {string | null} focus the device that has the focus
 */
function alone(editor, key, shift, focus) {
  const step = editor.snapStep * (shift ? 10 : 1);
  /** @type {Record<string, [number, number]>} */
  const arrows = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, step], ArrowDown: [0, -step] };
  const meant = editor.selected.size ? [...editor.selected] : focus ? [focus] : [];
  if (arrows[key]) {
    if (focus && !editor.selected.has(focus)) editor.selected = new Set([focus]);
    editor.nudge(...arrows[key]);
  } else if (key === "Delete" || key === "Backspace") editor.remove(meant);
  else if (key === "Enter" || key === " ") enter(editor, focus, shift);
  else if (key === "Escape") editor.letGo();
  else if (key === "t") editor.nextTask(meant);
  else if (key === "+" || key === "=") editor.zoom(1.4);
  else if (key === "-") editor.zoom(1 / 1.4);
  else if (key === "0") editor.fit();
  else if (key === "s") editor.toggleSnap();
  else return choose(editor, key);
  return true;
}

/**
 * Whether the key stands for a tool.
 * @param {Editor} editor
 * @param {string} key
 */
function choose(editor, key) {
  const tool = TOOLS.find((each) => each[2].toLowerCase() === key);
  if (tool) editor.setTool(tool[0]);
  return tool !== undefined;
}

/**
 * What Enter does with the chosen tool.
 * @param {Editor} editor
 * @param {string | null} focus
 * @param {boolean} shift
 */
function enter(editor, focus, shift) {
  if (editor.tool === "add") editor.addDevice(editor.metres({ x: editor.size.width / 2, y: editor.size.height / 2 }));
  else if (!focus) return;
  else if (editor.tool === "link") enterLink(editor, focus);
  else if (editor.tool === "paint") editor.paint([focus]);
  else if (editor.tool === "erase") editor.remove([focus]);
  else {
    if (shift) editor.toggle(focus);
    else if (editor.selected.has(focus) && editor.selected.size === 1) editor.selected = new Set();
    else editor.selected = new Set([focus]);
    editor.draw();
  }
}

/**
 * Begin a link, or end it: then it is there, or the one that was there is gone.
 * @param {Editor} editor
 * @param {string} focus
 */
function enterLink(editor, focus) {
  const from = editor.linking;
  editor.linking = from ? null : focus;
  if (!from) editor.say(`Link from ${editor.name(focus)}: go to another device and press Enter`);
  else if (editor.links.has(pairKey(from, focus))) editor.erase(null, pairKey(from, focus));
  else editor.link(from, focus);
}
