#!/usr/bin/env python3
"""Whether the memory of `omni curate` grows with the number of clips: one short clip, linked N times, for each N.

    python3 scripts/bench/many_clips.py OMNI CLIP FOLDER N [N ...]

`probe`, `track` (a picture a second) and `face_ref` run, which hold most kinds of rows and an artifact per person;
networks whose working memory is the same for every clip are left out. The second run over a finished folder is timed
too: what it costs to find out that nothing is to do.
"""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

RECIPE = """
name = "many"
source = "folder"
stages = ["probe", "track", "face_ref"]

[settings.track]
every = 25
min_frames = 1
"""


def corpus(clip: Path, folder: Path, count: int) -> None:
    """`count` links to the clip, 500 to a folder."""
    shutil.rmtree(folder, ignore_errors=True)
    for number in range(count):
        place = folder / f"{number // 500:03}" / f"{number:06}{clip.suffix}"
        place.parent.mkdir(parents=True, exist_ok=True)
        if number % 20_000 == 0:  # file systems bound the links to one file
            original = place
            shutil.copyfile(clip, place)
        else:
            os.link(original, place)


def curate(omni: str, root: Path, out: Path) -> tuple[float, float, float]:
    """Wall and processor seconds, and peak MiB, of one run."""
    recipe = root.parent / "many.toml"
    recipe.write_text(RECIPE)
    command = [omni, "curate", "--recipe", recipe, "--root", root, "--out", out]
    began = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"{command} ended with status {os.waitstatus_to_exitcode(status)}")
    return time.monotonic() - began, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def main() -> None:
    omni, clip, folder = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    print("  clips  run      wall, s    CPU, s  peak, MiB")
    for count in map(int, sys.argv[4:]):
        root, out = folder / "clips", folder / "out"
        corpus(clip, root, count)
        shutil.rmtree(out, ignore_errors=True)
        for name in ("first", "second"):
            wall, cpu, peak = curate(omni, root, out)
            print(f"{count:7}  {name:6}  {wall:8.1f}  {cpu:8.1f}  {peak:9.0f}", flush=True)


if __name__ == "__main__":
    main()
