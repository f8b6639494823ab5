// The list of cases, the open case, and the theme. All else on the page works without.
"use strict";

const report = JSON.parse(document.getElementById("data").textContent);
const byId = (id) => document.getElementById(id);
const PAGE = 60;

/** An element with properties, attributes and children; text is never taken for HTML. */
function make(tag, given, ...children) {
  const element = document.createElement(tag);
  for (const [key, value] of Object.entries(given || {})) {
    if (value === null || value === undefined) continue;
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (key === "text") element.textContent = value;
    else element.setAttribute(key, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

function draw(tag, given, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [key, value] of Object.entries(given)) if (key === "text") element.textContent = value; else if (key.startsWith("on")) element.addEventListener(key.slice(2), value); else element.setAttribute(key, value);
  element.append(...children);
  return element;
}

function shown(column, value) {
  if (column.unit === "ms") return value.toFixed(1);
  return value.toFixed(column.reading.startsWith("sync_d") && value >= 10 ? 2 : 3);
}

/** How far the methods lie apart in a column; a case that only one has says nothing. */
function range(one, column) {
  const numbers = one.methods.map((method) => method.values[column]).filter((value) => typeof value === "number");
  return numbers.length > 1 ? Math.max(...numbers) - Math.min(...numbers) : -1;
}

function worst(one, column) {
  const numbers = one.methods.map((method) => method.values[column]).filter((value) => typeof value === "number");
  if (!numbers.length) return -Infinity;
  const bad = { higher: (value) => -value, lower: (value) => value, near_zero: Math.abs }[report.columns[column].better] || ((value) => -value);
  return Math.max(...numbers.map(bad));
}

const state = { text: "", subset: "", sort: "name", most: PAGE, open: null };

function filtered() {
  const words = state.text.toLowerCase().split(/\s+/).filter(Boolean);
  const kept = report.cases.filter((one) => (!state.subset || String(one.subset) === state.subset) && words.every((word) => one.search.includes(word)));
  const [order, column] = state.sort.split(":");
  if (order === "worst") kept.sort((a, b) => worst(b, column) - worst(a, column) || (a.name < b.name ? -1 : 1));
  if (order === "apart") kept.sort((a, b) => range(b, column) - range(a, column) || (a.name < b.name ? -1 : 1));
  return kept;
}

function heading() {
  const cells = report.columns.map((column) => make("th", { class: "number", title: column.reading }, column.label, column.networks ? make("small", { text: column.networks }) : null));
  return make("thead", null, make("tr", null, make("th", { class: "what", text: "case" }), make("th", { text: "subset" }), make("th", { text: "method" }), ...cells));
}

function lines(one) {
  return report.methods.map((method, number) => {
    const own = one.methods[number];
    const first = number === 0
      ? [make("td", { class: "what", rowspan: report.methods.length }, make("button", { type: "button", text: one.name, onclick: () => show(one) })), make("td", { rowspan: report.methods.length, text: one.subset })]
      : [];
    const cells = report.columns.map((column, at) => {
      const value = own.values[at];
      return typeof value === "number" ? make("td", { class: "number", text: shown(column, value) }) : make("td", { class: value ? "number word" : "number soft", text: value || "-" });
    });
    return make("tr", { class: `hue${method.hue}`, "aria-current": String(state.open === one) }, ...first, make("td", { class: "by", title: method.name }, make("b", { class: "dot" }), method.name), ...cells);
  });
}

function list() {
  const kept = filtered();
  byId("shown").textContent = `${kept.length.toLocaleString("en")} of ${report.cases.length.toLocaleString("en")} cases`;
  byId("list").replaceChildren(heading(), make("tbody", null, ...kept.slice(0, state.most).flatMap(lines)));
  byId("more").hidden = kept.length <= state.most;
}

/** The open case: what was asked for, and what each method made of it. */
function show(one) {
  state.open = one;
  list();
  const box = byId("case");
  const people = one.subjects.map((person) => make("div", { class: "person" },
    person.face ? make("img", { src: person.face, alt: `reference of ${person.anchor}`, loading: "lazy" }) : make("span", { class: "hole", text: "no picture" }),
    make("div", null, make("b", { text: person.anchor }), ` ${person.visible ? (person.speaks ? "speaks" : "silent") : "off screen"}`,
      person.voice ? make("audio", { src: person.voice, controls: "", preload: "none" }) : make("div", { class: "soft", text: person.speaks ? "no voice given" : "" }))));
  box.replaceChildren(
    make("div", { class: "bar-top" }, make("h3", { text: `${one.name}, subset ${one.subset}` }), make("button", { type: "button", class: "quiet", text: "Close", onclick: close })),
    make("p", { class: "prompt", text: one.prompt }),
    make("div", { class: "people" }, ...people),
    make("div", { class: "takes" }, ...report.methods.flatMap((method, number) => takes(method, one.methods[number]))));
  box.hidden = false;
  box.focus({ preventScroll: true });
  box.scrollIntoView({ block: "start" });
  history.replaceState(null, "", `#case=${encodeURIComponent(one.name)}`);
}

function close() {
  state.open = null;
  byId("case").hidden = true;
  byId("case").replaceChildren();
  history.replaceState(null, "", "#cases");
  list();
}

function takes(method, own) {
  const values = report.columns.flatMap((column, at) => {
    const value = own.values[at];
    return value === null ? [] : [make("span", { text: column.reading }), make("span", { class: typeof value === "number" ? null : "soft", text: typeof value === "number" ? shown(column, value) : value })];
  });
  const table = make("div", { class: "pairs" }, ...values);
  if (!own.there || !own.clips.length) return [make("div", { class: `take hue${method.hue}` }, make("h3", { text: method.name }), make("p", { class: "hole", text: "the run does not have this case" }))];
  return own.clips.map((clip, number) => take(method, clip, number === 0 ? table : null));
}

function take(method, clip, table) {
  const detail = clip.detail;
  const video = clip.media ? make("video", { src: clip.media, controls: "", preload: "metadata", playsinline: "" }) : null;
  const canvas = make("canvas", null);
  const screen = video ? make("div", { class: "screen" }, video, canvas) : make("p", { class: "hole", text: "no clip: the output is missing" });
  const look = (frame) => { if (!video) return; video.pause(); video.currentTime = frame.seconds || 0; outline(video, canvas, frame, method); };
  if (video) video.addEventListener("play", () => canvas.getContext("2d").clearRect(0, 0, canvas.width, canvas.height));
  return make("div", { class: `take hue${method.hue}` },
    make("h3", null, make("b", { class: "dot" }), ` ${method.name}${clip.seed === null || clip.seed === undefined ? "" : `, seed ${clip.seed}`}`),
    screen, table,
    ...(detail ? [faces(detail.face, look), curve(detail.av_offset, detail.sync), words(detail.wer), voices(detail.t_sim)] : [make("p", { class: "note", text: "No details in this page: `omni bench why` tells them." })]));
}

/** Draws the faces of a frame over the picture, as large as the browser shows it. */
function outline(video, canvas, frame, method) {
  const paint = () => {
    const scale = Math.min(video.clientWidth / video.videoWidth, video.clientHeight / video.videoHeight) || 0;
    const [width, height] = [video.videoWidth * scale, video.videoHeight * scale];
    Object.assign(canvas, { width, height });
    Object.assign(canvas.style, { left: `${(video.clientWidth - width) / 2}px`, top: `${(video.clientHeight - height) / 2}px` });
    const pen = canvas.getContext("2d");
    pen.font = "12px sans-serif";
    for (const face of frame.faces || []) {
      const [x, y, w, h] = face.box.map((number) => number * scale);
      const taken = face.subject !== null && face.subject !== undefined;
      pen.strokeStyle = taken ? "#ffd54a" : "#bbbbbb";
      pen.lineWidth = taken ? 2.5 : 1;
      pen.strokeRect(x, y, w, h);
      const text = taken ? `<sub${face.subject + 1}> ${typeof face.cosine === "number" ? face.cosine.toFixed(2) : ""}` : "nobody";
      pen.fillStyle = "#000a";
      pen.fillRect(x, Math.max(0, y - 17), pen.measureText(text).width + 8, 16);
      pen.fillStyle = "#fff";
      pen.fillText(text, x + 4, Math.max(12, y - 5));
    }
    canvas.dataset.method = method.name;
  };
  video.addEventListener("seeked", paint, { once: true });
  // Before the first picture is there, a seek tells nothing when it is done.
  if (video.readyState >= 2) paint(); else video.addEventListener("loadeddata", paint, { once: true });
}

/** Each frame that was looked at: the cosine of the face taken for each subject; a ring where none was. */
function faces(detail, look) {
  const frames = (detail && detail.frames) || [];
  if (!frames.length) return null;
  const subjects = (detail.subjects || []).map((subject) => subject.anchor);
  const [width, height] = [440, 96];
  const x = (number) => 34 + (width - 44) * (frames.length > 1 ? number / (frames.length - 1) : 0.5);
  const y = (cosine) => 8 + (height - 26) * (1 - Math.max(0, Math.min(1, cosine)));
  const picture = draw("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": "cosine of the matched face in each frame" },
    ...[0, 0.5, 1].flatMap((cosine) => [draw("line", { class: "grid", x1: 30, x2: width, y1: y(cosine), y2: y(cosine) }), draw("text", { class: "soft", x: 26, y: y(cosine) + 4, "text-anchor": "end", text: cosine })]));
  frames.forEach((frame, number) => {
    const taken = (frame.faces || []).filter((face) => face.subject !== null && face.subject !== undefined);
    const title = () => draw("title", { text: `frame ${frame.frame}, ${(frame.seconds || 0).toFixed(2)} s: ${taken.length} of ${(frame.faces || []).length} faces taken` });
    if (!taken.length) picture.append(draw("circle", { class: "nobody", cx: x(number), cy: y(0), r: 3.5, onclick: () => look(frame) }, title()));
    for (const face of taken) {
      const [cx, cy] = [x(number), y(face.cosine || 0)];
      const mark = face.subject < 2 ? draw("circle", { cx, cy, r: 4 }) : draw("rect", { x: cx - 4, y: cy - 4, width: 8, height: 8 });
      mark.setAttribute("class", `face s${Math.min(face.subject, 2)}`);
      mark.addEventListener("click", () => look(frame));
      mark.append(title());
      picture.append(mark);
    }
  });
  picture.append(draw("text", { class: "soft", x: 34, y: height - 3, text: `${frames.length} frames; click one to see its faces` }));
  return make("div", null, make("h4", { text: `Faces matched${subjects.length ? `: ${subjects.map((anchor, number) => `${"●○■"[Math.min(number, 2)]} ${anchor}`).join(", ")}` : ""}` }), picture);
}

/** Sound against lips: correlation (or SyncNet's distance) over the shift. */
function curve(offset, sync) {
  const out = [];
  if (offset && Array.isArray(offset.curve)) {
    out.push(line("Sound against lips: correlation over the shift of the sound, ms", offset.curve.filter((point) => typeof point.correlation === "number").map((point) => [point.shift_ms, point.correlation]), true));
  }
  if (sync && Array.isArray(sync.curve)) {
    const middle = (sync.curve.length - 1) / 2;
    out.push(line("SyncNet: mean distance over the shift, ms", sync.curve.map((distance, k) => [(middle - k) * 40, distance]).filter((point) => typeof point[1] === "number").sort((a, b) => a[0] - b[0]), false));
  }
  return out.length ? make("div", null, ...out) : null;
}

function line(title, points, high) {
  if (points.length < 2) return make("p", { class: "note", text: `${title}: too few points` });
  const [width, height] = [440, 110];
  const xs = points.map((point) => point[0]), ys = points.map((point) => point[1]);
  const [left, right, low, top] = [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)];
  const x = (value) => 40 + (width - 50) * (value - left) / (right - left || 1);
  const y = (value) => 8 + (height - 30) * (top - value) / (top - low || 1);
  const best = points.reduce((one, other) => ((high ? other[1] > one[1] : other[1] < one[1]) ? other : one));
  return make("div", null, make("h4", { text: title }), draw("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": title },
    draw("line", { class: "grid", x1: 36, x2: width, y1: y(low), y2: y(low) }), draw("line", { class: "grid", x1: 36, x2: width, y1: y(top), y2: y(top) }),
    draw("text", { class: "soft", x: 32, y: y(low) + 4, "text-anchor": "end", text: low.toFixed(2) }), draw("text", { class: "soft", x: 32, y: y(top) + 4, "text-anchor": "end", text: top.toFixed(2) }),
    draw("polyline", { class: "curve", points: points.map((point) => `${x(point[0]).toFixed(1)},${y(point[1]).toFixed(1)}`).join(" ") }),
    draw("line", { class: "whisker", x1: x(best[0]), x2: x(best[0]), y1: 4, y2: height - 18 }),
    draw("text", { x: Math.min(Math.max(x(best[0]), 60), width - 40), y: height - 4, "text-anchor": "middle", text: `${best[0].toFixed(0)} ms` }),
    draw("text", { class: "soft", x: 36, y: height - 4, text: left.toFixed(0) }), draw("text", { class: "soft", x: width, y: height - 4, "text-anchor": "end", text: right.toFixed(0) })));
}

