// The events as a list with filters, and the history of a key.

// Every event: when, which kind, and what it is the number of.
const events = [];
for (let op = 0; op < many; op++) events.push([ops.invoked[op], "op", op]);
run.watched.forEach(([at], place) => events.push([at, "watch", place]));
run.incidents.forEach(([at], place) => events.push([at, "fault", place]));
run.findings.forEach(({ at }, place) => events.push([at, "found", place]));
run.lives.forEach((life, member) => life.forEach(([from, , what], place) => {
  if (what > FOLLOWER || what === FOLLOWER && place > 0 && life[place - 1][2] === LEADER) {
    events.push([from, "role", [member, place]]);
  }
}));
events.sort((one, other) => one[0] - other[0]);

function roleText([member, place]) {
  const [, , what, term] = run.lives[member][place];
  if (what === FOLLOWER) return `steps down in term ${term}`;
  return what === LEADER ? `leads in term ${term}` : `becomes ${STATES[what]} in term ${term}`;
}

const filters = {
  text: byId("by-text"), key: byId("by-key"), client: byId("by-client"), member: byId("by-member"),
  outcome: byId("by-outcome"), kind: byId("by-kind"), view: byId("in-view"),
};
const keyPlaces = new Map(run.keys.map((key, place) => [key.name, place]));
let shown = events;

// What the filters ask of an operation. A key that is not known is a part of names.
function operationFilter() {
  const text = filters.text.value.trim().toLowerCase();
  const key = filters.key.value.trim();
  const keys = !key ? null : keyPlaces.has(key) ? new Set([keyPlaces.get(key)])
    : new Set(run.keys.flatMap((it, place) => it.name.includes(key) ? [place] : []));
  const client = filters.client.value, member = filters.member.value, outcome = filters.outcome.value;
  const isOpen = !text && !keys && client === "" && member === "" && outcome === "";
  const passes = (op) => (client === "" || ops.client[op] === +client)
    && (member === "" || ops.member[op] === +member)
    && (outcome === "" || outcome.includes(ops.outcome[op]))
    && (!keys || ops.keys[op].some((it) => keys.has(it)))
    && (!text || has(`#${op} ${ops.call[op]} ${ops.result[op]}`, text));
  return { text, keys, client, member, outcome, isOpen, passes };
}

function has(words, text) { return words.toLowerCase().includes(text); }

function passes([at, kind, what], wanted, lit) {
  if (filters.kind.value && filters.kind.value !== kind) return false;
  if (filters.view.checked) {
    const to = kind === "op" ? endOf(what) : at;
    if (to < state.from || at > state.to) return false;
  }
  if (wanted.isOpen) return true;
  if (kind === "op") return lit[what] === 1;
  if (kind === "watch") {
    const [, op, words, keys] = run.watched[what];
    return (wanted.client === "" || ops.client[op] === +wanted.client)
      && (wanted.member === "" || ops.member[op] === +wanted.member) && wanted.outcome === ""
      && (!wanted.keys || keys.some((it) => wanted.keys.has(it)))
      && (!wanted.text || has(words, wanted.text));
  }
  if (wanted.client !== "" || wanted.outcome !== "" || wanted.keys) return false;
  if (kind === "found") return !wanted.text || has(run.findings[what].name, wanted.text);
  const members = kind === "fault" ? run.incidents[what][2] : [what[0]];
  const words = kind === "fault" ? run.incidents[what][1] : `${memberName(what[0])} ${roleText(what)}`;
  return (wanted.member === "" || members.length === 0 || members.includes(+wanted.member))
    && (!wanted.text || has(words, wanted.text));
}

function refilter() {
  const wanted = operationFilter();
  let lit = null;
  if (!wanted.isOpen) {
    lit = new Uint8Array(many);
    for (let op = 0; op < many; op++) lit[op] = wanted.passes(op) ? 1 : 0;
  }
  state.lit = lit;
  list(wanted);
  changed("filter");
}

function list(wanted = operationFilter()) {
  const isOpen = wanted.isOpen && !filters.kind.value && !filters.view.checked;
  shown = isOpen ? events : events.filter((event) => passes(event, wanted, state.lit));
  const all = events.length.toLocaleString("en");
  byId("log-count").textContent = shown.length === events.length ? all
    : `${shown.length.toLocaleString("en")} of ${all}`;
  log.reset(shown.length);
}

