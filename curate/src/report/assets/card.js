// One clip's card.
"use strict";

function section(title, ...children) { return make("section", {}, make("h3", { text: title }), ...children); }

function table(heads, rows) {
  const kind = heads.map((head, at) => (rows.every((row) => row[at] === null || typeof row[at] === "number") ? "number" : null));
  return make("table", {}, make("thead", {}, make("tr", {}, heads.map((head, at) => make("th", { scope: "col", text: head, class: kind[at] })))),
    make("tbody", {}, rows.map((row) => make("tr", {}, row.map((value, at) => make("td", { class: kind[at], text: number(value) }))))));
}

function pairs(entries) {
  return make("dl", { class: "pairs" }, entries.map(([name, value]) => make("div", {}, make("dt", { text: name }), make("dd", { text: number(value) }))));
}

/**
 * The prompt with its descriptors, utterances and anchors marked. Spans count characters (Unicode scalars); a JavaScript
 * string counts UTF-16 units, so the text is taken apart first.
 */
function promptOf(caption) {
  const letters = Array.from(caption.prompt), marks = letters.map(() => null);
  const colour = (anchor) => { const found = /^<sub(\d+)>$/.exec(anchor); return found ? hue(Number(found[1])) : "hue8"; };
  const put = (from, to, tag, kind, anchor) => {
    const mark = { tag, class: `${kind} ${colour(anchor)}`.trim(), title: kind === "described" ? `description of ${anchor}` : kind === "" ? `said by ${anchor}` : null };
    for (let at = Math.max(0, from); at < Math.min(to, letters.length); at += 1) marks[at] = mark;
  };
  for (const one of caption.descriptors) put(one.start, one.end, "span", "described", one.anchor);
  for (const one of caption.utterances) put(one.start, one.end, "mark", "", one.anchor);
  const node = make("p", { class: "prompt", dir: "auto" });
  let from = 0;
  while (from < letters.length) {
    let to = from + 1;
    while (to < letters.length && marks[to] === marks[from]) to += 1;
    const text = letters.slice(from, to).join(""), mark = marks[from];
    if (mark) {
      node.append(make(mark.tag, { class: mark.class, title: mark.title }, anchorsIn(text, colour)));
    } else {
      node.append(...anchorsIn(text, colour));
    }
    from = to;
  }
  return node;
}

function anchorsIn(text, colour) {
  return text.split(/(<[A-Za-z]+\d*>)/).filter(Boolean).map((piece) => {
    if (/^<(S|E)>$/.test(piece)) return make("span", { class: "sign", text: piece });
    if (/^<[A-Za-z]+\d+>$/.test(piece)) return make("span", { class: "anchor " + colour(piece), text: piece });
    return piece;
  });
}

function people(card, view) {
  const bound = new Map((card.binding?.subjects || []).map((one) => [one.subject, one]));
  const faces = card.faces.map((face) => {
    const voice = card.voices.find((one) => one.speaker === bound.get(face.subject)?.speaker);
    const margin = bound.get(face.subject)?.margin;
    return make("div", { class: "face " + hue(face.subject) },
      face.image ? make("img", { src: face.image, alt: `Reference face of person ${face.subject}` }) : make("span", { class: "none" }),
      make("div", {}, make("b", { text: `sub${face.subject}` }), ` ${face.origin.replace("_", "-")}`,
        make("div", { text: `frame ${face.frame}, confidence ${number(face.score)}${face.iou === null ? "" : `, overlap ${number(face.iou)}`}` }),
        voice ? voiceOf(voice, view) : make("div", { text: card.binding ? "no voice bound" : "not bound yet" }),
        margin === null || margin === undefined ? null : make("div", { text: `binding margin ${number(margin)}` })));
  });
  const faced = new Set([...bound.values()].map((one) => one.speaker).filter(Boolean));
  const heard = card.voices.filter((voice) => !faced.has(voice.speaker)).map((voice) =>
    make("div", { class: "face hue8" }, make("div", {}, make("b", { text: voice.speaker }), card.binding?.offscreen?.includes(voice.speaker) ? " off screen" : " no face", voiceOf(voice, view))));
  return faces.length + heard.length ? section("References", make("div", { class: "faces" }, faces, heard)) : null;
}

function voiceOf(voice, view) {
  const facts = [voice.origin === "source_segment" ? "cut from the clip" : voice.origin, voice.language, voice.pitch_hz && `${Math.round(voice.pitch_hz)} Hz`].filter(Boolean).join(", ");
  const play = voice.file
    ? make("audio", { controls: true, preload: "none", src: "data/" + voice.file, "aria-label": `Reference voice ${voice.speaker}` })
    : make("button", { type: "button", class: "link", text: `Play ${voice.speaker} ${voice.start.toFixed(1)}–${voice.end.toFixed(1)} s`, onclick: () => view.seek(voice.start, voice.end) });
  return make("div", {}, play, make("div", { text: facts }), make("div", { text: `“${voice.text}”` }));
}

