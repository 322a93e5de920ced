// A Plotly chart that is updated in place: Plotly.react keeps zoom, pan and hidden traces.
// Streamlit's own Plotly element builds a new chart for every change of its data.
// Text and lines take their colours from the theme variables, so both modes need no code here.
const plotlyUrl = new URL(new URL(import.meta.url).searchParams.get("plotly"), document.baseURI);
let plotly = null;
const charts = new WeakMap();

function loadPlotly() {
  plotly ??= import(plotlyUrl).then(() => globalThis.Plotly).catch(() => {
    plotly = null; // the next chart tries again
    return null;
  });
  return plotly;
}

function missing(div) {
  const said = document.createElement("p");
  said.className = "mt-missing";
  said.setAttribute("role", "alert");
  said.textContent = `This chart cannot be drawn: ${plotlyUrl.pathname} did not load. Reload the page; `
    + "if it stays so, a proxy in front of Meshtune may not pass this path.";
  div.replaceChildren(said);
}

function themed(layout, css) {
  const value = (name, otherwise) => css.getPropertyValue(name).trim() || otherwise;
  const text = value("--st-text-color", "#1F2430");
  const paper = value("--st-background-color", "#FFFFFF");
  const line = value("--st-border-color", "#E3E5EA");
  const solid = mixed(text, paper, 0.68);
  const result = {
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
  };
  for (const name of Object.keys(layout).filter((key) => /^[xy]axis\d*$/.test(key))) {
    result[name] = {
      gridcolor: line, linecolor: line, zerolinecolor: line, tickcolor: line,
      ...layout[name],
    };
  }
  return result;
}

function mixed(first, second, share) {
  const parts = (color) => {
    const hex = /^#([0-9a-f]{6})$/i.exec(color)?.[1];
    if (hex) return [0, 2, 4].map((i) => parseInt(hex.slice(i, i + 2), 16));
    return (color.match(/[\d.]+/g) ?? [128, 128, 128]).slice(0, 3).map(Number);
  };
  const [a, b] = [parts(first), parts(second)];
  return `rgb(${a.map((v, i) => Math.round(v * share + b[i] * (1 - share))).join(",")})`;
}

function values(list) {
  if (!list) return [];
  return Array.from(list._inputArray ?? list);
}

