"""Tables and figure of scripts/miniature: readings of every row with intervals.

    python3 scripts/figures/miniature.py check FOLDER               # says what the results lack; exit code 1 if anything
    python3 scripts/figures/miniature.py tables FOLDER              # prints the tables
    python3 scripts/figures/miniature.py document FOLDER DOCUMENT   # writes them into a Markdown file, between its marks
    python3 scripts/figures/miniature.py figure FOLDER TARGET       # draws TARGET/miniature.png; needs Matplotlib, the others nothing

The intervals are a bootstrap over both what differs by chance: seeds are drawn with replacement, and of each the clips. Those of a
difference are drawn of the differences clip by clip, of rows of the same seed.
"""

import json
import math
import pathlib
import random
import sys

ROWS = {
    "base": "base",
    "ocf": "+ OCF",
    "sa-mrope": "+ SA-MRoPE",
    "mtp-ca": "+ MTP-CA",
    "speech-steps": "+ steps on speech",
    "curriculum": "+ curriculum",
    "unmasked": "its mask off",
}
# The last two again, on clips of which some say their caption.
SAID = {
    "captions-said": "captions said in training",
    "captions-said-unmasked": "the same, its mask off",
}
# With the mask, without it, and how both were trained: the folder, from that of all.
MASKS = {
    "a fifth of the steps": ("early", "curriculum", "unmasked"),
    "all steps": (".", "curriculum", "unmasked"),
    "all steps, captions said in training": (".", "captions-said", "captions-said-unmasked"),
}
# Those that are trained for a fifth of the steps, too.
EARLY = ["base", "curriculum", "unmasked"]

# Name: title, reading, which clips, chance (None: no such level), whether more is better (None: 0 is best).
READINGS = {
    "face": ("Face: right one of 8", "face_picked", {}, 1 / 8, True),
    "side": ("Two people: faces on the right sides", "face_side", {}, 1 / 2, True),
    "face_sim": ("Face: cosine to the true one", "face_sim", {}, 0, True),
    "voice": ("Voice: right one of 8", "voice_picked", {}, 1 / 8, True),
    "turn": ("Two people: voice of the one whose turn it is", "voice_turn", {}, 1 / 2, True),
    "voice_sim": ("Voice: cosine to the true one", "voice_sim", {}, 0, True),
    "mouth": ("Two people: the speaker's mouth opens", "mouth_side", {}, 1 / 2, True),
    "bound": ("Two people: face, voice and mouth bound right", "bound", {}, 1 / 8, True),
    "pose": ("Turned as the prompt says, not the picture", "turned_as_asked", {}, 1 / 2, True),
    "words": ("Phonemes wrong, words of clips", "phoneme_errors", {"kind": "clip_words"}, 11 / 12, False),
    "new_words": ("Phonemes wrong, words of utterances alone", "phoneme_errors", {"kind": "utterance_words"}, 11 / 12, False),
    "outside": ("Sound outside of utterances, share of latents", "speech_outside", {}, None, False),
    "leak": ("Caption leak", "caption_leak", {}, 0, None),
}
# What is read of the backbone: it was asked for people whom the prompt describes, in words that it was trained on.
BACKBONE = {
    **{name: READINGS[name] for name in READINGS if name not in ("words", "new_words", "outside", "leak")},
    "words": ("Phonemes wrong", "phoneme_errors", {}, 11 / 12, False),
    "outside": READINGS["outside"],
    "caption": ("Share of latents with a phoneme that only the caption has, per phoneme", "caption_phonemes", {}, None, None),
    "nowhere": ("The same of a phoneme that is nowhere", "other_phonemes", {}, None, None),
    "leak": ("Caption leak, the difference of the two", "caption_leak", {}, 0, None),
}
# What is read of rows that were trained on captions that are said.
OF_SAID = {
    **{name: READINGS[name] for name in READINGS if name != "leak"},
    **{name: BACKBONE[name] for name in ("caption", "nowhere", "leak")},
}
# Read as small shares.
SMALL = ("outside", "caption", "nowhere", "leak")
DRAWS = 1000


