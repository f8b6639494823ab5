#!/usr/bin/env python3
"""How fast `omni` reads a part of OpenS2V, and in how much memory: a JSON object made for it, once indexed, once from the index.

    python3 scripts/bench/opens2v_json.py OMNI RECORD.json FOLDER [GIB ...]

RECORD.json holds one record under its key (as the corpus' own data_process/demo_result does); the object repeats it
under other keys until it is so many GiB long (default 0.5 and 2). The videos are not there, so each row ends
`missing`: what is timed is the reading. Bytes per second are of processor time, which other work on the machine does
not change. FOLDER is removed again.
"""
import json
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path


def make(path, record, length):
    count = written = 0
    with path.open("w", encoding="utf-8") as out:
        out.write("{")
        while written < length:
            text = (", " if count else "") + json.dumps(f"clip{count}_part1_step1-0-95") + ": " + record
            written += out.write(text)
            count += 1
        out.write("}")
    return count


def run(command):
    """Wall and processor seconds of a command, and the largest memory of any so far, MiB."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 1:
        sys.exit(f"expected findings, got {done.returncode}: {done.stderr}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return time.monotonic() - began, cpu, after.ru_maxrss / 1024


def main():
    omni, record, folder = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    text = json.dumps(next(iter(json.loads(record.read_text()).values())))
    for gib in sorted(float(size) for size in sys.argv[4:] or ["0.5", "2"]):
        shutil.rmtree(folder, ignore_errors=True)
        (folder / "Jsons").mkdir(parents=True)
        part = folder / "Jsons" / "total_part1.json"
        records = make(part, text, gib * 2**30)
        for what in ("read", "from the index"):
            wall, cpu, memory = run([omni, "audit", "--source", "opens2v", "--root", str(folder)])
            speed = part.stat().st_size / 1e6 / cpu
            print(f"{gib} GiB, {records} records, {what}: {wall:.1f} s, {cpu:.1f} CPU s, {speed:.0f} MB/s, peak {memory:.0f} MiB", flush=True)
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
