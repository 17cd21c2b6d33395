// Moving in the timeline: the overview of the whole run with the window that is shown, zoom, pan,
// and what lies under the pointer.

const overview = byId("overview");
const sketch = overview.getContext("2d");
const tip = byId("tip");
const OVERVIEW = 54;

function fit() {
  readColours();
  const scale = window.devicePixelRatio || 1;
  width = Math.max(canvas.clientWidth, 300);
  layOut();
  for (const [it, height] of [[canvas, places.height], [overview, OVERVIEW]]) {
    it.style.height = `${height}px`;
    it.width = Math.round(width * scale);
    it.height = Math.round(height * scale);
  }
  histogram = count();
  draw();
}

let waiting = false;
function draw() {
  if (waiting) return;
  waiting = true;
  requestAnimationFrame(() => {
    waiting = false;
    drawLanes();
    drawOverview();
  });
}

// Invocations by outcome in columns of two pixels.
let histogram = [];
function count() {
  const columns = Array.from({ length: Math.ceil((width - LABELS) / 2) }, () => [0, 0, 0]);
  for (let op = 0; op < many; op++) {
    const place = Math.floor(ops.invoked[op] / Math.max(run.ended, 1) * columns.length);
    columns[Math.min(place, columns.length - 1)][WORST[ops.outcome[op]]]++;
  }
  return columns;
}

function wholeX(at) { return LABELS + at / Math.max(run.ended, 1) * (width - LABELS); }
function wholeTime(place) { return (place - LABELS) / (width - LABELS) * run.ended; }

function drawOverview() {
  const scale = window.devicePixelRatio || 1;
  sketch.setTransform(scale, 0, 0, scale, 0, 0);
  sketch.fillStyle = colours.ground;
  sketch.fillRect(0, 0, width, OVERVIEW);
  for (const band of run.bands) {
    const left = wholeX(band.from);
    sketch.globalAlpha = 0.3;
    sketch.fillStyle = bandColour(band.kind);
    sketch.fillRect(left, 0, Math.max(wholeX(band.to ?? run.ended) - left, 1.5), 9);
  }
  sketch.globalAlpha = 1;
  run.lives.forEach((life, place) => {
    for (const [from, to, what] of life) {
      if (what !== LEADER) continue;
      sketch.fillStyle = colours.leader;
      const rise = 10 / Math.max(run.members.length, 1);
      sketch.fillRect(wholeX(from), 11 + place * rise, Math.max(wholeX(to) - wholeX(from), 1), Math.max(rise - 0.5, 1));
    }
  });
  // A few columns with very many must not flatten all the others.
  const totals = histogram.map((it) => it[0] + it[1] + it[2]).filter((it) => it > 0).sort((a, b) => a - b);
  const most = Math.max(totals[Math.floor(totals.length * 0.98)] ?? 1, 1);
  histogram.forEach((column, place) => {
    let bottom = OVERVIEW;
    for (const [rank, name] of [[0, "ok"], [1, "fail"], [2, "unknown"]]) {
      if (column[rank] === 0) continue;
      const size = Math.max(Math.min(column[rank] / most, 1) * (OVERVIEW - 24), 1);
      sketch.fillStyle = colours[name];
      sketch.fillRect(LABELS + place * 2, bottom - size, 2, size);
      bottom -= size;
    }
  });
  for (const finding of run.findings) {
    if (finding.is_expected) continue;
    sketch.fillStyle = colours.bad;
    sketch.fillRect(wholeX(finding.at) - 1, 0, 2, OVERVIEW);
  }
  const left = wholeX(state.from), right = Math.max(wholeX(state.to), left + 2);
  sketch.fillStyle = colours.dim;
  sketch.globalAlpha = 0.22;
  sketch.fillRect(LABELS, 0, left - LABELS, OVERVIEW);
  sketch.fillRect(right, 0, width - right, OVERVIEW);
  sketch.globalAlpha = 1;
  sketch.strokeStyle = colours.text;
  sketch.lineWidth = 1;
  sketch.strokeRect(left + 0.5, 0.5, Math.max(right - left - 1, 1), OVERVIEW - 1);
  sketch.font = "11.5px system-ui, sans-serif";
  sketch.fillStyle = colours.dim;
  sketch.textBaseline = "middle";
  sketch.fillText("whole run", 8, OVERVIEW / 2);
}

