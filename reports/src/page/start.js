// Puts the parts together: what is selected in full, links, buttons, filters, and the first view.

function fact(name, ...values) {
  const box = element("div");
  const text = element("dd");
  text.append(...values);
  box.append(element("dt", "", name), text);
  return box;
}

function neighbour(op, by) {
  const lane = byLane[ops.lane[op]];
  return lane[lane.indexOf(op) + by];
}

function showSelected() {
  const op = state.selected;
  if (op < 0) return;
  const facts = element("dl");
  const took = neverEnded(op) ? "never ended" : span(endOf(op) - ops.invoked[op]);
  const end = neverEnded(op) ? "" : ` to ${seconds(endOf(op), 9)} s`;
  facts.append(
    fact("operation", `#${op}`),
    fact("client", String(ops.client[op])),
    fact("at", memberName(ops.member[op])),
    fact("time", `${seconds(ops.invoked[op], 9)} s${end}, ${took}`));
  if (ops.term[op] > 0) facts.append(fact("term of the reply", String(ops.term[op])));
  const around = [["before", neighbour(op, -1)], ["after", neighbour(op, 1)]];
  for (const [name, other] of around) if (other !== undefined) facts.append(fact(name, opLink(other)));
  const closer = element("button", "", "show it closely");
  closer.addEventListener("click", () => showWithMargin(ops.invoked[op], Math.min(endOf(op), ops.invoked[op] + 6e10)));
  facts.append(closer);
  byId("selected").hidden = false;
  byId("selected").replaceChildren(
    facts, element("p", "v", ops.call[op]), element("p", `v ${outcomeName(op)}`, ops.result[op]));
}

function fill(select, names) {
  for (const [value, name] of names) {
    const option = element("option", "", name);
    option.value = value;
    select.append(option);
  }
}

function follow() {
  const [, op] = location.hash.match(/^#op-(\d+)$/) ?? [];
  if (op !== undefined) select(+op);
}

on("view", draw);
on("view", () => { if (filters.view.checked) list(); });
on("filter", draw);
on("selection", draw);
on("selection", showSelected);
on("selection", () => showInLog(state.selected));
on("selection", () => showKeyOf(state.selected));

const clients = [...new Set(ops.client)].sort((one, other) => one - other);
fill(filters.client, clients.slice(0, 5000).map((it) => [it, `client ${it}`]));
fill(filters.member, run.members.map((name, place) => [place, name]));
fill(byId("key-names"), keyOrder.slice(0, KEY_NAMES_MAX).map((place) => [run.keys[place].name, ""]));
for (const filter of Object.values(filters)) filter.addEventListener("input", refilter);
byId("clear").addEventListener("click", () => {
  for (const filter of Object.values(filters)) {
    if (filter.type === "checkbox") filter.checked = false; else filter.value = "";
  }
  refilter();
});
byId("key").addEventListener("input", (event) => {
  const name = event.target.value.trim();
  const place = keyPlaces.get(name) ?? run.keys.findIndex((it) => it.name.startsWith(name));
  if (place >= 0 && name) chooseKey(place);
});
byId("only-key").addEventListener("click", () => {
  filters.key.value = key?.name ?? "";
  refilter();
});

for (const button of document.querySelectorAll("[data-view]")) {
  const acts = {
    in: () => zoom(0.5), out: () => zoom(2), all: () => show(0, run.ended),
    finding: showNextFinding,
  };
  button.addEventListener("click", acts[button.dataset.view]);
  if (button.dataset.view === "finding") button.hidden = run.findings.length === 0;
}
for (const link of document.querySelectorAll("a[data-op]")) {
  link.addEventListener("click", (event) => {
    event.preventDefault();
    const op = +link.dataset.op;
    state.finding = proves.get(op) ?? state.finding;
    select(op);
    canvas.scrollIntoView({ block: "nearest" });
  });
}
for (const link of document.querySelectorAll("a[data-finding]")) {
  link.addEventListener("click", (event) => {
    event.preventDefault();
    showFinding(+link.dataset.finding);
    link.closest("details").open = true;
    canvas.scrollIntoView({ block: "nearest" });
  });
}
byId("copy").addEventListener("click", async (event) => {
  const code = byId("command");
  try {
    await navigator.clipboard.writeText(code.textContent);
    event.target.textContent = "copied";
  } catch {
    // Without permission the text is selected, to be copied by hand.
    getSelection().selectAllChildren(code);
  }
});
window.addEventListener("hashchange", follow);
window.addEventListener("resize", fit);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", fit);

fit();
refilter();
chooseKey(keyOrder[0]);
const unexpected = run.findings.findIndex((it) => !it.is_expected);
if (unexpected >= 0) {
  showFinding(unexpected);
  const last = run.findings[unexpected].ops.at(-1);
  if (last !== undefined) {
    showKeyOf(last);
    showInLog(last);
  }
}
follow();
