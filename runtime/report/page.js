/* ---- the rest of the page: head, source, array; then everything is drawn ---- */

/* ---- theme: the system's, until it is switched ---- */

function watchTheme() {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const stored = () => { try { return localStorage.getItem("bfcc-theme"); } catch { return null; } };
  const show = theme => { document.documentElement.dataset.theme = theme; };
  show(stored() || (dark.matches ? "dark" : "light"));
  dark.addEventListener("change", () => { if (!stored()) show(dark.matches ? "dark" : "light"); });
  byId("theme").addEventListener("click", () => {
    const theme = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
    show(theme);
    try { localStorage.setItem("bfcc-theme", theme); } catch { /* a page of a file may have no storage */ }
  });
}

/* ---- head ---- */

function drawSummary() {
  const samples = profile.samples === 1 ? "" : plural(profile.samples, "sample") + ", ";
  byId("machine").textContent = `${samples}${machine.name}: ${machine.rows} \u00d7 ${machine.cols} PEs of ${machine.lanes} lanes at ${amount(CLOCK, "Hz").replace(".00", "")}`;
  const cal = sum(kernels.map(k => k.CAL.issued)) / (profile.cycles * PES);
  const figure = (name, key, value, shown, more) =>
    element("div", {}, element("dt", {}, name), element("dd", { "data-key": key, "data-value": value }, shown, more ? element("small", {}, " " + more) : null));
  const special = profile.infinities + profile.nans;
  byId("summary").replaceChildren(
    figure("Cycles", "cycles", profile.cycles, grouped(profile.cycles)),
    figure("Time", "seconds", profile.seconds, amount(profile.seconds, "s")),
    figure("Energy", "joules", profile.joules, amount(profile.joules, "J")),
    figure("CAL busy", "cal", cal, percent(cal)),
    figure("Of bound", "bound", profile.bound, percent(profile.bound / profile.cycles), profile.bound_by),
    figure("DRAM", "dram", dramBytes, bytes(dramBytes)),
    ...(special ? [figure("Infinite or NaN", "special", special, element("span", { class: "flag" }, grouped(special)))] : []));
  byId("colophon").textContent = `Counts of the cycle-level simulator${profile.groups > 1 ? `, ${profile.groups} groups of samples` : ""}; ` +
    `${percent(profile.dma_wait_cycles / profile.cycles)} of the cycles wait for DRAM alone. Made by bfrun -report.`;
}

function drawChips() {
  const chip = (kind, name, clear) => element("span", { class: "chip" }, element("i", {}, kind), element("b", {}, name),
    clear ? element("button", { type: "button", "aria-label": `Clear ${kind} ${name}`, on: { click: clear } }, "\u00d7") : null);
  const s = selection, list = [];
  list.push(chip("kernel", `${s.kernel.label} ${s.kernel.name}`, s.picked ? () => select({ picked: false, line: null, block: null, launch: null }, "Selection cleared") : null));
  if (s.line) list.push(chip("line", placeName(s.line.file, s.line.line), () => select({ line: null, block: null })));
  if (s.launch !== null) list.push(chip("launch", String(s.launch), () => select({ launch: null })));
  if (s.block !== null) list.push(chip("block", s.kernel.blocks[s.block].name, () => selectBlock(s.block)));
  if (s.pe !== null) list.push(chip("PE", peName(s.pe), () => selectPE(s.pe)));
  byId("chips").replaceChildren(...list);
}

/* ---- source ---- */

const WORDS = /\b(include|block|network|input|output|const|for|in|if|else|return|shared|param|true|false)\b/;
function tinted(text) {
  const comment = text.indexOf("//"), code = comment < 0 ? text : text.slice(0, comment);
  const parts = code.split(WORDS).map((part, i) => i % 2 ? element("span", { class: "word" }, part) : part);
  return comment < 0 ? parts : [...parts, element("span", { class: "comment" }, text.slice(comment))];
}

