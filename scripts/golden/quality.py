#!/usr/bin/env python3
"""Write the numbers of the packages `speechmos` (DNSMOS) and `brisque` that the quality tests compare with.

    python3 -m venv /tmp/v && /tmp/v/bin/pip install --no-deps speechmos==0.0.1.1 brisque==0.2.0
    /tmp/v/bin/pip install numpy==1.26.4 scipy==1.11.4 scikit-image==0.25.2 opencv-python-headless==4.10.0.84 \
        libsvm-official==3.37.0 librosa onnxruntime requests
    /tmp/v/bin/python scripts/golden/quality.py perception/tests/fixtures/quality.json

Pictures and sounds are made here, in whole numbers, so that the tests make the very same ones; only numbers are written.
"""
import json
import sys
import warnings

import numpy as np

warnings.filterwarnings("ignore")
import cv2
import scipy
import skimage.color
from brisque import BRISQUE
from speechmos import dnsmos

M = np.uint64(0xFFFFFFFF)


def chance(a, b, c, k):
    """A byte for each place: a hash in 32 bits."""
    a, b, c, k = (np.asarray(x, np.uint64) for x in (a, b, c, k))
    u = np.uint64
    h = (a * u(374761393) + b * u(668265263) + c * u(2246822519) + k * u(3266489917)) & M
    h = h ^ (h >> u(13))
    h = (h * u(1274126177)) & M
    return ((h >> np.uint64(16)) & np.uint64(255)).astype(np.int64)


def blurred(image):
    """The mean of 3 x 3, edges repeated, rounded down."""
    padded = np.pad(image, ((1, 1), (1, 1), (0, 0)), mode="edge")
    h, w = image.shape[:2]
    return sum(padded[y:y + h, x:x + w] for y in range(3) for x in range(3)) // 9


def picture(name, width, height):
    y, x, c = np.meshgrid(np.arange(height), np.arange(width), np.arange(3), indexing="ij")
    if name == "noise":
        return chance(x, y, c, 0)
    if name == "waves":
        return np.abs((x * 3 + y * 2 + c * 40) % 510 - 255)
    octaves = sum(chance(x >> k, y >> k, c, k) << k for k in range(6)) // 63
    scene = blurred(octaves)
    if name == "scene":
        return scene
    if name == "soft":
        return blurred(blurred(blurred(scene)))
    if name == "hard":
        return np.minimum(255, np.maximum(0, scene * 3 - 255))
    if name == "grainy":
        return np.minimum(255, scene * 3 // 4 + chance(x, y, c, 9) // 4)
    raise ValueError(name)


def sound(name, samples):
    """16-bit samples."""
    i = np.arange(samples)
    noise = (chance(i, 0, 0, 1) - 128) * 128
    burst = np.abs(i % 8000 - 4000)
    if name == "noise":
        return noise
    if name == "tone":
        return np.abs(i % 72 - 36) * 500 - 9000
    if name == "bursts":
        pulse = np.maximum(0, 24 - i % (90 + i // 8000 % 7 * 6)) * 900 - 2700
        return pulse * burst // 4000 + noise // 64
    raise ValueError(name)


PICTURES = [("noise", 96, 64), ("waves", 131, 98), ("scene", 200, 141), ("soft", 129, 97), ("hard", 160, 90), ("grainy", 127, 95)]
SOUNDS = [("noise", 24000), ("tone", 144160), ("bursts", 20000), ("bursts", 197531), ("bursts", 288000)]

rater = BRISQUE(url=False)
out = {
    "opencv": cv2.__version__, "scipy": scipy.__version__, "brisque": "0.2.0", "speechmos": "0.0.1.1",
    "pictures": [], "sounds": [],
}
for name, width, height in PICTURES:
    image = picture(name, width, height).astype(np.uint8)
    gray = skimage.color.rgb2gray(image)
    small = cv2.resize(gray, None, fx=1 / 2, fy=1 / 2, interpolation=cv2.INTER_CUBIC)
    features = np.concatenate([rater.calculate_brisque_features(one, 7, 7 / 6) for one in (gray, small)])
    out["pictures"].append({
        "name": name, "width": width, "height": height, "sum": int(image.sum()),
        "features": [float(np.ravel(one)[0]) for one in features], "score": float(rater.score(image)),
    })
for name, samples in SOUNDS:
    wave = sound(name, samples)
    found = dnsmos.run(wave / 32768.0, sr=16000)
    out["sounds"].append({
        "name": name, "samples": samples, "sum": int(np.abs(wave).sum()),
        "sig": float(found["sig_mos"]), "bak": float(found["bak_mos"]), "ovrl": float(found["ovrl_mos"]),
    })
with open(sys.argv[1], "w") as file:
    json.dump(out, file, indent=1)
    file.write("\n")
