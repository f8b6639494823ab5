// A clip's video with the tracks drawn over it, and the time line below.
"use strict";

// Over a picture the bright palette is read best, whatever the page's colours.
const BRIGHT = ["#ff9a5c", "#7fb2ff", "#63cf9a", "#cf9bf0", "#ff8fc4", "#62cbe0", "#d6cb5a"];

function hue(subject) { return "hue" + (((subject - 1) % 7) + 1); }

/** Colour of a voice: its face's, or grey when it has none. */
function voiceHue(card, speaker) {
  const bound = (card.binding?.subjects || []).find((one) => one.speaker === speaker);
  return bound ? hue(bound.subject) : "hue8";
}

function fileUrl(card) {
  const base = location.protocol === "file:" ? omni.index.media : "/media";
  return `${base}/${card.src}`;
}

/** The box of a track at a frame: the nearest detection within `reach` frames. */
function boxAt(flat, frame, reach) {
  let low = 0, high = flat.length / 5 - 1;
  if (high < 0) return null;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (flat[middle * 5] <= frame) low = middle; else high = middle - 1;
  }
  const next = Math.min(low + 1, flat.length / 5 - 1);
  const near = Math.abs(flat[next * 5] - frame) < Math.abs(flat[low * 5] - frame) ? next : low;
  return Math.abs(flat[near * 5] - frame) <= reach ? flat.slice(near * 5 + 1, near * 5 + 5) : null;
}

function player(card, clip) {
  const about = card.clip || {}, begin = card.start || 0, end = card.end;
  const video = make("video", { controls: true, preload: "metadata", playsinline: true, "aria-label": `Clip ${card.k}` });
  const overlay = make("canvas", { "aria-hidden": "true" });
  const screen = make("div", { class: "screen" }, video, overlay);
  if (about.width) video.style.aspectRatio = `${about.width} / ${about.height}`;
  const boxes = make("input", { type: "checkbox" });
  boxes.checked = true;
  const view = { video, screen, overlay, card, begin, onTime: [], frame: 0, boxes };

  const trouble = (words) => {
    screen.querySelector(".trouble")?.remove();
    screen.append(make("div", { class: "trouble", role: "alert" }, make("strong", { text: words }), make("code", { text: card.path })));
  };
  if (!card.present) {
    trouble("The media file is not where the run found it.");
  } else if (card.archived && location.protocol === "file:") {
    trouble("The clip lies inside an archive, which a browser cannot open: omni report --serve plays it.");
  } else {
    video.addEventListener("error", () => {
      const codecs = [about.video_codec, about.audio_codec].filter(Boolean).join(" with ");
      trouble(`This browser cannot decode the file${codecs ? ` (${codecs})` : ""}. The run could; everything below stands.`);
    });
    video.src = fileUrl(card) + (begin || end ? `#t=${begin}${end ? "," + end : ""}` : "");
  }
  video.addEventListener("loadedmetadata", () => {
    if (begin) video.currentTime = begin;
    if (card.present && !video.videoWidth) trouble(`This browser decodes the sound only (video is ${about.video_codec || "of another kind"}).`);
    paint(view, video.currentTime);
  });
  video.addEventListener("timeupdate", () => {
    if (end && video.currentTime >= end && !video.paused) { video.pause(); video.currentTime = end; }
    tick(view, video.currentTime);
  });
  video.addEventListener("seeked", () => tick(view, video.currentTime));
  boxes.addEventListener("change", () => paint(view, video.currentTime));
  if (video.requestVideoFrameCallback) {
    const each = (now, meta) => {
      if (!video.isConnected) return;
      tick(view, meta.mediaTime);
      video.requestVideoFrameCallback(each);
    };
    video.requestVideoFrameCallback(each);
  }
  new ResizeObserver(() => paint(view, video.currentTime)).observe(video);
  view.node = make("div", {}, screen, make("div", { class: "under" },
    make("label", {}, boxes, "boxes"),
    make("span", { text: [about.width && `${about.width} × ${about.height}`, about.fps && `${number(about.fps)} pictures a second`,
      about.seconds && `${about.seconds.toFixed(2)} s`, about.video_codec, about.audio_codec].filter(Boolean).join(" · ") })));
  view.seek = (seconds, until) => { video.currentTime = begin + seconds; view.until = until; video.play().catch(() => {}); };
  return view;
}

