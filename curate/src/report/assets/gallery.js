// Puts the parts together: filters, the open card, addresses, keys, theme.
"use strict";

const wanted = { states: new Set(["kept", "dropped", "pending"]), text: "", language: "", people: "", reason: "", score: "", range: null };
const byId = (id) => document.getElementById(id);

function passes(clip, words, except) {
  return wanted.states.has(clip.state) &&
    (except === "reason" || !wanted.reason || clip.reason === wanted.reason) &&
    (!wanted.language || clip.languages.includes(wanted.language)) &&
    (wanted.people === "" || String(clip.people) === wanted.people) &&
    (!wanted.range || (clip.scores[wanted.score] >= wanted.range[0] && clip.scores[wanted.score] < wanted.range[1])) &&
    words.every((word) => clip.text.includes(word));
}

/** Filters anew and draws what depends on it. */
function apply(keepPlace) {
  const words = wanted.text.toLowerCase().split(/\s+/).filter(Boolean);
  const shown = omni.clips.filter((clip) => passes(clip, words));
  show(shown, keepPlace);
  const all = omni.clips.length, loading = omni.loaded < omni.index.shards.length;
  byId("shown").textContent = loading ? `Loading, ${all.toLocaleString("en")} so far` : shown.length === all ? plural(all, "clip") : `${shown.length.toLocaleString("en")} of ${plural(all, "clip")}`;
  byId("clear").hidden = !(wanted.text || wanted.language || wanted.people || wanted.reason || wanted.range || wanted.states.size < 3);
  byId("empty").hidden = shown.length > 0;
  byId("empty").textContent = all ? "No clip passes these filters." : loading ? "Loading…" : "The run has no clips.";
  const counts = new Map();
  for (const clip of omni.clips) if (clip.reason && passes(clip, words, "reason")) counts.set(clip.reason, (counts.get(clip.reason) || 0) + 1);
  drawDrops(counts, wanted.reason, (reason) => { wanted.reason = reason; byId("reason").value = reason; apply(); });
  const values = (clips) => clips.map((clip) => clip.scores[wanted.score]).filter((value) => value !== undefined);
  drawHistogram(wanted.score, values(omni.clips), values(shown), wanted.range, (range) => { wanted.range = range; apply(); });
  mark(list.current, false);
}

function options(select, heading, values, chosen) {
  select.replaceChildren(make("option", { value: "", text: heading }), ...values.map(([value, text]) => make("option", { value, text })));
  select.value = chosen;
}

/** Brings counts and the choices of the filters up to what is loaded. */
function refresh(done) {
  omni.clips = omni.order.flatMap((clips) => clips || []).concat(sourceDrops());
  const count = (state) => omni.clips.filter((clip) => clip.state === state).length;
  const states = { kept: count("kept"), dropped: count("dropped"), pending: count("pending") };
  const hidden = Object.values(omni.index.sourceDrops).reduce((sum, one) => sum + one, 0) - omni.index.sourceDropped.length;
  byId("states").replaceChildren(...Object.entries(states).filter(([state, clips]) => clips || state !== "pending").map(([state, clips]) =>
    make("button", { type: "button", class: state, "aria-pressed": String(wanted.states.has(state)),
      title: state === "dropped" && hidden > 0 ? `${hidden.toLocaleString("en")} more were dropped by the source and are only counted` : null,
      onclick: (event) => {
        const on = wanted.states.has(state);
        if (on) wanted.states.delete(state); else wanted.states.add(state);
        event.currentTarget.setAttribute("aria-pressed", String(!on));
        apply();
      } }, make("b", { text: (clips + (state === "dropped" ? Math.max(0, hidden) : 0)).toLocaleString("en") }), " " + state)));
  const tally = (pick) => { const seen = new Map(); for (const clip of omni.clips) for (const value of pick(clip)) seen.set(value, (seen.get(value) || 0) + 1); return [...seen]; };
  const named = (pairs) => pairs.map(([value, clips]) => [value, `${value} (${clips.toLocaleString("en")})`]);
  const byName = (a, b) => (a[0] < b[0] ? -1 : 1);
  options(byId("language"), "any", named(tally((clip) => clip.languages).sort(byName)), wanted.language);
  options(byId("people"), "any", named(tally((clip) => (clip.people === null ? [] : [String(clip.people)])).sort((a, b) => a[0] - b[0])), wanted.people);
  options(byId("reason"), "any", named(tally((clip) => (clip.reason ? [clip.reason] : [])).sort(byName)), wanted.reason);
  const scores = tally((clip) => Object.keys(clip.scores)).map(([name]) => name).sort();
  if (!scores.includes(wanted.score)) wanted.score = ["agreement", "binding_margin", "seconds"].find((name) => scores.includes(name)) || scores[0] || "";
  byId("score").replaceChildren(...scores.map((name) => make("option", { value: name, text: name })));
  byId("score").value = wanted.score;
  apply(true);
  if (done) {
    omni.ready = true;
    if (omni.failed.length) {
      byId("empty").hidden = false;
      byId("empty").textContent = `${plural(omni.failed.length, "data file")} missing (${omni.failed[0]}): run omni report again.`;
    }
    follow();
  }
}

function start() {
  document.title = `Clips of ${omni.index.source}`;
  byId("run-name").textContent = `of ${omni.index.source}`;
  refresh(false);
  let last = performance.now();
  loadRows((done) => {
    if (done || performance.now() - last > 150 || omni.loaded === 1) { refresh(done); last = performance.now(); }
  });
}

