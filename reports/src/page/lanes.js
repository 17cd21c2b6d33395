// Draws the timeline's lanes: faults, members, clients. Times become places by `x`; what is
// narrower than a pixel shares one, and the worst outcome in it is what shows.

const LABELS = 92, AXIS = 24, FAULT = 17, MEMBER = 24, GAP = 10;
const WORST = { o: 0, w: 0, f: 1, u: 2, n: 2 };
const READS = "ral";
const FONT = "11.5px system-ui, sans-serif";

const canvas = byId("lanes");
const paint = canvas.getContext("2d");
let colours = {}, width = 0, laneHeight = 18, places = {};

function readColours() {
  const style = getComputedStyle(document.documentElement);
  const names = ["ground", "raised", "line", "text", "dim", "bad", "link", "ok", "fail", "unknown",
    "leader", "follower", "candidate", "up", "down", "down-stripe", "network", "process", "pause",
    "disk", "clock", "moment"];
  colours = Object.fromEntries(names.map((name) => [name, style.getPropertyValue(`--${name}`).trim()]));
  stripes.clear();
}

// Rows of the faults: bands that overlap stand below each other.
const faultRows = (() => {
  const free = [];
  return run.bands.map((band) => {
    const to = Math.max(band.to ?? run.ended, band.from + run.ended / 60);
    let row = free.findIndex((from) => from <= band.from);
    if (row < 0) row = free.length < 8 ? free.push(0) - 1 : free.indexOf(Math.min(...free));
    free[row] = to;
    return row;
  });
})();

// Operations by lane, in the order of time.
const byLane = Array.from({ length: run.lanes }, () => []);
for (let op = 0; op < many; op++) byLane[ops.lane[op]].push(op);

const watchedBy = new Map();
for (const [at, op] of run.watched) {
  if (!watchedBy.has(op)) watchedBy.set(op, []);
  watchedBy.get(op).push(at);
}

function layOut() {
  laneHeight = Math.max(5, Math.min(20, Math.floor(460 / Math.max(run.lanes, 1))));
  const rows = faultRows.length > 0 ? Math.max(...faultRows) + 1 : 0;
  const faults = AXIS + 4;
  const members = faults + rows * FAULT + (rows > 0 ? GAP : 0);
  const clients = members + run.members.length * (MEMBER + 4) + GAP;
  places = { faults, rows, members, clients, height: clients + run.lanes * laneHeight + 8 };
}

function x(at) { return LABELS + (at - state.from) / (state.to - state.from) * (width - LABELS); }
function timeAt(place) { return state.from + (place - LABELS) / (width - LABELS) * (state.to - state.from); }

const stripes = new Map();
function striped(ground, line) {
  const name = `${ground}/${line}`;
  if (!stripes.has(name)) {
    const tile = document.createElement("canvas");
    tile.width = tile.height = 8;
    const brush = tile.getContext("2d");
    if (ground) { brush.fillStyle = ground; brush.fillRect(0, 0, 8, 8); }
    brush.strokeStyle = line;
    brush.lineWidth = 1.6;
    brush.beginPath();
    for (const from of [-8, 0, 8]) { brush.moveTo(from, 8); brush.lineTo(from + 8, 0); }
    brush.stroke();
    stripes.set(name, paint.createPattern(tile, "repeat"));
  }
  return stripes.get(name);
}

function write(text, at, middle, room, colour, weight = "") {
  if (room < 14) return;
  paint.font = `${weight} ${FONT}`.trim();
  paint.fillStyle = colour;
  let shown = text;
  if (paint.measureText(shown).width > room) {
    let length = Math.floor(shown.length * room / paint.measureText(shown).width);
    while (length > 0 && paint.measureText(`${shown.slice(0, length)}…`).width > room) length--;
    if (length < 2) return;
    shown = `${shown.slice(0, length)}…`;
  }
  paint.textBaseline = "middle";
  paint.fillText(shown, at, middle);
}

function drawAxis() {
  const width_ns = state.to - state.from;
  const wanted = width_ns / Math.max((width - LABELS) / 110, 1);
  const power = 10 ** Math.floor(Math.log10(wanted));
  const step = [1, 2, 5, 10].map((it) => it * power).find((it) => it >= wanted);
  const digits = Math.min(Math.max(0, 9 - Math.floor(Math.log10(step) + 1e-9)), 9);
  paint.lineWidth = 1;
  for (let at = Math.ceil(state.from / step) * step; at <= state.to; at += step) {
    const place = Math.round(x(at)) + 0.5;
    paint.strokeStyle = colours.line;
    paint.beginPath();
    paint.moveTo(place, AXIS - 5);
    paint.lineTo(place, places.height);
    paint.stroke();
    write(`${(at / 1e9).toFixed(digits)} s`, place + 4, 11, 105, colours.dim);
  }
}

function bandColour(kind) { return colours[kind === "down" ? "process" : kind] ?? colours.moment; }

