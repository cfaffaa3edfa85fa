"use strict";
// Sections are text until they are opened. Otherwise a page of a hundred runs would be slow to appear.
for (const details of document.querySelectorAll("details")) {
  const open = () => {
    const waiting = details.querySelector(":scope > noscript");
    if (details.open && waiting) waiting.outerHTML = waiting.textContent;
  };
  details.addEventListener("toggle", open);
  open();
}

// Tables: a click on a column header sorts by it, and a second click reverses the order.
for (const table of document.querySelectorAll("table.sorts")) {
  const body = table.tBodies[0];
  table.querySelectorAll("th").forEach((head, column) => {
    const sort = () => {
      const down = head.ariaSort === "ascending";
      table.querySelectorAll("th").forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const key = (row) => row.cells[column];
      const compare = (a, b) => {
        const [x, y] = [key(a), key(b)];
        if ("v" in x.dataset && "v" in y.dataset) return x.dataset.v - y.dataset.v;
        return x.textContent.localeCompare(y.textContent, undefined, { numeric: true });
      };
      body.append(...[...body.rows].sort((a, b) => (down ? -1 : 1) * compare(a, b)));
    };
    head.tabIndex = 0;
    head.addEventListener("click", sort);
    head.addEventListener("keydown", (event) => { if (event.key === "Enter") sort(); });
  });
}

// Curves: drag over a range of epochs to zoom, double-click to show all, point to read values.
const data = JSON.parse(document.getElementById("data").textContent);
const NS = "http://www.w3.org/2000/svg";
const make = (name, attributes, parent) => {
  const node = document.createElementNS(NS, name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  return parent.appendChild(node);
};
const H = 310, R = 12, T = 10, B = 42;

/** The lowest and highest of numbers that may be too many for the arguments of a call. */
const ends = (values) => values.reduce(([low, high], v) => [Math.min(low, v), Math.max(high, v)], [Infinity, -Infinity]);

/** The range to draw: around the values if they hardly differ, so that each tick has its own number. */
const around = ([low, high]) => {
  const largest = Math.max(Math.abs(low), Math.abs(high));
  if (high - low > 1e-9 * largest) return [low, high];
  return largest > 0 && isFinite(largest) ? [low - 0.1 * largest, high + 0.1 * largest] : [-1, 1];
};

/** Round numbers from low to high, `least` of them or more. */
function ticks(low, high, least = 4) {
  const power = 10 ** Math.floor(Math.log10((high - low) / least));
  const step = [5, 2, 1].map((f) => f * power).find((s) => (high - low) / s >= least) || power;
  const all = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + step * 1e-9 && all.length < 100; i++) all.push(i * step);
  return [all, step];
}

/** A number in few characters, whatever its size, with enough decimals to tell steps apart. */
const number = (value, step = 1e-4) => {
  const size = Math.abs(value);
  if (step < 1e-5 || size >= 1e5) {
    const digits = Math.floor(Math.log10(size || step)) - Math.floor(Math.log10(Math.max(step, size * 1e-4)) + 1e-9);
    return size < step / 2 ? "0" : value.toExponential(Math.max(0, digits)).replace("e+", "e");
  }
  if (size > 0 && size < 5e-5 && step >= 1e-4) return value.toExponential(2);
  return value.toFixed(Math.max(0, -Math.floor(Math.log10(step) + 1e-9)));
};

/** The lines to draw, each over a band of one standard deviation if there is one. */
function linesOf(metric, each) {
  const lines = [];
  data.forEach((group, place) => ["train", "val"].forEach((part) => {
    const key = `${part}_${metric}`;
    if (!group[key] || !group[key].length) return;
    const name = data.length === 1 && group.n === 1 ? part : `${group.name} ${part}`;
    const line = { name, training: part === "train", group: place, x: group.epoch, y: group[key], sd: group[`${key}_sd`], ...group[`${part}_look`] };
    // With a single group, colour tells training from validation, so dashes are not needed.
    if (each && line.sd) {
      group[`${key}_each`].forEach((y, run) => lines.push({ ...line, y, sd: null, thin: true, name: run ? "" : name, says: `${group.runs[run]} ${part}` }));
    } else {
      lines.push(line);
    }
  }));
  return lines;
}

