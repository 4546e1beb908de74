/* ---- tables: sorted by a click on a head, copied as tab-separated values ---- */

/* columns: {head, title, text: left-aligned, value: row => number or string, show: row => node or
   string, meter: a bar}. rows: anything; `mark(row)`: classes; `pick(row)`: what a click does;
   `foot`: cells of a last row. */
function makeTable(id, caption, columns, rows, options = {}) {
  const table = byId(id), order = { column: options.sort || 0, down: options.down !== false };
  const body = element("tbody");
  const value = (column, row) => column.value(row);
  const cells = new Map();

  function cell(column, row) {
    const shown = column.show ? column.show(row) : value(column, row);
    return element("td", { class: column.text ? "text" : column.meter ? "meter" : null, "data-value": value(column, row) }, shown);
  }
  function row(data) {
    const line = element("tr", { class: options.pick ? "pick" : null }, columns.map(column => cell(column, data)));
    if (options.pick) line.addEventListener("click", () => options.pick(data));
    cells.set(data, line);
    return line;
  }
  function arrange() {
    const column = columns[order.column], sign = order.down ? -1 : 1;
    const compare = (a, b) => typeof value(column, a) === "string" ? value(column, a).localeCompare(value(column, b)) : value(column, a) - value(column, b);
    const sorted = options.sort === undefined && !order.chosen ? rows : [...rows].sort((a, b) => sign * compare(a, b));
    body.replaceChildren(...sorted.map(data => cells.get(data) || row(data)));
    heads.forEach((head, i) => head.setAttribute("aria-sort", i !== order.column || (options.sort === undefined && !order.chosen) ? "none" : order.down ? "descending" : "ascending"));
  }
  const heads = columns.map((column, i) => element("th", { scope: "col", class: column.text ? "text" : null, title: column.title },
    element("button", { type: "button", on: { click: () => {
      order.down = order.column === i && order.chosen ? !order.down : !column.text;
      order.column = i;
      order.chosen = true;
      arrange();
    } } }, column.head)));
  table.replaceChildren(element("caption", { class: "hidden" }, caption), element("thead", {}, element("tr", {}, heads)), body);
  if (options.foot)
    table.append(element("tfoot", {}, options.foot.map(cellsOf => element("tr", {}, cellsOf.map((c, i) =>
      element("td", { class: columns[i].text ? "text" : null, "data-value": c && c.value !== undefined ? c.value : c }, c && c.show !== undefined ? c.show : c))))));
  arrange();
  return { mark() { for (const [data, line] of cells) line.className = ["pick", options.mark ? options.mark(data) : ""].join(" ").trim(); } };
}

function tableText(table) {
  return [...table.rows].map(row => [...row.cells].map(cell => cell.dataset.value !== undefined ? cell.dataset.value : cell.textContent).join("\t")).join("\n") + "\n";
}