/** The alignment that made the error rate. */
function words(detail) {
  if (!detail) return null;
  const pieces = (detail.pieces || []).flatMap((piece) => {
    if (piece.op === "same") return [piece.script, " "];
    const gone = piece.script && piece.op !== "ins" ? make("del", { title: piece.op === "sub" ? "another word was heard" : "was not heard", text: piece.script }) : null;
    const come = piece.heard && piece.op !== "del" ? make("ins", { title: piece.op === "sub" ? "was heard instead" : "was heard and is not in the script", text: piece.heard }) : null;
    return [gone, gone && come ? " " : null, come, " "].filter((part) => part !== null);
  });
  const errors = detail.errors;
  return make("div", null, make("h4", { text: `Words (${detail.language || "language not told"})${errors ? `: ${errors.substitutions} other, ${errors.deletions} lost, ${errors.insertions} added of ${errors.of}` : ""}` }),
    pieces.length ? make("p", { class: "diff" }, ...pieces) : null,
    make("p", { class: "soft", text: detail.heard ? `heard: ${detail.heard}` : "nothing was heard" }));
}

function voices(detail) {
  const own = (detail && detail.speakers) || [];
  if (!own.length) return null;
  return make("div", null, make("h4", { text: "Voices" }), make("div", { class: "pairs" }, ...own.flatMap((speaker) => [
    make("span", { text: `${speaker.anchor}: ${(speaker.seconds || 0).toFixed(1)} s${speaker.flag ? `, ${speaker.flag}` : ""}` }),
    make("span", { text: typeof speaker.cosine === "number" ? speaker.cosine.toFixed(3) : "-" })])));
}

