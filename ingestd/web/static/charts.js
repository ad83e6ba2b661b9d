// Draws the charts of a page over time, in place of the still pictures that the server has made of the same numbers:
// a figure with data-days="2026-06-01 2026-06-02", and in it a legend whose entries have data-values="12 0".
"use strict";

const CHART_HEIGHT = 200;
const LABEL_WIDTH = 80;
const DAY_SECONDS = 86400;
// Counts have no fractions, so neither have the lines beside them.
const COUNT_STEPS = Array.from({ length: 10 }, (_, power) => [1, 2, 5].map((each) => each * 10 ** power)).flat();

const drawn = new Map();

// Colours are looked up whenever something is drawn: they are others in the dark.
function colourOf(name) {
  return () => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

function seriesOf(entry) {
  const tone = [...entry.querySelector(".dot").classList].find((name) => name.startsWith("tone-")).slice("tone-".length);
  return { name: entry.textContent.trim(), values: entry.dataset.values.split(" ").map(Number), colour: colourOf(`--${tone}`) };
}

function axes(days) {
  const years = new Date(days[0] * 1000).getUTCFullYear() !== new Date(days.at(-1) * 1000).getUTCFullYear();
  const format = { day: "numeric", month: "short", timeZone: "UTC", ...(years ? { year: "2-digit" } : {}) };
  const common = { stroke: colourOf("--soft"), font: "12px system-ui, sans-serif", ticks: { show: false } };
  const beside = (plot) => Math.ceil((days.length * LABEL_WIDTH) / Math.max(plot.width - LABEL_WIDTH, LABEL_WIDTH));
  return [
    {
      ...common,
      grid: { show: false },
      size: 28,
      splits: (plot) => days.filter((_, place) => place % beside(plot) === 0),
      values: (_, splits) => splits.map((at) => new Date(at * 1000).toLocaleDateString(undefined, format)),
    },
    {
      ...common,
      grid: { stroke: colourOf("--line"), width: 1 },
      incrs: COUNT_STEPS,
      size: (_, values) => 16 + 7 * Math.max(3, ...(values ?? []).map((each) => each.length)),
      values: (_, splits) => splits.map((count) => count.toLocaleString()),
    },
  ];
}

// What one points at, in words: both charts of a page tell of the same day.
function telling(told, days, series) {
  return (plot) => {
    const place = plot.cursor.idx;
    const known = place !== null && place !== undefined;
    const counts = series.map((each) => `${each.values[place]?.toLocaleString()} ${each.name}`);
    told.textContent = known ? `${new Date(days[place] * 1000).toISOString().slice(0, 10)}: ${counts.join(", ")}` : "";
  };
}

function draw(figure) {
  const days = figure.dataset.days.split(" ").map((day) => Date.parse(`${day}T00:00:00Z`) / 1000);
  const series = [...figure.querySelectorAll("[data-values]")].map(seriesOf);
  const still = figure.querySelector("svg");
  const told = Object.assign(document.createElement("p"), { className: "chart-at" });
  told.setAttribute("aria-hidden", "true");
  const place = Object.assign(document.createElement("div"), { className: "chart-plot" });
  place.setAttribute("role", "img");
  place.setAttribute("aria-label", still.querySelector("title").textContent);
  for (const name of ["aria-describedby", "aria-details"]) place.setAttribute(name, still.getAttribute(name));
  figure.append(told, place);
  figure.dataset.drawn = "";

  const half = (days.length > 1 ? days[1] - days[0] : DAY_SECONDS) / 2;
  const bars = uPlot.paths.bars({ size: [0.76, 80] });
  const options = {
    width: place.clientWidth,
    height: CHART_HEIGHT,
    legend: { show: false },
    cursor: { y: false, points: { show: false }, drag: { x: false, y: false }, sync: { key: "charts" } },
    scales: { x: { range: () => [days[0] - half, days.at(-1) + half] }, y: { range: (_, __, most) => [0, Math.max(most, 1) * 1.05] } },
    axes: axes(days),
    series: [{}, ...series.map((each) => ({ label: each.name, fill: each.colour, paths: bars, points: { show: false } }))],
    hooks: { setCursor: [telling(told, days, series)] },
  };
  const plot = new uPlot(options, [days, ...series.map((each) => each.values)], place);
  const sizes = new ResizeObserver(() => plot.setSize({ width: place.clientWidth, height: CHART_HEIGHT }));
  sizes.observe(place);
  drawn.set(figure, { plot, sizes });
}

// Charts that a newer report has replaced must not go on listening.
function forget() {
  for (const [figure, { plot, sizes }] of drawn) {
    if (figure.isConnected) continue;
    sizes.disconnect();
    plot.destroy();
    drawn.delete(figure);
  }
}

function drawAll() {
  forget();
  for (const figure of document.querySelectorAll("[data-days]:not([data-drawn])")) draw(figure);
}

window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  for (const { plot } of drawn.values()) plot.redraw(false);
});
document.addEventListener("DOMContentLoaded", () => htmx.onLoad(drawAll));
