// The list: only tiles in sight exist, so ten thousand clips cost as much as fifty.
"use strict";

const list = { shown: [], columns: 1, wide: 0, high: 0, tiles: new Map(), current: null };
const GAP = 12, EDGE = 14, LEAST = 152, ABOUT = 54;

function layOut() {
  const room = document.getElementById("list").clientWidth - 2 * EDGE;
  list.columns = Math.max(1, Math.floor((room + GAP) / (LEAST + GAP)));
  list.wide = Math.floor((room - GAP * (list.columns - 1)) / list.columns);
  list.high = Math.round(list.wide * 9 / 16) + ABOUT;
  const rows = Math.ceil(list.shown.length / list.columns);
  document.getElementById("canvas").style.height = `${rows ? 2 * EDGE + rows * (list.high + GAP) - GAP : 0}px`;
  const held = document.activeElement?.classList.contains("tile") ? document.activeElement.title : null;
  for (const tile of list.tiles.values()) tile.remove();
  list.tiles.clear();
  draw();
  // New tiles, the same clip: whoever walks by keys stays where they are.
  if (held !== null) [...list.tiles.values()].find((tile) => tile.title === held)?.focus({ preventScroll: true });
}

/** Shows other clips. */
function show(clips, keepPlace) {
  list.shown = clips;
  if (!keepPlace) document.getElementById("list").scrollTop = 0;
  layOut();
}

function draw() {
  const pane = document.getElementById("list"), step = list.high + GAP;
  const first = Math.max(0, Math.floor((pane.scrollTop - EDGE) / step) - 1) * list.columns;
  const last = Math.min(list.shown.length, (Math.ceil((pane.scrollTop + pane.clientHeight) / step) + 1) * list.columns);
  for (const [place, tile] of list.tiles) {
    if (place < first || place >= last) { tile.remove(); list.tiles.delete(place); }
  }
  const fresh = document.createDocumentFragment();
  for (let place = first; place < last; place += 1) {
    if (!list.tiles.has(place)) {
      const tile = tileOf(list.shown[place], place);
      list.tiles.set(place, tile);
      fresh.append(tile);
    }
  }
  document.getElementById("canvas").append(fresh);
}

function tileOf(clip, place) {
  const row = Math.floor(place / list.columns), column = place % list.columns;
  const still = make("div", { class: "still" });
  const facts = [];
  if (clip.people !== null) facts.push(plural(clip.people, "person", "people"));
  if (clip.languages.length) facts.push(clip.languages.join(" "));
  if (clip.scores.seconds) facts.push(`${clip.scores.seconds.toFixed(1)} s`);
  const said = clip.state === "dropped" ? clip.reason : clip.state === "pending" ? `pending: ${clip.stage}` : "kept";
  const tile = make("a", {
    class: "tile", role: "listitem", href: "#clip=" + encodeURIComponent(clip.key), "data-place": place, title: clip.key,
    "aria-setsize": list.shown.length, "aria-posinset": place + 1,
    "aria-current": list.current === clip.key ? "true" : null,
    "aria-label": `${clip.key}: ${said}${facts.length ? ", " + facts.join(", ") : ""}`,
  }, still, make("div", { class: "about" },
    make("div", { class: "key", text: clip.key }),
    make("div", { class: "facts" }, make("span", { class: "chip " + clip.state, text: said }), facts.join(" · "))));
  tile.style.cssText = `width:${list.wide}px;height:${list.high}px;` +
    `transform:translate(${EDGE + column * (list.wide + GAP)}px,${EDGE + row * (list.high + GAP)}px)`;
  if (clip.thumb) {
    const put = (uri) => { if (uri) still.replaceChildren(make("img", { src: uri, alt: "", decoding: "async" })); };
    const found = entry("thumbs", clip);
    if (found instanceof Promise) found.then(put, () => { still.textContent = "no picture"; });
    else put(found);
  } else {
    still.textContent = clip.shard ? "no picture" : "never opened";
  }
  return tile;
}

/** Marks the clip that is open, and brings it into sight when asked. */
function mark(key, scroll) {
  list.current = key;
  for (const [place, tile] of list.tiles) {
    if (list.shown[place].key === key) tile.setAttribute("aria-current", "true");
    else tile.removeAttribute("aria-current");
  }
  if (scroll) bring(list.shown.findIndex((clip) => clip.key === key));
}

function bring(place) {
  if (place < 0) return;
  const pane = document.getElementById("list"), top = EDGE + Math.floor(place / list.columns) * (list.high + GAP);
  if (top < pane.scrollTop) pane.scrollTop = top - EDGE;
  else if (top + list.high > pane.scrollTop + pane.clientHeight) pane.scrollTop = top + list.high + EDGE - pane.clientHeight;
  draw();
}

/** Arrow keys walk over the tiles. */
function walk(event) {
  const tile = event.target.closest(".tile");
  if (!tile || event.altKey || event.ctrlKey || event.metaKey) return;
  const pane = document.getElementById("list"), page = Math.max(1, Math.floor(pane.clientHeight / (list.high + GAP)));
  const last = list.shown.length - 1, place = Number(tile.dataset.place);
  const moves = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: list.columns, ArrowUp: -list.columns,
                  PageDown: page * list.columns, PageUp: -page * list.columns, Home: -place, End: last - place };
  if (!(event.key in moves)) return;
  event.preventDefault();
  const to = Math.min(last, Math.max(0, place + moves[event.key]));
  bring(to);
  list.tiles.get(to)?.focus({ preventScroll: true });
}
