// Curves that can be zoomed: drag over a range of epochs; double-click shows all again; the pointer reads values.
"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const NS = "http://www.w3.org/2000/svg";
const make = (name, attributes, parent) => {
  const node = document.createElementNS(NS, name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  return parent.appendChild(node);
};
const H = 300, L = 52, R = 12, T = 10, B = 30;

/** The lowest and highest of many numbers: more than a call can have arguments. */
const ends = (values) => values.reduce(([low, high], v) => [Math.min(low, v), Math.max(high, v)], [Infinity, -Infinity]);

/** A range to draw: around the values where they hardly differ, so that there is a number for each tick. */
const around = ([low, high]) => {
  const largest = Math.max(Math.abs(low), Math.abs(high));
  if (high - low > 1e-9 * largest) return [low, high];
  return largest > 0 && isFinite(largest) ? [low - 0.1 * largest, high + 0.1 * largest] : [-1, 1];
};

/** Round numbers, four to ten of them, from low to high. */
function ticks(low, high) {
  const power = 10 ** Math.floor(Math.log10((high - low) / 4));
  const step = [5, 2, 1].map((f) => f * power).find((s) => (high - low) / s >= 4) || power;
  const all = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + step * 1e-9 && all.length < 100; i++) all.push(i * step);
  return [all, Math.max(0, -Math.floor(Math.log10(step) + 1e-9))];
}

function chart(holder, lines) {
  const svg = make("svg", {}, holder);
  // A unit is a pixel, so that text is as large on a telephone as on a desk.
  let W = 520;
  const whole = ends(lines.flatMap((l) => l.x));
  let range = whole, begin = null;
  const at = (event) => {
    const box = svg.getBoundingClientRect();
    const share = ((event.clientX - box.left) / box.width * W - L) / (W - L - R);
    return range[0] + Math.min(1, Math.max(0, share)) * (range[1] - range[0]);
  };
  const px = (x) => L + (x - range[0]) / (range[1] - range[0] || 1) * (W - L - R);

  function draw(pointer) {
    svg.replaceChildren();
    W = Math.max(240, svg.clientWidth || 520);
    svg.setAttribute("viewBox", `0 0 ${W} ${H}`);
    const shown = lines.map((l) => l.x.map((x, i) => [x, l.y[i]]).filter(([x]) => x >= range[0] && x <= range[1]));
    const ys = shown.flat().map((p) => p[1]);
    let [low, high] = around(ends(ys));
    const pad = (high - low) * 0.05;
    [low, high] = [low - pad, high + pad];
    const py = (y) => H - B - (y - low) / (high - low) * (H - T - B);
    const [yTicks, digits] = ticks(low, high);
    for (const y of yTicks) {
      make("line", { x1: L, x2: W - R, y1: py(y), y2: py(y), stroke: "var(--grid)" }, svg);
      make("text", { x: L - 6, y: py(y) + 4, "text-anchor": "end" }, svg).textContent = y.toFixed(digits);
    }
    for (const x of ticks(range[0], Math.max(range[1], range[0] + 1))[0].filter(Number.isInteger)) {
      make("text", { x: px(x), y: H - 10, "text-anchor": "middle" }, svg).textContent = x;
    }
    lines.forEach((line, i) => {
      const points = shown[i].map(([x, y]) => `${px(x).toFixed(1)},${py(y).toFixed(1)}`).join(" ");
      const style = { fill: "none", stroke: `var(--c${line.color})`, "stroke-width": 1.8 };
      if (line.dash.length) style["stroke-dasharray"] = line.dash.join(" ");
      if (shown[i].length > 1) make("polyline", { points, ...style }, svg);
      else if (shown[i].length) make("circle", { cx: px(shown[i][0][0]), cy: py(shown[i][0][1]), r: 3, fill: style.stroke }, svg);
    });
    if (begin !== null && pointer !== undefined) {
      const [a, b] = [px(begin), px(pointer)];
      make("rect", { x: Math.min(a, b), y: T, width: Math.abs(b - a), height: H - T - B, fill: "var(--c0)", opacity: 0.15 }, svg);
    } else if (pointer !== undefined) {
      const x = Math.round(pointer);
      make("line", { x1: px(x), x2: px(x), y1: T, y2: H - B, stroke: "var(--pale)", "stroke-dasharray": "2 3" }, svg);
      const left = px(x) > W * 0.6;
      const say = (text, row, color) => {
        const node = make("text", { x: px(x) + (left ? -8 : 8), y: T + 14 + row * 14, "text-anchor": left ? "end" : "start" }, svg);
        node.textContent = text;
        node.style.fill = color;
      };
      say(`epoch ${x}`, 0, "var(--ink)");
      lines.forEach((line, i) => {
        const place = line.x.indexOf(x);
        if (place >= 0) say(`${line.name} ${line.y[place].toFixed(4)}`, i + 1, `var(--c${line.color})`);
      });
    }
  }
  svg.addEventListener("pointerdown", (event) => { begin = at(event); svg.setPointerCapture(event.pointerId); });
  svg.addEventListener("pointermove", (event) => draw(at(event)));
  svg.addEventListener("pointerleave", () => draw());
  svg.addEventListener("pointerup", (event) => {
    const [from, to] = [begin, at(event)].sort((a, b) => a - b);
    begin = null;
    if (to - from >= 1) range = [Math.round(from), Math.round(to)];
    draw();
  });
  svg.addEventListener("dblclick", () => { range = whole; draw(); });
  new ResizeObserver(() => draw()).observe(holder);
  draw();

  const legend = document.createElement("div");
  legend.className = "legend";
  for (const line of lines) {
    const item = legend.appendChild(document.createElement("span"));
    const sample = make("svg", { viewBox: "0 0 26 8" }, item);
    const dash = line.dash.length ? { "stroke-dasharray": line.dash.join(" ") } : {};
    make("line", { x1: 0, x2: 26, y1: 4, y2: 4, stroke: `var(--c${line.color})`, "stroke-width": 2, ...dash }, sample);
    item.append(` ${line.name}`);
  }
  holder.append(legend);
}

for (const holder of document.querySelectorAll("[data-metric]")) {
  const metric = holder.dataset.metric;
  const single = data.length === 1;
  const lines = data.flatMap((run) => ["train", "val"].map((part) => ({
    name: single ? part : `${run.name} ${part}`, x: run.epoch, y: run[`${part}_${metric}`], ...run[`${part}_look`],
  }))).filter((line) => line.y && line.y.length);
  if (lines.length) chart(holder, lines); else holder.remove();
}
