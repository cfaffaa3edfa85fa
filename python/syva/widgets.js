// The curves of a training, for anywidget: one module without dependencies, which draws what Python sends.
// Python's side is `widgets.py`. Colours follow the page's, light or dark.

const SVG = "http://www.w3.org/2000/svg";
const WIDTH = 460, HEIGHT = 240, LEFT = 52, RIGHT = 14, TOP = 12, BOTTOM = 36;
// Blue and orange differ for the colour-blind, too, and validation is dashed besides.
const COLORS = { light: { train: "#1f66c1", val: "#c2500f" }, dark: { train: "#79b0ff", val: "#ffa466" } };
const SPOKEN_MS = 5000;

const STYLE = `
.syva-live { color: var(--jp-content-font-color1, var(--vscode-foreground, inherit)); line-height: 1.4;
  font: 14px/1.4 system-ui, sans-serif; max-width: 980px; }
.syva-live header { display: flex; flex-wrap: wrap; gap: .25rem .75rem; align-items: center; margin-bottom: .25rem; }
.syva-live header strong { font-weight: 600; }
.syva-live progress { flex: 1 1 8rem; max-width: 16rem; height: .6rem; accent-color: var(--syva-train); }
.syva-live .charts { display: flex; flex-wrap: wrap; gap: .5rem 1rem; }
.syva-live figure { flex: 1 1 320px; max-width: 480px; margin: 0; min-width: 0; }
.syva-live figcaption { display: flex; flex-wrap: wrap; gap: 0 .9rem; align-items: center; min-height: 1.7rem;
  font-size: 13px; }
.syva-live figcaption b { font-weight: 600; }
.syva-live figcaption label { margin-left: auto; cursor: pointer; }
.syva-live svg.chart { display: block; width: 100%; height: auto; touch-action: pan-y; }
.syva-live svg.chart:focus-visible { outline: 2px solid var(--syva-train); outline-offset: -2px; border-radius: 3px; }
.syva-live svg text { fill: currentColor; font: 12px system-ui, sans-serif; }
.syva-live .key { display: inline-flex; gap: .3rem; align-items: center; white-space: nowrap; }
.syva-live p { margin: .3rem 0 .2rem; }
.syva-live output { display: block; min-height: 1.4em; font-variant-numeric: tabular-nums; opacity: .85; }
.syva-live details { font-size: 13px; }
.syva-live summary { cursor: pointer; }
.syva-live table { border-collapse: collapse; font-variant-numeric: tabular-nums; margin: .3rem 0; }
.syva-live th, .syva-live td { text-align: right; padding: .1rem .6rem; border: 0; background: none; }
.syva-live thead th { border-bottom: 1px solid currentColor; font-weight: 600; }
.syva-live .spoken { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
`;

function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

function shape(name, attributes = {}, ...children) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

// Whether the text is light, and so the page dark. A canvas knows every way in which a page writes colours.
function isDark(el) {
  const brush = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  brush.fillStyle = getComputedStyle(el).color;
  brush.fillRect(0, 0, 1, 1);
  const [red, green, blue] = brush.getImageData(0, 0, 1, 1).data;
  return 0.299 * red + 0.587 * green + 0.114 * blue > 140;
}

// Round numbers from `low` to `high`, at most about `count` of them.
function ticks(low, high, count) {
  const raw = (high - low) / count;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((k) => k * power).find((k) => k >= raw * 0.999) ?? 10 * power;
  const found = [];
  for (let k = Math.ceil(low / step - 1e-9); k * step <= high + step * 1e-9; k++) found.push(k * step);
  return found;
}

function powers(low, high) {
  const found = [];
  for (let p = Math.floor(Math.log10(low)); p <= Math.ceil(Math.log10(high)); p++) {
    for (const k of [1, 2, 5]) {
      const value = k * 10 ** p;
      if (value >= low * 0.999 && value <= high * 1.001) found.push(value);
    }
  }
  return found.length > 7 ? found.filter((value) => Number.isInteger(Math.log10(value) + 1e-12)) : found;
}