// The open card -------------------------------------------------------------------------------------------------

function address() {
  const found = /^#clip=(.*)$/.exec(location.hash);
  try { return found ? decodeURIComponent(found[1]) : null; } catch { return null; }
}

function close() { history.pushState(null, "", location.pathname + location.search); follow(); }

function step(by) {
  const place = list.shown.findIndex((clip) => clip.key === list.current), to = list.shown[place + by];
  if (to) location.hash = "#clip=" + encodeURIComponent(to.key);
}

let turn = 0;

/** Opens what the address names; of two calls that wait for data the later one counts. */
async function follow() {
  const mine = ++turn;
  const key = address(), panel = byId("card"), before = list.current;
  const clip = key === null ? null : omni.byKey.get(key);
  const opened = key !== null;
  if (document.body.classList.contains("open") !== opened) {
    document.body.classList.toggle("open", opened);
    panel.hidden = !opened;
    layOut();
  }
  omni.view?.video.pause();
  omni.view = null;
  if (!opened) {
    panel.replaceChildren();
    mark(null, false);
    const place = list.shown.findIndex((one) => one.key === before);
    if (place >= 0) { bring(place); list.tiles.get(place)?.focus({ preventScroll: true }); }
    return;
  }
  mark(key, true);
  const bar = make("div", { class: "bar" },
    make("button", { type: "button", class: "quiet", text: "‹", "aria-label": "Previous clip", onclick: () => step(-1) }),
    make("button", { type: "button", class: "quiet", text: "›", "aria-label": "Next clip", onclick: () => step(1) }),
    make("h2", { text: key, title: key, tabindex: "-1" }),
    clip ? make("span", { class: "chip " + clip.state, text: clip.state }) : null,
    make("button", { type: "button", class: "quiet", text: "Close", onclick: close }));
  panel.replaceChildren(bar);
  panel.setAttribute("aria-label", `Clip ${key}`);
  panel.scrollTop = 0;
  if (!clip) {
    panel.append(make("p", { class: "empty", text: omni.ready ? "This run has no such clip." : "Loading…" }));
    return;
  }
  try {
    const card = clip.shard ? await entry("cards", clip) : null;
    if (mine === turn) panel.append(cardOf(clip, card));
  } catch (error) {
    if (mine === turn) panel.append(make("p", { class: "empty", text: `${error.message}: run omni report again.` }));
  }
  if (before === null || matchMedia("(max-width: 760px)").matches) bar.querySelector("h2").focus({ preventScroll: true });
}

// Controls ------------------------------------------------------------------------------------------------------

function theme(choice) {
  document.documentElement.dataset.theme = choice;
  byId("theme").textContent = choice === "dark" ? "Light" : "Dark";
  byId("theme").setAttribute("aria-label", choice === "dark" ? "Use light colours" : "Use dark colours");
  if (omni.view) { paint(omni.view, omni.view.video.currentTime); omni.view.recolour(); }
}

const stored = { get() { try { return localStorage.getItem("omni-theme"); } catch { return null; } },
                 set(value) { try { localStorage.setItem("omni-theme", value); } catch { /* a browser may forbid it on file: */ } } };
const dark = matchMedia("(prefers-color-scheme: dark)");
theme(stored.get() || (dark.matches ? "dark" : "light"));
dark.addEventListener("change", () => { if (!stored.get()) theme(dark.matches ? "dark" : "light"); });
byId("theme").addEventListener("click", () => {
  const next = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
  stored.set(next);
  theme(next);
});
byId("filters-toggle").addEventListener("click", () => {
  const on = document.body.classList.toggle("filtering");
  byId("filters-toggle").setAttribute("aria-expanded", String(on));
  layOut();
});
let typing;
byId("search").addEventListener("input", (event) => {
  clearTimeout(typing);
  typing = setTimeout(() => { wanted.text = event.target.value; apply(); }, 80);
});
for (const name of ["language", "people", "reason"]) byId(name).addEventListener("change", (event) => { wanted[name] = event.target.value; apply(); });
byId("score").addEventListener("change", (event) => { wanted.score = event.target.value; wanted.range = null; apply(); });
byId("clear").addEventListener("click", () => {
  Object.assign(wanted, { states: new Set(["kept", "dropped", "pending"]), text: "", language: "", people: "", reason: "", range: null });
  byId("search").value = "";
  refresh(false);
});
let drawing = false;
byId("list").addEventListener("scroll", () => {
  if (drawing) return;
  drawing = true;
  requestAnimationFrame(() => { drawing = false; draw(); });
}, { passive: true });
byId("list").addEventListener("keydown", walk);
new ResizeObserver(() => { if (omni.index) layOut(); }).observe(byId("list"));
window.addEventListener("hashchange", follow);
document.addEventListener("keydown", (event) => {
  const typed = event.target.closest("input, select, textarea, video, audio");
  if (event.key === "Escape" && address() !== null) close();
  else if (typed || event.altKey || event.ctrlKey || event.metaKey) return;
  else if (event.key === "/") { event.preventDefault(); document.body.classList.add("filtering"); byId("search").focus(); }
  else if (event.key === "j" && address() !== null) step(1);
  else if (event.key === "k" && address() !== null) step(-1);
});