function zoom(by, middle = (state.from + state.to) / 2) {
  const size = state.to - state.from;
  const left = (middle - state.from) / size;
  show(middle - size * by * left, middle + size * by * (1 - left));
}

function pan(by) { show(state.from + by, state.to + by); }

function place(event, of) {
  const box = of.getBoundingClientRect();
  return [event.clientX - box.left, event.clientY - box.top];
}

// What lies at a place: an operation, a fault, or a member.
function under(left, top) {
  if (left < LABELS) return null;
  const at = timeAt(left), slack = (state.to - state.from) / (width - LABELS) * 3;
  const lane = Math.floor((top - places.clients) / laneHeight);
  if (top >= places.clients && lane < run.lanes) {
    let best = null, distance = slack * 2;
    const held = byLane[lane];
    for (let next = firstIn(held, at - slack); next < held.length; next++) {
      const op = held[next];
      if (ops.invoked[op] > at + slack) break;
      const off = Math.max(ops.invoked[op] - at, at - endOf(op), 0) - (proves.has(op) ? slack : 0);
      if (off < distance) { best = op; distance = off; }
    }
    return best === null ? null : { op: best };
  }
  const member = Math.floor((top - places.members) / (MEMBER + 4));
  if (top >= places.members && member < run.members.length) {
    const segment = (run.lives[member] ?? []).find(([from, to]) => from <= at && at < to);
    return segment ? { member, segment, at } : null;
  }
  const row = Math.floor((top - places.faults) / FAULT);
  if (row >= 0 && row < places.rows) {
    const hit = run.bands.findLast((band, it) => faultRows[it] === row && band.from - slack <= at
      && at <= Math.max(band.to ?? run.ended, band.from + slack * 3));
    return hit ? { band: hit } : null;
  }
  return null;
}

// Who came to lead while a fault lasted, or soon after: its effect.
function effects(band) {
  const until = Math.max(band.to ?? run.ended, band.from + 3e9);
  const told = [];
  run.lives.forEach((life, member) => {
    for (const [from, , what, term] of life) {
      if (what === LEADER && from > band.from && from <= until) {
        told.push([from, `${memberName(member)} leads in term ${term} after ${span(from - band.from)}`]);
      }
    }
  });
  return told.sort((one, other) => one[0] - other[0]).slice(0, 4).map((it) => it[1]);
}

function describe(hit) {
  if (hit.op !== undefined) {
    const op = hit.op;
    return [`#${op} ${ops.call[op]}`, ops.result[op],
      `client ${ops.client[op]} at ${memberName(ops.member[op])}, ${seconds(ops.invoked[op])} s, ${span(endOf(op) - ops.invoked[op])}`];
  }
  if (hit.band) {
    const { band } = hit;
    const end = band.to === null ? "to the end" : band.to > band.from ? `to ${seconds(band.to)} s (${span(band.to - band.from)})` : "";
    const lines = [band.what, `${seconds(band.from)} s ${end}`];
    if (band.ended_by && band.ended_by !== "started again") lines.push(`ended by: ${band.ended_by}`);
    return lines.concat(band.effect, effects(band));
  }
  const [from, to, what, term, leader] = hit.segment;
  const lines = [`${memberName(hit.member)}: ${STATES[what]}${what > UP ? ` in term ${term}` : ""}`];
  if (what === FOLLOWER) lines.push(leader >= 0 ? `follows ${memberName(leader)}` : "knows no leader");
  lines.push(`${seconds(from)} s to ${seconds(to)} s (${span(to - from)})`);
  for (const band of run.bands) {
    const lasts = band.from <= hit.at && hit.at <= (band.to ?? run.ended);
    if (lasts && band.members.includes(hit.member) && band.kind !== "down") lines.push(band.what);
  }
  return lines;
}

