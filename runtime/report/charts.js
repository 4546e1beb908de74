/* ---- charts: timeline, scratchpad, roofline. Each draws itself anew, in plain SVG, when the view,
   the selection or the width of the page changes. ---- */

const SPAN = profile.timeline_cycles;
const view = { begin: 0, end: SPAN };
const MARGIN = { left: 78, right: 8 };

const widthOf = node => Math.max(240, Math.floor(node.clientWidth));
const timeScale = width => {
  const k = (width - MARGIN.left - MARGIN.right) / (view.end - view.begin);
  return cycle => MARGIN.left + (cycle - view.begin) * k;
};
const inView = (begin, end) => end > view.begin && begin < view.end;

/* Round numbers, about `count` of them, between low and high. */
function ticks(low, high, count) {
  const raw = (high - low) / count, ten = 10 ** Math.floor(Math.log10(raw));
  const step = Math.max(1, [1, 2, 5, 10].map(m => m * ten).find(s => s >= raw));
  const list = [];
  for (let t = Math.ceil(low / step) * step; t <= high; t += step) list.push(t);
  return list;
}

function timeAxis(x, width, top, bottom) {
  return ticks(view.begin, view.end, Math.max(2, Math.floor(width / 130))).flatMap(t => [
    drawn("line", { class: "rule", x1: x(t), x2: x(t), y1: top, y2: bottom }),
    drawn("text", { x: clamp(x(t), MARGIN.left + 20, width - 30), y: bottom + 13, "text-anchor": "middle" }, grouped(t)),
  ]);
}

/* A rectangle of time, cut to the view. */
function timeBox(x, begin, end, y, height, attributes) {
  const left = x(Math.max(begin, view.begin)), right = x(Math.min(end, view.end));
  return drawn("rect", { x: left, y, width: Math.max(right - left, 0.6), height, ...attributes });
}

/* As much of a text as fits. */
function inside(text, left, right, y) {
  const fits = Math.floor((right - left - 8) / 6.2);
  if (fits < Math.min(6, text.length)) return null;
  return drawn("text", { class: "inside", x: left + 5, y }, text.length > fits ? text.slice(0, fits - 1) + "\u2026" : text);
}

/* ---- timeline ---- */

const LANES = { kernels: 26, DMA: 14, area: 34, unit: 20, gap: 8 };
const SERIES = [
  { name: "CAL busy", top: PES, color: "var(--c-issued)", of: s => s.CAL, show: v => percent(v / PES) },
  { name: "Scratchpad", top: description.scratchpad.ports, color: "var(--c-special)", of: s => s.scratchpad_words,
    show: v => v.toFixed(2) + " words/cycle" },
  { name: "Mesh", top: 0, color: "var(--c-weights)", of: s => s.hops, show: v => v.toFixed(2) + " hops/cycle" },
  { name: "DRAM", top: description.dram.tenth_bytes_per_cycle / 10, color: "var(--c-hazards)",
    of: s => s.dram_read.map((r, i) => r + s.dram_written[i]), show: v => v.toFixed(1) + " B/cycle" },
];
for (const series of SERIES) {
  const interval = profile.series.interval;
  series.values = series.of(profile.series).map((v, i) => v / Math.max(1, Math.min(interval, SPAN - i * interval)));
  series.top = series.top || Math.max(1, ...series.values);
}

/* The mean over each pixel, as a path of steps. */
function areaPath(series, x, width, base, height) {
  const interval = profile.series.interval, values = series.values;
  const perPixel = (view.end - view.begin) / (width - MARGIN.left - MARGIN.right);
  const step = Math.max(1, Math.round(perPixel / interval));
  const first = Math.floor(view.begin / interval / step) * step;
  let path = `M${x(view.begin).toFixed(1)} ${base}`;
  for (let i = first; i < values.length && i * interval < view.end; i += step) {
    const part = values.slice(i, i + step), mean = sum(part) / part.length;
    const y = base - height * clamp(mean / series.top, 0, 1);
    const from = clamp(i * interval, view.begin, view.end), to = clamp((i + step) * interval, view.begin, Math.min(view.end, SPAN));
    path += `L${x(from).toFixed(1)} ${y.toFixed(1)}L${x(to).toFixed(1)} ${y.toFixed(1)}`;
  }
  return path + `L${x(Math.min(view.end, SPAN)).toFixed(1)} ${base}Z`;
}

