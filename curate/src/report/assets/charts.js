// Two small charts: drops by reason, and the distribution of a score.
"use strict";

function svg(tag, attributes, ...children) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value !== null && value !== undefined) node.setAttribute(name, value);
  }
  node.append(...children);
  return node;
}

function pressable(act) {
  return { role: "button", tabindex: 0, onclick: act,
           onkeydown: (event) => { if (event.key === "Enter" || event.key === " ") { event.preventDefault(); act(event); } } };
}

/** Bars by reason; a press filters. */
function drawDrops(counts, chosen, choose) {
  const rows = [...counts].sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1));
  const most = Math.max(1, ...rows.map((row) => row[1])), high = 30;
  const chart = svg("svg", { viewBox: `0 0 240 ${Math.max(1, rows.length) * high}`, role: "group" });
  rows.forEach(([reason, count], order) => {
    const top = order * high, name = reason.length > 27 ? reason.slice(0, 26) + "…" : reason;
    const label = svg("text", { x: 0, y: top + 12, class: "label" }), amount = svg("text", { x: 240, y: top + 12, "text-anchor": "end", class: "soft" });
    label.textContent = name;
    amount.textContent = count.toLocaleString("en");
    const row = svg("g", { ...pressable(() => choose(reason === chosen ? "" : reason)), "aria-pressed": String(reason === chosen),
                           "aria-label": `${reason}: ${plural(count, "clip")}` },
      svg("rect", { x: 0, y: top, width: 240, height: high - 4, fill: "transparent" }),
      svg("rect", { x: 0, y: top + 17, width: 240, height: 6, rx: 3, class: "back" }),
      svg("rect", { x: 0, y: top + 17, width: Math.max(3, 240 * count / most), height: 6, rx: 3, class: "bar" }), label, amount);
    chart.append(row);
  });
  document.getElementById("drops").replaceChildren(rows.length ? chart : make("p", { class: "note", text: "No clip was dropped." }));
}

const BINS = 24;

/** The bins of a score over all clips that have it. */
function binsOf(values) {
  const low = Math.min(...values), high = Math.max(...values), step = (high - low) / BINS || 1;
  return { low, high, step, of: (value) => Math.min(BINS - 1, Math.max(0, Math.floor((value - low) / step))) };
}

/** All clips pale, the clips shown strong; dragging over the bars filters to a range. */
function drawHistogram(name, all, some, range, choose) {
  const holder = document.getElementById("histogram");
  if (!all.length) {
    holder.replaceChildren(make("p", { class: "note", text: name ? `No clip has a score ${name}.` : "No clip has scores yet." }));
    return;
  }
  const bins = binsOf(all), total = new Array(BINS).fill(0), part = new Array(BINS).fill(0);
  for (const value of all) total[bins.of(value)] += 1;
  for (const value of some) part[bins.of(value)] += 1;
  const most = Math.max(...total), wide = 240 / BINS, high = 84;
  const chart = svg("svg", { viewBox: `0 0 240 ${high + 18}`, role: "group", "aria-label": `Distribution of ${name}` });
  let from = null;
  const take = (to) => {
    const [first, last] = [Math.min(from, to), Math.max(from, to)], low = bins.low + first * bins.step;
    const same = range && range[0] === low;
    choose(same && first === last ? null : [low, bins.low + (last + 1) * bins.step + (last === BINS - 1 ? 1e-9 : 0)]);
  };
  total.forEach((count, bin) => {
    const chosen = range && bins.low + (bin + 0.5) * bins.step >= range[0] && bins.low + (bin + 0.5) * bins.step < range[1];
    const scaled = (value) => (value ? Math.max(2, (high - 4) * value / most) : 0);
    const low = number(bins.low + bin * bins.step), top = number(bins.low + (bin + 1) * bins.step);
    const act = () => { from = from ?? bin; take(bin); };
    chart.append(svg("g", { ...pressable(() => {}), "aria-label": `${low} to ${top}: ${plural(count, "clip")}`, "aria-pressed": String(Boolean(chosen)),
                            onpointerdown: (event) => { from = bin; event.currentTarget.releasePointerCapture?.(event.pointerId); },
                            onpointerup: act,
                            onkeydown: (event) => { if (event.key === "Enter" || event.key === " ") { event.preventDefault(); from = bin; take(bin); } } },
      svg("rect", { x: bin * wide, y: 0, width: wide, height: high, class: chosen ? "chosen" : "", fill: chosen ? "" : "transparent" }),
      svg("rect", { x: bin * wide + 0.75, y: high - scaled(count), width: wide - 1.5, height: scaled(count), class: "all" }),
      svg("rect", { x: bin * wide + 0.75, y: high - scaled(part[bin]), width: wide - 1.5, height: scaled(part[bin]), class: "some" })));
  });
  const left = svg("text", { x: 0, y: high + 15, class: "soft" }), right = svg("text", { x: 240, y: high + 15, class: "soft", "text-anchor": "end" });
  left.textContent = number(bins.low);
  right.textContent = number(bins.high);
  chart.append(left, right);
  const sorted = [...some].sort((a, b) => a - b), middle = sorted[Math.floor(sorted.length / 2)];
  const words = some.length ? `Median ${number(middle)} of ${plural(some.length, "clip")} shown.` : "No clip shown has this score.";
  holder.replaceChildren(chart, make("p", { class: "note", text: `${words} ${range ? "" : "Drag over bars to filter."}` }));
}
