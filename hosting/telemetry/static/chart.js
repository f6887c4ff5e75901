// One chart: lines over the last periods, the newest at the right edge.

import { ceiling, format, span } from "./format.js";

const SVG = "http://www.w3.org/2000/svg";
const WIDTH = 320;
const HEIGHT = 90;

export function element(name, attributes = {}, text = "") {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.textContent = text;
  return made;
}

export function shape(name, attributes) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

/** The path of one line; a gap where there is no value, a dot where it stands alone. */
function path(values, kept, top) {
  const first = kept - values.length;
  let drawn = "";
  let open = false;
  values.forEach((value, index) => {
    if (value === null) {
      open = false;
      return;
    }
    const x = ((first + index) / (kept - 1)) * WIDTH;
    const y = HEIGHT - (value / top) * HEIGHT;
    drawn += `${open ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`;
    if (!open && (values[index + 1] ?? null) === null) drawn += "h0.01";
    open = true;
  });
  return drawn;
}

export class Chart {
  /** A card for one chart of the report; `root` is to be put into the page. */
  constructor(chart) {
    this.root = element("article", { class: "card" });
    this.svg = shape("svg", {
      viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img",
    });
    for (const share of [0, 0.5, 1]) {
      const y = share * HEIGHT;
      this.svg.append(shape("line", { class: "grid", x1: 0, x2: WIDTH, y1: y, y2: y }));
    }
    this.top = element("span", { class: "axis" });
    const legend = element("ul", { class: "legend" });
    this.paths = [];
    this.values = [];
    chart.lines.forEach((line, index) => {
      const item = element("li", { class: `line-${index}` });
      const value = element("strong");
      item.append(element("span", {}, line.name), value);
      legend.append(item);
      this.values.push(value);
      const drawn = shape("path", { class: `line line-${index}` });
      this.svg.append(drawn);
      this.paths.push(drawn);
    });
    const plot = element("div", { class: "plot" });
    const times = element("p", { class: "times", "aria-hidden": "true" });
    this.oldest = element("span");
    times.append(this.oldest, element("span", {}, "now"));
    plot.append(this.svg, this.top, times);
    this.root.append(element("h2", {}, chart.title), legend, plot);
  }

  /** Draws what came; `kept` is how many periods of that many seconds the width stands for. */
  draw(chart, kept, period) {
    const all = chart.lines.flatMap((line) => line.values).filter((value) => value !== null);
    const top = ceiling(Math.max(0, ...all), chart.unit);
    const said = [];
    chart.lines.forEach((line, index) => {
      this.paths[index].setAttribute("d", path(line.values, kept, top));
      const now = format(line.values.at(-1), chart.unit);
      this.values[index].textContent = now;
      said.push(`${line.name} ${now}`);
    });
    this.oldest.textContent = `${span(kept * period)} ago`;
    this.top.textContent = format(top, chart.unit);
    this.svg.setAttribute("aria-label", `${chart.title}: ${said.join(", ")}`);
  }
}