function seriesAt(series, cycle) {
  return series.values[clamp(Math.floor(cycle / profile.series.interval), 0, series.values.length - 1)] || 0;
}

/* The recorded launch that is on view, large enough for its blocks to be seen. */
function detailInView() {
  for (const kernel of [selection.kernel, ...kernels]) {
    const launch = kernel.detail && launches[kernel.detail.launch];
    if (launch && inView(launch.begin, launch.end) && view.end - view.begin < 3 * (launch.end - launch.begin)) return launch;
  }
  return null;
}

/* Blocks of a unit by name: their hues in a launch. */
const blockHue = (kernel, block) => hue([...new Set(kernel.blocks.map(b => b.name))].indexOf(kernel.blocks[block].name));

function drawSlices(launch, x, top) {
  const kernel = launch.kernel, pe = selection.pe === null ? 0 : selection.pe, flat = kernel.detail.slices, boxes = [];
  const last = [-1, -1, -1, -1];
  for (let i = 0; i < flat.length; i += 5) {
    const block = flat[i + 1], b = kernel.blocks[block], unit = UNITS.indexOf(b.unit);
    const begin = launch.begin + flat[i + 2], end = begin + flat[i + 3];
    if (flat[i] !== pe || !inView(begin, end)) continue;
    const y = top + unit * LANES.unit, pixel = x(end);
    if (pixel - last[unit] < 0.4) continue; /* hidden by its neighbour */
    last[unit] = pixel;
    const faded = selection.block !== null && selection.block !== block ? " faded" : "";
    boxes.push(timeBox(x, begin, end, y + 2, LANES.unit - 4, {
      class: "slice" + (x(end) - x(begin) < 3 ? " fine" : "") + faded, style: { "--c": blockHue(kernel, block) }, "data-block": block,
      on: { click: () => { if (selection.kernel !== kernel) selectKernel(kernel); selectBlock(block); },
            ...tipped(() => [`${b.name || b.unit}, iteration ${flat[i + 4]}`, `${b.unit} of PE ${peName(pe)}`,
                             `cycles ${grouped(begin)} to ${grouped(end - 1)}, ${grouped(flat[i + 3])} long`, placeName(b.file, b.line)]) },
    }));
    boxes.push(faded ? null : inside(b.name, Math.max(x(begin), MARGIN.left), Math.min(x(end), x(view.end)), y + 14));
  }
  return boxes;
}

/* Between the blocks: why the unit had none. */
function drawWaits(launch, x, top) {
  const kernel = launch.kernel, pe = selection.pe === null ? 0 : selection.pe, flat = kernel.detail.waits, boxes = [];
  for (let i = 0; i < flat.length; i += 5) {
    const unit = flat[i + 1], cause = flat[i + 2], begin = launch.begin + flat[i + 3], end = begin + flat[i + 4];
    if (flat[i] !== pe || !inView(begin, end) || x(end) - x(begin) < 0.5) continue;
    boxes.push(timeBox(x, begin, end, top + unit * LANES.unit + LANES.unit / 2 - 1.5, 3, { class: "wait", style: { "--c": stateColor(cause) },
      on: tipped(() => [`waits: ${STATES[cause]}`, `${UNITS[unit]} of PE ${peName(pe)}`, `cycles ${grouped(begin)} to ${grouped(end - 1)}, ${grouped(flat[i + 4])} long`]) }));
  }
  return boxes;
}

const laneName = (name, y) => drawn("text", { x: MARGIN.left - 10, y, "text-anchor": "end" }, name);

function launchLines(launch) {
  return [launch.kernel.label, `launch ${launch.index} of ${launches.length}, kernel ${launch.kernel.name}`,
          `cycles ${grouped(launch.begin)} to ${grouped(launch.end)}, ${grouped(launch.end - launch.begin)} long`,
          placeName(profile.files.findIndex(f => f.name === launch.kernel.file), launch.kernel.line)];
}

function drawLaunches(x, top) {
  const boxes = [], height = LANES.kernels;
  for (const launch of launches) {
    if (!inView(launch.begin, launch.end)) continue;
    const kernel = launch.kernel;
    const other = selection.picked && (selection.line ? !touchesLine(kernel) : kernel !== selection.kernel);
    const chosen = selection.launch === launch.index ? " chosen" : "";
    boxes.push(timeBox(x, launch.begin, launch.end, top, height, {
      class: "slice" + (other ? " faded" : "") + chosen, style: { "--c": kernel.color }, rx: 1.5, "data-launch": launch.index,
      on: { click: () => selectKernel(kernel, launch.index), dblclick: () => zoomTo(launch.begin, launch.end),
            ...tipped(() => launchLines(launch)) },
    }));
    boxes.push(other ? null : inside(kernel.label, Math.max(x(launch.begin), MARGIN.left), Math.min(x(launch.end), x(view.end)), top + 17));
  }
  return boxes;
}

