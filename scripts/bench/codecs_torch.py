#!/usr/bin/env python3
"""The video VAE's decoder and the vocoder in PyTorch, timed; started by model/examples/codecs.rs.

    codecs_torch.py FOLDER RUNS

FOLDER holds config.json and tensors.safetensors (weights and `input`); output.bin (f32) is written there, and output64.bin, which was computed
in f64. Prints JSON: the version of torch and the processor seconds of each run, one thread. Plain torch operations, as eager code has them.
"""
import json
import os
import sys
import time

import numpy as np
import torch
import torch.nn.functional as F

torch.set_num_threads(1)
torch.set_num_interop_threads(1)


def tensors(path):
    """A safetensors file of f32."""
    with open(path, "rb") as file:
        size = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(size))
        body = file.read()
    out = {}
    for name, entry in header.items():
        if name != "__metadata__":
            assert entry["dtype"] == "F32", name
            start, end = entry["data_offsets"]
            values = np.frombuffer(body[start:end], dtype="<f4").copy()
            out[name] = torch.from_numpy(values).reshape(entry["shape"])
    return out


class Vocoder:
    """BigVGAN: [1, bands, frames] to [samples]. Weight norms are folded beforehand, as for inference."""

    def __init__(self, config, weights):
        self.config = config
        self.weights = weights
        for name in [name for name in weights if name.endswith("weight_v")]:
            base = name[: -len("weight_v")]
            direction = weights.pop(name)
            length = weights.pop(base + "weight_g")
            norm = direction.flatten(1).norm(dim=1).reshape(-1, 1, 1)
            weights[base + "weight"] = direction * (length / norm)

    def conv(self, x, name, dilation=1):
        weight = self.weights[name + ".weight"]
        pad = dilation * (weight.shape[2] - 1) // 2
        return F.conv1d(x, weight, self.weights[name + ".bias"], padding=pad, dilation=dilation)

    def activation(self, x, name):
        channels = x.shape[1]
        up = self.weights[name + ".upsample.filter"].expand(channels, -1, -1)
        x = F.pad(x, (5, 5), mode="replicate")
        x = 2 * F.conv_transpose1d(x, up, stride=2, groups=channels)
        x = x[..., 15:-15]
        alpha = self.weights[name + ".act.alpha"].exp()[None, :, None]
        beta = self.weights[name + ".act.beta"].exp()[None, :, None]
        x = x + (1.0 / (beta + 1e-9)) * torch.sin(x * alpha).pow(2)
        down = self.weights[name + ".downsample.lowpass.filter"].expand(channels, -1, -1)
        return F.conv1d(F.pad(x, (5, 6), mode="replicate"), down, stride=2, groups=channels)

    def block(self, x, name, dilations):
        for index, dilation in enumerate(dilations):
            h = self.activation(x, f"{name}.activations.{2 * index}")
            h = self.conv(h, f"{name}.convs1.{index}", dilation)
            h = self.activation(h, f"{name}.activations.{2 * index + 1}")
            x = x + self.conv(h, f"{name}.convs2.{index}")
        return x

    def __call__(self, mel):
        config = self.config
        x = self.conv(mel[None], "conv_pre")
        each = len(config["resblock_kernel_sizes"])
        for index, rate in enumerate(config["upsample_rates"]):
            name = f"ups.{index}.0"
            pad = (config["upsample_kernel_sizes"][index] - rate) // 2
            x = F.conv_transpose1d(x, self.weights[name + ".weight"], self.weights[name + ".bias"], stride=rate, padding=pad)
            blocks = [
                self.block(x, f"resblocks.{index * each + at}", config["resblock_dilation_sizes"][at]) for at in range(each)
            ]
            x = sum(blocks) / each
        x = self.activation(x, "activation_post")
        return torch.tanh(self.conv(x, "conv_post")).flatten()


