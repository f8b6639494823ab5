"""What scripts/train-overfit learned: losses, contact sheet, and how near each generated clip is to each real one.

    python3 scripts/figures/overfit.py FOLDER STEPS CORPUS

Writes FOLDER/loss.png, FOLDER/sheet.png (original, the codec's round trip, generated) and FOLDER/likeness.json, and prints the losses as
a table. Clips of random weights (FOLDER/clips-base) are read for scale. Needs Matplotlib and the program ffmpeg. The sheet shows people:
it is not for publishing.
"""

import json
import pathlib
import subprocess
import sys

import matplotlib

matplotlib.use("Agg")
import numpy
from matplotlib import pyplot

WIDTH, HEIGHT = 96, 64


def pictures(path, count=None):
    """RGB pictures of a clip at 24 a second and the training's size, [n, h, w, 3], 0..1."""
    limit = [] if count is None else ["-frames:v", str(count)]
    command = ["ffmpeg", "-v", "error", "-i", str(path), "-vf", f"fps=24,scale={WIDTH}:{HEIGHT}:flags=area", *limit]
    raw = subprocess.run([*command, "-f", "rawvideo", "-pix_fmt", "rgb24", "-"], check=True, capture_output=True).stdout
    return numpy.frombuffer(raw, numpy.uint8).reshape(-1, HEIGHT, WIDTH, 3) / 255.0


def psnr(a, b):
    """Peak signal to noise of the pictures that both have, in decibels."""
    count = min(len(a), len(b))
    return float(-10 * numpy.log10(max(numpy.mean((a[:count] - b[:count]) ** 2), 1e-10)))


SPANS = [(1, 10), (41, 50), (91, 100), (191, 200), (391, 400), (791, 800), (1191, 1200), (1591, 1600)]


def log(folder, steps):
    """What the log says of each step."""
    return [json.loads(line) for line in (folder / f"run-{steps}" / "log.jsonl").open()]


def losses(lines):
    """Mean losses of some spans of ten steps, as Markdown."""
    spans = [(first, last) for first, last in SPANS if last <= len(lines)]
    rows = [f"| steps | {' | '.join(f'{first}-{last}' for first, last in spans)} |", "| --- " * (len(spans) + 1) + "|"]
    for name in ("video", "audio"):
        means = [numpy.mean([line["report"][name] for line in lines[first - 1 : last]]) for first, last in spans]
        rows.append(f"| {name} | {' | '.join(f'{mean:.3f}' for mean in means)} |")
    return "\n".join(rows)


def curve(folder, lines):
    """Draws the losses of the log, means of 20 steps; gives those of the last 50."""
    chart, axis = pyplot.subplots(figsize=(6, 3.2))
    for name in ("video", "audio"):
        values = [line["report"][name] for line in lines]
        means = [numpy.mean(values[at : at + 20]) for at in range(0, len(values), 20)]
        axis.plot([20 * at + 10 for at in range(len(means))], means, label=name)
    axis.axhline(2 / 3, color="gray", linestyle=":", linewidth=1, label="least of `tiny`, video")
    axis.set_xlabel("step (two clips each)")
    axis.set_ylabel("flow loss")
    axis.set_ylim(bottom=0)
    axis.legend()
    chart.tight_layout()
    chart.savefig(folder / "loss.png", dpi=90)
    tail = lines[-50:]
    return {name: round(float(numpy.mean([line["report"][name] for line in tail])), 4) for name in ("video", "audio")}


def likeness(clips, coded):
    """How near each clip is to each one that the codec gives back, in decibels, and what that says."""
    matrix = numpy.array([[psnr(mine, other) for other in coded] for mine in clips])
    own = matrix.diagonal()
    others = numpy.where(numpy.eye(len(coded), dtype=bool), -numpy.inf, matrix).max(axis=1)
    return matrix, {
        "nearest_to_its_own": int((own > others).sum()),
        "psnr_to_own": round(float(own.mean()), 2),
        "psnr_to_the_nearest_other": round(float(others.mean()), 2),
    }


def likest(keys, coded):
    """The two clips that are nearest to each other as the codec gives them back."""
    pairs = [(psnr(coded[a], coded[b]), keys[a], keys[b]) for a in range(len(keys)) for b in range(a)]
    near, *two = max(pairs)
    return {"clips": two, "psnr": round(near, 2)}


def find(folder, key):
    """The one mp4 below a folder whose name has the clip's key."""
    found = [path for path in sorted(folder.rglob("*.mp4")) if key in path.name]
    if len(found) != 1:
        raise SystemExit(f"{len(found)} clips of {key} in {folder}")
    return found[0]


def main(folder, steps, corpus):
    folder = pathlib.Path(folder)
    made, base = folder / f"clips-{steps}", folder / "clips-base"
    keys = sorted(path.stem for path in made.glob("*.mp4"))
    generated = [pictures(find(made, key)) for key in keys]
    untrained = [pictures(find(base, key)) for key in keys]
    coded = [pictures(find(folder / "latents" / "check", key)) for key in keys]
    shown = ["omni", "show", "out/demo", "clip", "--json"]
    lines = subprocess.run(shown, check=True, capture_output=True, text=True).stdout.splitlines()
    paths = {row["clip"]: row["path"] for row in map(json.loads, lines)}
    originals = [pictures(pathlib.Path(corpus) / paths[key], len(clip)) for key, clip in zip(keys, coded)]
    matrix, found = likeness(generated, coded)
    steps_done = log(folder, steps)
    report = {
        "steps": int(steps),
        "minutes_of_training": round(sum(line["seconds"] for line in steps_done) / 60, 1),
        "loss_of_the_last_50_steps": curve(folder, steps_done),
        "clips": keys,
        "psnr_generated_to_coded": matrix.round(2).tolist(),
        **found,
        "random_weights": likeness(untrained, coded)[1],
        "likest_two": likest(keys, coded),
        "psnr_coded_to_original": round(float(numpy.mean([psnr(a, b) for a, b in zip(coded, originals)])), 2),
    }
    (folder / "likeness.json").write_text(json.dumps(report, indent=1) + "\n")
    sheet, panels = pyplot.subplots(len(keys), 3, figsize=(7, 1.6 * len(keys)))
    for row, clips in zip(panels, zip(originals, coded, generated)):
        for panel, clip in zip(row, clips):
            panel.imshow(clip[len(clip) // 2])
            panel.set_axis_off()
    for panel, title in zip(panels[0], ("original", "through the codec", "generated")):
        panel.set_title(title, fontsize=8)
    sheet.tight_layout()
    sheet.savefig(folder / "sheet.png", dpi=90)
    print(losses(steps_done), end="\n\n")
    print(json.dumps({key: value for key, value in report.items() if key != "psnr_generated_to_coded"}, indent=1))


if __name__ == "__main__":
    if len(sys.argv) != 4:
        print(__doc__)
        sys.exit(2)
    main(*sys.argv[1:])
