#!/usr/bin/env python3
"""Lays out the sample corpus' media as OpenS2V-5M and Emilia are, so that every source has something to read.

    scripts/sample_more.py [SAMPLE] [FOLDER]

SAMPLE (default data/sample) is what scripts/sample_corpus.py made; FOLDER (default data/sample-more) receives
`opens2v` (one part: a JSON object, a tar in numbered pieces, masks as run lengths, pairs of clips of one person) and
`emilia` (tars in both published forms, one of them cut); expected.json says what becomes of the rows. Standard library and ffmpeg only.
"""
import argparse
import hashlib
import io
import json
import os
import shutil
import sys
import tarfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from sample_corpus import FPS, HEIGHT, WIDTH, clip_id, die, media_path, run_ffmpeg  # noqa: E402
from sample_plan import CLIPS, FACES, PHRASES  # noqa: E402

PIECE = 150_000  # bytes of a piece of the tar: videos lie over the ends of several


# ------------------------------------------------------------------------------------------- OpenS2V
# key, video, clip of the sample corpus, first picture, pictures left out at the end
RECORDS = [
    ("astronaut_part1_step1-5-130", "astronaut_part1.mp4", "astronaut_both_sentences", 5, 5),
    ("astronaut_part2_step1-0-80", "astronaut_part2.mp4", "astronaut_near", 0, 0),
    ("man_part1_step1-0-120", "man_part1.mp4", "man_both_sentences", 0, 0),
    ("man_part2_step1-3-75", "man_part2.mp4", "man_near_mirrored", 3, 0),
    ("talk_part1_step1-0-140", "talk_part1.mp4", "woman_then_man", 0, 0),
]
CROP = [16, 624, 8, 352]  # the corpus writes both x first


def mouths(clip):
    """The corners of each person's mouth in the picture, as sample_corpus.py places them."""
    width = WIDTH // len(clip["people"])
    for number, person in enumerate(clip["people"]):
        face = FACES[person["face"]]
        cut_w, cut_h, left, top = face["duo"] if width < WIDTH else face["solo"]
        points = [((x - left) * width / cut_w, (y - top) * HEIGHT / cut_h) for x, y in face["mouth"]]
        if person.get("mirror"):
            points = [(width - x, y) for x, y in reversed(points)]
        yield number, [(x + number * width, y) for x, y in points]


def body_mask(corners, grow, left, right):
    """Head and shoulders around a mouth, as rows of booleans of the cropped picture."""
    (xa, ya), (xb, yb) = corners
    cx, cy, span = (xa + xb) / 2, (ya + yb) / 2, abs(xb - xa) * grow
    x0, x1, y0, y1 = CROP
    rows = []
    for y in range(y0, y1):
        head, torso = (y - cy + 0.7 * span) / (2.7 * span), y > cy + 1.2 * span
        half = 3.2 * span if torso else 2.0 * span * max(0.0, 1 - head * head) ** 0.5
        rows.append([left <= x < right and abs(x - cx) < half for x in range(x0, x1)])
    return rows


def run_lengths(rows):
    """Column by column, background first."""
    counts, last, run = [], False, 0
    for column in zip(*rows):
        for value in column:
            if value != last:
                counts.append(run)
                last, run = value, 0
            run += 1
    return counts + [run]


def pack(counts):
    """COCO's text form of run lengths."""
    out = []
    for at, count in enumerate(counts):
        rest = count - counts[at - 2] if at > 2 else count
        while True:
            bits, rest = rest & 0x1F, rest >> 5
            more = rest != -1 if bits & 0x10 else rest != 0
            out.append(chr(48 + bits + (32 if more else 0)))
            if not more:
                break
    return "".join(out)


def box_of(rows):
    ys = [y for y, row in enumerate(rows) if any(row)]
    xs = [x for x in range(len(rows[0])) if any(row[x] for row in rows)]
    return [float(xs[0]), float(ys[0]), float(xs[-1] + 1), float(ys[-1] + 1)]


def masks_of(clip):
    """Every person twice (once packed, once plain, a little larger), and a strip of wall without a face."""
    found = []
    for number, corners in mouths(clip):
        width = WIDTH // len(clip["people"])
        side = (number * width, (number + 1) * width)
        found.append(("person", body_mask(corners, 1.0, *side), True))
        found.append(("individual", body_mask(corners, 1.02, *side), False))
    x0, x1, y0, y1 = CROP
    found.append(("wall", [[y < 12 for _ in range(x0, x1)] for y in range(y0, y1)], True))
    return found


