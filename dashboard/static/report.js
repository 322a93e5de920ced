// Draws the charts of a report from the figures inside it; again when light turns to dark.
(() => {
  /** @typedef {{ data: object[], layout: PlotlyLayout }} Figure */

  /** @type {Record<"light" | "dark", Record<string, Figure>>} */
  const figures = JSON.parse(document.getElementById("figures")?.textContent ?? "");
  const dark = matchMedia("(prefers-color-scheme: dark)");

  /** @param {PlotlyLayout} layout */
  function themed(layout) {
    const css = getComputedStyle(document.documentElement);
    /** @type {(name: string) => string} */
    const color = (name) => css.getPropertyValue(`--${name}`).trim();
    /** @type {PlotlyLayout} */
    const result = {
      ...layout,
      paper_bgcolor: "rgba(0,0,0,0)",
      plot_bgcolor: "rgba(0,0,0,0)",
      font: { family: getComputedStyle(document.body).fontFamily, size: 12, color: color("muted") },
      hoverlabel: { bgcolor: color("paper"), bordercolor: color("line"), font: { color: color("text"), size: 12 }, align: "left" },
      modebar: { bgcolor: "rgba(0,0,0,0)", color: color("muted"), activecolor: color("text") },
      legend: { ...layout.legend, font: { color: color("text"), size: 12 } },
      title: { ...layout.title, font: { size: 15, color: color("text"), weight: 600 } },
      annotations: (layout.annotations ?? []).map((a) => ({ ...a, font: { color: color("text"), ...a.font } })),
      autosize: true,
    };
    for (const name of Object.keys(layout).filter((key) => /^[xy]axis\d*$/.test(key))) {
      const line = color("line");
      const own = /** @type {object} */ (layout[name]);
      result[name] = { gridcolor: line, linecolor: line, zerolinecolor: line, tickcolor: line, ...own };
    }
    return result;
  }

  function draw() {
    const chosen = figures[dark.matches ? "dark" : "light"];
    /** @type {NodeListOf<HTMLElement>} */
    const places = document.querySelectorAll("[data-figure]");
    for (const place of places) {
      const name = place.dataset.figure ?? "";
      const figure = chosen[name];
      globalThis.Plotly?.react(place, figure.data, themed(figure.layout), {
        displaylogo: false, responsive: true,
        modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"],
        toImageButtonOptions: { format: "svg", filename: name },
      }).then(() => place.classList.add("drawn"));
    }
  }

  draw();
  dark.addEventListener("change", draw);
})();