function tick(view, time) {
  paint(view, time);
  const inside = time - view.begin;
  for (const on of view.onTime) on(inside);
  if (view.until !== undefined && inside >= view.until) { view.until = undefined; view.video.pause(); }
}

/** Where the picture lies inside the video element (it keeps its shape). */
function pictureIn(video, about) {
  const wide = about.width || video.videoWidth || 1, high = about.height || video.videoHeight || 1;
  const scale = Math.min(video.clientWidth / wide, video.clientHeight / high);
  return { scale, left: (video.clientWidth - wide * scale) / 2, top: (video.clientHeight - high * scale) / 2, wide: wide * scale, high: high * scale };
}

function paint(view, time) {
  const { video, overlay, card } = view, about = card.clip || {};
  if (!about.fps || !video.clientWidth) return;
  const at = pictureIn(video, about), dots = window.devicePixelRatio || 1;
  overlay.style.cssText = `left:${video.offsetLeft + at.left}px;top:${video.offsetTop + at.top}px;width:${at.wide}px;height:${at.high}px`;
  const [wide, high] = [Math.round(at.wide * dots), Math.round(at.high * dots)];
  if (overlay.width !== wide || overlay.height !== high) { overlay.width = wide; overlay.height = high; }
  const pen = overlay.getContext("2d");
  pen.clearRect(0, 0, wide, high);
  view.frame = Math.max(0, Math.round((time - view.begin) * about.fps - 0.25));
  view.drawn = 0;
  if (!view.boxes.checked) return;
  for (const track of card.tracks) {
    const box = boxAt(track.f, view.frame, Math.max(3, about.fps / 4));
    if (!box) continue;
    const colour = BRIGHT[(track.subject - 1) % BRIGHT.length], k = at.scale * dots;
    const [x, y, w, h] = [box[0] * k, box[1] * k, (box[2] - box[0]) * k, (box[3] - box[1]) * k];
    pen.lineWidth = 4 * dots; pen.strokeStyle = "rgb(0 0 0 / 55%)"; pen.strokeRect(x, y, w, h);
    pen.lineWidth = 2 * dots; pen.strokeStyle = colour; pen.strokeRect(x, y, w, h);
    const name = `sub${track.subject}`;
    pen.font = `600 ${12 * dots}px system-ui, sans-serif`;
    const room = pen.measureText(name).width + 8 * dots, top = y > 18 * dots ? y - 18 * dots : y;
    pen.fillStyle = "rgb(12 14 18 / 82%)"; pen.fillRect(x, top, room, 18 * dots);
    pen.fillStyle = "#fff"; pen.fillText(name, x + 4 * dots, top + 13 * dots);
    view.drawn += 1;
  }
}

