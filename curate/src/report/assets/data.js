// The run's data: script files that call one of the functions below, loaded when they are needed.
// Nothing of a clip ever becomes markup: all text goes through `make`, which sets text and attributes only.
"use strict";

const omni = { index: null, clips: [], byKey: new Map(), failed: [], loaded: 0 };

/** An element with attributes and children; strings become text. */
function make(tag, attributes, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "text") node.textContent = value;
    else if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

function plural(count, one, many) { return `${count.toLocaleString("en")} ${count === 1 ? one : many || one + "s"}`; }

function number(value) {
  if (value === null || value === undefined) return "–";
  if (typeof value !== "number") return String(value);
  if (Number.isInteger(value)) return value.toLocaleString("en");
  return String(Number(value.toPrecision(4)));
}

// Loading -------------------------------------------------------------------------------------------------------

const scripts = new Map();

/** Loads a data file once; the promise is fulfilled when its function was called, or rejected when it is gone. */
function load(name) {
  if (!scripts.has(name)) {
    scripts.set(name, new Promise((done, failed) => {
      const script = make("script", { src: "data/" + name });
      script.onload = () => { script.remove(); done(); };
      script.onerror = () => { script.remove(); scripts.delete(name); failed(new Error(`data/${name} is missing`)); };
      document.head.append(script);
    }));
  }
  return scripts.get(name);
}

const kinds = { cards: new Map(), thumbs: new Map() };
const MOST = { cards: 12, thumbs: 60 };

function keep(kind, value) { kinds[kind].set(`${value.shard}/${value.chunk}`, value.clips); }
function omniCards(value) { keep("cards", value); }
function omniThumbs(value) { keep("thumbs", value); }

/** One clip's entry of a chunk: at once when it is here, else a promise. Chunks unused for long are forgotten. */
function entry(kind, clip) {
  const chunk = Math.floor(clip.place / clip.shard.chunk), key = `${clip.shard.id}/${chunk}`, held = kinds[kind];
  const found = held.get(key);
  if (found) {
    held.delete(key);
    held.set(key, found); // now the youngest
    return found[clip.place % clip.shard.chunk];
  }
  const name = clip.shard[kind][chunk];
  return load(name).then(() => {
    while (held.size > MOST[kind]) {
      const oldest = held.keys().next().value, [shard, old] = oldest.split("/");
      held.delete(oldest);
      scripts.delete(omni.index.shards.find((one) => one.id === shard)[kind][old]);
    }
    const clips = held.get(key);
    return clips ? clips[clip.place % clip.shard.chunk] : null;
  });
}

/** The first file: what the run was and which files there are. */
function omniIndex(index) {
  omni.index = index;
  const places = new Map(index.shards.map((shard, order) => [shard.id, order]));
  omni.order = index.shards.map(() => null);
  omni.place = (id) => places.get(id);
  start();
}

/** The rows of a shard. */
function omniRows(value) {
  const order = omni.place(value.shard), shard = omni.index.shards[order];
  omni.order[order] = value.clips.map((row, place) => prepare(row, shard, place));
}

function prepare(row, shard, place) {
  const clip = { key: row.k, state: row.s, stage: row.g, reason: row.r, people: row.n, languages: row.l,
                 scores: row.m, thumb: row.t, shard, place };
  clip.text = (row.k + "\n" + row.q).toLowerCase();
  omni.byKey.set(clip.key, clip);
  return clip;
}

/** Clips the source dropped: no stage ever saw them. */
function sourceDrops() {
  return omni.index.sourceDropped.map(([key, reason]) => {
    const clip = { key, state: "dropped", stage: "source", reason, people: null, languages: [], scores: {}, thumb: false,
                   shard: null, place: 0, text: key.toLowerCase() };
    if (!omni.byKey.has(key)) omni.byKey.set(key, clip);
    return clip;
  });
}

/** Loads every shard's rows, a few at a time, in order; `on` is called now and then. */
async function loadRows(on) {
  const waiting = omni.index.shards.map((shard, order) => order);
  const work = async () => {
    for (let order = waiting.shift(); order !== undefined; order = waiting.shift()) {
      try { await load(omni.index.shards[order].rows); } catch (error) { omni.failed.push(error.message); }
      omni.loaded += 1;
      on(false);
    }
  };
  await Promise.all([work(), work(), work(), work()]);
  on(true);
}
