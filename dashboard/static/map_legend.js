// What the markers and colours of the network map mean.
import { html, make, taskIcon } from "./mesh_draw.js";

/**
 * The colours of links from the weakest to the strongest level, and that of what was lost.
 * @typedef {{ low: number, high: number, colors: string[], lost: string }} Snr
 */

/**
 * @param {Element} legend
 * @param {Record<string, import("./mesh_draw.js").TaskLook>} tasks
 * @param {Snr | null} snr
 */
export function fillLegend(legend, tasks, snr) {
  legend.replaceChildren();
  for (const look of Object.values(tasks)) {
    const item = html("span", "item", legend);
    taskIcon(look, item);
    item.append(look.title);
  }
  if (snr) linkColours(legend, snr);
}

/**
 * @param {Element} legend
 * @param {Snr} snr
 */
function linkColours(legend, snr) {
  const item = html("span", "item snr", legend);
  item.append(`SNR ${snr.low}`);
  html("i", "", item).style.background = `linear-gradient(90deg, ${snr.colors.join(", ")})`;
  item.append(`${snr.high} dB`);
  const lost = html("span", "item", legend);
  const icon = make("svg", { width: 24, height: 8, viewBox: "0 0 24 8", "aria-hidden": "true" }, lost);
  make("line", { x1: 1, y1: 4, x2: 23, y2: 4, stroke: snr.lost, "stroke-width": 2.5, "stroke-dasharray": "4 4" }, icon);
  lost.append("lost message");
}