def record(video, clip, first, cut_off, aesthetic=5.2):
    pictures = round(clip["seconds"] * FPS)
    last, frame = pictures - cut_off, first + 20
    things = masks_of(clip)
    x0, x1, y0, y1 = CROP
    annotations, masks = [], {}
    for number, (name, rows, packed) in enumerate(things, 1):
        counts = run_lengths(rows)
        annotations.append({"class_name": name, "bbox": box_of(rows), "gme_score": 0.4, "aes_score": 4.8})
        masks[str(number)] = {"size": [y1 - y0, x1 - x0], "counts": pack(counts) if packed else counts, "score": [0.98]}
    return {
        "metadata": {"path": video, "cut": [first, last], "face_cut": [first, last], "crop": CROP, "fps": float(FPS),
                     "num_frames": last - first, "resolution": {"height": y1 - y0, "width": x1 - x0},
                     "aesthetic": aesthetic, "tech": 1.9, "motion": 0.02, "cap": [clip["caption"]],
                     "face_cap_qwen": clip["caption"]},
        "word_tags": {"subject": ["person"], "object": [], "background": ["wall"], "pre_define": ["person", "human head"]},
        "annotation": {
            "ann_frame_data": {"ann_frame_idx": frame, "box_format": "xyxy", "img_width": x1 - x0, "img_height": y1 - y0,
                               "foreground_ase_score": 4.9, "background_ase_score": 4.1, "annotations": annotations},
            "mask_map": {str(n): {"class_name": t[0]} for n, t in enumerate(things, 1)},
            "mask_annotation": {str(frame): masks},
        },
    }


def add_member(tar, name, data):
    member = tarfile.TarInfo(name)
    member.size = len(data)
    tar.addfile(member, io.BytesIO(data))


def tar_of(members):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for name, data in members:
            add_member(tar, name, data)
    return out.getvalue()


def build_opens2v(sample, root):
    clips = {clip["name"]: clip for clip in CLIPS}
    rows = [(key, record(video, clips[name], first, off)) for key, video, name, first, off in RECORDS]
    extra = clips["astronaut_near"]
    rows.append((RECORDS[0][0], rows[0][1]))                                           # duplicate_id
    rows.append(("gone_part1_step1-0-80", record("gone.mp4", extra, 0, 0)))            # missing_media
    rows.append(("plain_part1_step1-0-80", record("astronaut_part2.mp4", extra, 0, 0, aesthetic=3.9)))
    upside = record("astronaut_part2.mp4", extra, 0, 0)
    upside["metadata"]["crop"] = [624, 16, 8, 352]
    rows.append(("upside_part1_step1-0-80", upside))                                   # bad_row
    part = root / "Jsons" / "mask_and_bbox_High-Quality" / "total_part1.json"
    part.parent.mkdir(parents=True)
    part.write_text("{" + ",\n".join(f"{json.dumps(k)}: {json.dumps(v)}" for k, v in rows) + "}\n", encoding="utf-8")
    pair = {"cur_class_name": "person", "aft_class_name": "person", "text_similarity": 1.0, "image_similarity": 1.00098,
            "cur_frame_idx": 25, "aft_frame_idx": 20}
    pairs = root / "Jsons" / "cross_video_pairs"
    pairs.mkdir(parents=True)
    for group, (cur, aft) in {"astronaut": (0, 1), "man": (2, 3)}.items():
        text = json.dumps([{"cur_id": RECORDS[cur][0], "aft_id": RECORDS[aft][0], **pair}])
        (pairs / f"{group}.json").write_text(text, encoding="utf-8")
    videos = [(video, media_path(sample, clip_id(name)).read_bytes()) for _, video, name, _, _ in RECORDS]
    videos.append(("orphan.mp4", media_path(sample, clip_id("orphan")).read_bytes()))
    whole = tar_of((f"total_part1/{name}", data) for name, data in videos)
    folder = root / "Videos" / "total_part1"
    folder.mkdir(parents=True)
    for number, at in enumerate(range(0, len(whole), PIECE)):
        (folder / f"total_part1.tar.split.{number:03}").write_bytes(whole[at:at + PIECE])
    return {"kept": len(RECORDS), "duplicate_id": 1, "missing_media": 1, "filtered:aesthetic.min": 1, "bad_row": 1,
            "orphan_media": 1}


# -------------------------------------------------------------------------------------------- Emilia
def mp3_of(phrase, store):
    part = PHRASES[phrase]
    return run_ffmpeg(["-ss", str(part["from"]), "-to", str(part["to"]), "-i", store / f"{part['reader']}.wav", "-ar", "24000",
                       "-ac", "1", "-c:a", "libmp3lame", "-b:a", "64k", "-map_metadata", "-1", "-fflags", "+bitexact",
                       "-f", "mp3", "-"])


