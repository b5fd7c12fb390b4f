"use strict";
(() => {
  const root = document.documentElement, data = JSON.parse(document.getElementById("data").textContent);
  const find = (id) => document.getElementById(id), hidden = new Set(), parts = [...data.charts, ...data.heatmaps];
  const views = [...new Set(parts.map((part) => part.view))];
  let view = views[0], slide = 0;
  root.classList.add("scripted");

  const number = (value) => (typeof value === "string" ? Number(value.replace("inf", "Infinity")) : value);
  const numbers = (values) => values && values.map(number);
  for (const chart of data.charts) for (const s of chart.series) for (const key of ["x", "y", "low", "high"]) s[key] = numbers(s[key]);

  function element(name, attributes, ...children) {
    const svg = ["svg", "g", "path", "line", "rect", "text", "circle", "tspan", "title", "image"].includes(name);
    const made = svg ? document.createElementNS("http://www.w3.org/2000/svg", name) : document.createElement(name);
    for (const [key, value] of Object.entries(attributes || {})) made.setAttribute(key, value);
    made.append(...children);
    return made;
  }

  // Colours are made for white paper: on dark, those that are too dark for it are mixed with white.
  function colour(cell) {
    const rgb = [1, 3, 5].map((at) => parseInt(data.cells[cell].colour.slice(at, at + 2), 16));
    const linear = rgb.map((c) => ((c / 255 + 0.055) / 1.055) ** 2.4);
    const light = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
    if (root.dataset.theme !== "dark" || light > 0.2) return data.cells[cell].colour;
    const mixed = rgb.map((c) => Math.round(c + (255 - c) * (light < 0.03 ? 0.8 : 0.5)));
    return `rgb(${mixed.join(",")})`;
  }

  function marker(kind, x, y, size, fill) {
    const sides = { s: [4, 45], D: [4, 0], d: [4, 0], h: [6, 0], H: [6, 30], p: [5, -90], 8: [8, 22.5], "*": [10, -90], P: [12, 15], X: [12, 60] }[kind];
    if (!sides) return element("circle", { cx: x, cy: y, r: size, fill });
    const points = [...Array(sides[0]).keys()].map((n) => {
      const angle = ((sides[1] + (360 * n) / sides[0]) * Math.PI) / 180;
      const far = kind === "*" && n % 2 ? size * 0.45 : ("PX".includes(kind) && n % 3 === 1 ? size * 0.5 : size * 1.15);
      return `${(x + far * Math.cos(angle)).toFixed(1)},${(y + far * Math.sin(angle)).toFixed(1)}`;
    });
    return element("path", { d: `M${points.join("L")}Z`, fill });
  }

  function lineTicks(low, high, most) {
    const raw = (high - low) / Math.max(most, 1), base = 10 ** Math.floor(Math.log10(raw));
    const step = [1, 2, 5, 10].map((n) => n * base).find((n) => n >= raw * 0.999);
    const found = [];
    for (let n = Math.ceil(low / step - 1e-9); n * step <= high + step * 1e-9; n++) found.push(n * step);
    return found;
  }

  const plain = (value) => (Math.abs(value) >= 1e5 || (value !== 0 && Math.abs(value) < 1e-3) ? value.toExponential(1) : String(+value.toPrecision(4)));

  // Of logarithms: [tick, words], null for a power of ten; of less than two decades numbers, at 1, 2 and 5 or evenly.
  function decadeTicks(low, high, most) {
    if (high - low >= 2) return lineTicks(low, high, most).filter(Number.isInteger).map((t) => [t, null]);
    const inside = (values) => values.map((v) => [Math.log10(v), plain(v)]).filter(([t]) => t >= low && t <= high);
    const decades = Array.from({ length: Math.ceil(high) - Math.floor(low) }, (_, n) => 10 ** (Math.floor(low) + n));
    const ticks = inside(decades.flatMap((d) => [d, 2 * d, 5 * d]));
    return ticks.length > 2 ? ticks : inside(lineTicks(10 ** low, 10 ** high, Math.min(most, 6)));
  }

  function power(value, places) {
    if (value === -Infinity) return "exactly 0";
    return "10^" + (places === undefined ? value : value.toFixed(places)).toString().replace("-", "\u2212");
  }

  function scaleOf(chart, width, height, margin) {
    const shown = chart.series.filter((s) => !hidden.has(s.cell)), series = shown.length ? shown : chart.series;
    const ys = series.flatMap((s) => [...s.y, ...(s.low || []), ...(s.high || [])]).filter(Number.isFinite);
    const xs = series.flatMap((s) => s.x);
    let low = Math.min(...ys, Infinity), high = Math.max(...ys, -Infinity);
    if (!ys.length) [low, high] = [-1, 0];
    const pad = Math.max(0.04 * (high - low), chart.y_scale === "decades" ? 0.3 : 1e-6);
    [low, high] = [low - pad, high + pad];
    const map = chart.x_scale === "log" ? Math.log : (x) => x;
    const left = map(Math.min(...xs)), right = map(Math.max(...xs));
    return {
      low, high, xs: [Math.min(...xs), Math.max(...xs)],
      x: (x) => margin.left + ((map(x) - left) / (right - left || 1)) * (width - margin.left - margin.right),
      y: (y) => height - margin.bottom - ((Math.max(y, low) - low) / (high - low)) * (height - margin.top - margin.bottom),
    };
  }

  // What a slide has left below its heading, above its note and the controls.
  const room = (holder) => Math.max(innerHeight - holder.getBoundingClientRect().top - 170, 300);

  function tell(box, rows, x, wide, margin) { // on the side that the pointer is not on
    box.replaceChildren(...rows);
    box.hidden = false;
    box.style.left = x < wide / 2 ? "auto" : `${margin.left + 6}px`;
    box.style.right = x < wide / 2 ? `${margin.right + 6}px` : "auto";
  }

  function drawChart(chart, holder, describe) {
    const wide = holder.clientWidth || 800, font = parseFloat(getComputedStyle(root).getPropertyValue("--chart-size"));
    const height = root.classList.contains("slides") ? room(holder) : Math.max(Math.round(Math.min(wide * 0.5, 460)), 16 * font);
    const margin = { left: 4.6 * font, right: 1.4 * font, top: 1.6 * font, bottom: 3.6 * font };
    const svg = element("svg", { class: "chart", viewBox: `0 0 ${wide} ${height}`, role: "img", tabindex: "0", "aria-label": describe, "font-size": font });
    const scale = scaleOf(chart, wide, height, margin);
    const most = (height - margin.top - margin.bottom) / (2.4 * font);
    const ticks = chart.y_scale === "decades" ? decadeTicks(scale.low, scale.high, most) : lineTicks(scale.low, scale.high, most).map((t) => [t, plain(t)]);
    for (const [tick, words] of ticks) {
      svg.append(element("line", { class: "grid", x1: margin.left, x2: wide - margin.right, y1: scale.y(tick), y2: scale.y(tick) }));
      const label = element("text", { class: "tick-y", x: margin.left - 0.5 * font, y: scale.y(tick) + 0.35 * font, "text-anchor": "end" });
      if (words === null) label.append("10", element("tspan", { dy: -0.45 * font, "font-size": Math.max(0.8 * font, 11) }, String(Math.round(tick)).replace("-", "\u2212")));
      else label.append(words);
      svg.append(label);
    }
    let values = chart.x_scale === "log" ? [...new Set(chart.series.flatMap((s) => s.x))].sort((a, b) => a - b) : lineTicks(...scale.xs, (wide - margin.left - margin.right) / (5 * font));
    let last = -Infinity;
    for (const tick of values) {
      const x = scale.x(tick), text = plain(tick), half = 0.32 * font * text.length;
      if (x - half < last + 0.6 * font) continue;
      last = x + half;
      svg.append(element("line", { class: "axis", x1: x, x2: x, y1: height - margin.bottom, y2: height - margin.bottom + 5 }));
      svg.append(element("text", { class: "tick-x", x, y: height - margin.bottom + 1.5 * font, "text-anchor": "middle" }, text));
    }
    svg.append(element("path", { class: "axis", d: `M${margin.left},${margin.top}V${height - margin.bottom}H${wide - margin.right}` }));
    svg.append(element("text", { class: "grey", x: (margin.left + wide - margin.right) / 2, y: height - 0.5 * font, "text-anchor": "middle" }, chart.x_label));
    svg.append(element("text", { class: "grey", x: 2, y: font }, chart.y_label));
    chart.series.forEach((s, number) => {
      if (!s.x.length) return;
      const group = element("g", { class: "curve", "data-cell": s.cell }), tint = colour(s.cell), floor = height - margin.bottom;
      if (hidden.has(s.cell)) group.setAttribute("visibility", "hidden"), group.style.display = "none";
      const at = (values) => s.x.map((x, i) => [scale.x(x), values[i] === -Infinity ? floor : scale.y(values[i])]);
      const text = (points) => points.map((p) => p.map((v) => v.toFixed(1)).join(",")).join("L");
      if (s.low) group.append(element("path", { d: `M${text(at(s.high))}L${text(at(s.low).reverse())}Z`, fill: tint, "fill-opacity": 0.14 }));
      const points = at(s.y), dashes = data.cells[s.cell].dashes.map((d) => 2.2 * d).join(" ");
      group.append(element("path", { d: `M${text(points)}`, fill: "none", stroke: tint, "stroke-width": 2.4, "stroke-dasharray": dashes }));
      const step = Math.max(Math.floor(points.length / 6), 1);
      for (let n = Math.min((number * step) / 4 | 0, points.length - 1); n < points.length; n += step) group.append(marker(data.cells[s.cell].marker, ...points[n], 4.6, tint));
      const zero = s.y.indexOf(-Infinity);
      if (zero >= 0) {
        const mark = marker("D", points[zero][0], floor, 6, "var(--paper)");
        mark.setAttribute("stroke", tint);
        mark.setAttribute("stroke-width", 2);
        mark.append(element("title", {}, `${s.cell}: exactly 0 from here on`));
        group.append(mark);
      }
      svg.append(group);
    });
    const cross = element("line", { class: "cross", y1: margin.top, y2: height - margin.bottom, visibility: "hidden" });
    const box = element("div", { class: "values", role: "status", hidden: "" });
    svg.append(cross);
    holder.replaceChildren(svg, box);
    const places = [...new Set(chart.series.flatMap((s) => s.x))].sort((a, b) => a - b);
    let place = null;
    function look(index) {
      place = Math.min(Math.max(index, 0), places.length - 1);
      const x = scale.x(places[place]);
      cross.setAttribute("x1", x), cross.setAttribute("x2", x), cross.setAttribute("visibility", "visible");
      const rows = chart.series.filter((s) => !hidden.has(s.cell)).map((s) => {
        const near = s.x.reduce((best, v, i) => (Math.abs(v - places[place]) < Math.abs(s.x[best] - places[place]) ? i : best), 0);
        const tint = element("b", {});
        tint.style.background = colour(s.cell);
        return element("span", {}, tint, `${s.cell}: ${chart.y_scale === "decades" ? power(s.y[near], 2) : plain(s.y[near])}`);
      });
      tell(box, [element("span", {}, `${chart.x_label.split(" (")[0]}: ${plain(places[place])}`), ...rows], x, wide, margin);
    }
    function away() { box.hidden = true; cross.setAttribute("visibility", "hidden"); place = null; }
    svg.addEventListener("pointermove", (event) => {
      const at = ((event.clientX - svg.getBoundingClientRect().left) / svg.getBoundingClientRect().width) * wide;
      look(places.reduce((best, v, i) => (Math.abs(scale.x(v) - at) < Math.abs(scale.x(places[best]) - at) ? i : best), 0));
    });
    svg.addEventListener("pointerleave", away);
    svg.addEventListener("blur", away);
    svg.addEventListener("keydown", (event) => {
      const move = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (!move || root.classList.contains("slides")) return;
      event.preventDefault();
      look(place === null ? 0 : place + move * Math.max(Math.round(places.length / 40), 1));
    });
  }

  // A scale from dark blue by grey-green to yellow, told apart without colour too: it grows lighter all the way.
  function shade(share) {
    const stops = [[0, 32, 77], [60, 77, 110], [124, 123, 120], [187, 175, 113], [255, 234, 70]];
    const at = Math.min(Math.max(share, 0), 1) * (stops.length - 1), n = Math.min(Math.floor(at), stops.length - 2);
    return `rgb(${stops[n].map((c, i) => Math.round(c + (stops[n + 1][i] - c) * (at - n))).join(",")})`;
  }

  function drawHeatmap(map, holder, describe) {
    const wide = holder.clientWidth || 800, font = parseFloat(getComputedStyle(root).getPropertyValue("--chart-size"));
    const rows = map.values.length, columns = map.x_labels.length;
    const longest = Math.min(Math.max(...map.x_labels.map((label) => label.length)), 9);
    const margin = { left: (map.y_labels.length ? 4.6 : 1) * font, right: font, top: 1.6 * font, bottom: (3 + 0.45 * longest) * font };
    const all = root.classList.contains("slides") ? room(holder) - margin.top - margin.bottom : Math.min(18 * rows, 340);
    const tall = Math.max(all / rows, 2), height = margin.top + margin.bottom + rows * tall, cell = (wide - margin.left - margin.right) / columns;
    const svg = element("svg", { class: "chart", viewBox: `0 0 ${wide} ${height}`, role: "img", tabindex: "0", "aria-label": describe, "font-size": font });
    const canvas = document.createElement("canvas"), paint = canvas.getContext("2d"); // one image: thousands of rectangles are slow
    [canvas.width, canvas.height] = [columns, rows];
    map.values.forEach((row, r) => row.forEach((value, c) => {
      paint.fillStyle = shade((value - map.low) / (map.high - map.low));
      paint.fillRect(c, r, 1, 1);
    }));
    svg.append(element("image", { class: "heat", href: canvas.toDataURL(), x: margin.left, y: margin.top, width: columns * cell, height: rows * tall, preserveAspectRatio: "none" }));
    const upright = longest < 2, every = Math.ceil(((upright ? 0.8 : 1.35) * font) / cell), lines = Math.ceil((1.35 * font) / tall);
    map.x_labels.forEach((label, c) => {
      if (c % every) return;
      const x = margin.left + (c + 0.5) * cell + (upright ? 0 : 0.3 * font), y = margin.top + rows * tall + (upright ? 1.2 : 0.9) * font;
      const turned = upright ? { "text-anchor": "middle" } : { "text-anchor": "end", transform: `rotate(-60 ${x} ${y})` };
      svg.append(element("text", { class: "tick-heat", x, y, ...turned }, label.length > 9 ? label.slice(0, 8) + "\u2026" : label));
    });
    map.y_labels.forEach((label, r) => {
      if (r % lines === 0) svg.append(element("text", { class: "tick-y", x: margin.left - 0.5 * font, y: margin.top + (r + 0.5) * tall + 0.35 * font, "text-anchor": "end" }, label.replace("-", "\u2212")));
    });
    svg.append(element("text", { class: "grey", x: (margin.left + wide - margin.right) / 2, y: height - 0.5 * font, "text-anchor": "middle" }, map.x_label));
    svg.append(element("text", { class: "grey", x: 2, y: font }, `${map.y_label}; dark ${plain(map.low)}, light ${plain(map.high)}`));
    const frame = element("rect", { class: "frame", width: cell, height: tall, visibility: "hidden" });
    const box = element("div", { class: "values", role: "status", hidden: "" });
    svg.append(frame);
    holder.replaceChildren(svg, box);
    let at = null;
    function look(r, c) {
      at = [Math.min(Math.max(r, 0), rows - 1), Math.min(Math.max(c, 0), columns - 1)];
      const x = margin.left + at[1] * cell;
      frame.setAttribute("x", x), frame.setAttribute("y", margin.top + at[0] * tall), frame.setAttribute("visibility", "visible");
      const row = map.y_labels.length ? map.y_labels[at[0]] : at[0] + 1;
      tell(box, [`${map.x_label}: ${map.x_labels[at[1]]}`, `${map.y_label}: ${row}`, plain(map.values[at[0]][at[1]])].map((text) => element("span", {}, text)), x, wide, margin);
    }
    function away() { box.hidden = true; frame.setAttribute("visibility", "hidden"); at = null; }
    svg.addEventListener("pointermove", (event) => {
      const edges = svg.getBoundingClientRect(), scale = wide / edges.width;
      look(Math.floor(((event.clientY - edges.top) * scale - margin.top) / tall), Math.floor(((event.clientX - edges.left) * scale - margin.left) / cell));
    });
    svg.addEventListener("pointerleave", away);
    svg.addEventListener("blur", away);
    svg.addEventListener("keydown", (event) => {
      const move = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
      if (!move || root.classList.contains("slides")) return;
      event.preventDefault();
      look(...(at ? [at[0] + move[0], at[1] + move[1]] : [0, 0]));
    });
  }

  function table(part) {
    const heading = part.series ? ["cell", "x", "y", "low", "high"] : [part.y_label, ...part.x_labels];
    const rows = part.series ? part.series.flatMap((s) => s.x.map((x, i) => [s.cell, x, s.y[i], s.low ? s.low[i] : "", s.high ? s.high[i] : ""])) : part.values.map((row, r) => [part.y_labels[r] || r + 1, ...row]);
    return [heading, ...rows];
  }

  function dataOf(part) {
    const details = element("details", {}, element("summary", {}, "Show data"));
    details.addEventListener("toggle", () => {
      if (details.childElementCount > 1) return;
      const rows = table(part), quoted = (entry) => (/[",\n]/.test(entry) ? `"${String(entry).replaceAll('"', '""')}"` : entry);
      const link = element("a", { download: `${part.id}.csv` }, "Download CSV");
      link.href = URL.createObjectURL(new Blob([rows.map((row) => row.map(quoted).join(",")).join("\n") + "\n"], { type: "text/csv" }));
      const body = rows.slice(0, 201).map((row, n) => element("tr", {}, ...row.map((entry) => element(n ? "td" : "th", {}, typeof entry === "number" && Number.isFinite(entry) ? plain(entry) : String(entry)))));
      const more = rows.length > 201 ? [element("p", { class: "note" }, `The first 200 of ${rows.length - 1} rows; all of them in the file.`)] : [];
      details.append(link, element("div", { class: "scroll" }, element("table", {}, ...body)), ...more);
    });
    return details;
  }

  const deck = () => parts.filter((part) => !hidden.has(part.cell)), slides = () => deck().length + 1; // findings first

  function shownParts() {
    return root.classList.contains("slides") ? (slide ? [deck()[slide - 1]] : []) : deck().filter((part) => part.view === view);
  }

  function draw() {
    const buttons = Object.keys(data.cells).map((cell) => {
      const sample = element("svg", { viewBox: "0 0 34 14", "aria-hidden": "true" },
        element("line", { x1: 0, x2: 34, y1: 7, y2: 7, stroke: colour(cell), "stroke-width": 2.4, "stroke-dasharray": data.cells[cell].dashes.map((d) => 2.2 * d).join(" ") }), marker(data.cells[cell].marker, 17, 7, 4.6, colour(cell)));
      const button = element("button", { type: "button", "aria-pressed": String(!hidden.has(cell)), "data-cell": cell }, sample, cell);
      button.addEventListener("click", () => { hidden.has(cell) ? hidden.delete(cell) : hidden.add(cell); turn(0); find("cells").querySelector(`[data-cell="${CSS.escape(cell)}"]`).focus(); });
      return button;
    });
    find("cells").replaceChildren(...buttons);
    find("views").replaceChildren(...views.map((name) => {
      const tab = element("button", { type: "button", role: "tab", "aria-selected": String(name === view), "data-view": name }, name);
      tab.addEventListener("click", () => { view = name; draw(); find("views").querySelector(`[data-view="${CSS.escape(name)}"]`).focus(); });
      return tab;
    }));
    find("findings").hidden = root.classList.contains("slides") && slide > 0;
    find("slide-controls").hidden = !root.classList.contains("slides");
    find("place").textContent = `${slide + 1} of ${slides()}`;
    find("theme").textContent = root.dataset.theme === "dark" ? "Light" : "Dark";
    const figures = shownParts().map((part) => {
      const holder = element("div", { class: "drawing" });
      return [part, holder, element("figure", { id: `figure-${part.id}` }, element("figcaption", {}, part.title), holder, element("p", { class: "note" }, part.note), dataOf(part))];
    });
    find("charts").replaceChildren(...figures.map((f) => f[2]));
    for (const [part, holder] of figures) (part.series ? drawChart : drawHeatmap)(part, holder, `${part.title}. ${data.findings.join(" ")}`);
  }

  function present(on) { root.classList.toggle("slides", on); slide = 0; draw(); }
  function turn(by) { slide = Math.min(Math.max(slide + by, 0), slides() - 1); draw(); }
  root.dataset.theme = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
  find("theme").addEventListener("click", () => { root.dataset.theme = root.dataset.theme === "dark" ? "light" : "dark"; draw(); });
  find("slides").addEventListener("click", () => present(true));
  find("leave").addEventListener("click", () => present(false));
  find("previous").addEventListener("click", () => turn(-1));
  find("next").addEventListener("click", () => turn(1));
  document.addEventListener("keydown", (event) => {
    if (!root.classList.contains("slides")) return;
    if (event.key === "Escape") present(false);
    if (event.key === "ArrowLeft") turn(-1);
    if (event.key === "ArrowRight") turn(1);
  });
  let width = 0;
  new ResizeObserver(() => { const now = document.body.clientWidth; if (now !== width) { width = now; draw(); } }).observe(document.body);
  draw();
})();
