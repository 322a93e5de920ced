// What the page around the scripts of dashboard/static gives them.

/** What Streamlit hands to a component: its place, what Python sent, and the way back. */
interface Component<Data> {
  parentElement: HTMLElement | ShadowRoot;
  data: Data;
  setStateValue(name: string, value: object): void;
}

/** The round that the page looks at; marker.js sets it, the charts read it. */
declare var mtRound: number | null | undefined;

/** plotly.js, once it is loaded, as far as the charts use it. */
declare var Plotly: PlotlyApi | undefined;

interface PlotlyApi {
  react(div: HTMLElement, data: object[], layout: PlotlyLayout, config?: object): Promise<PlotlyDiv>;
  newPlot(div: HTMLElement, data: object[], layout: PlotlyLayout, config?: object): Promise<PlotlyDiv>;
  relayout(div: Element, update: object): Promise<PlotlyDiv>;
  downloadImage(div: HTMLElement, options: object): Promise<string>;
  purge(div: HTMLElement): void;
  Plots: { resize(div: HTMLElement): void };
}

interface PlotlyAxis {
  title?: { text?: string };
  [name: string]: unknown;
}

interface PlotlyShape {
  line?: { color?: string; [name: string]: unknown };
  [name: string]: unknown;
}

interface PlotlyLayout {
  annotations?: { font?: object; [name: string]: unknown }[];
  font?: object;
  legend?: object;
  shapes?: PlotlyShape[];
  title?: object;
  xaxis?: PlotlyAxis;
  yaxis?: PlotlyAxis;
  [name: string]: unknown;
}

/** Plotly wraps some of the numbers that came packed. */
type PlotlyValues = ArrayLike<string | number> | { _inputArray: ArrayLike<string | number> };

interface PlotlyTrace {
  type?: string;
  name?: string;
  x?: PlotlyValues;
  y?: PlotlyValues;
  z?: PlotlyValues[];
}

/** An element with a chart, with what Plotly keeps on it. */
interface PlotlyDiv extends HTMLElement {
  layout: PlotlyLayout;
  _fullData?: PlotlyTrace[];
}