function showTip(event) {
  const [left, top] = place(event, canvas);
  const hit = under(left, top);
  tip.hidden = hit === null;
  canvas.style.cursor = hit?.op !== undefined ? "pointer" : "";
  if (hit === null) return;
  tip.textContent = describe(hit).join("\n");
  const offset = canvas.offsetTop;
  const over = left + 24 + tip.offsetWidth > width;
  tip.style.left = `${over ? Math.max(left - tip.offsetWidth - 12, 0) : left + 14}px`;
  tip.style.top = `${offset + top + 16}px`;
}

let drag = null;
canvas.addEventListener("pointerdown", (event) => {
  const [left, top] = place(event, canvas);
  drag = { left, top, from: state.from, to: state.to, moved: false };
  canvas.setPointerCapture(event.pointerId);
});
canvas.addEventListener("pointermove", (event) => {
  if (!drag) return showTip(event);
  const [left] = place(event, canvas);
  if (Math.abs(left - drag.left) > 3) drag.moved = true;
  if (!drag.moved) return;
  canvas.classList.add("dragging");
  tip.hidden = true;
  const by = (drag.left - left) / (width - LABELS) * (drag.to - drag.from);
  show(drag.from + by, drag.to + by);
});
canvas.addEventListener("pointerup", () => {
  if (drag && !drag.moved) {
    const hit = under(drag.left, drag.top);
    if (hit?.op !== undefined) select(hit.op);
    else if (hit?.band) showWithMargin(hit.band.from, hit.band.to ?? run.ended);
  }
  drag = null;
  canvas.classList.remove("dragging");
});
canvas.addEventListener("pointercancel", () => { drag = null; canvas.classList.remove("dragging"); });
canvas.addEventListener("pointerleave", () => { tip.hidden = true; });
canvas.addEventListener("dblclick", (event) => zoom(0.4, timeAt(place(event, canvas)[0])));
canvas.addEventListener("wheel", (event) => {
  if (event.ctrlKey || event.metaKey) {
    event.preventDefault();
    zoom(Math.exp(event.deltaY * 0.004), timeAt(place(event, canvas)[0]));
  } else if (event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY)) {
    event.preventDefault();
    const by = event.deltaX !== 0 ? event.deltaX : event.deltaY;
    pan(by / (width - LABELS) * (state.to - state.from));
  }
}, { passive: false });
canvas.addEventListener("keydown", (event) => {
  const step = (state.to - state.from) / 8;
  const acts = {
    ArrowLeft: () => pan(-step), ArrowRight: () => pan(step),
    "+": () => zoom(0.6), "=": () => zoom(0.6), "-": () => zoom(1 / 0.6),
    0: () => show(0, run.ended), f: showNextFinding,
  };
  if (!acts[event.key] || event.ctrlKey || event.metaKey) return;
  event.preventDefault();
  acts[event.key]();
});

let brush = null;
overview.addEventListener("pointerdown", (event) => {
  const at = wholeTime(place(event, overview)[0]);
  const inside = at > state.from && at < state.to && state.to - state.from < run.ended * 0.98;
  brush = inside ? { offset: at - state.from } : { from: at };
  overview.setPointerCapture(event.pointerId);
});
overview.addEventListener("pointermove", (event) => {
  if (!brush) return;
  const at = wholeTime(place(event, overview)[0]);
  if (brush.offset !== undefined) {
    const size = state.to - state.from;
    show(at - brush.offset, at - brush.offset + size);
  } else if (Math.abs(at - brush.from) > run.ended / 400) {
    show(Math.max(Math.min(at, brush.from), 0), Math.min(Math.max(at, brush.from), run.ended));
  }
});
overview.addEventListener("pointerup", (event) => {
  if (brush?.from !== undefined) {
    const at = wholeTime(place(event, overview)[0]);
    const size = state.to - state.from;
    if (Math.abs(at - brush.from) <= run.ended / 400) show(at - size / 2, at + size / 2);
  }
  brush = null;
});