/** The outline of the sound, and a lane for every face and every voice without one. */
function timeLine(card, view) {
  const segments = card.transcript?.segments || [], about = card.clip || {};
  const length = about.seconds || Math.max(0.1, ...segments.map((one) => one.end));
  const share = (seconds) => `${Math.min(100, Math.max(0, 100 * seconds / length)).toFixed(3)}%`;
  const canvas = make("canvas", {});
  const wave = make("div", { class: "wave", title: "Click to play from here" }, canvas);
  wave.addEventListener("click", (event) => {
    const box = wave.getBoundingClientRect();
    view.seek(length * (event.clientX - box.left) / box.width);
  });
  const head = make("div", { class: "head" }), rail = make("div", { class: "rail" }, head);
  view.onTime.push((seconds) => { head.style.left = share(seconds); });
  const node = make("div", { class: "time" }, make("span", { class: "corner", text: "Sound" }), wave);
  const said = (speaker) => segments.filter((one) => one.speaker === speaker).map((one) => {
    const button = make("button", { type: "button", class: "said", text: one.text, title: `${one.start.toFixed(2)}–${one.end.toFixed(2)} s, ${one.language}: ${one.text}`,
      "aria-label": `${speaker}, ${one.start.toFixed(1)} to ${one.end.toFixed(1)} seconds: ${one.text}`, onclick: () => view.seek(one.start, one.end) });
    button.style.cssText = `left:${share(one.start)};width:max(6px, ${share(one.end - one.start)})`;
    return button;
  });
  const people = [...new Set(card.tracks.map((track) => track.subject))].sort((a, b) => a - b);
  const bound = new Map((card.binding?.subjects || []).map((one) => [one.subject, one.speaker]));
  for (const subject of people) {
    const face = card.faces.find((one) => one.subject === subject), speaker = bound.get(subject);
    const seen = card.tracks.filter((track) => track.subject === subject).map((track) => {
      const first = track.f[0], last = track.f[track.f.length - 5], bar = make("div", { class: "seen" });
      bar.style.cssText = `left:${share(first / about.fps)};width:${share((last - first + 1) / about.fps)}`;
      return bar;
    });
    node.append(make("div", { class: "who " + hue(subject) },
      face?.image ? make("img", { src: face.image, alt: `Face of person ${subject}` }) : make("span", { class: "nobody", "aria-hidden": "true", text: "?" }),
      make("span", {}, make("b", { text: `sub${subject}` }), make("br"), speaker || (card.binding ? "silent" : ""))),
      make("div", { class: "lane " + hue(subject) }, seen, speaker ? said(speaker) : []));
  }
  const faced = new Set([...bound.values()].filter(Boolean));
  for (const speaker of [...new Set(segments.map((one) => one.speaker))].filter((name) => !faced.has(name)).sort()) {
    const off = card.binding?.offscreen?.includes(speaker);
    node.append(make("div", { class: "who hue8" }, make("span", { class: "nobody", "aria-hidden": "true", text: "♪" }),
      make("span", {}, make("b", { text: speaker }), make("br"), off ? "off screen" : "no face yet")), make("div", { class: "lane hue8" }, said(speaker)));
  }
  node.append(rail);
  view.recolour = () => outline(canvas, card, length);
  new ResizeObserver(view.recolour).observe(wave);
  return node;
}

/** Columns of the outline in the colour of who speaks then. */
function outline(canvas, card, length) {
  const dots = window.devicePixelRatio || 1, wide = Math.round(canvas.clientWidth * dots), high = Math.round(canvas.clientHeight * dots);
  if (!wide) return;
  canvas.width = wide; canvas.height = high;
  const pen = canvas.getContext("2d"), style = getComputedStyle(document.documentElement), soft = style.getPropertyValue("--soft").trim();
  if (!card.outline) {
    pen.fillStyle = soft; pen.font = `${12 * dots}px system-ui, sans-serif`;
    pen.fillText(card.trouble ? `no sound to draw (${card.trouble})` : "no sound was read", 10 * dots, high / 2 + 4 * dots);
    return;
  }
  const bytes = Uint8Array.from(atob(card.outline), (letter) => letter.charCodeAt(0)), loudest = Math.max(1, ...bytes);
  const segments = (card.transcript?.segments || []).map((one) => ({ ...one, colour: style.getPropertyValue("--p" + voiceHue(card, one.speaker).slice(3)).trim() }));
  for (let x = 0; x < wide; x += 1) {
    const from = Math.floor(x * bytes.length / wide), to = Math.max(from + 1, Math.floor((x + 1) * bytes.length / wide));
    let peak = 0;
    for (let i = from; i < to; i += 1) peak = Math.max(peak, bytes[i]);
    const seconds = length * (x + 0.5) / wide, speaking = segments.find((one) => seconds >= one.start && seconds < one.end);
    const tall = Math.max(dots, (high - 8 * dots) * peak / loudest);
    pen.globalAlpha = speaking ? 1 : 0.5;
    pen.fillStyle = speaking ? speaking.colour : soft;
    pen.fillRect(x, (high - tall) / 2, 1, tall);
  }
}