async function copyText(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch { /* no permission, or an old browser */
    const area = element("textarea", { class: "hidden" }, text);
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
}

function watchCopies() {
  for (const button of document.querySelectorAll("button.copy")) {
    const name = button.closest("section").querySelector("h2").textContent.toLowerCase();
    button.setAttribute("aria-label", `Copy the table of ${name}`);
    button.addEventListener("click", async () => {
      await copyText(tableText(byId(button.dataset.table)));
      button.textContent = "Copied";
      byId("said").textContent = "Table copied";
      setTimeout(() => { button.textContent = "Copy"; }, 1500);
    });
  }
}

/* ---- parts of cells ---- */

const nameCell = (label, color, run, detail) =>
  element("button", { type: "button", class: "name", title: label, on: { click: event => { event.stopPropagation(); run(); } } },
          element("span", { class: "dot", style: { "--c": color }, "aria-hidden": "true" }), element("span", { class: "label" }, label), detail ? element("em", {}, " " + detail) : null);

const stateColor = s => `var(--c-${STATES[s]})`;

/* A bar of parts that add up to at most one. */
function bar(parts, classes = "") {
  return element("div", { class: "bar " + classes, "aria-hidden": "true" },
    parts.filter(p => p.share > 0).map(p => element("i", { style: { "--c": p.color, width: (100 * p.share).toFixed(3) + "%" },
      on: p.name ? tipped(() => [p.name, p.text || percent(p.share)]) : {} })));
}

/* What the CAL slots of a kernel that were not used were lost to, the most first. */
function losses(kernel) {
  const all = kernel.cycles * PES;
  return profile.causes.map((cause, c) => ({ cause, share: all ? kernel.CAL.stalled[cause] / all : 0, color: stateColor(c + 1) }))
    .sort((a, b) => b.share - a.share);
}
const lossText = kernel => losses(kernel).filter(l => l.share >= 0.005).slice(0, 1).map(l => `${l.cause} ${percent(l.share)}`).join(", ");

/* ---- the tables ---- */

function kernelTable() {
  return makeTable("kernel-table", "Kernels", [
    { head: "Kernel", text: true, value: k => k.label, show: k => nameCell(k.label, k.color, () => selectKernel(k), operators.length < kernels.length ? k.name : "") },
    { head: "Launches", value: k => k.runs, show: k => grouped(k.runs) },
    { head: "Cycles", value: k => k.cycles, show: k => grouped(k.cycles) },
    { head: "Share", title: "of the cycles of the network", value: k => k.share, show: k => percent(k.share) },
    { head: "Of bound", title: "least cycles these instructions take on this array, over the cycles", value: k => k.ofBound, show: k => percent(k.ofBound) },
    { head: "CAL", title: "issue slots used", value: k => k.busy[0], show: k => percent(k.busy[0]) },
    { head: "CAL slots", title: "used, and what the others were lost to", meter: true, value: k => 1 - k.busy[0],
      show: k => bar([{ name: "issued", share: k.busy[0], color: stateColor(0) }, ...losses(k).map(l => ({ name: l.cause, share: l.share, color: l.color }))]) },
    { head: "Lost to", text: true, value: lossText },
  ], kernels, {
    sort: 2, pick: k => selectKernel(k),
    mark: k => k === selection.kernel ? "on" : selection.line && !touchesLine(k) ? "dim" : "",
  });
}

function blockTable() {
  const kernel = selection.kernel, rows = kernel.blocks.map((b, index) => ({ ...b, index }));
  const pes = b => b.pes.length === PES ? "all" : b.pes.length > 4 ? `${b.pes.length} of ${PES}` : b.pes.map(peName).join(" ");
  const inside = b => b.held - b.issued;
  byId("blocks-kernel").textContent = `of ${kernel.label} ${kernel.name}`;
  return makeTable("block-table", `Blocks of ${kernel.label}`, [
    { head: "Block", text: true, value: b => b.name, show: b => nameCell(b.name || "unnamed", blockHue(kernel, b.index), () => selectBlock(b.index)) },
    { head: "Unit", text: true, value: b => b.unit },
    { head: "PEs", text: true, value: pes },
    { head: "Runs", value: b => b.runs, show: b => grouped(b.runs) },
    { head: "Instructions", value: b => b.issued, show: b => grouped(b.issued) },
    { head: "Stalls", title: "PE-cycles in which it held its unit and did not issue", value: inside, show: b => grouped(inside(b)) },
    { head: "Of its unit", title: "share of the unit's PE-cycles in which it held it", value: b => b.held / (kernel.cycles * PES), show: b => percent(b.held / (kernel.cycles * PES)) },
    { head: "", meter: true, value: b => b.held, show: b => bar([{ share: b.issued / (kernel.cycles * PES), color: stateColor(0) }, { share: inside(b) / (kernel.cycles * PES), color: "var(--c-hazards)" }]) },
    { head: "Line", text: true, value: b => shortPlace(b.file, b.line) },
  ], rows, {
    sort: 6, pick: b => selectBlock(b.index),
    mark: b => selection.block === b.index ? "on" : selection.pe !== null && !b.pes.includes(selection.pe) ? "dim" : "",
  });
}

const ENERGY = [
  { key: "cal", name: "CAL", color: "var(--c-issued)" }, { key: "ram", name: "RAM", color: "var(--c-special)" },
  { key: "hops", name: "Mesh", color: "var(--c-weights)" }, { key: "scratchpad", name: "Scratchpad", color: "var(--c-tokens)" },
  { key: "dram", name: "DRAM", color: "var(--c-hazards)" }, { key: "static", name: "Static", color: "var(--c-drain)" },
];
const energyTotal = key => key === "dram" || key === "static" ? profile.energy[key] : sum(kernels.map(k => k.energy[key]));

function energyTable() {
  const joules = profile.joules, shown = x => ({ value: x, show: amount(x, "J") });
  const between = profile.energy.static - sum(kernels.map(k => k.energy.static));
  byId("energy-unit").textContent = `${amount(joules, "J")} in ${amount(profile.seconds, "s")}, ${amount(joules / profile.seconds, "W")}`;
  byId("energy-bar").replaceChildren(
    bar(ENERGY.map(e => ({ name: e.name, share: energyTotal(e.key) / joules, color: e.color, text: amount(energyTotal(e.key), "J") })), "tall"),
    element("ul", { class: "legend", style: { margin: "0 0 .75rem" } }, ENERGY.map(e => element("li", {}, element("span", { class: "dot", style: { "--c": e.color } }),
      e.name + " ", element("b", {}, amount(energyTotal(e.key), "J")), percent(energyTotal(e.key) / joules)))));
  const column = e => ({ head: e.name, value: k => k.energy[e.key] || 0, show: k => e.key === "dram" ? "" : amount(k.energy[e.key], "J") });
  return makeTable("energy-table", "Energy", [
    { head: "Kernel", text: true, value: k => k.label, show: k => nameCell(k.label, k.color, () => selectKernel(k), operators.length < kernels.length ? k.name : "") },
    ...ENERGY.map(column),
    { head: "Total", value: k => k.joules, show: k => amount(k.joules, "J") },
    { head: "Share", value: k => k.joules / joules, show: k => percent(k.joules / joules) },
  ], kernels, {
    sort: 7, pick: k => selectKernel(k), mark: k => k === selection.kernel ? "on" : "",
    foot: [["Outside kernels", "", "", "", "", shown(profile.energy.dram), shown(between), shown(profile.energy.dram + between), { value: (profile.energy.dram + between) / joules, show: percent((profile.energy.dram + between) / joules) }],
           ["Network", ...ENERGY.map(e => shown(energyTotal(e.key))), shown(joules), { value: 1, show: percent(1) }]],
  });
}

function layerTable() {
  if (!profile.layers) {
    byId("layer-table").replaceWith(element("p", { class: "note", id: "layer-table" },
      "Not measured. bfrun -compare with a model that was compiled with -embed-net adds it."));
    document.querySelector("[data-table=layer-table]").hidden = true;
    return null;
  }
  const file = layer => profile.files.findIndex(f => f.name === layer.file);
  const worst = Math.log10(Math.max(...profile.layers.map(l => l.relative_l2 || 0), 1e-6)), floor = -7;
  const scale = x => x > 0 ? clamp((Math.log10(x) - floor) / (worst - floor), 0.01, 1) : 0;
  const e = x => x === null || x === undefined ? "" : x === 0 ? "0" : x.toExponential(1).replace("e-", "e" + MINUS);
  return makeTable("layer-table", "Accuracy by layer", [
    { head: "Layer", text: true, value: l => l.label, show: l => l.line ? nameCell(l.label || l.kind, l.loses ? "var(--bad)" : "var(--c-issued)", () => selectLine(file(l), l.line)) : l.label },
    { head: "Operator", text: true, value: l => l.kind },
    { head: "Result", text: true, value: l => l.shape.join(" \u00d7 ") },
    { head: "Largest", value: l => l.largest || 0, show: l => l.stored ? (+l.largest.toPrecision(3)).toString() : "" },
    { head: "Max error", value: l => l.max_error || 0, show: l => e(l.max_error) },
    { head: "Relative", value: l => l.relative_l2 || 0, show: l => l.stored ? e(l.relative_l2) : element("span", { class: "unit" }, "not stored") },
    { head: "", meter: true, value: l => scale(l.relative_l2), show: l => bar([{ share: scale(l.relative_l2), color: l.loses ? "var(--bad)" : "var(--c-issued)" }]) },
    { head: "", text: true, value: l => l.loses ? "loses precision" : "", show: l => l.loses ? element("span", { class: "flag" }, "loses precision") : "" },
    { head: "Line", text: true, value: l => shortPlace(file(l), l.line) },
  ], profile.layers, {
    pick: l => l.line && selectLine(file(l), l.line),
    mark: l => selection.line && file(l) === selection.line.file && l.line === selection.line.line ? "on" : "",
  });
}