def utterance(key, phrase, **more):
    part = PHRASES[phrase]
    return {"id": key, "wav": f"x/{key}.mp3", "text": " " + part["text"], "duration": round(part["to"] - part["from"], 3),
            "speaker": key.rsplit("_W", 1)[0], "language": "en", "dnsmos": 3.31, **more}


def build_emilia(root, store):
    def pair(key, phrase, **more):
        yield f"{key}.json", json.dumps(utterance(key, phrase, **more)).encode()
        yield f"{key}.mp3", mp3_of(phrase, store)

    name = "EN_B00000_S{:05}_W{:06}".format
    first = [*pair(name(1, 1), "F1a"), *pair(name(1, 2), "F1b"), *pair(name(2, 1), "M1a")]
    first += [*pair(name(2, 2), "M1b", duration=9.5)]                                   # bad_audio: another length
    first += [(f"{name(3, 1)}.json", json.dumps(utterance(name(3, 1), "F2a")).encode()),
              (f"{name(3, 1)}.mp3", b"no sound at all " * 40)]                          # bad_audio: no sound
    first += [(f"{name(3, 2)}.json", json.dumps(utterance(name(3, 2), "F2b")).encode())]  # missing_media
    first += [(f"{name(9, 9)}.mp3", mp3_of("F2b", store))]                              # orphan_media
    first.sort(key=lambda member: member[0].endswith(".mp3"))                           # pairs are not neighbours
    yodas = list(pair(name(7, 1), "M2a"))
    given = utterance(name(7, 1), "M2a", _id=None)
    del given["id"], given["wav"]
    yodas[0] = (yodas[0][0], json.dumps(given).encode())
    # As Emilia-Pipe writes it: a list for a recording, its sounds numbered.
    at, rows, sounds = 0.0, [], []
    for number, phrase in enumerate(("F2a", "F2b")):
        long = PHRASES[phrase]["to"] - PHRASES[phrase]["from"]
        rows.append({"text": PHRASES[phrase]["text"], "start": at, "end": round(at + long, 3), "language": "en", "dnsmos": 3.2})
        sounds.append((f"reader/reader_{number}.mp3", mp3_of(phrase, store)))
        at += 4.0
    tool = [("reader/reader.json", json.dumps(rows).encode()), *sounds]
    cut = [*pair(name(8, 1), "M2b"), *pair(name(8, 2), "M2a")]
    for path, data in {"Emilia/EN/EN-B000000.tar": tar_of(first), "Emilia-YODAS/EN/EN-B000000.tar": tar_of(yodas),
                       "Emilia/EN/EN-pipe.tar": tar_of(tool), "Emilia/EN/EN-B000001.tar": tar_of(cut)}.items():
        if path.endswith("B000001.tar"):  # ends inside the second sound
            data = data[:2 * 512 + sum(-(-len(m[1]) // 512) * 512 for m in cut[:3]) + 3 * 512 - 512 + 900]
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(data)
    return {"kept": 7, "bad_audio": 2, "missing_media": 2, "orphan_media": 1, "truncated_shard": 1}


# ---------------------------------------------------------------------------------------------- both
def stamp_of(sample):
    text = Path(__file__).read_bytes() + json.loads((sample / "expected.json").read_text())["stamp"].encode()
    return hashlib.sha256(text).hexdigest()


def main():
    parser = argparse.ArgumentParser(description="Lays the sample corpus out as OpenS2V and Emilia are.")
    parser.add_argument("sample", nargs="?", default="data/sample", type=Path)
    parser.add_argument("folder", nargs="?", default="data/sample-more", type=Path)
    options = parser.parse_args()
    if not (options.sample / "expected.json").is_file():
        die(f"{options.sample} is no sample corpus: run scripts/sample_corpus.py {options.sample} first")
    stamp, mark = stamp_of(options.sample), options.folder / "stamp"
    if mark.is_file() and mark.read_text() == stamp:
        print(f"    {options.folder} is there")
        return
    if options.folder.exists() and not mark.exists():
        die(f"{options.folder} exists and was not made by this script: name another folder, or move it away")
    cache = Path(os.environ.get("OMNI_CACHE") or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "omni")
    part = options.folder.with_name(options.folder.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    for source in ("opens2v", "emilia"):
        (part / source).mkdir(parents=True)
    counts = {"opens2v": build_opens2v(options.sample, part / "opens2v"),
              "emilia": build_emilia(part / "emilia", cache / "demo")}
    (part / "expected.json").write_text(json.dumps(counts, indent=1) + "\n", encoding="utf-8")
    (part / "stamp").write_text(stamp)
    shutil.rmtree(options.folder, ignore_errors=True)
    part.rename(options.folder)
    print(f"    {options.folder}: opens2v and emilia")


if __name__ == "__main__":
    main()
