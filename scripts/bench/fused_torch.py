#!/usr/bin/env python3
"""A fused forward of both streams in PyTorch, timed; started by model/examples/fused_mid.rs.

    fused_torch.py FOLDER RUNS THREADS

FOLDER holds config.json (the streams' configurations and the time `t`) and tensors.safetensors (weights; `video`, `audio`, `text`); output.bin
(f32: the video's velocity, then the audio's) is written there. Prints JSON: the version of torch, and the seconds of each run, of the processor
and of the clock: `as_reference` embeds the time for every token, rotates in f64 and keeps what norms give in f32, as Ovi's code does; `lean`
embeds it once and rotates in f32. Plain torch operations with fused attention (scaled_dot_product_attention), as eager code has them.
"""
import json
import os
import sys
import time

import torch
import torch.nn.functional as F
from codecs_torch import tensors


def frequencies(pairs):
    return 10000.0 ** -(torch.arange(pairs, dtype=torch.float64) / pairs)


def rotation(angles):
    """[tokens, 1, pairs] complex."""
    return torch.polar(torch.ones_like(angles), angles)[:, None]


def rotate(x, rope):
    wide = x.double() if rope.dtype == torch.complex128 else x
    pairs = torch.view_as_complex(wide.unflatten(-1, (-1, 2)))
    return torch.view_as_real(pairs * rope).flatten(-2).float()


