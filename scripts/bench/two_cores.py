#!/usr/bin/env python3
"""How well `omni curate` uses two cores: the same corpus with --threads 1 and 2, from nothing each time.

    python3 scripts/bench/two_cores.py OMNI CORPUS FOLDER

`in flight` is the seconds of all clips together over the wall time after listing: 2.0 means that two clips were in
flight all the time, whatever else the machine was doing. `predicted` is what that gives when each core is free: clips
in flight times how much less processor time a clip took with one thread. `measured` is the plain ratio of wall times
and says something on a calm machine only. Both outputs are compared byte by byte.
"""

import json
import os
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path


def curate(omni: str, corpus: str, out: Path, threads: int) -> dict:
    """One run from nothing; its figures. Peak memory is the largest of the runs so far."""
    shutil.rmtree(out, ignore_errors=True)
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    command = [omni, "curate", "--source", "openhumanvid", "--root", corpus, "--out", str(out)]
    subprocess.run([*command, "--threads", str(threads)], check=True, capture_output=True)
    wall, after = time.monotonic() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = json.loads((out / "summary.json").read_text())["seconds"]
    listing = seconds.pop("listing")
    return {
        "wall": wall,
        "cpu": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
        "flying": sum(seconds.values()) / (wall - listing),
        "peak": after.ru_maxrss / 1024,
    }


def parts(out: Path) -> dict:
    """Every part and tar by name."""
    return {str(path.relative_to(out)): path.read_bytes() for path in out.glob("*/part-*")}


def main() -> None:
    omni, corpus, folder = sys.argv[1:4]
    outs = [Path(folder) / f"threads-{threads}" for threads in (1, 2)]
    one, two = (curate(omni, corpus, out, threads) for threads, out in enumerate(outs, 1))
    print("threads  wall, s  CPU, s  in flight  peak, MiB   load", os.getloadavg())
    for threads, run in ((1, one), (2, two)):
        print(f"{threads:7}  {run['wall']:7.1f}  {run['cpu']:6.1f}  {run['flying']:9.2f}  {run['peak']:9.0f}")
    predicted = two["flying"] / one["flying"] * one["cpu"] / two["cpu"]
    print(f"predicted {predicted:.2f}, measured {one['wall'] / two['wall']:.2f}")
    if not parts(outs[0]) or parts(outs[0]) != parts(outs[1]):
        sys.exit("the parts differ")


if __name__ == "__main__":
    main()