const log = new ScrollList(byId("log"), 22, (row, at) => {
  const [time, kind, what] = shown[at];
  const cells = [element("span", "n", seconds(time))];
  if (kind === "op") {
    cells.push(element("span", "n dim", neverEnded(what) ? "…" : span(endOf(what) - time)),
      element("span", "", `${ops.client[what]} → ${memberName(ops.member[what])}`),
      element("span", "v", `#${what} ${ops.call[what]}`),
      element("span", `v ${outcomeName(what)}`, ops.result[what]));
    mark(row, what);
  } else if (kind === "watch") {
    const [, op, words] = run.watched[what];
    cells.push(element("span"), element("span", "dim", `${ops.client[op]} ← ${memberName(ops.member[op])}`),
      element("span", "v dim", `#${op} ${ops.call[op]}`), element("span", "v", words));
    mark(row, op);
  } else {
    const who = kind === "fault" ? run.incidents[what][2].map(memberName).join(" ")
      : kind === "role" ? memberName(what[0]) : "";
    const words = kind === "fault" ? run.incidents[what][1] : kind === "role" ? roleText(what)
      : `${run.findings[what].is_expected ? "expected" : "found"} ${run.findings[what].name}`;
    const text = element("span", kind, words);
    text.style.gridColumn = "4 / -1";
    cells.push(element("span"), element("span", "dim", who), text);
    row.addEventListener("click", () => kind === "found" ? showFinding(what)
      : show(time - (state.to - state.from) / 2, time + (state.to - state.from) / 2));
  }
  row.title = cells.map((it) => it.textContent).join("  ");
  row.append(...cells);
});

function mark(row, op) {
  if (op === state.selected) row.classList.add("chosen");
  if (proves.has(op)) row.classList.add("proves");
  row.addEventListener("click", () => select(op));
}

// Keys: those that a finding is about first, then those with the longest histories.
let key = null;
const KEY_NAMES_MAX = 2000;
const inFindings = new Set([...proves.keys()].flatMap((op) => ops.keys[op]));
const keyOrder = run.keys.map((_, place) => place).sort((one, other) =>
  (inFindings.has(other) - inFindings.has(one)) || run.keys[other].rows.length - run.keys[one].rows.length);

function chooseKey(place) {
  key = run.keys[place] ?? null;
  const box = byId("key");
  if (key && document.activeElement !== box) box.value = key.name;
  const writes = key?.rows.length ?? 0;
  byId("history-count").textContent = key ? `${key.name}: ${writes === 1 ? "1 write" : `${writes} writes`}` : "no key was written";
  keyList.box.scrollTop = 0;
  keyList.reset(writes);
}

function opLink(op) {
  const link = element("a", "", `#${op}`);
  link.href = `#op-${op}`;
  link.addEventListener("click", (event) => {
    event.preventDefault();
    event.stopPropagation();
    select(op);
  });
  return link;
}

const hasClusters = new Set(run.keys.flatMap((it) => it.rows.map((row) => row[9])).filter((it) => it > 0)).size > 1;

const keyList = new ScrollList(byId("history"), 22, (row, at) => {
  const [revision, value, op, acknowledged, index, term, by, readers, seen, cluster] = key.rows[at];
  const others = [key.rows[at - 1], key.rows[at + 1]];
  const disputed = revision > 0 && others.some((it) => it && it[0] === revision && it[9] === cluster);
  const name = (hasClusters && cluster ? `c${cluster} ` : "") + (revision > 0 ? revision : "–");
  const writer = element("span");
  if (op >= 0) {
    const how = acknowledged ? "" : revision > 0 ? " unknown outcome, took effect" : " unknown outcome, never seen";
    writer.append(opLink(op), ` client ${ops.client[op]} at ${seconds(ops.invoked[op], 3)} s${how}`);
    mark(row, op);
  } else {
    writer.append(element("span", "dim", by || "not by a known operation"));
  }
  const saw = element("span", seen ? "" : "dim", seen ? "" : "nobody");
  for (const reader of readers.slice(0, 6)) {
    if (readers.includes(reader) && proves.has(reader)) row.classList.add("proves");
    saw.append(opLink(reader), " ");
  }
  if (seen > 6) saw.append(element("span", "dim", `… ${seen} times`));
  row.append(
    element("span", disputed ? "n found" : "n", name),
    value === null ? element("span", "dim", "removed") : element("span", "v", value),
    writer,
    element("span", "dim", index ? `${index} · t${term}` : ""),
    saw);
  row.title = disputed ? "two different writes claim this revision" : row.textContent;
});

// Shows the key of an operation, at what it wrote or saw.
function showKeyOf(op) {
  const touched = ops.keys[op] ?? [];
  const held = touched.find((place) => run.keys[place] === key) ?? touched[0];
  if (held === undefined) return;
  if (run.keys[held] !== key) chooseKey(held);
  const wrote = key.rows.findIndex((row) => row[2] === op);
  const at = wrote >= 0 ? wrote : key.rows.findIndex((row) => row[7].includes(op));
  if (at >= 0) keyList.reveal(at); else keyList.draw();
}

function showInLog(op) {
  const at = shown.findIndex(([, kind, what]) => kind === "op" && what === op);
  if (at >= 0) log.reveal(at); else log.draw();
}