const redraw = [];
let chosen = null;

function chart(holder, metric) {
  let lines = linesOf(metric, false);
  if (!lines.length) return holder.remove();
  const svg = make("svg", {}, holder);
  // One unit is one pixel, so that text has the same size on a phone as on a desktop.
  let W = 520, L = 52;
  const [first, last] = ends(lines.flatMap((l) => l.x));
  let whole = [first, last];
  if (whole[0] === whole[1]) whole = [whole[0] - 1, whole[1] + 1];
  let range = whole, begin = null;
  const at = (event) => {
    const box = svg.getBoundingClientRect();
    const share = ((event.clientX - box.left) / box.width * W - L) / (W - L - R);
    return range[0] + Math.min(1, Math.max(0, share)) * (range[1] - range[0]);
  };
  const px = (x) => L + (x - range[0]) / (range[1] - range[0] || 1) * (W - L - R);

  function axes(low, high, py) {
    const [yTicks, step] = ticks(low, high);
    for (const y of yTicks) {
      make("line", { x1: L, x2: W - R, y1: py(y), y2: py(y), stroke: "var(--grid)" }, svg);
      make("text", { x: L - 6, y: py(y) + 4, "text-anchor": "end" }, svg).textContent = number(y, step);
    }
    const widest = Math.max(...range.map((x) => number(x, 1).length)) * 7 + 14;
    const most = Math.max(2, Math.floor((W - L - R) / widest / 2.5));
    const [xTicks, xStep] = ticks(range[0], Math.max(range[1], range[0] + 1), Math.min(4, most));
    for (const x of xTicks.filter((x) => Number.isInteger(x) && x >= first && x <= last)) {
      make("text", { x: px(x), y: H - 24, "text-anchor": "middle" }, svg).textContent = number(x, Math.max(1, xStep));
    }
    make("text", { x: (L + W - R) / 2, y: H - 7, "text-anchor": "middle" }, svg).textContent = "epoch";
  }

  function curve(line, shown, py) {
    const color = `var(--c${line.color})`;
    const faded = chosen !== null && chosen !== line.group;
    const point = ([x, y]) => `${px(x).toFixed(1)},${py(y).toFixed(1)}`;
    if (line.sd && shown.length > 1) {
      const edge = (sign) => shown.map(([x, y, sd]) => point([x, y + sign * sd]));
      make("polygon", { points: [...edge(1), ...edge(-1).reverse()].join(" "), fill: color, opacity: faded ? 0.03 : 0.16 }, svg);
    }
    const style = { fill: "none", stroke: color, "stroke-width": line.thin ? 1 : 1.8, opacity: faded ? 0.12 : 1 };
    if (line.dash.length) style["stroke-dasharray"] = line.dash.join(" ");
    if (shown.length > 1) make("polyline", { points: shown.map(point).join(" "), ...style }, svg);
    else if (shown.length) {
      // A point has no dashes: training is hollow. A whisker shows the deviation, if there is one.
      const [x, y, sd] = shown[0];
      if (sd) make("line", { x1: px(x), x2: px(x), y1: py(y - sd), y2: py(y + sd), ...style, "stroke-dasharray": "none" }, svg);
      make("circle", { cx: px(x), cy: py(y), r: 4, stroke: color, "stroke-width": 1.8, fill: line.training ? "var(--panel)" : color, opacity: style.opacity }, svg);
    }
  }

  /** The values at an epoch. If there are many lines, those of the lines nearest to the pointer. */
  function read(x, py, height) {
    make("line", { x1: px(x), x2: px(x), y1: T, y2: H - B, stroke: "var(--pale)", "stroke-dasharray": "2 3" }, svg);
    const left = px(x) > W * 0.6;
    const say = (text, row, color) => {
      const node = make("text", { x: px(x) + (left ? -8 : 8), y: T + 14 + row * 14, "text-anchor": left ? "end" : "start", class: "said" }, svg);
      node.textContent = text;
      node.style.fill = color;
    };
    say(`epoch ${x}`, 0, "var(--ink)");
    const found = lines.map((line) => [line, line.x.indexOf(x)]).filter(([line, place]) => place >= 0 && (chosen === null || chosen === line.group));
    const MOST = 12;
    const near = found.length > MOST && height !== undefined
      ? [...found].sort((a, b) => Math.abs(py(a[0].y[a[1]]) - height) - Math.abs(py(b[0].y[b[1]]) - height)).slice(0, MOST) : found.slice(0, MOST);
    near.forEach(([line, place], i) => {
      const sd = line.sd ? ` ± ${number(line.sd[place])}` : "";
      say(`${line.says || line.name} ${number(line.y[place])}${sd}`, i + 1, `var(--c${line.color})`);
    });
    if (found.length > near.length) say(`… and ${found.length - near.length} more`, near.length + 1, "var(--pale)");
  }

  function draw(pointer, height) {
    svg.replaceChildren();
    W = Math.max(240, svg.clientWidth || 520);
    svg.setAttribute("viewBox", `0 0 ${W} ${H}`);
    const shown = lines.map((l) => l.x.map((x, i) => [x, l.y[i], l.sd ? l.sd[i] : 0]).filter(([x]) => x >= range[0] && x <= range[1]));
    let [low, high] = around(ends(shown.flat().flatMap(([, y, sd]) => [y - sd, y + sd])));
    const pad = (high - low) * 0.05;
    [low, high] = [low - pad, high + pad];
    const [yTicks, step] = ticks(low, high);
    L = 14 + 7 * Math.max(4, ...yTicks.map((y) => number(y, step).length));
    const py = (y) => H - B - (y - low) / (high - low) * (H - T - B);
    axes(low, high, py);
    lines.forEach((line, i) => curve(line, shown[i], py));
    if (begin !== null && pointer !== undefined) {
      const [a, b] = [px(begin), px(pointer)];
      make("rect", { x: Math.min(a, b), y: T, width: Math.abs(b - a), height: H - T - B, fill: "var(--c0)", opacity: 0.15 }, svg);
    } else if (pointer !== undefined) {
      read(Math.round(pointer), py, height);
    }
  }
  const tall = (event) => (event.clientY - svg.getBoundingClientRect().top) / svg.getBoundingClientRect().height * H;
  svg.addEventListener("pointerdown", (event) => { begin = at(event); svg.setPointerCapture(event.pointerId); });
  svg.addEventListener("pointermove", (event) => draw(at(event), tall(event)));
  svg.addEventListener("pointerleave", () => draw());
  svg.addEventListener("pointerup", (event) => {
    const [from, to] = [begin, at(event)].sort((a, b) => a - b);
    begin = null;
    if (to - from >= 1) range = [Math.round(from), Math.round(to)];
    draw();
  });
  svg.addEventListener("dblclick", () => { range = whole; draw(); });

  const legend = document.createElement("div");
  legend.className = "legend";
  function name() {
    legend.replaceChildren();
    for (const line of lines.filter((line) => line.name)) {
      const item = legend.appendChild(document.createElement("button"));
      item.type = "button";
      item.setAttribute("aria-pressed", chosen === line.group);
      const sample = make("svg", { viewBox: "0 0 30 8" }, item);
      const dash = line.dash.length ? { "stroke-dasharray": line.dash.join(" ") } : {};
      if (line.x.length > 1) make("line", { x1: 0, x2: 30, y1: 4, y2: 4, stroke: `var(--c${line.color})`, "stroke-width": 2, ...dash }, sample);
      else make("circle", { cx: 15, cy: 4, r: 3, stroke: `var(--c${line.color})`, "stroke-width": 1.8, fill: line.training ? "none" : `var(--c${line.color})` }, sample);
      item.appendChild(document.createElement("bdi")).textContent = line.name;
      item.addEventListener("click", () => {
        chosen = chosen === line.group || data.length === 1 ? null : line.group;
        redraw.forEach((f) => f());
      });
    }
  }
  redraw.push(() => { name(); draw(); });
  holder.append(legend);
  name();
  new ResizeObserver(() => draw()).observe(holder);
  const box = document.getElementById("each");
  if (box) box.addEventListener("change", () => { lines = linesOf(metric, box.checked); name(); draw(); });
  draw();
}

for (const holder of document.querySelectorAll("[data-metric]")) chart(holder, holder.dataset.metric);
