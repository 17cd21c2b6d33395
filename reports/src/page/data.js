// The run, and what every part of the page knows of it: times in words, what is selected, what the
// filters let through, and who wants to hear of changes.

const run = JSON.parse(document.getElementById("run").textContent);
const ops = run.ops;
const many = ops.client.length;
const byId = (id) => document.getElementById(id);

const OK = "o", FAIL = "f", WATCHING = "w";
const STATES = ["down", "running", "follower", "pre-candidate", "candidate", "leader"];
const DOWN = 0, UP = 1, FOLLOWER = 2, LEADER = 5;

// What proves a finding, and which finding: the first that names the operation.
const proves = new Map();
run.findings.forEach((finding, place) => {
  for (const op of finding.ops) if (!proves.has(op)) proves.set(op, place);
});

// What may change. `lit` says for each operation whether the filters let it through.
const state = {
  from: 0,
  to: Math.max(run.ended, 1),
  selected: -1,
  finding: run.findings.length > 0 ? 0 : -1,
  lit: null,
};

const listeners = { view: [], selection: [], filter: [] };
function on(what, listener) { listeners[what].push(listener); }
function changed(what) { for (const listener of listeners[what]) listener(); }

function outcomeName(op) {
  const outcome = ops.outcome[op];
  return outcome === OK ? "ok" : outcome === FAIL ? "fail" : outcome === WATCHING ? "dim" : "unknown";
}

function neverEnded(op) { return ops.completed[op] < 0; }

function endOf(op) { return neverEnded(op) ? run.ended : ops.completed[op]; }

function memberName(place) { return run.members[place] ?? "?"; }

function seconds(ns, digits = 6) { return (ns / 1e9).toFixed(digits); }

// A duration with the unit in which it reads best.
function span(ns) {
  if (ns < 1e3) return `${ns} ns`;
  if (ns < 1e6) return `${+(ns / 1e3).toPrecision(3)} µs`;
  if (ns < 1e9) return `${+(ns / 1e6).toPrecision(3)} ms`;
  return `${+(ns / 1e9).toPrecision(4)} s`;
}

function element(name, className, text) {
  const made = document.createElement(name);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

function show(from, to) {
  const least = 1000, whole = Math.max(run.ended, 1);
  let width = Math.min(Math.max(to - from, least), whole);
  let begin = Math.min(Math.max(from, 0), Math.max(whole - width, 0));
  state.from = begin;
  state.to = begin + width;
  changed("view");
}

function showWithMargin(from, to) {
  const margin = Math.max((to - from) * 0.25, run.ended / 200, 1e6);
  show(from - margin, to + margin);
}

function showFinding(place) {
  const finding = run.findings[place];
  if (!finding) return;
  state.finding = place;
  showWithMargin(finding.from, finding.to);
  changed("selection");
}

// The finding that is shown, or the next one when it is in view already.
function showNextFinding() {
  const finding = run.findings[state.finding];
  const isShown = finding && finding.from >= state.from && finding.to <= state.to
    && state.to - state.from < run.ended * 0.9;
  showFinding(isShown ? (state.finding + 1) % run.findings.length : Math.max(state.finding, 0));
}

// Selects an operation, and moves the view when it lies outside or is too short to be seen.
function select(op) {
  if (!(op >= 0 && op < many)) return;
  state.selected = op;
  const from = ops.invoked[op], to = endOf(op);
  const width = state.to - state.from;
  if (to < state.from || from > state.to) {
    const middle = (from + Math.min(to, from + width)) / 2;
    show(middle - width / 2, middle + width / 2);
  }
  try { history.replaceState(null, "", `#op-${op}`); } catch { /* some viewers forbid it */ }
  changed("selection");
}
