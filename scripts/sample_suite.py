#!/usr/bin/env python3
"""Makes a small benchmark out of the sample corpus: cases of all three subsets, and the "clips" of two methods.

    scripts/sample_suite.py [SAMPLE] [FOLDER]

SAMPLE (default data/sample) is what scripts/sample_corpus.py made; FOLDER (default data/suite) receives cases.jsonl,
refs/ (a picture and a voice of each person), and outputs/assembled and outputs/swapped, each with a method.toml.
Nobody generated these clips. `assembled` is the sample corpus' own clips, which answer their cases by construction;
one is left out, so that something is missing. `swapped` answers each case with pictures and sound of other cases, so
that every reading that means anything is worse. Standard library and ffmpeg only.
"""
import argparse
import hashlib
import json
import shutil
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from sample_corpus import HEIGHT, WIDTH, clip_id, die, media_path, run_ffmpeg  # noqa: E402
from sample_plan import CLIPS, PHRASES  # noqa: E402

# Where each person is seen alone or beside somebody, and where the person's voice is heard: never in a case's own clip,
# but for the friend, who is in one clip only. Clip, place (None: alone), number of the turn.
REFERENCES = {
    "woman": ("woman_recording", None, ("woman_mirrored", 0)),
    "man": ("man_recording", None, ("man_recording", 0)),
    "astronaut": ("astronaut_both_sentences", None, ("astronaut_both_sentences", 0)),
    "youth": ("youth_both_sentences", None, ("youth_both_sentences", 1)),
    "friend": ("man_and_silent_friend", "right", None),
}
# Case, subset, the clip that answers it, the clip whose pictures and the one whose sound `swapped` answers it with.
CASES = [
    ("woman_path", 1, "woman_path", "man_near_mirrored", "man_near_mirrored"),
    ("man_near", 1, "man_near_mirrored", "astronaut_near", "woman_path"),
    ("astronaut_near", 1, "astronaut_near", "woman_path", "man_near_mirrored"),
    ("man_then_astronaut", 2, "man_then_astronaut", "woman_answers_youth", "woman_answers_youth"),
    ("woman_answers_youth", 2, "woman_answers_youth", "man_then_astronaut", "man_then_astronaut"),
    ("silent_friend", 3, "man_and_silent_friend", "woman_answers_youth", "woman_answers_youth"),
    ("narrated", 3, "offscreen_over_astronaut", "woman_path", "woman_path"),
    ("left_out", 3, "offscreen_over_man", "astronaut_near", "man_near_mirrored"),
]
MISSING = "left_out"
# Who reads off screen, by the reader of the sample corpus: a voice of somebody who has a face elsewhere.
OFFSCREEN = {"F2": "astronaut", "M2": "youth"}


def clip_named(name):
    return next(clip for clip in CLIPS if clip["name"] == name)


def who_speaks(clip):
    """Everybody who is seen or heard in a clip, in the order of the picture, then of the sound."""
    people = [person["who"] for person in clip["people"]]
    for turn in clip["turns"]:
        who = turn["who"] if turn["who"] != "offscreen" else OFFSCREEN[PHRASES[turn["phrase"]]["reader"]]
        if who not in people:
            people.append(who)
    return people


def case_of(name, subset, clip):
    """A case as its clip answers it: everybody in it, what each says, who is not to be seen or not to speak."""
    visible = {person["who"] for person in clip["people"]}
    people = who_speaks(clip)
    anchors = {who: f"<sub{number}>" for number, who in enumerate(people, 1)}
    utterances, said = [], []
    for turn in clip["turns"]:
        phrase = PHRASES[turn["phrase"]]
        who = turn["who"] if turn["who"] != "offscreen" else OFFSCREEN[phrase["reader"]]
        utterances.append({"anchor": anchors[who], "text": phrase["text"], "language": "en"})
        said.append(f"{anchors[who]} says, <S>{phrase['text']}<E>")
    speakers = {utterance["anchor"] for utterance in utterances}
    subjects = [
        {
            "anchor": anchors[who],
            "face": f"refs/{who}.png" if who in visible else None,
            "voice": f"refs/{who}.wav" if anchors[who] in speakers else None,
            "visible": who in visible,
            "speaks": anchors[who] in speakers,
        }
        for who in people
    ]
    scene = " ".join(clip["caption"].split('"')[0].split()).rstrip(",")
    seen = [anchors[who] for who in people if anchors[who] not in speakers]
    return {
        "case": name,
        "subset": subset,
        "prompt": " ".join([f"{scene.rstrip('.')}.", *said, *(f"{anchor} says nothing." for anchor in seen)]),
        "subjects": [{key: value for key, value in subject.items() if value is not None} for subject in subjects],
        "utterances": utterances,
    }