export function render({ model, el }) {
  const words = model.get("words");
  const number = (value, digits = 4) =>
    new Intl.NumberFormat(words.locale, { maximumSignificantDigits: digits }).format(value);
  const percent = (value, digits = 2) => new Intl.NumberFormat(words.locale, {
    minimumFractionDigits: digits, maximumFractionDigits: digits,
  }).format(100 * value) + "\u00a0%";
  const aligned = (value) =>
    new Intl.NumberFormat(words.locale, { minimumSignificantDigits: 4, maximumSignificantDigits: 4 }).format(value);

  const bar = element("progress", { "aria-label": words.progress });
  const heading = element("strong");
  const readout = element("output");
  const text = element("p");
  const spoken = element("div", { class: "spoken", role: "status", "aria-live": "polite" });
  const body = element("tbody");
  const names = ["train_loss", "val_loss", "train_acc", "val_acc"];
  const head = element("tr", {}, ...[words.epoch, ...names.map((name) => words[name])].map((word) =>
    element("th", { scope: "col" }, word)));
  const table = element("details", {}, element("summary", {}, words.table),
    element("table", {}, element("thead", {}, head), body));
  const charts = [
    { caption: words.loss, series: { train: "train_loss", val: "val_loss" }, format: (v) => number(v), log: false },
    { caption: words.accuracy, series: { train: "train_acc", val: "val_acc" }, format: percent, log: null },
  ].map((chart, index) => {
    const svg = shape("svg", {
      class: "chart", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", tabindex: "0", "aria-label": chart.caption,
    });
    const keys = ["train", "val"].map((part) => {
      const line = shape("line", { x1: 0, y1: 5, x2: 22, y2: 5, "stroke-width": 2.5, stroke: `var(--syva-${part})` });
      if (part === "val") line.setAttribute("stroke-dasharray", "6 3");
      return element("span", { class: "key" }, shape("svg", { width: 22, height: 10, "aria-hidden": "true" }, line), words[part]);
    });
    const caption = element("figcaption", {}, element("b", {}, chart.caption), ...keys);
    const figure = element("figure", {}, caption, svg);
    const made = { ...chart, svg, figure, at: null };
    if (index === 0) {
      const box = element("input", { type: "checkbox" });
      box.addEventListener("change", () => { made.log = box.checked; draw(); });
      caption.append(element("label", {}, box, ` ${words.log}`));
    }
    const point = (place) => { cursor = place; draw(); };
    svg.addEventListener("pointermove", (event) => {
      const box = svg.getBoundingClientRect();
      const x = ((event.clientX - box.left) / box.width) * WIDTH;
      if (made.at) point(made.at(x));
    });
    svg.addEventListener("pointerleave", () => point(null));
    svg.addEventListener("blur", () => point(null));
    svg.addEventListener("keydown", (event) => {
      const last = (model.get("points").epoch ?? []).length - 1;
      const now = cursor ?? last;
      const to = { ArrowLeft: now - 1, ArrowRight: now + 1, Home: 0, End: last }[event.key];
      if (to === undefined || last < 0) return;
      event.preventDefault();
      point(Math.min(last, Math.max(0, to)));
    });
    return made;
  });
  const root = element("div", { class: "syva-live" }, element("style", {}, STYLE), element("header", {}, heading, bar),
    element("div", { class: "charts" }, ...charts.map((chart) => chart.figure)), readout, text, table, spoken);
  el.append(root);

  let cursor = null;
  let frame = 0;
  let said = 0;

  function drawChart(chart, points, colors) {
    const { svg, series, format } = chart;
    const epochs = points.epoch ?? [];
    const usable = (value) => value !== null && value !== undefined && (!chart.log || value > 0);
    const values = Object.values(series).flatMap((name) => points[name] ?? []).filter(usable);
    chart.figure.hidden = chart.log === null && epochs.length > 0 && values.length === 0;
    const drawn = [];
    chart.at = null;
    if (values.length) {
      let low = Math.min(...values), high = Math.max(...values);
      if (high - low < 1e-9 * Math.abs(high) || high === low) { low -= Math.abs(low) * 0.05 || 0.5; high += Math.abs(high) * 0.05 || 0.5; }
      const first = epochs[0], total = Math.max(model.get("epochs") || 0, epochs[epochs.length - 1]);
      const span = Math.max(total - first, 1);
      const x = (epoch) => LEFT + ((WIDTH - LEFT - RIGHT) * (epoch - first)) / span;
      const scale = chart.log ? Math.log : (value) => value;
      const pad = (scale(high) - scale(low)) * 0.04;
      const y = (value) => TOP + ((HEIGHT - TOP - BOTTOM) * (scale(high) + pad - scale(value))) / (scale(high) - scale(low) + 2 * pad);
      const places = chart.log && high / low > 2 ? powers(low, high) : ticks(low, high, 5);
      const digits = chart.log === null ? (places.length > 1 && places[1] - places[0] < 0.0099 ? 1 : 0) : null;
      for (const place of places) {
        const label = digits === null ? number(place, 3) : percent(place, digits);
        drawn.push(shape("line", { x1: LEFT, x2: WIDTH - RIGHT, y1: y(place), y2: y(place), stroke: "currentColor", opacity: 0.18 }));
        drawn.push(shape("text", { x: LEFT - 7, y: y(place) + 4, "text-anchor": "end" }, label));
      }
      const whole = [...new Set([first, ...ticks(first, first + span, 5).map(Math.round)])];
      const near = ticks(first, first + span, 5).length > 1 ? (WIDTH - LEFT - RIGHT) / 14 : 0;
      let before = -Infinity;
      for (const epoch of whole.filter((epoch) => epoch <= total).sort((a, b) => a - b)) {
        if (x(epoch) - before < near) continue;
        before = x(epoch);
        drawn.push(shape("text", { x: x(epoch), y: HEIGHT - 20, "text-anchor": "middle" }, number(epoch, 8)));
      }
      drawn.push(shape("text", { x: WIDTH - RIGHT, y: HEIGHT - 5, "text-anchor": "end", opacity: 0.8 }, words.epoch));
      drawn.push(shape("line", {
        x1: LEFT, x2: WIDTH - RIGHT, y1: HEIGHT - BOTTOM, y2: HEIGHT - BOTTOM, stroke: "currentColor", opacity: 0.5,
      }));
      for (const [part, name] of Object.entries(series)) {
        const line = (points[name] ?? []).map((value, k) => usable(value) ? `${x(epochs[k]).toFixed(1)},${y(value).toFixed(1)}` : "")
          .filter(Boolean);
        if (line.length === 0) continue;
        const attributes = { fill: "none", stroke: colors[part], "stroke-width": 2, "stroke-linejoin": "round" };
        if (part === "val") attributes["stroke-dasharray"] = "6 3";
        if (line.length > 1) drawn.push(shape("polyline", { ...attributes, points: line.join(" ") }));
        const [lastX, lastY] = line[line.length - 1].split(",");
        drawn.push(shape("circle", { cx: lastX, cy: lastY, r: 3, fill: colors[part] }));
      }
      if (cursor !== null && cursor < epochs.length) {
        const place = x(epochs[cursor]);
        drawn.push(shape("line", { x1: place, x2: place, y1: TOP, y2: HEIGHT - BOTTOM, stroke: "currentColor", opacity: 0.6 }));
        for (const [part, name] of Object.entries(series)) {
          const value = (points[name] ?? [])[cursor];
          if (usable(value)) drawn.push(shape("circle", { cx: place, cy: y(value), r: 4, fill: colors[part] }));
        }
      }
      // The point that is nearest to a place across.
      chart.at = (across) => {
        const wanted = first + ((across - LEFT) / (WIDTH - LEFT - RIGHT)) * span;
        let best = 0;
        for (let k = 1; k < epochs.length; k++) {
          if (Math.abs(epochs[k] - wanted) < Math.abs(epochs[best] - wanted)) best = k;
        }
        return best;
      };
      const said = Object.values(series).map((name) => {
        const known = (points[name] ?? []).filter(usable);
        return known.length ? `${words[name]} ${format(known[0])} → ${format(known[known.length - 1])}` : "";
      });
      svg.setAttribute("aria-label", `${chart.caption}: ${said.filter(Boolean).join("; ")}`);
    }
    svg.replaceChildren(...drawn);
  }

  function cell(points, name, k) {
    const value = (points[name] ?? [])[k];
    if (value === null || value === undefined) return "–";
    return name.endsWith("acc") ? percent(value) : aligned(value);
  }

  function draw() {
    const points = model.get("points"), state = model.get("state");
    const epochs = points.epoch ?? [], planned = model.get("epochs");
    const colors = COLORS[isDark(root) ? "dark" : "light"];
    root.style.setProperty("--syva-train", colors.train);
    root.style.setProperty("--syva-val", colors.val);
    heading.textContent = model.get("title");
    heading.hidden = !heading.textContent;
    bar.hidden = state !== "training";
    if (planned) { bar.max = planned; bar.value = model.get("epoch"); } else bar.removeAttribute("value");
    for (const chart of charts) drawChart(chart, points, colors);
    readout.textContent = cursor === null || cursor >= epochs.length ? "" : [`${words.epoch} ${number(epochs[cursor], 8)}`,
      ...names.filter((name) => cell(points, name, cursor) !== "–").map((name) => `${words[name]} ${cell(points, name, cursor)}`),
    ].join(" · ");
    text.textContent = model.get("summary");
    table.hidden = epochs.length === 0;
    if (table.open) drawTable(points, epochs);
    const now = Date.now();
    if (state !== "training" || now - said > SPOKEN_MS) {
      said = now;
      if (spoken.textContent !== text.textContent) spoken.textContent = text.textContent;
    }
  }

  // Twelve epochs at most, evenly chosen, with the first and the last.
  function drawTable(points, epochs) {
    const count = Math.min(12, epochs.length);
    const rows = Array.from({ length: count }, (_, k) => count === 1 ? 0 : Math.round((k * (epochs.length - 1)) / (count - 1)));
    body.replaceChildren(...rows.map((k) => element("tr", {}, element("td", {}, number(epochs[k], 8)),
      ...names.map((name) => element("td", {}, cell(points, name, k))))));
  }

  function later() {
    if (!frame) frame = requestAnimationFrame(() => { frame = 0; draw(); });
  }

  const changes = ["points", "epochs", "state", "summary", "title"].map((name) => `change:${name}`);
  for (const change of changes) model.on(change, later);
  table.addEventListener("toggle", draw);
  const scheme = matchMedia("(prefers-color-scheme: dark)");
  scheme.addEventListener("change", later);
  draw();
  // A notebook may give the page's colours only once the output is in place.
  later();
  return () => {
    cancelAnimationFrame(frame);
    for (const change of changes) model.off(change, later);
    scheme.removeEventListener("change", later);
  };
}

export default { render };