function theme(name) {
  document.documentElement.dataset.theme = name;
  byId("theme").textContent = name === "dark" ? "Light" : "Dark";
}

function begin() {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  theme(dark.matches ? "dark" : "light");
  dark.addEventListener("change", () => theme(dark.matches ? "dark" : "light"));
  byId("theme").addEventListener("click", () => theme(document.documentElement.dataset.theme === "dark" ? "light" : "dark"));
  for (const one of report.cases) one.search = [one.name, one.prompt, ...(one.said || []).map((said) => said[1])].join(" ").toLowerCase();
  const subsets = [...new Set(report.cases.map((one) => one.subset))].sort();
  byId("subset").append(make("option", { value: "", text: "all" }), ...subsets.map((subset) => make("option", { value: subset, text: subset })));
  const orders = [["name", "name"]];
  report.columns.forEach((column, at) => {
    const name = column.networks ? `${column.label} @${column.networks}` : column.label;
    orders.push([`worst:${at}`, `worst ${name}`]);
    if (report.methods.length > 1) orders.push([`apart:${at}`, `farthest apart in ${name}`]);
  });
  byId("sort").append(...orders.map(([value, text]) => make("option", { value, text })));
  byId("search").addEventListener("input", (event) => { state.text = event.target.value; state.most = PAGE; list(); });
  byId("subset").addEventListener("change", (event) => { state.subset = event.target.value; state.most = PAGE; list(); });
  byId("sort").addEventListener("change", (event) => { state.sort = event.target.value; state.most = PAGE; list(); });
  byId("more").addEventListener("click", () => { state.most += PAGE; list(); });
  list();
  const named = /^#case=(.*)$/.exec(location.hash);
  const one = named && report.cases.find((other) => other.name === decodeURIComponent(named[1]));
  if (one) show(one);
}

begin();
// What a test waits for.
const omni = { ready: true, report };
