#!/usr/bin/env python3
"""The same work as the `track` stage in Python: decode with OpenCV, YuNet and SFace in ONNX Runtime, NumPy around them.

    track_reference.py CLIP YUNET.onnx SFACE.onnx EMBEDDINGS

One thread each. Prints the CPU seconds of the loop (start-up and model loading excluded). No tracking, no mouth motion
and no shot detection is done here: it is the lower bound of a Python pipeline, not a rival of equal content.
"""
import os
import sys
import time

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[name] = "1"

import cv2  # noqa: E402
import numpy as np  # noqa: E402
import onnxruntime as ort  # noqa: E402

cv2.setNumThreads(1)
clip, yunet, sface, embeddings = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
options = ort.SessionOptions()
options.log_severity_level = 3
options.intra_op_num_threads = options.inter_op_num_threads = 1
detector = ort.InferenceSession(yunet, options, providers=["CPUExecutionProvider"])
embedder = ort.InferenceSession(sface, options, providers=["CPUExecutionProvider"])
names = [f"{kind}_{stride}" for kind in ("cls", "obj", "bbox", "kps") for stride in (8, 16, 32)]
target = np.float32([[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]])


def detect(picture):
    scale = min(640 / picture.shape[0], 640 / picture.shape[1])
    small = cv2.resize(picture, (int(picture.shape[1] * scale), int(picture.shape[0] * scale)))
    canvas = np.zeros((640, 640, 3), np.uint8)
    canvas[: small.shape[0], : small.shape[1]] = small
    outputs = dict(zip(names, detector.run(names, {"input": canvas.transpose(2, 0, 1)[None].astype(np.float32)})))
    boxes, scores, points = [], [], []
    for stride in (8, 16, 32):
        score = np.sqrt(outputs[f"cls_{stride}"][0, :, 0].clip(0, 1) * outputs[f"obj_{stride}"][0, :, 0].clip(0, 1))
        for at in np.nonzero(score >= 0.6)[0]:
            row, column = divmod(at, 640 // stride)
            box, kps = outputs[f"bbox_{stride}"][0, at], outputs[f"kps_{stride}"][0, at].reshape(5, 2)
            width, height = np.exp(box[2:]) * stride
            boxes.append([(column + box[0]) * stride - width / 2, (row + box[1]) * stride - height / 2, width, height])
            scores.append(float(score[at]))
            points.append((kps + [column, row]) * stride)
    keep = cv2.dnn.NMSBoxes(boxes, scores, 0.6, 0.3)
    return [points[i] / scale for i in np.array(keep).flatten()]


capture = cv2.VideoCapture(clip)
capture.set(cv2.CAP_PROP_N_THREADS, 1)
before = time.process_time()
while True:
    there, picture = capture.read()
    if not there:
        break
    for points in detect(picture):
        if embeddings > 0:
            embeddings -= 1
            matrix, _ = cv2.estimateAffinePartial2D(points.astype(np.float32), target)
            crop = cv2.warpAffine(picture, matrix, (112, 112))[..., ::-1]
            embedder.run(None, {embedder.get_inputs()[0].name: crop.transpose(2, 0, 1)[None].astype(np.float32)})
print(f"Python, the same networks {time.process_time() - before:7.2f} CPU s".replace(" CPU s", ""))