class Stream:
    def __init__(self, config, weights, prefix, lean):
        self.config = config
        self.lean = lean
        self.weights = {name[len(prefix) :]: value for name, value in weights.items() if name.startswith(prefix)}
        self.heads = config["num_heads"]
        self.eps = config["eps"]
        self.is_video = len(config["patch_size"]) == 3

    def linear(self, x, name):
        return F.linear(x, self.weights[name + ".weight"], self.weights[name + ".bias"])

    def rms(self, x, name, eps=None):
        return F.rms_norm(x, x.shape[-1:], self.weights[name + ".weight"], self.eps if eps is None else eps)

    def modulated(self, x, shift, scale):
        return F.layer_norm(x, x.shape[-1:], eps=self.eps) * (1 + scale) + shift

    def split(self, x):
        return x.unflatten(-1, (self.heads, -1))

    def attend(self, q, k, v):
        """[n, heads, size] each; [n, d]."""
        q, k, v = (part.transpose(0, 1)[None] for part in (q, k, v))
        return F.scaled_dot_product_attention(q, k, v)[0].transpose(0, 1).flatten(1)

    def embed(self, latent):
        if self.is_video:
            weight, bias = self.weights["patch_embedding.weight"], self.weights["patch_embedding.bias"]
            return F.conv3d(latent[None], weight, bias, stride=weight.shape[2:])[0].flatten(1).T
        conv = lambda x, name, bias=None: F.conv1d(x, self.weights[f"patch_embedding.{name}.weight"], bias, padding=3)
        x = F.silu(conv(latent.T[None], "0", self.weights["patch_embedding.0.bias"]))
        x = F.silu(conv(x, "2.w1")) * conv(x, "2.w3")
        return conv(x, "2.w2")[0].T

    def rope(self, latent):
        pairs = self.config["dim"] // self.heads // 2
        third = self.config["dim"] // self.heads // 6
        sizes = [pairs - 2 * third, third, third]
        if not self.is_video:
            position = torch.arange(latent.shape[0], dtype=torch.float64) * self.config["temporal_rope_scaling_factor"]
            turning = position[:, None] * frequencies(sizes[0])
            return rotation(F.pad(turning, (0, pairs - sizes[0])))
        _, rows, columns = self.config["patch_size"]
        sides = [latent.shape[1], latent.shape[2] // rows, latent.shape[3] // columns]
        axes = torch.meshgrid(*(torch.arange(side, dtype=torch.float64) for side in sides), indexing="ij")
        return rotation(torch.cat([axis.flatten()[:, None] * frequencies(size) for axis, size in zip(axes, sizes)], 1))

    def prepare(self, latent, text, t):
        half = self.config["freq_dim"] // 2
        angles = t * frequencies(half)
        wave = torch.cat([angles.cos(), angles.sin()]).float()
        x = self.embed(latent)
        if not self.lean:
            wave = wave.expand(x.shape[0], -1)
        self.e = self.linear(F.silu(self.linear(wave, "time_embedding.0")), "time_embedding.2")
        self.e0 = self.linear(F.silu(self.e), "time_projection.1").unflatten(-1, (6, -1))
        padded = F.pad(text, (0, 0, 0, self.config["text_len"] - text.shape[0]))
        hidden = F.gelu(self.linear(padded, "text_embedding.0"), approximate="tanh")
        self.context = self.linear(hidden, "text_embedding.2")
        self.place = self.rope(latent).to(torch.complex64 if self.lean else torch.complex128)
        return x

    def attend_self(self, x, index, m):
        name = f"blocks.{index}.self_attn"
        h = self.modulated(x, m[0], m[1])
        q = rotate(self.split(self.rms(self.linear(h, name + ".q"), name + ".norm_q")), self.place)
        k = rotate(self.split(self.rms(self.linear(h, name + ".k"), name + ".norm_k")), self.place)
        y = self.attend(q, k, self.split(self.linear(h, name + ".v")))
        return x + self.linear(y, name + ".o") * m[2]

    def attend_rest(self, x, index, m, other, place):
        name = f"blocks.{index}.cross_attn"
        norm3 = f"blocks.{index}.norm3"
        h = F.layer_norm(x, x.shape[-1:], self.weights[norm3 + ".weight"], self.weights[norm3 + ".bias"], self.eps)
        q = self.split(self.rms(self.linear(h, name + ".q"), name + ".norm_q"))
        k = self.split(self.rms(self.linear(self.context, name + ".k"), name + ".norm_k"))
        y = self.attend(q, k, self.split(self.linear(self.context, name + ".v")))
        fused = name + ".pre_attn_norm_fusion"
        o = F.layer_norm(other, other.shape[-1:], self.weights[fused + ".weight"], self.weights[fused + ".bias"], 1e-6)
        k = rotate(self.split(self.rms(self.linear(o, name + ".k_fusion"), name + ".norm_k_fusion", 1e-6)), place)
        y = y + self.attend(rotate(q, self.place), k, self.split(self.linear(o, name + ".v_fusion")))
        x = x + self.linear(y, name + ".o")
        h = F.gelu(self.linear(self.modulated(x, m[3], m[4]), f"blocks.{index}.ffn.0"), approximate="tanh")
        return x + self.linear(h, f"blocks.{index}.ffn.2") * m[5]

    def modulation(self, index):
        return (self.e0 + self.weights[f"blocks.{index}.modulation.modulation"][0]).unbind(-2)

    def finish(self, x, latent):
        shift, scale = (self.e.unsqueeze(-2) + self.weights["head.modulation"][0]).unbind(-2)
        y = self.linear(self.modulated(x, shift, scale), "head.head")
        if not self.is_video:
            return y
        t, rows, columns = self.config["patch_size"]
        c, f, h, w = latent.shape
        y = y.reshape(f // t, h // rows, w // columns, t, rows, columns, c)
        return y.permute(6, 0, 3, 1, 4, 2, 5).reshape(c, f, h, w)


def forward(video, audio, given, t):
    v = video.prepare(given["video"], given["text"], t)
    a = audio.prepare(given["audio"], given["text"], t)
    for index in range(video.config["num_layers"]):
        mv, ma = video.modulation(index), audio.modulation(index)
        a = audio.attend_self(a, index, ma)
        v = video.attend_self(v, index, mv)
        a, v = (
            audio.attend_rest(a, index, ma, v, video.place),
            video.attend_rest(v, index, mv, a, audio.place),
        )
    return video.finish(v, given["video"]), audio.finish(a, given["audio"])


def main():
    folder, runs, threads = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    torch.set_num_threads(threads)
    with open(os.path.join(folder, "config.json"), encoding="utf-8") as file:
        told = json.load(file)
    weights = tensors(os.path.join(folder, "tensors.safetensors"))
    said = {"version": torch.__version__}
    with torch.inference_mode():
        for way in ["lean", "as_reference"]:
            video, audio = (
                Stream(told["config"][name], weights, name + "_model.", way == "lean") for name in ["video", "audio"]
            )
            out = forward(video, audio, weights, told["t"])
            said[way] = {"processor": [], "wall": []}
            for _ in range(runs):
                before, start = time.process_time(), time.perf_counter()
                forward(video, audio, weights, told["t"])
                said[way]["processor"].append(time.process_time() - before)
                said[way]["wall"].append(time.perf_counter() - start)
    both = torch.cat([part.flatten() for part in out])
    both.contiguous().numpy().astype("<f4").tofile(os.path.join(folder, "output.bin"))
    print(json.dumps(said))


if __name__ == "__main__":
    main()
