#!/usr/bin/env python3
"""Write the numbers of OpenCV's FaceDetectorYN and FaceRecognizerSF that the face tests compare with.

    python3 -m venv /tmp/v && /tmp/v/bin/pip install opencv-python-headless==4.10.0.84 'numpy<2'
    /tmp/v/bin/python scripts/golden/opencv_faces.py ASTRONAUT.png YUNET.onnx SFACE.onnx OUT.json

ASTRONAUT.png is skimage/data/astronaut.png of the scikit-image 0.25.2 wheel (NASA, public domain). Only numbers
are written; the test makes the same pictures from it: it is pasted on black canvases of 640 x 640 at an offset,
plain, mirrored, halved (exact 2x2 means), or twice side by side in half size.
"""
import json
import sys

import cv2
import numpy as np

picture = cv2.imread(sys.argv[1])
half = cv2.resize(picture, (256, 256), interpolation=cv2.INTER_LINEAR)


def canvas(*pasted):
    out = np.zeros((640, 640, 3), np.uint8)
    for image, x, y in pasted:
        out[y:y + image.shape[0], x:x + image.shape[1]] = image
    return out


CASES = {
    "plain": canvas((picture, 0, 0)),
    "offset": canvas((picture, 101, 67)),
    "mirrored": canvas((np.ascontiguousarray(picture[:, ::-1]), 30, 11)),
    "half": canvas((half, 200, 301)),
    "pair": canvas((half, 0, 0), (np.ascontiguousarray(half[:, ::-1]), 300, 200)),
}

detector = cv2.FaceDetectorYN.create(sys.argv[2], "", (640, 640), 0.6, 0.3, 5000)
embedder = cv2.FaceRecognizerSF.create(sys.argv[3], "")
cases = []
for name, image in CASES.items():
    _, faces = detector.detect(image)
    faces = np.zeros((0, 15), np.float32) if faces is None else faces
    vectors = []
    for face in faces:
        vector = embedder.feature(embedder.alignCrop(image, face))[0]
        vectors.append([float(v) for v in vector / np.linalg.norm(vector)])
    cases.append({"name": name, "faces": [[float(v) for v in face] for face in faces], "vectors": vectors})
with open(sys.argv[4], "w") as out:
    json.dump({"opencv": cv2.__version__, "cases": cases}, out)
    out.write("\n")