const sourceLines = new Map();
function sourceLine(file, number, text, highest) {
  const key = `${file}:${number}`, cycles = lineCycles.get(key);
  const line = element("li", { class: cycles ? "hot" : null, "data-line": key, style: cycles ? { "--w": (0.06 + 0.34 * cycles / highest).toFixed(3) } : {} },
    cycles ? element("button", { type: "button", class: "share", "data-value": cycles, "aria-label": `Line ${number}: ${grouped(cycles)} cycles, ${percent(cycles / profile.cycles)}` }, grouped(cycles))
           : element("span", { class: "share" }),
    element("span", { class: "number" }, String(number)), element("span", { class: "text" }, tinted(text)));
  if (cycles) {
    line.addEventListener("click", () => selectLine(file, number));
    const kernelsHere = kernels.filter(k => k.lines.some(l => l[0] === file && l[1] === number));
    line.addEventListener("pointermove", event => showTip(event, [`${grouped(cycles)} cycles, ${percent(cycles / profile.cycles)}`, plural(kernelsHere.length, "kernel")]));
    line.addEventListener("pointerleave", hideTip);
  }
  sourceLines.set(key, line);
  return line;
}

function drawSource() {
  const highest = Math.max(1, ...lineCycles.values());
  byId("files").replaceChildren(...profile.files.flatMap((file, f) => {
    const hot = [...lineCycles.keys()].filter(key => key.startsWith(f + ":")).map(key => +key.split(":")[1]).sort((a, b) => a - b);
    const text = file.text === null ? null : file.text.replace(/\n$/, "").split("\n");
    const lines = text ? text.map((t, i) => sourceLine(f, i + 1, t, highest)) : hot.map(n => sourceLine(f, n, "", highest));
    return [element("h3", {}, file.name), text ? null : element("p", { class: "note" }, "This file was not found; bfrun -source names its folder."),
            element("ol", { class: "code" }, lines)].filter(Boolean);
  }));
}

/* Where to begin: the lines that cost most. */
function drawHottest() {
  const hottest = [...lineCycles].sort((a, b) => b[1] - a[1]).slice(0, 4);
  byId("hottest").replaceChildren(...hottest.map(([key, cycles]) => {
    const [file, line] = key.split(":").map(Number), on = selection.line && selection.line.file === file && selection.line.line === line;
    return element("button", { type: "button", "aria-pressed": String(!!on), "data-line": key, on: { click: () => selectLine(file, line) } },
      shortPlace(file, line) + " ", element("b", {}, percent(cycles / profile.cycles)));
  }));
}

function followSource() {
  drawHottest();
  const own = new Set(selection.picked ? selection.kernel.lines.map(l => `${l[0]}:${l[1]}`) : []);
  const chosen = selection.line ? `${selection.line.file}:${selection.line.line}` : null;
  for (const [key, line] of sourceLines) {
    line.classList.toggle("on", key === chosen);
    line.classList.toggle("touched", key !== chosen && own.has(key));
  }
  const target = sourceLines.get(chosen || [...own].sort((a, b) => lineCycles.get(b) - lineCycles.get(a))[0]), pane = byId("files");
  if (!target) return;
  const top = target.offsetTop - pane.offsetTop;
  if (top < pane.scrollTop + 40 || top > pane.scrollTop + pane.clientHeight - 40) pane.scrollTop = top - pane.clientHeight / 3;
}

/* ---- array ---- */

const METRICS = [...UNITS.map((name, unit) => ({ name, unit })), { name: "Waits", unit: 0, waits: true }];
let metric = METRICS[0];

function drawMetrics() {
  byId("metrics").replaceChildren(...METRICS.map(m => element("button", { type: "button", "aria-pressed": String(m === metric),
    on: { click: () => { metric = m; drawMetrics(); drawArray(); byId("metrics").children[METRICS.indexOf(m)].focus(); } } }, m.name)));
}

/* The figure of a PE: share of slots used, or the first cause of loss. */
function figureOf(kernel, pe) {
  const counts = states(kernel, metric.unit, pe), cycles = Math.max(1, kernel.cycles);
  if (!metric.waits) return { share: counts[0] / cycles, text: percent(counts[0] / cycles), color: stateColor(0) };
  const worst = most(STATES.map((_, s) => s).slice(1), s => counts[s]);
  return { share: counts[worst] / cycles, text: percent(counts[worst] / cycles), cause: STATES[worst], color: stateColor(worst) };
}

