"""Table and figure of scripts/miniature: readings of every row with intervals.

    python3 scripts/figures/miniature.py table FOLDER [--smoke]     # needs nothing; --smoke checks instead
    python3 scripts/figures/miniature.py figure FOLDER TARGET       # needs Matplotlib

The intervals are a bootstrap over both what differs by chance: seeds are drawn with replacement, and of each the clips.
"""

import json
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
    "unmasked": "  its mask off",
}

# Name: title, reading, which clips, chance (None: no such level), whether more is better.
READINGS = {
    "face": ("Face: right one of 8", "face_picked", {}, 1 / 8, True),
    "side": ("Two people: faces on the right sides", "face_side", {}, 1 / 2, True),
    "face_sim": ("Face: cosine to the true one", "face_sim", {}, 0, True),
    "voice": ("Voice: right one of 8", "voice_picked", {}, 1 / 8, True),
    "turn": ("Two people: voice of the one whose turn it is", "voice_turn", {}, 1 / 2, True),
    "voice_sim": ("Voice: cosine to the true one", "voice_sim", {}, 0, True),
    "mouth": ("Two people: the speaker's mouth opens", "mouth_side", {}, 1 / 2, True),
    "bound": ("Face, voice and mouth all bound right", "bound", {}, 1 / 8, True),
    "pose": ("Turned as the prompt says, not the picture", "turned_as_asked", {}, 1 / 2, True),
    "words": ("Phonemes wrong, words of clips", "phoneme_errors", {"kind": "clip_words"}, 11 / 12, False),
    "new_words": ("Phonemes wrong, words of utterances alone", "phoneme_errors", {"kind": "utterance_words"}, 11 / 12, False),
    "outside": ("Sound outside <S>...<E>, share of latents", "speech_outside", {}, None, False),
    "leak": ("Caption leak", "caption_leak", {}, 0, False),
}
DRAWS = 1000


def load(folder, row):
    """The results of a row, a seed each."""
    paths = sorted(pathlib.Path(folder).glob(f"{row}-[0-9]*.json"))
    return [json.loads(path.read_text()) for path in paths]


def per_clip(result, reading):
    """Lists of values, one list for each clip that has the reading."""
    _, name, which, _, _ = READINGS[reading]
    clips = [clip for clip in result["clips"] if all(clip[key] == value for key, value in which.items())]
    return [clip["readings"][name] for clip in clips if clip["readings"].get(name)]


def mean(lists):
    values = [value for values in lists for value in values]
    return sum(values) / len(values) if values else None


def interval(results, reading, dice):
    """Mean over seeds, and the middle 95 of 100 of the bootstrap."""
    clips = [per_clip(result, reading) for result in results]
    if not clips or not all(clips):
        return None
    means = []
    for _ in range(DRAWS):
        drawn = [dice.choice(clips) for _ in clips]
        means.append(sum(mean(dice.choices(lists, k=len(lists))) for lists in drawn) / len(drawn))
    means.sort()
    low, high = means[int(0.025 * DRAWS)], means[int(0.975 * DRAWS)]
    return sum(mean(lists) for lists in clips) / len(clips), low, high


def table(folder):
    """Every reading of every row, as Markdown."""
    dice = random.Random(1)
    shown = [row for row in ["untrained", *ROWS, "truth"] if load(folder, row)]
    lines = [f"| reading | {' | '.join(ROWS.get(row, row).strip() for row in shown)} |", "| --- " * (len(shown) + 1) + "|"]
    for reading, (title, *_) in READINGS.items():
        cells = []
        for row in shown:
            found = interval(load(folder, row), reading, dice)
            digits = 3 if reading in ("outside", "leak") else 2
            numbers = found and [f"{value:.{digits}f}" for value in found]
            cells.append(f"{numbers[0]} ({numbers[1]} to {numbers[2]})" if numbers else "")
        lines.append(f"| {title} | {' | '.join(cells)} |")
    return "\n".join(lines)


def check(folder):
    """Says what a smoke run lacks."""
    wrong = []
    for row in ["truth", "untrained", "backbone", *ROWS]:
        results = load(folder, row)
        if not results:
            wrong.append(f"no result of {row}")
        for result in results:
            names = {name for clip in result["clips"] for name in clip["readings"]}
            wanted = {reading[1] for reading in READINGS.values()}
            if not wanted <= names:
                wrong.append(f"{row} has no {', '.join(sorted(wanted - names))}")
            for stage, points in result["losses"].items():
                joint = [point["video"] + point["audio"] for point in points if point["kind"] == "joint"]
                if any(not loss < 1e3 for loss in joint):
                    wrong.append(f"{row}: a loss of {stage} is no number")
                if row == "backbone" and not joint[-1] < 0.8 * joint[0]:
                    wrong.append(f"{row}: its loss went from {joint[0]:.3f} to {joint[-1]:.3f}")
    perfect = {reading: 0 if reading in ("words", "new_words", "outside", "leak") else 1 for reading in READINGS}
    for result in load(folder, "truth"):
        for reading, best in perfect.items():
            found = mean(per_clip(result, reading))
            if found is not None and abs(found - best) > 0.02:
                wrong.append(f"the true latents have {READINGS[reading][1]} {found:.3f}, not {best}")
    return wrong


def figure(folder, target):
    """A panel for each reading: dots are seeds, bars the intervals."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    dice = random.Random(1)
    names = [name for name in READINGS if name not in ("face_sim", "voice_sim", "leak")]
    pictures, panels = pyplot.subplots(2, 5, figsize=(15, 6.2), sharey=True)
    order = list(ROWS)
    for panel, name in zip(panels.flat, names):
        title, _, _, chance, better = READINGS[name]
        for place, row in enumerate(order):
            results = load(folder, row)
            found = interval(results, name, dice)
            if found is None:
                continue
            middle, low, high = found
            colour = "tab:gray" if row == "unmasked" else "tab:blue"
            panel.plot([low, high], [place, place], color=colour, linewidth=3, alpha=0.4)
            panel.plot([mean(per_clip(result, name)) for result in results], [place] * len(results), "o", color=colour, markersize=3)
            panel.plot([middle], [place], "|", color=colour, markersize=12)
        if chance is not None:
            panel.axvline(chance, color="black", linestyle=":", linewidth=1)
        panel.set_title(f"{title}\n({'more' if better else 'less'} is better)", fontsize=8)
        panel.set_xlim(-0.03, 1.03)
        panel.set_yticks(range(len(order)), [ROWS[row] for row in order], fontsize=8)
        panel.tick_params(axis="x", labelsize=8)
    panels.flat[0].set_ylim(len(order) - 0.5, -0.5)
    pictures.tight_layout()
    pathlib.Path(target).mkdir(parents=True, exist_ok=True)
    pictures.savefig(pathlib.Path(target) / "miniature.png", dpi=80)


def main(words):
    match words:
        case ["table", folder]:
            print(table(folder))
            if (pathlib.Path(folder) / "early").is_dir():
                print(f"\nafter a fifth of the steps:\n{table(pathlib.Path(folder) / 'early')}")
            return 0
        case ["table", folder, "--smoke"]:
            wrong = check(folder)
            print("\n".join(wrong) or f"{folder}: every row trained, sampled and read; the truth reads as the truth")
            return 1 if wrong else 0
        case ["figure", folder, target]:
            figure(folder, target)
            return 0
    print(__doc__)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