function drawFaults() {
  run.bands.forEach((band, place) => {
    const to = band.to ?? run.ended;
    if (band.from > state.to || x(to) < LABELS - 4) return;
    const top = places.faults + faultRows[place] * FAULT;
    const left = x(band.from), right = Math.max(x(to), left + 3);
    paint.fillStyle = bandColour(band.kind);
    paint.globalAlpha = 0.28;
    paint.fillRect(left, top, right - left, FAULT - 3);
    paint.globalAlpha = 1;
    paint.fillRect(left, top, 2, FAULT - 3);
    if (band.to !== null && band.to > band.from) paint.fillRect(right - 1, top, 1, FAULT - 3);
    const next = run.bands.find((it, other) => other > place && faultRows[other] === faultRows[place]);
    const inside = Math.max(left, LABELS) + 5, middle = top + (FAULT - 3) / 2 + 0.5;
    const outside = (next ? Math.min(x(next.from), width) : width) - right - 8;
    paint.font = FONT;
    const wanted = paint.measureText(band.what).width;
    const fits = wanted <= right - inside - 3;
    if (!fits && (wanted <= outside || right - inside < 24)) {
      write(band.what, Math.max(right, LABELS) + 4, middle, outside, colours.text);
    } else {
      write(band.what, inside, middle, right - inside - 3, colours.text);
    }
  });
}

function memberTop(place) { return places.members + place * (MEMBER + 4); }

const STATE_COLOURS = ["down", "up", "follower", "candidate", "candidate", "leader"];

function drawMembers() {
  run.lives.forEach((life, place) => {
    const top = memberTop(place);
    for (const [from, to, what, term] of life) {
      if (to < state.from || from > state.to) continue;
      const left = Math.max(x(from), LABELS), right = Math.min(x(to), width);
      const size = Math.max(right - left, 1);
      paint.fillStyle = what === DOWN ? striped(colours.down, colours["down-stripe"])
        : colours[STATE_COLOURS[what]];
      paint.fillRect(left, top, size, MEMBER);
      const text = what <= UP ? STATES[what] : what === FOLLOWER ? `term ${term}` : `${STATES[what]} · term ${term}`;
      const colour = what === LEADER ? "#ffffff" : what === FOLLOWER ? colours.dim : colours.text;
      if (what !== UP) write(text, left + 5, top + MEMBER / 2 + 0.5, size - 8, colour);
      if (from >= state.from) {
        paint.fillStyle = colours.ground;
        paint.fillRect(left, top, 1, MEMBER);
      }
    }
    drawOnMember(place, top);
  });
}

// Faults of one member: it is frozen, or a line below says what else is wrong with it.
function drawOnMember(place, top) {
  for (const band of run.bands) {
    const to = band.to ?? run.ended;
    if (!band.members.includes(place) || band.from > state.to || to < state.from) continue;
    const left = Math.max(x(band.from), LABELS), right = Math.max(x(to), left + 2);
    if (band.kind === "pause") {
      paint.fillStyle = striped("", colours.pause);
      paint.fillRect(left, top, right - left, MEMBER);
    } else if (band.kind !== "down") {
      paint.fillStyle = bandColour(band.kind);
      paint.fillRect(left, top + MEMBER - 3, right - left, 3);
    }
  }
}

function firstIn(lane, at) {
  let low = 0, high = lane.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (endOf(lane[middle]) < at) low = middle + 1; else high = middle;
  }
  return low;
}

function isLit(op) { return state.lit === null || state.lit[op] === 1; }

// So that each of a few operations can be seen and hit however short it is.
const LEAST = many < 2000 ? 3 : 1.5;

function drawOperation(op, top, height, next) {
  const left = Math.max(x(ops.invoked[op]), LABELS - 4);
  const right = Math.min(Math.max(x(endOf(op)), left + LEAST), width + 4);
  const colour = colours[outcomeName(op)];
  const isRead = READS.includes(ops.kind[op]);
  paint.globalAlpha = isLit(op) ? 1 : 0.16;
  paint.fillStyle = colour;
  if (ops.kind[op] === "a") {
    paint.fillRect(left, top + height / 2 - 0.5, right - left, 1);
    paint.fillStyle = colours.ok;
    for (const at of watchedBy.get(op) ?? []) {
      if (at >= state.from && at <= state.to) paint.fillRect(x(at) - 1, top, 2, height);
    }
  } else if (isRead && height >= 8 && right - left > 4) {
    paint.fillRect(left, top, right - left, height);
    paint.fillStyle = colours.ground;
    paint.globalAlpha *= 0.62;
    paint.fillRect(left + 1, top + 1, right - left - 2, height - 2);
  } else {
    paint.fillRect(left, top, right - left, height);
  }
  paint.globalAlpha = 1;
  if (height < 12 || !isLit(op) || ops.kind[op] === "a") return;
  const text = isRead && ops.outcome[op] === OK ? `${ops.call[op]} → ${ops.result[op]}` : ops.call[op];
  const middle = top + height / 2 + 0.5, inside = Math.max(left, LABELS);
  if (right - inside > 40) {
    write(text, inside + 4, middle, right - inside - 7, isRead ? colours.text : "#10161d");
  } else {
    const free = (next === undefined ? width : Math.min(x(ops.invoked[next]), width)) - right - 8;
    paint.font = FONT;
    if (free > 150 || free > 40 && paint.measureText(text).width <= free) {
      write(text, right + 3, middle, free, colours.dim);
    }
  }
}

