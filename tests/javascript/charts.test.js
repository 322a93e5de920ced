import assert from "node:assert/strict";
import { test } from "node:test";

import { marked, mixed, themed } from "../../dashboard/static/chart_look.js";
import { csv, quoted } from "../../dashboard/static/chart_table.js";

const DARK = { "--st-text-color": " #ffffff", "--st-background-color": "#000000", "--st-border-color": "#333333" };
const style = (values) => ({ getPropertyValue: (name) => values[name] ?? "" });

for (const [first, second, share, wanted] of [
  ["#ff0000", "#0000ff", 1, "rgb(255,0,0)"],
  ["#ff0000", "#0000ff", 0, "rgb(0,0,255)"],
  ["#ffffff", "#000000", 0.68, "rgb(173,173,173)"],
  ["rgb(10, 20, 30)", "rgba(30, 40, 50, 0.5)", 0.5, "rgb(20,30,40)"],
  ["none", "none", 0.5, "rgb(128,128,128)"],
]) {
  test(`${share} of ${first} in ${second} is ${wanted}`, () => assert.equal(mixed(first, second, share), wanted));
}

test("text and lines of a chart take the colours of the page", () => {
  const layout = themed({ xaxis: {}, yaxis2: { linecolor: "red" } }, style(DARK));
  assert.equal(layout.font.color, "rgb(173,173,173)");
  assert.equal(layout.title.font.color, "#ffffff");
  assert.equal(layout.hoverlabel.bgcolor, "#000000");
  assert.equal(layout.xaxis.gridcolor, "#333333");
  assert.deepEqual([layout.yaxis2.linecolor, layout.yaxis2.gridcolor], ["red", "#333333"]);
});

test("a page without a theme has the light one", () => {
  const layout = themed({}, style({}));
  assert.equal(layout.title.font.color, "#1F2430");
  assert.equal(layout.hoverlabel.bgcolor, "#FFFFFF");
});

test("what a layout says of itself stays", () => {
  const given = { height: 300, font: { size: 10 }, title: { text: "Loss" }, annotations: [{ font: { color: "red" } }, {}] };
  const layout = themed(given, style(DARK));
  assert.deepEqual([layout.height, layout.font.size, layout.title.text], [300, 10, "Loss"]);
  assert.deepEqual(layout.annotations.map((each) => each.font.color), ["red", "#ffffff"]);
  assert.deepEqual(given.annotations, [{ font: { color: "red" } }, {}]);
});

test("shapes in the colour of text change with it, others do not", () => {
  const shapes = [{ line: { color: "text", width: 2 } }, { line: { color: "red" } }, {}];
  const layout = themed({ shapes }, style(DARK));
  assert.deepEqual(layout.shapes, [{ line: { color: "#ffffff", width: 2 } }, { line: { color: "red" } }, {}]);
});

test("names that only look like axes are left alone", () => {
  assert.equal(themed({ xaxis_title: "x" }, style(DARK)).xaxis_title, "x");
});

test("the round that is looked at gets a line over the whole height", () => {
  const shapes = marked([{ type: "rect" }], 7, style(DARK));
  assert.equal(shapes.length, 2);
  const { x0, x1, y0, y1, yref, line } = shapes[1];
  assert.deepEqual([x0, x1, y0, y1, yref, line.color], [7, 7, 0, 1, "paper", "#ffffff"]);
});

test("round 0 is a round; without one no line is drawn", () => {
  assert.equal(marked(undefined, 0, style({})).length, 1);
  assert.deepEqual(marked(undefined, null, style({})), []);
  assert.deepEqual(marked([{ type: "rect" }], undefined, style({})), [{ type: "rect" }]);
});

for (const [cell, wanted] of [[1.5, "1.5"], [0, "0"], [null, ""], [undefined, ""], [NaN, ""], ["a,b", '"a,b"'], ['say "a"', '"say ""a"""'], ["a\nb", '"a\nb"']]) {
  test(`the cell ${JSON.stringify(cell)} is written ${JSON.stringify(wanted)}`, () => assert.equal(quoted(cell), wanted));
}

const LAYOUT = { xaxis: { title: { text: "Round" } }, yaxis: { title: { text: "Loss<br><sub>nats</sub>" } } };

test("a chart is saved in long form, one row for each point", () => {
  const traces = [{ name: "a", x: [1, 2], y: [0.5, null] }, { name: "b, c", x: [1], y: [3] }];
  assert.equal(csv(LAYOUT, traces), 'series,Round,Lossnats\na,1,0.5\na,2,\n"b, c",1,3\n');
});

test("packed numbers are read where Plotly has wrapped them", () => {
  const y = { _inputArray: Float64Array.of(0.25, 4) };
  assert.equal(csv({}, [{ name: "a", x: [1, 2], y }]), "series,x,y\na,1,0.25\na,2,4\n");
});

test("a heatmap is saved by row and column", () => {
  const trace = { type: "heatmap", x: ["p", "q"], y: ["r"], z: [[1, { toString: () => "2" }]] };
  assert.equal(csv(LAYOUT, [trace]), "row,column,value\nr,p,1\nr,q,2\n");
});

test("a chart without points has a head", () => assert.equal(csv(LAYOUT, []), "series,Round,Lossnats\n"));
