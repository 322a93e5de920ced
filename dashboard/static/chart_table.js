// What a chart shows, as a table for a file. Pure.

/** @typedef {string | number | null | undefined} Cell */

/** @param {PlotlyValues | undefined} list */
function values(list) {
  if (!list) return [];
  return Array.from("_inputArray" in list ? list._inputArray : list);
}

/** @param {Cell} cell */
export function quoted(cell) {
  const text = cell === null || cell === undefined || Number.isNaN(cell) ? "" : String(cell);
  return /[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

/** @param {string | undefined} text */
const plain = (text) => (text ?? "").replace(/<[^>]*>/g, "");

/**
 * The points of a trace; a heatmap has columns and rows instead of a name.
 * @param {PlotlyTrace} trace
 * @returns {Cell[][]}
 */
function rowsOf(trace) {
  const [xs, ys] = [values(trace.x), values(trace.y)];
  if (trace.type !== "heatmap") return xs.map((at, i) => [trace.name, at, ys[i]]);
  return ys.flatMap((name, i) => xs.map((column, j) => [name, column, values(trace.z?.[i])[j]]));
}

/**
 * Comma-separated values in long form, one row per drawn point.
 * @param {PlotlyLayout} layout
 * @param {PlotlyTrace[]} traces
 */
export function csv(layout, traces) {
  const x = plain(layout.xaxis?.title?.text) || "x";
  const y = plain(layout.yaxis?.title?.text) || "y";
  const map = traces.some((trace) => trace.type === "heatmap");
  const head = map ? ["row", "column", "value"] : ["series", x, y];
  return [head, ...traces.flatMap(rowsOf)].map((row) => row.map(quoted).join(",")).join("\n") + "\n";
}
