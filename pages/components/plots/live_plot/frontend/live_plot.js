// The live plots. `draw` is called whenever the data or the theme changed, `close` when the place leaves the page.
import { themed } from "./live_plot_theme.js";

const PLOTLY = new URL("./plotly-basic-4.1.1.min.js", import.meta.url).href;
const CONFIG = { displayModeBar: false, doubleClick: "autosize", showTips: false };
const AFTER_DOUBLE_CLICK_MS = 350;
const ZOOMABLE = ["xaxis", "yaxis", "yaxis2", "yaxis3"];
const plots = new Map(); // place in the page -> its plot
let loading = null;

/** Bring the plot in `component.parentElement` up to date. */
export async function draw(component) {
  const plot = plots.get(component.parentElement) ?? open(component.parentElement);
  [plot.data] = component.data;
  if (!plot.data.figure) await idle(); // nothing to show yet: let the rest of the page appear before plotly is read
  await loadPlotly();
  refresh(plot);
}

/** Let go of the plot in this place. */
export function close(place) {
  const plot = plots.get(place);
  if (!plot) return;
  plot.listening.abort();
  plot.sizes.disconnect();
  globalThis.Plotly?.purge(plot.chart);
  plot.root.remove();
  plots.delete(place);
}

/** Load plotly once. The server names no lifetime for its files, so ask the browser to use the copy that it has. */
function loadPlotly() {
  loading ??= fetch(PLOTLY, { cache: "force-cache" })
    .then((answer) => (answer.ok ? answer.text() : Promise.reject(new Error(`${PLOTLY}: ${answer.status}`))))
    .then(async (source) => {
      const url = URL.createObjectURL(new Blob([source], { type: "text/javascript" }));
      await import(url);
      URL.revokeObjectURL(url);
    })
    .catch((error) => {
      loading = null; // the next call tries again
      throw error;
    });
  return loading;
}

function idle() {
  return new Promise((resolve) => (globalThis.requestIdleCallback ?? setTimeout)(resolve));
}

function open(place) {
  addStyles();
  const root = element("div", "mr-plot", place);
  const plot = { root, data: null, held: false, listening: new AbortController() };
  plot.reset = element("button", "mr-plot-reset", root);
  plot.reset.type = "button";
  plot.reset.textContent = "Reset zoom";
  plot.reset.hidden = true;
  plot.chart = element("div", "mr-plot-chart", root);
  plot.chart.setAttribute("role", "img");
  plot.sizes = new ResizeObserver(() => root.clientWidth !== plot.width && refresh(plot));
  plot.sizes.observe(root);
  listen(plot);
  plots.set(place, plot);
  return plot;
}

function element(tag, name, parent) {
  const made = document.createElement(tag);
  made.className = name;
  return parent.appendChild(made);
}

function addStyles() {
  const href = new URL("./live_plot.css" + new URL(import.meta.url).search, import.meta.url).href;
  if (document.head.querySelector(`link[href="${href}"]`)) return;
  const link = element("link", "", document.head);
  link.rel = "stylesheet";
  link.href = href;
}

function listen(plot) {
  const { signal } = plot.listening;
  document.addEventListener("visibilitychange", () => refresh(plot), { signal });
  plot.reset.addEventListener("click", () => resetZoom(plot), { signal });
  // Drawing in the middle of a drag would end it: what arrives meanwhile is drawn at its end.
  plot.chart.addEventListener("pointerdown", () => (plot.held = true), { signal, capture: true });
  for (const name of ["pointerup", "pointercancel"]) {
    window.addEventListener(name, () => plot.held && setTimeout(release, AFTER_DOUBLE_CLICK_MS, plot), { signal });
  }
}

function release(plot) {
  plot.held = false;
  refresh(plot);
}

/** Draw the newest data, unless nobody can see them or the user is dragging. */
function refresh(plot) {
  if (!plot.data || plot.held || document.hidden || !plot.root.isConnected || !globalThis.Plotly) return;
  const { figure, arrays, summary } = plot.data;
  plot.chart.hidden = !figure;
  plot.chart.setAttribute("aria-label", summary);
  plot.width = plot.root.clientWidth;
  if (!figure || !plot.width) return;
  const { data, layout } = unpacked(figure, arrays.map(numbers));
  const fresh = !plot.chart.classList.contains("js-plotly-plot");
  Plotly.react(plot.chart, data, { ...themed(layout, plot.root), width: plot.width }, CONFIG);
  if (fresh) plot.chart.on("plotly_relayout", () => showReset(plot));
  showReset(plot);
}

/** Return base64 of little-endian float32 numbers as numbers. */
function numbers(text) {
  return new Float32Array(Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0)).buffer);
}

/** Return a copy of the figure in which every {"array": i} is the i-th array. */
function unpacked(value, arrays) {
  if (Array.isArray(value)) return value.map((inner) => unpacked(inner, arrays));
  if (value === null || typeof value !== "object") return value;
  if ("array" in value) return arrays[value.array];
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, unpacked(inner, arrays)]));
}

function showReset(plot) {
  plot.reset.hidden = !ZOOMABLE.some((axis) => plot.chart.layout[axis]?.autorange === false);
}

function resetZoom(plot) {
  const there = ZOOMABLE.filter((axis) => plot.chart.layout[axis]);
  Plotly.relayout(plot.chart, Object.fromEntries(there.map((axis) => [`${axis}.autorange`, true])));
  plot.reset.hidden = true;
}