def load(folder, row):
    """The results of a row, a seed each."""
    paths = sorted(pathlib.Path(folder).glob(f"{row}-[0-9]*.json"))
    return [dict(json.loads(path.read_text()), file=path.name) for path in paths]


def is_number(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def per_clip(result, reading):
    """Lists of values, one list for each clip that has the reading. A reading that no clip has, or that is no number, is an error."""
    _, name, which, _, _ = reading
    clips = [clip for clip in result["clips"] if all(clip[key] == value for key, value in which.items())]
    lists = [clip["readings"][name] for clip in clips if clip["readings"].get(name)]
    where = f"{result['file']}: {name}" + "".join(f" of {value}" for value in which.values())
    if not lists:
        raise ValueError(f"{where} is not there")
    if not all(is_number(value) for values in lists for value in values):
        raise ValueError(f"{where} is no number")
    return lists


def mean(lists):
    values = [value for values in lists for value in values]
    return sum(values) / len(values)


def interval(results, reading, dice):
    """Mean over seeds, and the middle 95 of 100 of the bootstrap."""
    return spread([per_clip(result, reading) for result in results], dice)


def differences(first, second, reading):
    """Of each seed and clip, the values of one row less those of the other. An error if they are not of the same seeds and clips."""
    if not first or [result["file"].rsplit("-", 1)[1] for result in first] != [result["file"].rsplit("-", 1)[1] for result in second]:
        raise ValueError(f"not of the same seeds: {', '.join(result['file'] for result in [*first, *second]) or 'no result'}")
    seeds = []
    for one, other in zip(first, second):
        lists, others = per_clip(one, reading), per_clip(other, reading)
        if [len(values) for values in lists] != [len(values) for values in others]:
            raise ValueError(f"{reading[1]} of {one['file']} and {other['file']} are not of the same clips")
        seeds.append([[value - less for value, less in zip(*pair)] for pair in zip(lists, others)])
    return seeds


def spread(clips, dice):
    """Mean and interval of lists for each clip of each seed."""
    means = []
    for _ in range(DRAWS):
        drawn = [dice.choice(clips) for _ in clips]
        means.append(sum(mean(dice.choices(lists, k=len(lists))) for lists in drawn) / len(drawn))
    means.sort()
    low, high = means[int(0.025 * DRAWS)], means[int(0.975 * DRAWS)]
    return sum(mean(lists) for lists in clips) / len(clips), low, high


def table(folder, rows, readings):
    """Readings of rows, by their titles, as Markdown."""
    dice = random.Random(1)
    lines = [f"| reading | {' | '.join(rows.values())} |", "| --- " * (len(rows) + 1) + "|"]
    for name, reading in readings.items():
        cells = []
        for row in rows:
            results = load(folder, row)
            if not results:
                raise ValueError(f"no result of {row} in {folder}")
            cells.append(cell(name, interval(results, reading, dice)))
        lines.append(f"| {reading[0]} | {' | '.join(cells)} |")
    return "\n".join(lines)


def mask(folder):
    """Small readings of rows with the mask less those without it, as Markdown."""
    dice = random.Random(1)
    lines = [f"| with the mask less without it | {' | '.join(MASKS)} |", "| --- " * (len(MASKS) + 1) + "|"]
    for name in ("outside", "leak"):
        cells = []
        for place, *rows in MASKS.values():
            pair = [load(pathlib.Path(folder) / place, row) for row in rows]
            clips = differences(*pair, READINGS[name])
            seeds = ", ".join(shown(mean(lists), 3) for lists in clips)
            cells.append(f"{cell(name, spread(clips, dice))}; seeds {seeds}")
        lines.append(f"| {READINGS[name][0]} | {' | '.join(cells)} |")
    return "\n".join(lines)


def cell(name, values):
    """Mean and interval of a reading as text."""
    middle, low, high = (shown(value, 3 if name in SMALL else 2) for value in values)
    return f"{middle} ({low} to {high})"


def shown(value, digits):
    """Rounded, and without a sign where nothing is left of it."""
    return f"{round(value, digits) + 0.0:.{digits}f}"


def seconds(results):
    """Processor time of the results that were made in one go: their mean, and where they differ the range."""
    times = [result["processor_seconds"] for result in results if result.get("processor_seconds") is not None]
    if not times:
        return "not known (each was stopped, or the system does not tell)"
    spread = f" ({min(times):.0f} to {max(times):.0f})" if len(times) > 1 else ""
    left = f", {len(results) - len(times)} of {len(results)} not counted, which were stopped on the way" if len(times) < len(results) else ""
    return f"{sum(times) / len(times):.0f} s{spread}{left}"


def took(folder):
    """What the results took, as a paragraph."""
    rows = [result for row in [*ROWS, *SAID] for result in load(folder, row)]
    early = [result for row in EARLY for result in load(pathlib.Path(folder) / "early", row)]
    backbone = load(folder, "backbone")
    known = [result["processor_seconds"] for result in [*backbone, *rows, *early] if result.get("processor_seconds") is not None]
    return (
        f"Processor time, one thread: the backbone {seconds(backbone)}; a row and seed {seconds(rows)};\n"
        f"after a fifth of the steps {seconds(early)}. All that is counted: {sum(known) / 60:.1f} minutes."
    )


def tables(folder):
    """All that the document shows, by the name of its place."""
    scale = {"untrained": "untrained"} if load(folder, "untrained") else {}
    return {
        "backbone": table(folder, {"backbone": "backbone"}, BACKBONE),
        "rows": table(folder, {**scale, **ROWS}, READINGS),
        "early": table(pathlib.Path(folder) / "early", {row: ROWS[row] for row in EARLY}, READINGS),
        "said": table(folder, SAID, OF_SAID),
        "mask": mask(folder),
        "time": took(folder),
    }


def document(text, parts):
    """The text with each part between its marks, `<!-- scripts/miniature: NAME -->` and `<!-- end -->`."""
    for name, part in parts.items():
        begin, end = f"<!-- scripts/miniature: {name} -->\n", "<!-- end -->"
        if text.count(begin) != 1 or end not in text.split(begin)[1]:
            raise ValueError(f"the document has no place for `{name}`: {begin.strip()} ... {end}")
        before, after = text.split(begin)
        text = before + begin + part + "\n" + end + after.split(end, 1)[1]
    return text


def losses_wrong(result):
    """What is wrong with the losses of a result that was trained."""
    name = result["file"]
    if not result["losses"]:
        yield f"{name} has no losses"
    for stage, points in result["losses"].items():
        values = [point[stream] for point in points for stream in ("video", "audio")]
        if not points or not all(is_number(value) and value < 1e3 for value in values):
            yield f"{name}: a loss of {stage} is no number"
            continue
        joint = [point["video"] + point["audio"] for point in points if point["kind"] == "joint"]
        if stage == "backbone" and not joint[-1] < 0.8 * joint[0]:
            yield f"{name}: its loss went from {joint[0]:.3f} to {joint[-1]:.3f}"


def readings_wrong(result, readings, best=None):
    """Which readings a result has not, or (of the truth) not as they have to be."""
    for name, reading in readings.items():
        try:
            found = mean(per_clip(result, reading))
        except ValueError as error:
            yield str(error)
            continue
        if best and abs(found - best[name]) > 0.02:
            yield f"{result['file']}: {reading[1]} of the true latents is {found:.3f}, not {best[name]}"


def check(folder):
    """What the results of a whole run, smoke or not, lack."""
    perfect = {name: 0 if name in ("words", "new_words", "outside", "leak") else 1 for name in READINGS}
    early = pathlib.Path(folder) / "early"
    wrong = []
    for place, row in [(folder, row) for row in ["truth", "untrained", "backbone", *ROWS, *SAID]] + [(early, row) for row in EARLY]:
        results = load(place, row)
        if not results:
            wrong.append(f"no result of {row} in {place}")
        for result in results:
            readings = BACKBONE if row == "backbone" else OF_SAID if row in SAID else READINGS
            wrong.extend(readings_wrong(result, readings, perfect if row == "truth" else None))
            if row not in ("truth", "untrained"):
                wrong.extend(losses_wrong(result))
    return wrong


# Where rows lie in a panel: those on other clips apart.
PLACES = [*range(len(ROWS)), *(place + 0.5 for place in range(len(ROWS), len(ROWS) + len(SAID)))]


def panel_of(panel, folder, name, dice):
    """Draws one reading of every row."""
    reading = READINGS[name]
    title, _, _, chance, better = reading
    for place, row in zip(PLACES, [*ROWS, *SAID]):
        results = load(folder, row)
        middle, low, high = interval(results, reading, dice)
        colour = "tab:gray" if row.endswith("unmasked") else "tab:blue"
        panel.plot([low, high], [place, place], color=colour, linewidth=5, alpha=0.35, solid_capstyle="butt")
        seeds = [mean(per_clip(result, reading)) for result in results]
        panel.plot(seeds, [place] * len(seeds), "o", color=colour, markersize=3.5)
        panel.plot([middle], [place], "|", color=colour, markersize=14, markeredgewidth=1.5)
    if chance is not None and better is not None:
        panel.axvline(chance, color="black", linestyle=":", linewidth=1)
    if name in SMALL:
        backbone = mean([values for result in load(folder, "backbone") for values in per_clip(result, BACKBONE[name])])
        panel.axvline(backbone, color="tab:red", linestyle="--", linewidth=1)
    else:
        panel.set_xlim(-0.03, 1.03)
    best = {True: "more is better", False: "less is better", None: "0 is best"}[better]
    panel.set_title(f"{title}\n({best})", fontsize=9)
    # other data of training: not to be compared with the rows above
    panel.axhline((PLACES[len(ROWS) - 1] + PLACES[len(ROWS)]) / 2, color="0.6", linewidth=0.8)
    panel.set_yticks(PLACES, [*ROWS.values(), *SAID.values()], fontsize=9)
    panel.tick_params(axis="x", labelsize=8)
    panel.grid(axis="x", color="0.92")
    panel.set_axisbelow(True)


def legend(panel):
    """Says in a panel of its own what is drawn."""
    panel.set_axis_off()
    handles = [
        panel.plot([], [], "o", color="tab:blue", markersize=3.5, label="a seed")[0],
        panel.plot([], [], "|", color="tab:blue", markersize=14, markeredgewidth=1.5, linestyle="none", label="mean of the seeds")[0],
        panel.plot([], [], color="tab:blue", linewidth=5, alpha=0.35, label="middle 95 of 100 of the bootstrap")[0],
        panel.plot([], [], color="tab:gray", linewidth=5, alpha=0.35, label="the same, mask of MTP-CA off")[0],
        panel.plot([], [], color="black", linestyle=":", linewidth=1, label="chance")[0],
        panel.plot([], [], color="tab:red", linestyle="--", linewidth=1, label="the backbone they begin from")[0],
    ]
    panel.legend(handles=handles, loc="center", fontsize=9, frameon=False)


def figure(folder, target):
    """A panel for each reading, and one that says what is drawn."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    dice = random.Random(1)
    names = [name for name in READINGS if name not in ("face_sim", "voice_sim")]
    pictures, panels = pyplot.subplots(3, 4, figsize=(14, 9.6), sharey=True)
    for panel, name in zip(panels.flat, names):
        panel_of(panel, folder, name, dice)
    legend(panels.flat[len(names)])
    panels.flat[0].set_ylim(PLACES[-1] + 0.5, -0.5)
    pictures.tight_layout()
    pathlib.Path(target).mkdir(parents=True, exist_ok=True)
    pictures.savefig(pathlib.Path(target) / "miniature.png", dpi=90)


def run(command, folder, target):
    """Does what a command says; gives the exit code."""
    if command == "check":
        wrong = check(folder)
        print("\n".join(wrong) or f"{folder}: every row trained, sampled and read; the truth reads as the truth")
        return 1 if wrong else 0
    if command == "tables":
        print("\n\n".join(f"{name}:\n{part}" for name, part in tables(folder).items()))
    elif command == "document":
        path = pathlib.Path(target)
        path.write_text(document(path.read_text(), tables(folder)))
    else:
        figure(folder, target)
    return 0


def main(words):
    wanted = {"check": 2, "tables": 2, "document": 3, "figure": 3}
    if not words or wanted.get(words[0]) != len(words):
        print(__doc__, file=sys.stderr)
        return 2
    try:
        return run(words[0], words[1], words[-1])
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