function drawClients() {
  const height = laneHeight > 8 ? laneHeight - 3 : laneHeight - 1;
  const marked = [];
  byLane.forEach((lane, place) => {
    const top = places.clients + place * laneHeight;
    let pixel = -1, worst = -1;
    for (let at = firstIn(lane, state.from); at < lane.length; at++) {
      const op = lane[at];
      if (ops.invoked[op] > state.to) break;
      const isMarked = op === state.selected || proves.has(op);
      if (isMarked) marked.push([op, top]);
      const here = Math.round(x(ops.invoked[op]));
      const rank = (isLit(op) ? 3 : 0) + WORST[ops.outcome[op]];
      if (here === pixel && Math.round(x(endOf(op))) === pixel && rank <= worst && !isMarked) continue;
      worst = here === pixel ? Math.max(worst, rank) : rank;
      pixel = here;
      drawOperation(op, top, height, isMarked ? op : lane[at + 1]);
    }
  });
  marked.forEach(([op, top], place) => {
    const next = marked[place + 1];
    const end = next && next[1] === top ? x(ops.invoked[next[0]]) - 4 : width;
    drawMark(op, top, height, end);
  });
}

function drawMark(op, top, height, end) {
  const left = Math.max(x(ops.invoked[op]), LABELS - 4);
  const right = Math.min(Math.max(x(endOf(op)), left + 3), width + 4);
  const isProof = proves.has(op);
  paint.strokeStyle = op === state.selected ? colours.text : colours.bad;
  paint.lineWidth = 2;
  paint.strokeRect(left - 1, top - 1, right - left + 2, height + 2);
  if (!isProof || height >= 12 && right - left > 60) return;
  const text = `#${op} ${ops.call[op]}`;
  paint.font = `600 ${FONT}`;
  const wanted = Math.min(paint.measureText(text).width + 2, 260);
  // Beside the bar: to the right, or to the left where the right is taken.
  const isRight = right + wanted + 8 < end || end < width;
  const room = isRight ? Math.min(wanted, end - right - 8) : wanted;
  const at = isRight ? right + 5 : left - wanted - 6;
  if (room < 14) return;
  paint.fillStyle = colours.ground;
  paint.globalAlpha = 0.9;
  paint.fillRect(at - 2, top - 1, room + 4, Math.max(height + 2, 14));
  paint.globalAlpha = 1;
  write(text, at, top + height / 2 + 0.5, room, colours.bad, "600");
}

function drawMoments() {
  const finding = run.findings[state.finding];
  if (finding) line(finding.at, colours.bad, [5, 4]);
  if (run.healed !== null) line(run.healed, colours.leader, [2, 4], "healed");
  if (state.selected >= 0) {
    for (const at of [ops.invoked[state.selected], endOf(state.selected)]) line(at, colours.text, [1, 3]);
  }
}

function line(at, colour, dash, text) {
  if (at < state.from || at > state.to) return;
  const place = Math.round(x(at)) + 0.5;
  paint.strokeStyle = colour;
  paint.lineWidth = 1;
  paint.setLineDash(dash);
  paint.beginPath();
  paint.moveTo(place, AXIS - 4);
  paint.lineTo(place, places.height);
  paint.stroke();
  paint.setLineDash([]);
  if (text) write(text, place + 3, places.members - 6, 60, colour);
}

function drawLabels() {
  paint.fillStyle = colours.ground;
  paint.fillRect(0, 0, LABELS - 1, places.height);
  if (places.rows > 0) write("faults", 8, places.faults + FAULT / 2, LABELS - 14, colours.dim);
  const concerned = run.findings[state.finding]?.members ?? [];
  run.members.forEach((name, place) => {
    const colour = concerned.includes(place) ? colours.bad : colours.text;
    write(name, 8, memberTop(place) + MEMBER / 2, LABELS - 14, colour, "600");
  });
  if (run.lanes > 0) write("clients", 8, places.clients + laneHeight / 2, LABELS - 14, colours.dim);
}

function drawLanes() {
  const scale = window.devicePixelRatio || 1;
  paint.setTransform(scale, 0, 0, scale, 0, 0);
  paint.fillStyle = colours.ground;
  paint.fillRect(0, 0, width, places.height);
  drawAxis();
  drawFaults();
  drawMembers();
  drawClients();
  drawMoments();
  drawLabels();
}
