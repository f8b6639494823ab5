// One claim at a time: this face, this voice. What is judged is on the disk before the next card shows.
"use strict";

const state = { cards: [], verdicts: {}, at: 0, busy: false, summary: null, of: 0 };
const node = (id) => document.getElementById(id);

function make(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key === "text") made.textContent = value;
    else if (value === true) made.setAttribute(key, "");
    else if (value !== false && value != null) made.setAttribute(key, value);
  }
  made.append(...children.filter((child) => child != null));
  return made;
}

const clock = (seconds) => `${Math.floor(seconds / 60)}:${(seconds % 60).toFixed(1).padStart(4, "0")}`;
const percent = (share) => `${(100 * share).toFixed(1)} %`;

/** The box of a track at a frame, when it was seen within `reach` frames of it. */
function boxAt(flat, frame, reach) {
  let best = null, far = reach + 1;
  for (let at = 0; at < flat.length; at += 5) {
    const away = Math.abs(flat[at] - frame);
    if (away < far) { far = away; best = flat.slice(at + 1, at + 5); }
  }
  return best;
}

function paint(view) {
  const { canvas, video, card } = view;
  const wide = video.clientWidth, high = video.clientHeight;
  if (!wide || !video.videoWidth) return;
  canvas.width = wide; canvas.height = high;
  canvas.style.left = `${video.offsetLeft}px`; canvas.style.top = `${video.offsetTop}px`;
  const scale = Math.min(wide / video.videoWidth, high / video.videoHeight);
  const left = (wide - scale * video.videoWidth) / 2, top = (high - scale * video.videoHeight) / 2;
  const pen = canvas.getContext("2d");
  const time = video.currentTime - (card.start || 0);
  const fps = card.fps || 25;
  for (const track of card.tracks) {
    const box = boxAt(track, Math.round(time * fps), fps / 4);
    if (!box) continue;
    pen.lineWidth = 5; pen.strokeStyle = "#0009";
    for (const round of [0, 1]) {
      pen.strokeRect(left + box[0] * scale, top + box[1] * scale, (box[2] - box[0]) * scale, (box[3] - box[1]) * scale);
      pen.lineWidth = 3; pen.strokeStyle = "#8db4ff";
    }
  }
  view.onTime.forEach((each) => each(time));
}

function play(view, from, to) {
  view.until = to == null ? null : to + (view.card.start || 0);
  view.video.currentTime = from + (view.card.start || 0);
  view.video.play().catch(() => {});
}

function stage(card) {
  const video = make("video", { controls: true, preload: "auto", playsinline: true, "aria-label": `Clip ${card.clip}` });
  const canvas = make("canvas", { "aria-hidden": "true" });
  const screen = make("div", { class: "screen" }, video, canvas);
  if (card.width) video.style.aspectRatio = `${card.width} / ${card.height}`;
  const view = { card, video, canvas, onTime: [], until: null };
  const length = card.seconds || card.segments.reduce((most, one) => Math.max(most, one.end), 1);
  const lane = make("div", { class: "lane", title: "When somebody speaks" });
  for (const one of card.segments) {
    const bar = make("i", { class: one.speaker === card.speaker ? "own" : "" });
    bar.style.left = `${100 * one.start / length}%`;
    bar.style.width = `${100 * (one.end - one.start) / length}%`;
    lane.append(bar);
  }
  const needle = make("b");
  lane.append(needle);
  lane.addEventListener("click", (event) => play(view, length * event.offsetX / lane.clientWidth, null));
  view.onTime.push((time) => { needle.style.left = `${100 * Math.min(1, Math.max(0, time / length))}%`; });
  video.addEventListener("error", () => {
    if (!screen.querySelector("p")) screen.append(make("p", { text: "This browser cannot play the clip, or its file has moved (omni review --root DIR)." }));
  });
  video.addEventListener("loadedmetadata", () => { video.currentTime = card.start || 0; });
  for (const name of ["timeupdate", "seeked", "loadeddata"]) video.addEventListener(name, () => {
    const end = view.until ?? card.end;
    if (end && video.currentTime >= end && !video.paused) { video.pause(); view.until = null; }
    paint(view);
  });
  video.addEventListener("pause", () => { view.until = null; });
  if (video.requestVideoFrameCallback) {
    const each = () => { if (video.isConnected) { paint(view); video.requestVideoFrameCallback(each); } };
    video.requestVideoFrameCallback(each);
  }
  new ResizeObserver(() => paint(view)).observe(video);
  video.src = `media/${card.src}`;
  view.node = make("section", { class: "stage", "aria-label": "The clip" }, screen, lane,
    make("div", { class: "lane-words" }, make("span", { class: "own", text: "the voice in question" }), make("span", { text: "other voices" })));
  return view;
}

function claim(view) {
  const { card } = view;
  const faces = card.faces.length
    ? make("div", { class: "faces" }, ...card.faces.map((face) => make("img", { src: face, alt: "The face in question" })))
    : make("p", { class: "name", text: "No reference picture; the face is framed in the clip." });
  const voice = card.voice
    ? make("audio", { controls: true, preload: "none", src: `voice/${card.id}.wav`, "aria-label": "Reference of the voice" })
    : make("p", { class: "name", text: "No reference sound; its utterances are below." });
  const words = make("ol", { class: "words" });
  for (const one of card.segments) {
    const button = make("button", { type: "button" }, make("time", { text: clock(one.start) }), make("span", { text: one.text }));
    button.addEventListener("click", () => play(view, one.start, one.end));
    const line = make("li", { class: one.speaker === card.speaker ? "own" : "" }, button);
    view.onTime.push((time) => line.classList.toggle("now", time >= one.start && time < one.end));
    words.append(line);
  }
  return make("section", { class: "claim", "aria-label": "The claim" },
    make("div", { class: "pair" }, make("h2", { text: "This face …" }), faces, make("h2", { text: "… has this voice" }), voice),
    make("h2", { text: "What is said (press a line to hear it)" }), words,
    make("p", { class: "name", text: `${card.clip}, face ${card.subject}, voice ${card.speaker}` }));
}