function drawJobs(x, top) {
  const colors = { load: "var(--c-special)", gather: "var(--c-special)", store: "var(--c-hazards)", code: "var(--c-weights)", fill: "var(--c-ports)" };
  return profile.jobs.filter(job => inView(job[1], job[2])).map(([kind, begin, end, size, what]) =>
    timeBox(x, begin, end, top, LANES.DMA, {
      class: "slice fine", style: { "--c": colors[kind] },
      on: tipped(() => [`DMA ${kind} ${what}`.trim(), bytes(size), `cycles ${grouped(begin)} to ${grouped(end)}, ${grouped(end - begin)} long`]),
    }));
}

function drawTimeline() {
  const host = byId("timeline"), width = widthOf(host), x = timeScale(width), parts = [];
  let y = 2;
  parts.push(laneName("Kernels", y + 17), drawLaunches(x, y));
  y += LANES.kernels + 4;
  parts.push(laneName("DMA", y + 11), drawJobs(x, y));
  y += LANES.DMA + LANES.gap;
  const detail = detailInView();
  if (detail) {
    UNITS.forEach((unit, u) => parts.push(
      drawn("rect", { class: "band", x: MARGIN.left, y: y + u * LANES.unit + 2, width: width - MARGIN.left - MARGIN.right, height: LANES.unit - 4 }),
      laneName(unit, y + u * LANES.unit + 14)));
    parts.push(drawWaits(detail, x, y), drawSlices(detail, x, y));
    y += 4 * LANES.unit + LANES.gap;
  }
  const top = y;
  for (const series of SERIES) {
    const base = y + LANES.area;
    parts.push(laneName(series.name, base - 12),
               drawn("path", { class: "area", d: areaPath(series, x, width, base, LANES.area), style: { "--c": series.color } }),
               drawn("line", { class: "axis", x1: MARGIN.left, x2: width - MARGIN.right, y1: base, y2: base }),
               drawn("rect", { x: MARGIN.left, y, width: width - MARGIN.left - MARGIN.right, height: LANES.area, fill: "transparent",
                 on: { pointermove: event => {
                         const cycle = cycleAt(event);
                         showTip(event, [`${series.name} ${series.show(seriesAt(series, cycle))}`, `of ${series.show(series.top)}`, `at cycle ${grouped(cycle)}`]);
                       }, pointerleave: hideTip } }));
    y = base + LANES.gap;
  }
  parts.unshift(timeAxis(x, width, 0, y));
  host.replaceChildren(drawn("svg", { viewBox: `0 0 ${width} ${y + 18}`, height: y + 18, role: "img",
    "aria-label": `${launches.length} launches in ${grouped(SPAN)} cycles; the table of kernels has the figures` }, parts.flat(3)));
  byId("time-range").textContent = `cycles ${grouped(view.begin)} to ${grouped(view.end)}`;
  const zoomed = detail ? `Blocks of PE ${peName(selection.pe === null ? 0 : selection.pe)} in launch ${detail.index}${detail.kernel.detail.complete ? "" : ", the first of them"}. Between them, why the unit had none, in the colours of the array. Choose another PE there.`
                        : "Zoom to a launch to see its blocks. Drag to move, double-click a launch to fill the view with it.";
  byId("time-note").textContent = (profile.groups > 1 ? `The first of ${profile.groups} groups of samples. ` : "") + zoomed;
}

/* ---- zoom ---- */

function zoomTo(begin, end) {
  const length = clamp(Math.round(end - begin), Math.min(32, SPAN), SPAN);
  view.begin = clamp(Math.round(begin), 0, SPAN - length);
  view.end = view.begin + length;
  hideTip();
  drawTimeline();
  drawScratchpad();
  byId("zoom-all").disabled = byId("zoom-out").disabled = length === SPAN;
}

function zoomBy(factor, around = (view.begin + view.end) / 2) {
  const length = clamp((view.end - view.begin) * factor, Math.min(32, SPAN), SPAN);
  zoomTo(around - (around - view.begin) * length / (view.end - view.begin), around - (around - view.begin) * length / (view.end - view.begin) + length);
}