function drawGrid() {
  const kernel = selection.kernel, grid = byId("grid"), block = selection.block === null ? null : kernel.blocks[selection.block];
  grid.style.setProperty("--cols", machine.cols);
  grid.classList.toggle("many", machine.cols > 4);
  const focused = grid.contains(document.activeElement) ? [...grid.children].indexOf(document.activeElement) : -1;
  grid.replaceChildren(...kernel.pes.map((_, pe) => {
    const figure = figureOf(kernel, pe), out = block && !block.pes.includes(pe);
    return element("button", { type: "button", "aria-pressed": String(selection.pe === pe), class: out ? "out" : null, "data-pe": pe, "data-value": figure.share,
      "aria-label": `PE ${peName(pe)}: ${metric.waits ? figure.cause + " " : metric.name + " busy "}${figure.text}${out ? ", without the block" : ""}`,
      style: { "--c": figure.color, "--w": (8 + 42 * figure.share).toFixed(1) + "%" },
      on: { click: () => selectPE(pe), keydown: event => {
        const step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -machine.cols, ArrowDown: machine.cols }[event.key];
        if (step && grid.children[pe + step]) { event.preventDefault(); grid.children[pe + step].focus(); }
      } } },
      element("small", {}, metric.waits ? figure.cause : peName(pe)), element("b", {}, figure.text));
  }));
  if (focused >= 0) grid.children[focused].focus();
}

/* Each unit's cycles by state: of the PE, or of all as a mean. */
function drawStates() {
  const kernel = selection.kernel, cycles = Math.max(1, kernel.cycles), pe = selection.pe, used = new Set();
  const rows = UNITS.map((name, unit) => {
    const counts = states(kernel, unit, pe);
    counts.forEach((count, s) => count / cycles >= 0.0005 && used.add(s));
    return element("tr", { class: metric.unit === unit ? "on" : null }, element("td", { class: "text" }, name),
      element("td", { class: "meter" }, bar(counts.map((count, s) => ({ name: `${name} ${STATES[s]}`, share: count / cycles, color: stateColor(s), text: `${percent(count / cycles)}, ${grouped(count)} cycles` })))),
      element("td", { "data-value": counts[0] / cycles }, percent(counts[0] / cycles)));
  });
  const counts = states(kernel, metric.unit, pe);
  byId("pe").replaceChildren(
    element("table", {}, element("caption", { class: "hidden" }, "Cycles of each unit"), element("thead", {}, element("tr", {},
      element("th", { class: "text", scope: "col" }, pe === null ? "All PEs" : `PE ${peName(pe)}`), element("th", { class: "text", scope: "col" }, "issued and waiting"), element("th", { scope: "col" }, "issued"))),
      element("tbody", {}, rows)),
    element("ul", { class: "legend", "aria-label": `States of ${UNITS[metric.unit]}` }, STATES.map((state, s) => used.has(s)
      ? element("li", {}, element("span", { class: "dot", style: { "--c": stateColor(s) } }), state, element("b", {}, percent(counts[s] / cycles))) : null)));
}

function drawArray() {
  byId("array-kernel").textContent = metric.waits ? `${selection.kernel.label}: the first cause of lost CAL slots` : `${selection.kernel.label}: issue slots of ${metric.name} used`;
  drawGrid();
  drawStates();
}

/* ---- all of it ---- */

function start() {
  watchTheme();
  selection.kernel = most(kernels, k => k.cycles);
  drawSummary();
  if (!selection.kernel) return; /* a network without kernels */
  drawSource();
  drawMetrics();
  const tables = [kernelTable(), energyTable(), layerTable()].filter(Boolean);
  let blocksOf = null, blocks = null;
  followers.push(drawChips, followSource, drawArray, drawTimeline, drawRoofline, drawScratchpad, () => {
    if (blocksOf !== selection.kernel) blocks = blockTable();
    blocksOf = selection.kernel;
    for (const table of [...tables, blocks]) table.mark();
  });
  const peak = padPeak();
  byId("pad-unit").textContent = `words over time; at most ${bytes(peak.words * WORD_BYTES)} of ${bytes(description.scratchpad.words * WORD_BYTES)} hold values that are still read`;
  byId("pad-note").textContent = "A value lives from its writer, whose colour it has, to its last reader; grey came by DMA. The view is the timeline's.";
  watchTimeline();
  watchCopies();
  select({});
  let width = innerWidth;
  addEventListener("resize", () => {
    if (innerWidth === width) return;
    width = innerWidth;
    drawTimeline();
    drawRoofline();
    drawScratchpad();
  });
  addEventListener("scroll", hideTip, { passive: true });
}
start();