function row(name, one) {
  const interval = one.precision == null ? ["–", "–"] : [percent(one.precision), `${percent(one.low)} to ${percent(one.high)}`];
  return make("tr", {}, ...[name, one.right, one.wrong, one.unsure, ...interval].map((text) => make("td", { text })));
}

function end() {
  const head = ["bound by", "right", "wrong", "unsure", "precision", "95 % interval"].map((text) => make("th", { text, scope: "col" }));
  const { summary } = state;
  const body = make("tbody", {}, ...Object.entries(summary.routes).map(([name, one]) => row(name, one)), row("all", summary.all));
  return make("section", { class: "end" },
    make("h2", { text: state.cards.length ? "That was the last card." : "This run claims no pair of face and voice." }),
    make("p", { text: `${state.cards.length} of ${state.of} pairs were drawn. Verdicts are on the disk; omni review OUT --summary prints them.` }),
    make("table", {}, make("thead", {}, make("tr", {}, ...head)), body));
}

function show() {
  const card = state.cards[state.at];
  const main = node("card");
  if (card) {
    state.view = stage(card);
    main.replaceChildren(state.view.node, claim(state.view));
    const first = card.segments.find((one) => one.speaker === card.speaker);
    state.hear = () => (state.view.video.paused ? play(state.view, first ? first.start : 0, first ? first.end : null) : state.view.video.pause());
  } else {
    state.view = null;
    main.replaceChildren(end());
  }
  main.scrollTop = 0;
  frame(card);
}

function frame(card) {
  const said = card && state.verdicts[card.id];
  for (const button of document.querySelectorAll("[data-verdict]")) {
    button.disabled = !card;
    button.setAttribute("aria-pressed", String(said === button.dataset.verdict));
  }
  node("back").disabled = state.at === 0;
  node("skip").disabled = !card;
  const judged = state.cards.filter((one) => state.verdicts[one.id]).length;
  node("count").replaceChildren(make("b", { text: `${judged}` }), ` of ${state.cards.length} judged`);
  const { all } = state.summary;
  node("score").replaceChildren(...(all.precision == null ? [] : [make("b", { text: percent(all.precision) }), ` right (${percent(all.low)} to ${percent(all.high)})`]));
  node("bar").replaceChildren(...state.cards.map((one, at) => make("i", { class: `${state.verdicts[one.id] || ""}${at === state.at ? " here" : ""}` })));
}

/** The next card without a verdict; behind the last one the end. */
function open(from) {
  const at = state.cards.findIndex((card, number) => number >= from && !state.verdicts[card.id]);
  if (at >= 0) return at;
  const any = state.cards.findIndex((card) => !state.verdicts[card.id]);
  return any >= 0 ? any : state.cards.length;
}

function trouble(words) {
  node("trouble").textContent = words;
  node("trouble").hidden = !words;
}

async function vote(verdict) {
  const card = state.cards[state.at];
  if (!card || state.busy) return;
  state.busy = true;
  try {
    const answer = await fetch("verdict", { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ id: card.id, verdict }) });
    if (!answer.ok) throw new Error(`${answer.status} ${await answer.text()}`);
    state.summary = (await answer.json()).summary;
    state.verdicts[card.id] = verdict;
    trouble("");
    state.at = open(state.at + 1);
    show();
  } catch (error) {
    trouble(`Not taken down: ${error.message}. Is omni review still running?`);
  } finally {
    state.busy = false;
  }
}

function step(by) {
  state.at = Math.min(state.cards.length, Math.max(0, state.at + by));
  show();
}

function dress(theme) {
  document.documentElement.dataset.theme = theme;
  node("theme").textContent = theme === "dark" ? "Light" : "Dark";
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
  const does = {
    r: () => vote("right"), w: () => vote("wrong"), u: () => vote("unsure"),
    ArrowLeft: () => step(-1), ArrowRight: () => step(1), " ": () => state.hear?.(),
  }[event.key.length === 1 ? event.key.toLowerCase() : event.key];
  // A player or a button that has the focus keeps its own keys.
  const own = event.target.closest?.("audio, video, button") && [" ", "ArrowLeft", "ArrowRight"].includes(event.key);
  if (does && !own) { event.preventDefault(); does(); }
});
for (const button of document.querySelectorAll("[data-verdict]")) button.addEventListener("click", () => vote(button.dataset.verdict).then(() => node("card").focus()));
node("back").addEventListener("click", () => step(-1));
node("skip").addEventListener("click", () => step(1));
node("theme").addEventListener("click", () => dress(document.documentElement.dataset.theme === "dark" ? "light" : "dark"));
dress(matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");

fetch("cards.json").then((answer) => answer.json()).then((told) => {
  Object.assign(state, told);
  state.at = open(0);
  show();
}).catch((error) => trouble(`The cards cannot be read: ${error.message}`));