function zoomToLaunch() {
  const own = launches.filter(l => l.kernel === selection.kernel);
  const recorded = selection.kernel.detail ? launches[selection.kernel.detail.launch] : own[0];
  const launch = selection.launch !== null ? launches[selection.launch] : recorded;
  if (launch) zoomTo(launch.begin, launch.end);
}

function cycleAt(event) {
  const box = byId("timeline").getBoundingClientRect(), width = widthOf(byId("timeline"));
  const share = (event.clientX - box.left - MARGIN.left) / (width - MARGIN.left - MARGIN.right);
  return clamp(view.begin + share * (view.end - view.begin), 0, SPAN);
}

/* The next launch to the left or right, of the selected kernel's or of any. */
function stepLaunch(direction) {
  const at = selection.launch !== null ? selection.launch : launches.findIndex(l => l.kernel === selection.kernel);
  const next = launches[clamp(at + direction, 0, launches.length - 1)];
  if (!next) return;
  selectKernel(next.kernel, next.index);
  if (next.begin < view.begin || next.end > view.end) zoomTo(next.begin - (view.end - view.begin) / 4, next.begin + (view.end - view.begin) * 3 / 4);
  byId("said").textContent = launchLines(next).filter(Boolean).join(", ");
}

function watchTimeline() {
  const host = byId("timeline");
  const keys = { ArrowLeft: () => stepLaunch(-1), ArrowRight: () => stepLaunch(1), "+": () => zoomBy(0.5), "=": () => zoomBy(0.5),
                 "-": () => zoomBy(2), 0: () => zoomTo(0, SPAN), Enter: zoomToLaunch };
  host.addEventListener("keydown", event => {
    if (!keys[event.key] || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    keys[event.key]();
  });
  host.addEventListener("wheel", event => {
    const sideways = Math.abs(event.deltaX) > Math.abs(event.deltaY);
    if (!event.ctrlKey && !sideways) return; /* the page scrolls */
    event.preventDefault();
    const length = view.end - view.begin;
    if (sideways) zoomTo(view.begin + event.deltaX / 800 * length, view.end + event.deltaX / 800 * length);
    else zoomBy(Math.exp(event.deltaY / 200), cycleAt(event));
  }, { passive: false });
  let from = null;
  host.addEventListener("pointerdown", event => { from = { x: event.clientX, begin: view.begin, moved: false, id: event.pointerId }; });
  host.addEventListener("pointermove", event => {
    if (!from || !event.buttons) return;
    const dx = event.clientX - from.x;
    if (!from.moved && Math.abs(dx) < 5) return;
    if (!from.moved) host.setPointerCapture(from.id);
    from.moved = true;
    host.classList.add("drag");
    const length = view.end - view.begin, perPixel = length / (widthOf(host) - MARGIN.left - MARGIN.right);
    zoomTo(from.begin - dx * perPixel, from.begin - dx * perPixel + length);
  });
  const stop = () => { from = null; host.classList.remove("drag"); };
  host.addEventListener("pointerup", stop);
  host.addEventListener("pointercancel", stop);
  byId("zoom-in").addEventListener("click", () => zoomBy(0.5));
  byId("zoom-out").addEventListener("click", () => zoomBy(2));
  byId("zoom-all").addEventListener("click", () => zoomTo(0, SPAN));
  byId("zoom-launch").addEventListener("click", zoomToLaunch);
  byId("zoom-all").disabled = byId("zoom-out").disabled = true;
}

/* ---- scratchpad: words over time ---- */

const PAD_COLOR = "var(--c-drain)";
const eventOf = number => number >= 0 ? launches[number] : { job: profile.jobs[-2 - number] };
function eventTimes(number) {
  const event = eventOf(number);
  return event.job ? [event.job[1], event.job[2]] : [event.begin, event.end];
}
function eventName(number) {
  const event = eventOf(number);
  return event.job ? `DMA ${event.job[0]} ${event.job[4]}`.trim() : `${event.kernel.label}, launch ${event.index}`;
}
const buffers = profile.buffers.map(([word, words, writer, reader]) => ({
  word, words, writer, reader, begin: eventTimes(writer)[0],
  end: Math.max(eventTimes(writer)[1], reader === -1 ? 0 : eventTimes(reader)[1]),
})).sort((a, b) => a.begin - b.begin);
const padTop = Math.max(1, ...buffers.map(b => b.word + b.words));

/* The most words that are alive at one time, and when. */
function padPeak() {
  const changes = buffers.flatMap(b => [[b.begin, b.words], [b.end, -b.words]]).sort((a, b) => a[0] - b[0] || a[1] - b[1]);
  let now = 0, peak = { words: 0, cycle: 0 };
  for (const [cycle, words] of changes) {
    now += words;
    if (now > peak.words) peak = { words: now, cycle };
  }
  return peak;
}

function drawScratchpad() {
  const host = byId("scratchpad"), width = widthOf(host), x = timeScale(width), height = 220, top = 6;
  const y = word => top + word / padTop * height;
  const boxes = buffers.filter(b => inView(b.begin, b.end)).map(b => {
    const kernel = b.writer >= 0 ? eventOf(b.writer).kernel : null;
    const other = selection.picked && (selection.line ? !kernel || !touchesLine(kernel) : kernel !== selection.kernel);
    return timeBox(x, b.begin, b.end, y(b.word), Math.max(1, y(b.word + b.words) - y(b.word)), {
      class: "buffer" + (other ? " faded" : ""), style: { "--c": kernel ? kernel.color : PAD_COLOR },
      on: { click: () => kernel && selectKernel(kernel, b.writer),
            ...tipped(() => [`${bytes(b.words * WORD_BYTES)} from word ${grouped(b.word)}`, `written by ${eventName(b.writer)}`,
                             b.reader === -1 ? "never read" : `last read by ${eventName(b.reader)}`,
                             `cycles ${grouped(b.begin)} to ${grouped(b.end)}`]) },
    });
  });
  const step = 2 ** Math.ceil(Math.log2(padTop * WORD_BYTES / 5)) / WORD_BYTES, marks = [];
  for (let word = 0; word <= padTop; word += step)
    marks.push(drawn("line", { class: "rule", x1: MARGIN.left, x2: width - MARGIN.right, y1: y(word), y2: y(word) }),
               drawn("text", { x: MARGIN.left - 10, y: y(word) + 4, "text-anchor": "end" }, bytes(word * WORD_BYTES)));
  host.replaceChildren(drawn("svg", { viewBox: `0 0 ${width} ${height + 30}`, height: height + 30, role: "img",
    "aria-label": `${buffers.length} buffers of the scratchpad over time` }, marks, timeAxis(x, width, top, top + height), boxes));
}

/* ---- roofline ---- */

const roofs = {
  peak: 2 * machine.lanes * PES * CLOCK,
  scratchpad: description.scratchpad.ports * WORD_BYTES * CLOCK,
  dram: description.dram.tenth_bytes_per_cycle / 10 * CLOCK,
};
const points = kernels.filter(k => k.cycles && k.traffic).map(kernel => ({
  kernel, x: kernel.ops / kernel.traffic, y: kernel.ops / (kernel.cycles / CLOCK), color: kernel.color, share: kernel.share }));
const dramBytes = profile.dram_read_bytes + profile.dram_written_bytes;
const whole = { x: sum(kernels.map(k => k.ops)) / Math.max(1, dramBytes), y: sum(kernels.map(k => k.ops)) / (profile.cycles / CLOCK) };

function drawRoofline() {
  const host = byId("roofline"), width = widthOf(host);
  const beside = innerWidth > 720 ? byId("pe").offsetTop + byId("pe").offsetHeight - byId("array").offsetTop - 150 : 0; /* as tall as the array */
  const height = clamp(beside, 300, 520);
  const box = { left: 70, right: width - 16, top: 14, bottom: height - 36 };
  const xs = [...points.map(p => p.x), whole.x, roofs.peak / roofs.scratchpad, roofs.peak / roofs.dram];
  const low = 10 ** Math.floor(Math.log10(Math.min(...xs) / 1.5)), high = 10 ** Math.ceil(Math.log10(Math.max(...xs) * 1.5));
  const bottom = 10 ** Math.floor(Math.log10(Math.min(...points.map(p => p.y), roofs.peak / 20))), top = roofs.peak * 2;
  const log = (value, from, to, a, b) => a + (Math.log(value) - Math.log(from)) / (Math.log(to) - Math.log(from)) * (b - a);
  const x = v => log(v, low, high, box.left, box.right), y = v => log(v, bottom, top, box.bottom, box.top);
  const parts = [];
  for (let v = low; v <= high; v *= 10)
    parts.push(drawn("line", { class: "rule", x1: x(v), x2: x(v), y1: box.top, y2: box.bottom }),
               drawn("text", { x: clamp(x(v), box.left + 4, box.right - 8), y: box.bottom + 14, "text-anchor": "middle" }, v < 1 ? String(+v.toPrecision(1)) : grouped(v)));
  for (let v = bottom; v <= top; v *= 10)
    parts.push(drawn("line", { class: "rule", x1: box.left, x2: box.right, y1: y(v), y2: y(v) }),
               drawn("text", { x: box.left - 8, y: y(v) + 4, "text-anchor": "end" }, amount(v, "Op/s").replace(/\.0+/, "")));
  parts.push(drawn("text", { x: box.right, y: height - 4, "text-anchor": "end" }, "operations per byte"));
  const roof = (bandwidth, name, above) => {
    const from = Math.max(low, bottom / bandwidth), ridge = roofs.peak / bandwidth;
    const at = Math.sqrt(from * ridge), angle = -Math.atan2(y(from * bandwidth) - y(roofs.peak), x(ridge) - x(from)) * 180 / Math.PI;
    parts.push(drawn("path", { class: "roof", d: `M${x(from)} ${y(from * bandwidth)}L${x(ridge)} ${y(roofs.peak)}` }),
               drawn("text", { x: x(at), y: y(at * bandwidth), "text-anchor": "middle", transform: `rotate(${angle} ${x(at)} ${y(at * bandwidth)}) translate(0 ${above})` }, name));
  };
  roof(roofs.scratchpad, "scratchpad", -6);
  roof(roofs.dram, "DRAM", -6);
  parts.push(drawn("line", { class: "roof", x1: x(Math.min(roofs.peak / roofs.scratchpad, roofs.peak / roofs.dram)), x2: box.right, y1: y(roofs.peak), y2: y(roofs.peak) }),
             drawn("text", { x: box.right - 2, y: y(roofs.peak) - 6, "text-anchor": "end" }, "CAL " + amount(roofs.peak, "Op/s")));
  const size = 6.5, cx = clamp(x(whole.x), box.left, box.right), cy = y(whole.y);
  parts.push(drawn("path", { d: `M${cx} ${cy - size}L${cx + size} ${cy}L${cx} ${cy + size}L${cx - size} ${cy}Z`, class: "point", style: { "--c": "var(--ink)" },
    on: tipped(() => ["The whole network", `${whole.x.toFixed(0)} operations per byte of DRAM`, amount(whole.y, "Op/s")]) }));
  for (const p of [...points].sort((a, b) => b.share - a.share))
    parts.push(drawn("circle", { cx: x(p.x), cy: y(p.y), r: 4 + 9 * Math.sqrt(p.share), class: "point" +
        (selection.picked && (selection.line ? !touchesLine(p.kernel) : p.kernel !== selection.kernel) ? " faded" : "") + (p.kernel === selection.kernel ? " chosen" : ""),
      style: { "--c": p.color }, tabindex: 0, role: "button", "data-kernel": p.kernel.index,
      "aria-label": `${p.kernel.label}: ${p.x.toFixed(1)} operations per byte, ${amount(p.y, "Op/s")}`,
      on: { click: () => selectKernel(p.kernel), keydown: event => { if (event.key === "Enter" || event.key === " ") { event.preventDefault(); selectKernel(p.kernel); } },
            ...tipped(() => [p.kernel.label, `${p.x.toFixed(1)} operations per byte of scratchpad`, `${amount(p.y, "Op/s")}, ${percent(p.y / roofs.peak)} of the peak`]) } }));
  host.replaceChildren(drawn("svg", { viewBox: `0 0 ${width} ${height}`, height, role: "group", "aria-label": "Roofline of the kernels" }, parts));
  const k = selection.kernel, p = points.find(q => q.kernel === k);
  byId("roof-note").textContent = p
    ? `${k.label}: ${amount(p.y, "Op/s")} at ${p.x.toFixed(1)} operations per byte, under a roof of ${amount(Math.min(roofs.peak, p.x * roofs.scratchpad), "Op/s")}. ` +
      "Circles: kernels over scratchpad traffic, as large as their share of the cycles; diamond: the network over DRAM traffic. An FMA is two operations."
    : "No kernel moved data.";
}

