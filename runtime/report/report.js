"use strict";
/* The page of one profile; docs/profile.md has its keys. This file: the data, how numbers look, what
   is selected. Then charts.js, tables.js, and page.js, which puts all in place. The four share one
   scope. Every figure on the page is a count of the profile or a quotient of counts. */

const profile = JSON.parse(document.getElementById("profile").textContent);
const machine = profile.machine, description = profile.description;
const UNITS = ["CAL", "LOAD", "FLOW", "STORE"];
const STATES = ["issued", ...profile.causes];
const PES = machine.rows * machine.cols;
const CLOCK = machine.clock_mhz * 1e6;
const WORD_BYTES = machine.lanes * 2;

/* ---- elements ---- */

const byId = id => document.getElementById(id);

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes || {})) {
    if (name === "on") for (const [event, run] of Object.entries(value)) node.addEventListener(event, run);
    else if (name === "style") for (const [property, v] of Object.entries(value)) node.style.setProperty(property, v);
    else if (value !== null && value !== undefined && value !== false) node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat().filter(child => child !== null && child !== undefined));
  return node;
}

const element = (tag, attributes, ...children) => fill(document.createElement(tag), attributes, children);
const drawn = (tag, attributes, ...children) =>
  fill(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);

/* ---- numbers ---- */

const THIN = "\u202f"; /* between groups of three digits */
const MINUS = "\u2212";

function grouped(number) {
  return Math.round(number).toString().replace(/\B(?=(\d{3})+$)/g, THIN);
}

/* Three digits and a prefix: "3.10 mJ". */
function amount(number, unit) {
  if (!number) return "0" + THIN + unit;
  const prefixes = ["f", "p", "n", "\u00b5", "m", "", "k", "M", "G", "T", "P"];
  let p = 5;
  while (number < 0.9995 && p > 0) { number *= 1000; p--; }
  while (number >= 999.5 && p < prefixes.length - 1) { number /= 1000; p++; }
  return number.toFixed(number >= 99.95 ? 0 : number >= 9.995 ? 1 : 2) + THIN + prefixes[p] + unit;
}

function bytes(number) {
  const steps = ["B", "KiB", "MiB", "GiB"];
  let s = 0;
  while (number >= 1024 && s < 3) { number /= 1024; s++; }
  return (s && number < 100 ? number.toFixed(1) : Math.round(number)) + THIN + steps[s];
}

function percent(share) {
  const p = 100 * share;
  return (p > 0 && p < 0.05 ? "<0.1" : p.toFixed(p < 9.95 ? 1 : 0)) + THIN + "%";
}

const clamp = (x, low, high) => Math.min(Math.max(x, low), high);
const sum = list => list.reduce((a, b) => a + b, 0);
const most = (list, of) => list.reduce((best, x) => best === null || of(x) > of(best) ? x : best, null);
const plural = (n, word) => `${grouped(n)} ${word}${n === 1 ? "" : word.endsWith("ch") ? "es" : "s"}`;

/* ---- kernels ---- */

/* Kernels of one operator have one hue. */
const operators = [...new Set(profile.kernels.map(k => k.what))];
const hue = index => `var(--k${index % 12})`;
const kernels = profile.kernels.map((k, index) => ({
  ...k, index,
  name: k.name || `k${index}`, /* names that are not UTF-8 are missing */
  color: hue(operators.indexOf(k.what)),
  label: k.what || k.name || `kernel ${index}`,
  share: k.cycles / profile.cycles,
  ofBound: k.cycles ? k.bound / k.cycles : 0,
  ops: 2 * machine.lanes * k.CAL.issued,
  traffic: WORD_BYTES * k.scratchpad_words,
  joules: sum(Object.values(k.energy)),
  busy: UNITS.map(unit => k.cycles ? k[unit].issued / (k.cycles * PES) : 0),
}));
const launches = profile.launches.map(([kernel, begin, end], index) => ({ index, kernel: kernels[kernel], begin, end }));
const peName = p => `(${Math.floor(p / machine.cols)},${p % machine.cols})`;
const fileName = file => profile.files[file] ? profile.files[file].name : "?";
const placeName = (file, line) => line ? `${fileName(file)}:${line}` : "";
/* For columns: "transformer:14". */
const shortPlace = (file, line) => placeName(file, line).replace(/^.*\//, "").replace(/[<>]|\.bfly/g, "");

/* PE-cycles by file and line; those without a place are charged to nobody's line. */
const lineCycles = new Map(profile.lines.filter(l => l[1]).map(([file, line, cycles]) => [`${file}:${line}`, cycles / PES]));

/* Instructions and waits of a unit: of one PE, or of all as a mean. */
function states(kernel, unit, pe) {
  const of = pe === null ? kernel.pes : [kernel.pes[pe]];
  return STATES.map((_, s) => sum(of.map(units => units[unit][s])) / of.length);
}

/* ---- selection ----
   A kernel is always selected; a line, a PE and a block may be. Whatever changes it calls select();
   each part of the page follows. */

const selection = { kernel: null, line: null, pe: null, block: null, launch: null, picked: false };
const followers = [];

function select(changes, what) {
  Object.assign(selection, changes);
  for (const follow of followers) follow();
  if (what) byId("said").textContent = what;
}

function selectKernel(kernel, launch = null) {
  select({ kernel, launch, line: null, block: null, picked: true }, `Kernel ${kernel.label} selected`);
}

function selectLine(file, line) {
  const here = l => l[0] === file && l[1] === line;
  const cost = k => sum(k.lines.filter(here).map(l => l[2]));
  const kernel = most(kernels.filter(k => k.lines.some(here)), cost);
  if (kernel)
    select({ kernel, line: { file, line }, block: null, launch: null, picked: true },
           `Line ${line} of ${fileName(file)} selected, ${grouped(lineCycles.get(`${file}:${line}`) || 0)} cycles`);
}

function selectPE(pe) {
  const again = selection.pe === pe;
  const block = selection.block !== null && !again && !selection.kernel.blocks[selection.block].pes.includes(pe) ? null : selection.block;
  select({ pe: again ? null : pe, block }, again ? "All processing elements" : `Processing element ${peName(pe)} selected`);
}

function selectBlock(index) {
  const b = selection.kernel.blocks[index], again = selection.block === index;
  const outside = selection.pe !== null && !b.pes.includes(selection.pe);
  select({ block: again ? null : index, pe: outside ? null : selection.pe, picked: true,
           line: again || !b.line ? null : { file: b.file, line: b.line } },
         again ? "No block selected" : `Block ${b.name} of ${b.unit} selected`);
}

const touchesLine = kernel =>
  !selection.line || kernel.lines.some(l => l[0] === selection.line.file && l[1] === selection.line.line);

/* ---- what the pointer is on ---- */

const tip = byId("tip");
function showTip(event, lines) {
  tip.replaceChildren(...lines.filter(Boolean).map((line, i) => element("div", {}, i ? line : element("b", {}, line))));
  tip.hidden = false;
  const x = event.clientX + 14, y = event.clientY + 16;
  tip.style.left = Math.max(8, Math.min(x, innerWidth - tip.offsetWidth - 8)) + "px";
  tip.style.top = (y + tip.offsetHeight > innerHeight - 8 ? event.clientY - tip.offsetHeight - 12 : y) + "px";
}
const hideTip = () => { tip.hidden = true; };
const tipped = lines => ({ pointermove: event => showTip(event, lines()), pointerleave: hideTip });

