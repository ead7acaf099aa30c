// The curve of speed-up against k, as SVG: k on a logarithmic axis, the chosen one marked, the limit dashed.

const WIDTH = 190, HEIGHT = 74, LEFT = 30, RIGHT = 8, TOP = 8, BOTTOM = 16;
const TICKS = [1, 10, 100];
const APART = 10;      // pixels between two words on the left

/** Where values lie: { x(k), y(speedUp) } in pixels. */
function scales({ points, limit }) {
  const values = points.map(([, value]) => value);
  const top = Math.max(limit, ...values) * 1.05, low = Math.min(1, ...values) * 0.95;
  const first = Math.log(points[0][0]), last = Math.log(points.at(-1)[0]);
  return {
    x: (k) => LEFT + (WIDTH - LEFT - RIGHT) * (Math.min(Math.max(Math.log(k), first), last) - first) / (last - first),
    y: (value) => TOP + (HEIGHT - TOP - BOTTOM) * (top - value) / (top - low),
  };
}

function drawCurve(curve) {
  const { x, y } = scales(curve);
  const svg = shape("svg", { class: "curve", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": curve.label });
  svg.append(words("title", {}, curve.label));
  svg.append(shape("line", { class: "limit", x1: LEFT, x2: WIDTH - RIGHT, y1: y(curve.limit), y2: y(curve.limit) }));
  svg.append(shape("polyline", { class: "line", points: curve.points.map(([k, value]) => `${x(k)},${y(value)}`).join(" ") }));
  if (curve.k !== null) {
    svg.append(shape("line", { class: "chosen", x1: x(curve.k), x2: x(curve.k), y1: TOP, y2: HEIGHT - BOTTOM }));
    svg.append(shape("circle", { class: "mark", "data-k": curve.k, cx: x(curve.k), cy: y(curve.speed_up), r: 4 }));
  }
  for (const k of TICKS) svg.append(words("text", { x: x(k), y: HEIGHT - 4, "text-anchor": "middle" }, String(k)));
  svg.append(words("text", { x: 2, y: HEIGHT - 4 }, "k"));
  const sides = Math.abs(y(1) - y(curve.limit)) > APART ? [1, curve.limit] : [curve.limit];
  for (const value of sides) {
    svg.append(words("text", { x: LEFT - 4, y: y(value) + 3, "text-anchor": "end" }, `${value.toFixed(1)}×`));
  }
  return svg;
}

function shape(name, attributes) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  return element;
}

function words(name, attributes, text) {
  const element = shape(name, attributes);
  element.textContent = text;
  return element;
}