function quoted(cell) {
  const text = cell === null || cell === undefined || Number.isNaN(cell) ? "" : String(cell);
  return /[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

// What the chart shows, as a table: long form, one row per drawn point.
function csv(div) {
  const plain = (text) => String(text ?? "").replace(/<[^>]*>/g, "");
  const x = plain(div.layout.xaxis?.title?.text) || "x";
  const y = plain(div.layout.yaxis?.title?.text) || "y";
  const rows = [["series", x, y]];
  for (const trace of div._fullData ?? []) {
    if (trace.type === "heatmap") {
      rows[0] = ["row", "column", "value"];
      const [columns, names] = [values(trace.x), values(trace.y)];
      names.forEach((name, i) => columns.forEach((column, j) =>
        rows.push([name, column, values(trace.z[i])[j]])));
    } else {
      const [xs, ys] = [values(trace.x), values(trace.y)];
      xs.forEach((at, i) => rows.push([trace.name, at, ys[i]]));
    }
  }
  return rows.map((row) => row.map(quoted).join(",")).join("\n") + "\n";
}

function save(text, name, type) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

const TEXT_ICON = (label) => ({
  width: 1000, height: 1000,
  svg: `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 34 20"><text x="17" y="15" font-size="14" font-family="sans-serif" font-weight="600" text-anchor="middle" fill="currentColor">${label}</text></svg>`,
});

function buttons(file) {
  const image = (format) => (div) =>
    globalThis.Plotly.downloadImage(div, { format, filename: file, scale: 2 });
  return [
    [
      { name: "CSV", title: "Save the data as CSV", icon: TEXT_ICON("csv"), click: (div) => save(csv(div), `${file}.csv`, "text/csv") },
      { name: "PNG", title: "Save as PNG", icon: TEXT_ICON("png"), click: image("png") },
      { name: "SVG", title: "Save as SVG", icon: TEXT_ICON("svg"), click: image("svg") },
    ],
    ["resetScale2d"],
  ];
}

// A thin line at the round that the page looks at, in charts over rounds.
function marked(shapes, css) {
  const round = globalThis.mtRound;
  if (round === null || round === undefined) return shapes ?? [];
  const color = css.getPropertyValue("--st-text-color").trim() || "#1F2430";
  return [...(shapes ?? []), {
    type: "line", xref: "x", x0: round, x1: round, yref: "paper", y0: 0, y1: 1,
    line: { color, width: 1, dash: "dot" }, opacity: 0.8,
  }];
}

globalThis.addEventListener("mt-round", () => {
  for (const div of document.querySelectorAll(".mt-chart.drawn[data-marks]")) {
    const shapes = marked(div.mtShapes, getComputedStyle(div));
    globalThis.Plotly?.relayout(div, { shapes });
  }
});

// Charts on screen are drawn at once, the others one by one whenever the browser has time: a page of
// many charts can be read before its last chart is there, and new rounds cost what is looked at.
const IDLE_MS = 1000; // the longest that a chart off screen waits for such a time
const seen = new WeakMap(); // by chart: whether it is on screen
const held = new Map(); // charts off screen: what lets them go on
let pumping = false;
const eye = new IntersectionObserver((entries) => {
  for (const entry of entries) {
    seen.set(entry.target, entry.isIntersecting);
    if (entry.isIntersecting) release(entry.target);
  }
  pump();
});

function release(div) {
  held.get(div)?.();
  held.delete(div);
}

function pump() {
  const next = [...held.keys()].find((div) => seen.has(div));
  if (pumping || !next) return;
  pumping = true;
  const whenIdle = globalThis.requestIdleCallback ?? ((act) => setTimeout(act, 50)); // Safari
  whenIdle(() => {
    pumping = false;
    release(next);
    pump();
  }, { timeout: IDLE_MS });
}

function turn(div) {
  if (seen.get(div)) return Promise.resolve();
  return new Promise((resolve) => {
    held.set(div, resolve);
    pump();
  });
}

async function paint(div, data, state) {
  const Plotly = await loadPlotly();
  if (!Plotly) return missing(div);
  div.querySelector(".mt-missing")?.remove();
  await turn(div);
  if (!div.isConnected || state.latest !== data) return; // newer data wait: do not draw stale ones
  const layout = {
    ...themed(data.figure.layout, getComputedStyle(div)),
    height: data.height, uirevision: data.keep, autosize: true,
  };
  if (data.marks) {
    div.mtShapes = layout.shapes;
    div.dataset.marks = "";
    layout.shapes = marked(layout.shapes, getComputedStyle(div));
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
    state.watcher = new ResizeObserver(() => div.clientWidth && Plotly.Plots.resize(div));
    state.watcher.observe(div);
  }
  div.classList.add("drawn");
  div.dataset.drawn = data.rev; // tests wait for this
}

export function draw({ parentElement, data }) {
  const div = parentElement.querySelector(".mt-chart");
  if (!div) return;
  div.style.height = `${data.height}px`;
  if (!charts.has(div)) {
    charts.set(div, { queue: Promise.resolve() });
    eye.observe(div);
  }
  const state = charts.get(div);
  state.latest = data;
  state.queue = state.queue.then(() => paint(div, data, state));
}

export function dispose({ parentElement }) {
  const div = parentElement.querySelector(".mt-chart");
  charts.get(div)?.watcher?.disconnect();
  charts.delete(div);
  if (div) {
    eye.unobserve(div);
    release(div);
  }
  if (div?.classList.contains("drawn")) globalThis.Plotly?.purge(div);
}
