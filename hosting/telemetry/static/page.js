// The status page: asks for the figures once a second, and draws them.

import { Chart, element, shape } from "./chart.js";
import { format, span } from "./format.js";

const PATIENCE_MS = 5000;

const find = (id) => document.getElementById(id);

let charts = [];

function show(report) {
  const title = `${report.title}: status`;
  if (document.title !== title) document.title = title;
  find("title").textContent = report.title;
  find("uptime").textContent = `Running for ${span(report.uptime_seconds)}`;
  if (find("note").textContent !== report.note) find("note").textContent = report.note;
  if (charts.length !== report.charts.length) {
    charts = report.charts.map((chart) => new Chart(chart));
    find("charts").replaceChildren(...charts.map((chart) => chart.root));
  }
  report.charts.forEach((chart, index) => charts[index].draw(chart, report.kept_periods, report.period_seconds));
  showRooms(report.rooms);
}

function showRooms(rooms) {
  const most = Math.max(...rooms.map((room) => room.rate));
  const rows = rooms.map((room) => {
    const row = element("tr");
    const name = element("th", { scope: "row" });
    name.append(element("bdi", {}, room.room_id), bar(room.rate / most));
    row.append(name, element("td", {}, format(room.rate, "")));
    return row;
  });
  find("rooms").replaceChildren(...rows);
  find("no-rooms").hidden = rooms.length > 0;
  find("table").hidden = rooms.length === 0;
}

/** A bar that is as long as a share of its width. */
function bar(share) {
  const drawn = shape("svg", { class: "bar", "aria-hidden": "true" });
  drawn.append(shape("rect", { width: `${100 * share}%`, height: "100%", rx: 3 }));
  return drawn;
}

/** Says it once, when it changes: the line is read aloud. */
function tell(state, text) {
  const line = find("state");
  if (line.textContent === text) return;
  line.dataset.state = state;
  line.textContent = text;
}

async function load() {
  const response = await fetch("/status.json", { signal: AbortSignal.timeout(PATIENCE_MS) });
  if (!response.ok) throw new Error(`status ${response.status}`);
  return response.json();
}

async function run() {
  let period = 1000;
  for (;;) {
    if (!document.hidden) {
      try {
        const report = await load();
        period = report.period_seconds * 1000;
        show(report);
        tell("live", "Live");
      } catch {
        tell("lost", "The process does not answer. What is shown is old.");
      }
    }
    await new Promise((resolve) => setTimeout(resolve, period));
  }
}

run();