def path_of(sample, name):
    path = media_path(sample, clip_id(name))
    if not path.is_file():
        die(f"{path} ({name}) is not there: run scripts/sample_corpus.py {sample} again")
    return path


def write_references(sample, folder):
    folder.mkdir()
    for who, (seen, place, heard) in REFERENCES.items():
        left = WIDTH // 2 if place == "right" else 0
        width = WIDTH if place is None else WIDTH // 2
        crop = ["-vf", f"crop={width}:{HEIGHT}:{left}:0"]
        run_ffmpeg(["-i", path_of(sample, seen), *crop, "-frames:v", "1", folder / f"{who}.png"])
        if heard:
            turn = clip_named(heard[0])["turns"][heard[1]]
            phrase = PHRASES[turn["phrase"]]
            span = ["-ss", f"{turn['at']:.3f}", "-t", f"{phrase['to'] - phrase['from']:.3f}"]
            run_ffmpeg(["-i", path_of(sample, heard[0]), *span, "-vn", "-ac", "1", folder / f"{who}.wav"])


def write_outputs(sample, folder):
    for method in ("assembled", "swapped"):
        (folder / method).mkdir(parents=True)
        (folder / method / "method.toml").write_text(f'method = "{method}"\nparadigm = "joint"\n', encoding="utf-8")
    for name, _subset, own, pictures, sound in CASES:
        if name != MISSING:
            shutil.copyfile(path_of(sample, own), folder / "assembled" / f"{name}.mp4")
        both = ["-i", path_of(sample, pictures), "-i", path_of(sample, sound), "-map", "0:v", "-map", "1:a"]
        run_ffmpeg([*both, "-c", "copy", folder / "swapped" / f"{name}.mp4"])


def stamp_of(sample):
    text = Path(__file__).read_bytes() + json.loads((sample / "expected.json").read_text())["stamp"].encode()
    return hashlib.sha256(text).hexdigest()


def build(sample, folder, stamp):
    part = folder.with_name(folder.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    write_references(sample, part / "refs")
    write_outputs(sample, part / "outputs")
    cases = [case_of(name, subset, clip_named(own)) for name, subset, own, *_rest in CASES]
    lines = "".join(json.dumps(case) + "\n" for case in cases)
    (part / "cases.jsonl").write_text(lines, encoding="utf-8")
    (part / "README.txt").write_text(__doc__, encoding="utf-8")
    (part / "stamp").write_text(stamp)
    shutil.rmtree(folder, ignore_errors=True)
    part.rename(folder)


def main():
    parser = argparse.ArgumentParser(description="Makes a small benchmark out of the sample corpus.")
    parser.add_argument("sample", nargs="?", default="data/sample", type=Path)
    parser.add_argument("folder", nargs="?", default="data/suite", type=Path)
    options = parser.parse_args()
    if not (options.sample / "expected.json").is_file():
        die(f"{options.sample} is no sample corpus: run scripts/sample_corpus.py {options.sample} first")
    stamp, mark = stamp_of(options.sample), options.folder / "stamp"
    if mark.is_file() and mark.read_text() == stamp:
        print(f"    {options.folder} is there")
        return
    if options.folder.exists() and not mark.exists():
        die(f"{options.folder} exists and was not made by this script: name another folder, or move it away")
    build(options.sample, options.folder, stamp)
    print(f"    {options.folder}: {len(CASES)} cases, two methods")


if __name__ == "__main__":
    main()