function evidence(card) {
  const rows = card.evidence.flatMap((one) => one.voices.map((voice) =>
    [`sub${one.subject}`, voice.speaker, voice.seen, voice.on, voice.others, voice.silence, voice.correlation]));
  return rows.length ? section("Mouth motion by voice", table(["face", "voice", "seen, s", "speaking", "others", "silence", "correlation"], rows)) : null;
}

/** Every network named in a stage's settings, as `id#hash`. */
function networks(value, found = new Set()) {
  if (typeof value === "string" && /^[\w.-]+#[0-9a-f]{12}$/.test(value)) found.add(value);
  else if (value && typeof value === "object") {
    if (typeof value.id === "string" && typeof value.hash === "string") found.add(`${value.id}#${value.hash.slice(0, 12)}`);
    else Object.values(value).forEach((inner) => networks(inner, found));
  }
  return found;
}

function provenance(clip, card) {
  const order = omni.index.stages.map((one) => one.stage), stop = order.indexOf(clip.stage);
  const origins = { transcribe: card?.transcript?.origin, transcript_ingest: card?.transcript?.origin, caption_ingest: card?.caption?.origin, bind: card?.binding?.source };
  const rows = omni.index.stages.map((one, at) => {
    const after = clip.state !== "kept" && (clip.stage === "source" || (stop >= 0 && at > stop));
    const here = clip.state === "dropped" && at === stop ? `dropped: ${clip.reason}` : clip.state === "pending" && at >= stop ? "pending" : after ? "not reached" : "done";
    const made = [...networks(one.about?.settings)].join(", ");
    return [one.stage, here, [made, origins[one.stage]].filter(Boolean).join("; ")];
  });
  const settings = omni.index.stages.filter((one) => one.about).map((one) =>
    make("details", {}, make("summary", { text: `${one.stage} ${one.about.version}: settings and fingerprint` }), make("pre", { text: `${one.dir}\n${one.fingerprint}\n${JSON.stringify(one.about.settings, null, 2)}` })));
  return section("Provenance", make("div", { class: "stages" }, table(["stage", "this clip", "made by"], rows)), make("p", { class: "note", text: `omni ${omni.index.version}, source ${omni.index.source}${omni.index.recipe ? `, recipe ${omni.index.recipe}` : ""}` }), ...settings);
}

function given(card) {
  const given = card.given, rows = [["licence", given.licence], ["source video", given.source_video], ["path", card.path],
    ...(card.start === null && card.end === null ? [] : [["stretch", `${card.start ?? 0}–${card.end ?? "end"} s`]])].filter(([, value]) => value);
  return section("From the corpus", make("table", {}, rows.map(([name, value]) => make("tr", {}, make("th", { scope: "row", text: name }), make("td", { text: value })))),
    given.caption ? make("p", { class: "prompt", dir: "auto", text: given.caption }) : null,
    given.transcript ? make("p", { class: "prompt", dir: "auto", text: given.transcript }) : null);
}

function captions(card) {
  const parts = [];
  if (card.prompt) parts.push(promptOf(card.prompt));
  for (const text of [card.caption?.caption, card.caption?.audio_caption, card.transcript?.audio_caption]) {
    if (text && !card.prompt) parts.push(make("p", { class: "prompt", dir: "auto", text }));
  }
  return parts.length ? section("Caption", ...parts) : null;
}

function banner(clip) {
  if (clip.state === "kept") return null;
  const words = clip.state === "dropped"
    ? [make("b", { text: clip.reason }), ` – dropped ${clip.stage === "source" ? "by the source, before any stage saw it" : `at stage ${clip.stage}`}.`]
    : ["Pending: stage ", make("b", { text: clip.stage }), " has yet to run. The same ", make("code", { text: "omni curate" }), " command goes on."];
  return make("div", { class: "banner " + clip.state, role: "note" }, ...words);
}

/** The body of a card; `card` is absent for clips the source dropped. */
function cardOf(clip, card) {
  const body = make("div", { class: "body" });
  const parts = [banner(clip)];
  if (card && !card.path) {
    parts.push(make("p", { class: "note", text: "Everything of this clip but its key was taken out with omni forget." }));
  } else if (card) {
    const view = player(card, clip);
    omni.view = view;
    parts.push(view.node, timeLine(card, view), captions(card), people(card, view));
    if (Object.keys(clip.scores).length) parts.push(section("Scores", pairs(Object.entries(clip.scores))));
    parts.push(evidence(card), given(card));
    for (const raw of card.raw) parts.push(section(`Raw answer (${raw.record})`, make("pre", { text: raw.text ?? "its bytes cannot be read" })));
    for (const [record, rows] of card.other) parts.push(section(record, make("pre", { text: JSON.stringify(rows, null, 2) })));
    const { outline: _, ...plain } = card;
    parts.push(provenance(clip, card), make("details", {}, make("summary", { text: "Everything on this card as JSON" }),
      make("pre", { text: JSON.stringify(plain, (name, value) => (name === "image" ? undefined : name === "f" ? `[${value.length / 5} boxes]` : value), 2) })));
  } else {
    parts.push(provenance(clip, null));
  }
  body.append(...parts.filter(Boolean));
  return body;
}
