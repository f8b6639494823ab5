#!/usr/bin/env python3
"""VBench's temporal flickering on one clip: value, CPU seconds of the score, CPU seconds with decoding.

    python3 scripts/bench/tf_reference.py CLIP

The arithmetic is that of Vchitect/VBench temporal_flickering.py (frames by OpenCV, absdiff in float32, one thread).
Started by `cargo run --release -p omni-bench --example speed -- CLIP PYTHON`.
"""
import sys
import time

import cv2
import numpy as np

ROUNDS = 5


def frames(path):
    video = cv2.VideoCapture(path)
    out = []
    while True:
        there, frame = video.read()
        if not there:
            break
        out.append(frame)
    video.release()
    return out


def mae(a, b):
    return np.mean(cv2.absdiff(np.array(a, dtype=np.float32), np.array(b, dtype=np.float32)))


def score(kept):
    values = [mae(kept[i], kept[i + 1]) for i in range(len(kept) - 1)]
    return (255.0 - np.mean(np.array(values))) / 255.0


def least(work):
    best = float("inf")
    for _ in range(ROUNDS):
        before = time.process_time()
        result = work()
        best = min(best, time.process_time() - before)
    return best, result


def main():
    # One thread: also the decoder's, which OpenCV asks for through FFmpeg's options.
    cv2.setNumThreads(1)
    kept = frames(sys.argv[1])
    scoring, value = least(lambda: score(kept))
    whole, _ = least(lambda: score(frames(sys.argv[1])))
    print(float(value), scoring, whole)


if __name__ == "__main__":
    main()
