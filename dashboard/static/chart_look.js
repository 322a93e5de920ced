// The layout of a chart in the colours of the page, and the mark of a round. Pure.

/** @typedef {{ getPropertyValue: (name: string) => string }} Style of an element, as computed */

const TEXT = "#1F2430";

/**
 * A layout with text, grid and paper as the page has them; data keep their colours.
 * @param {PlotlyLayout} layout
 * @param {Style} css
 * @returns {PlotlyLayout}
 */
export function themed(layout, css) {
  /** @type {(name: string, otherwise: string) => string} */
  const value = (name, otherwise) => css.getPropertyValue(name).trim() || otherwise;
  const text = value("--st-text-color", TEXT);
  const paper = value("--st-background-color", "#FFFFFF");
  const line = value("--st-border-color", "#E3E5EA");
  const solid = mixed(text, paper, 0.68);
  return {
    ...layout,
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    font: { family: value("--st-font", "sans-serif"), size: 12, ...layout.font, color: solid },
    hoverlabel: { bgcolor: paper, bordercolor: line, font: { color: text, size: 12 }, align: "left" },
    modebar: { bgcolor: "rgba(0,0,0,0)", color: solid, activecolor: text, orientation: "h" },
    legend: { ...layout.legend, font: { color: text, size: 12 } },
    title: { ...layout.title, font: { size: 15, color: text, weight: 600 } },
    annotations: (layout.annotations ?? []).map((a) => ({
      ...a, font: { color: text, ...a.font },
    })),
    shapes: (layout.shapes ?? []).map((s) =>
      s.line?.color === "text" ? { ...s, line: { ...s.line, color: text } } : s),
    ...axes(layout, line),
  };
}

/**
 * The axes of a layout, their lines in this colour unless they say another.
 * @param {PlotlyLayout} layout
 * @param {string} line
 */
function axes(layout, line) {
  const found = Object.entries(layout).filter(([name]) => /^[xy]axis\d*$/.test(name));
  return Object.fromEntries(found.map(([name, axis]) => [name, {
    gridcolor: line, linecolor: line, zerolinecolor: line, tickcolor: line,
    .../** @type {object} */ (axis),
  }]));
}

/**
 * A colour between two, given as #rrggbb or rgb(r, g, b).
 * @param {string} first
 * @param {string} second
 * @param {number} share of the first
 */
export function mixed(first, second, share) {
  /** @type {(color: string) => number[]} */
  const parts = (color) => {
    const hex = /^#([0-9a-f]{6})$/i.exec(color)?.[1];
    if (hex) return [0, 2, 4].map((i) => parseInt(hex.slice(i, i + 2), 16));
    return (color.match(/[\d.]+/g) ?? [128, 128, 128]).slice(0, 3).map(Number);
  };
  const [a, b] = [parts(first), parts(second)];
  return `rgb(${a.map((v, i) => Math.round(v * share + b[i] * (1 - share))).join(",")})`;
}

/**
 * Shapes with a thin line at the round that the page looks at, in charts over rounds.
 * @param {PlotlyShape[] | undefined} shapes
 * @param {number | null | undefined} round
 * @param {Style} css
 * @returns {PlotlyShape[]}
 */
export function marked(shapes, round, css) {
  if (round === null || round === undefined) return shapes ?? [];
  const color = css.getPropertyValue("--st-text-color").trim() || TEXT;
  return [...(shapes ?? []), {
    type: "line", xref: "x", x0: round, x1: round, yref: "paper", y0: 0, y1: 1,
    line: { color, width: 1, dash: "dot" }, opacity: 0.8,
  }];
}
