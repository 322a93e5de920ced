// A Plotly chart that is updated in place: Plotly.react keeps zoom, pan and hidden traces.
// Streamlit's own Plotly element builds a new chart for every change of its data.
// Text and lines take their colours from the theme variables, so both modes need no code here.
import { marked, themed } from "./chart_look.js";
import { csv } from "./chart_table.js";

/**
 * What Python sends of a chart.
 * @typedef {object} ChartMessage
 * @property {{ data: object[], layout: PlotlyLayout }} figure
 * @property {number} height in pixels
 * @property {string} rev changes with the figure
 * @property {string} file name of saved files, without its ending
 * @property {string} keep zoom and hidden traces stay while it stays
 * @property {boolean} marks whether the round that is looked at is marked
 *
 * What is known of a chart on the page.
 * @typedef {object} ChartState
 * @property {Promise<void>} queue ends when all that was asked for is drawn
 * @property {ChartMessage} latest
 * @property {ResizeObserver} [watcher] there since the first drawing
 * @property {PlotlyShape[]} [shapes] of the layout, without the mark
 */

const plotlyUrl = new URL(new URL(import.meta.url).searchParams.get("plotly") ?? "", document.baseURI);
/** @type {Promise<PlotlyApi | null | undefined> | null} */
let plotly = null;
/** @type {WeakMap<Element, ChartState>} */
const charts = new WeakMap();

function loadPlotly() {
  plotly ??= import(plotlyUrl.href).then(() => globalThis.Plotly).catch(() => {
    plotly = null; // the next chart tries again
    return null;
  });
  return plotly;
}

/** @param {Element} div */
function missing(div) {
  const said = document.createElement("p");
  said.className = "mt-missing";
  said.setAttribute("role", "alert");
  said.textContent = `This chart cannot be drawn: ${plotlyUrl.pathname} did not load. Reload the page; `
    + "if it stays so, a proxy in front of Meshtune may not pass this path.";
  div.replaceChildren(said);
}

/**
 * @param {string} text
 * @param {string} name
 * @param {string} type
 */
function save(text, name, type) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

/** @param {string} label */
const textIcon = (label) => ({
  width: 1000, height: 1000,
  svg: `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 34 20"><text x="17" y="15" font-size="14" font-family="sans-serif" font-weight="600" text-anchor="middle" fill="currentColor">${label}</text></svg>`,
});

/** @param {string} file */
function buttons(file) {
  /** @type {(format: string) => (div: PlotlyDiv) => void} */
  const image = (format) => (div) =>
    globalThis.Plotly?.downloadImage(div, { format, filename: file, scale: 2 });
  /** @param {PlotlyDiv} div */
  const table = (div) => save(csv(div.layout, div._fullData ?? []), `${file}.csv`, "text/csv");
  return [
    [
      { name: "CSV", title: "Save the data as CSV", icon: textIcon("csv"), click: table },
      { name: "PNG", title: "Save as PNG", icon: textIcon("png"), click: image("png") },
      { name: "SVG", title: "Save as SVG", icon: textIcon("svg"), click: image("svg") },
    ],
    ["resetScale2d"],
  ];
}

globalThis.addEventListener("mt-round", () => {
  for (const div of document.querySelectorAll(".mt-chart.drawn[data-marks]")) {
    const shapes = marked(charts.get(div)?.shapes, globalThis.mtRound, getComputedStyle(div));
    globalThis.Plotly?.relayout(div, { shapes });
  }
});

// Charts on screen are drawn at once, the others one by one whenever the browser has time: a page of
// many charts can be read before its last chart is there, and new rounds cost what is looked at.
const IDLE_MS = 1000; // the longest that a chart off screen waits for such a time
/** @type {WeakMap<Element, boolean>} */
const seen = new WeakMap(); // by chart: whether it is on screen
/** @type {Map<Element, () => void>} */
const held = new Map(); // charts off screen: what lets them go on
let pumping = false;
const eye = new IntersectionObserver((entries) => {
  for (const entry of entries) {
    seen.set(entry.target, entry.isIntersecting);
    if (entry.isIntersecting) release(entry.target);
  }
  pump();
});

/** @param {Element} div */
function release(div) {
  held.get(div)?.();
  held.delete(div);
}

function pump() {
  const next = [...held.keys()].find((div) => seen.has(div));
  if (pumping || !next) return;
  pumping = true;
  /** @type {(act: () => void, options: { timeout: number }) => void} */
  const whenIdle = globalThis.requestIdleCallback ?? ((act) => setTimeout(act, 50)); // Safari
  whenIdle(() => {
    pumping = false;
    release(next);
    pump();
  }, { timeout: IDLE_MS });
}

/**
 * Ends when it is this chart's turn to be drawn.
 * @param {Element} div
 * @returns {Promise<void>}
 */
function turn(div) {
  if (seen.get(div)) return Promise.resolve();
  return new Promise((resolve) => {
    held.set(div, resolve);
    pump();
  });
}

/**
 * @param {HTMLElement} div
 * @param {ChartMessage} data
 * @param {ChartState} state
 */
async function paint(div, data, state) {
  const Plotly = await loadPlotly();
  if (!Plotly) {
    missing(div);
    return;
  }
  div.querySelector(".mt-missing")?.remove();
  await turn(div);
  if (!div.isConnected || state.latest !== data) return; // newer data wait: do not draw stale ones
  /** @type {PlotlyLayout} */
  const layout = {
    ...themed(data.figure.layout, getComputedStyle(div)),
    height: data.height, uirevision: data.keep, autosize: true,
  };
  if (data.marks) {
    state.shapes = layout.shapes;
    div.dataset.marks = "";
    layout.shapes = marked(layout.shapes, globalThis.mtRound, getComputedStyle(div));
  }
  if (state.watcher) {
    // Without a config: plotly.js 4.1 takes a config with buttons for a new one every time, and
    // then draws anew without end.
    await Plotly.react(div, data.figure.data, layout);
  } else {
    await Plotly.newPlot(div, data.figure.data, layout, {
      displaylogo: false, responsive: false, displayModeBar: "hover",
      modeBarButtons: buttons(data.file), doubleClick: "reset", showTips: false,
    });
    state.watcher = new ResizeObserver(() => { if (div.clientWidth) Plotly.Plots.resize(div); });
    state.watcher.observe(div);
  }
  div.classList.add("drawn");
  div.dataset.drawn = data.rev; // tests wait for this
}

/** @param {Component<ChartMessage>} component */
export function draw({ parentElement, data }) {
  /** @type {HTMLElement | null} */
  const div = parentElement.querySelector(".mt-chart");
  if (!div) return;
  div.style.height = `${data.height}px`;
  let state = charts.get(div);
  if (!state) {
    state = { queue: Promise.resolve(), latest: data };
    charts.set(div, state);
    eye.observe(div);
  }
  const known = state;
  known.latest = data;
  known.queue = known.queue.then(() => paint(div, data, known));
}

/** @param {Component<ChartMessage>} component */
export function dispose({ parentElement }) {
  /** @type {HTMLElement | null} */
  const div = parentElement.querySelector(".mt-chart");
  if (!div) return;
  charts.get(div)?.watcher?.disconnect();
  charts.delete(div);
  eye.unobserve(div);
  release(div);
  if (div.classList.contains("drawn")) globalThis.Plotly?.purge(div);
}