class Decoder:
    """Wan2.2's: [z, frames, h, w] to [3, pictures, 16h, 16w], one latent frame at a time; what a causal convolution needs of the past is kept."""

    def __init__(self, config, weights):
        self.config = config
        self.weights = weights

    def causal(self, x, name, past=None):
        weight, bias = self.weights[name + ".weight"], self.weights[name + ".bias"]
        time_taps, rows = weight.shape[2], weight.shape[3]
        if time_taps > 1:
            past = self.past() if past is None else past
            kept = self.caches.get(past)
            x = F.pad(x, (0, 0, 0, 0, time_taps - 1, 0)) if kept is None else torch.cat([kept, x], dim=1)
            self.caches[past] = x[:, -(time_taps - 1) :]
        return F.conv3d(x[None], weight, bias, padding=(0, rows // 2, rows // 2))[0]

    def past(self):
        self.next += 1
        return self.next

    def norm(self, x, name):
        gamma = self.weights[name + ".gamma"]
        return F.normalize(x, dim=0) * x.shape[0] ** 0.5 * gamma.reshape(-1, 1, 1, 1)

    def residual(self, x, name):
        h = self.causal(F.silu(self.norm(x, name + ".residual.0")), name + ".residual.2")
        h = self.causal(F.silu(self.norm(h, name + ".residual.3")), name + ".residual.6")
        return h + (self.causal(x, name + ".shortcut") if name + ".shortcut.weight" in self.weights else x)

    def frames(self, x, name, pad):
        y = F.conv2d(x.transpose(0, 1), self.weights[name + ".weight"], self.weights[name + ".bias"], padding=pad)
        return y.transpose(0, 1)

    def attention(self, x, name):
        channels, frames, height, width = x.shape
        qkv = self.frames(self.norm(x, name + ".norm"), name + ".to_qkv", 0)
        q, k, v = qkv.transpose(0, 1).flatten(2).transpose(1, 2).chunk(3, dim=-1)
        y = F.scaled_dot_product_attention(q[:, None], k[:, None], v[:, None])[:, 0]
        y = y.transpose(1, 2).reshape(frames, channels, height, width).transpose(0, 1)
        return x + self.frames(y, name + ".proj", 0)

    def up(self, x, name, faster):
        if faster:
            slot = self.past()
            if self.first:
                self.caches[slot] = None
            else:
                channels, frames, height, width = x.shape
                y = self.causal(x, name + ".time_conv", slot)
                y = y.reshape(2, channels, frames, height, width)
                x = y.permute(1, 2, 0, 3, 4).reshape(channels, 2 * frames, height, width)
        x = F.interpolate(x.transpose(0, 1), scale_factor=2, mode="nearest-exact").transpose(0, 1)
        return self.frames(x, name + ".resample.1", 1)

    def past_the_level(self, x, output, faster):
        channels, frames, height, width = x.shape
        ft = 2 if faster else 1
        y = x.repeat_interleave(output * ft * 4 // channels, dim=0)
        y = y.reshape(output, ft, 2, 2, frames, height, width).permute(0, 4, 1, 5, 2, 6, 3)
        y = y.reshape(output, frames * ft, height * 2, width * 2)
        return y[:, ft - 1 :] if self.first else y

    def chunk(self, x):
        config = self.config
        widths = [mult * config["dec_dim"] for mult in reversed(config["dim_mult"])]
        doubled = list(reversed(config["temperal_downsample"]))
        x = self.causal(x, "decoder.conv1")
        x = self.residual(x, "decoder.middle.0")
        x = self.attention(x, "decoder.middle.1")
        x = self.residual(x, "decoder.middle.2")
        for level, output in enumerate(widths):
            name = f"decoder.upsamples.{level}.upsamples"
            h = x
            for block in range(config["num_res_blocks"] + 1):
                h = self.residual(h, f"{name}.{block}")
            if level < len(doubled):
                faster = doubled[level]
                h = self.up(h, f"{name}.{config['num_res_blocks'] + 1}", faster) + self.past_the_level(x, output, faster)
            x = h
        x = self.causal(F.silu(self.norm(x, "decoder.head.0")), "decoder.head.2")
        _, frames, height, width = x.shape
        x = x.reshape(3, 2, 2, frames, height, width).permute(0, 3, 4, 2, 5, 1)
        return x.reshape(3, frames, 2 * height, 2 * width)

    def __call__(self, latent):
        self.caches = {}
        z = self.causal(latent, "conv2")
        parts = []
        for frame in range(z.shape[1]):
            self.next, self.first = 0, frame == 0
            parts.append(self.chunk(z[:, frame : frame + 1]))
        return torch.cat(parts, dim=1)


def main():
    folder, runs = sys.argv[1], int(sys.argv[2])
    with open(os.path.join(folder, "config.json"), encoding="utf-8") as file:
        told = json.load(file)
    weights = tensors(os.path.join(folder, "tensors.safetensors"))
    given = weights.pop("input")
    kind = {"vocoder": Vocoder, "vae": Decoder}[told["kind"]]
    exact = os.path.join(folder, "output64.bin")
    if not os.path.exists(exact):
        with torch.inference_mode():
            wide = kind(told["config"], {name: weight.double() for name, weight in weights.items()})
            wide(given.double()).contiguous().numpy().astype("<f4").tofile(exact)
            del wide
    network = kind(told["config"], weights)
    with torch.inference_mode():
        out = network(given)
        seconds = []
        for _ in range(runs):
            before = time.process_time()
            network(given)
            seconds.append(time.process_time() - before)
    out.contiguous().numpy().astype("<f4").tofile(os.path.join(folder, "output.bin"))
    print(json.dumps({"version": torch.__version__, "seconds": seconds}))


if __name__ == "__main__":
    main()
