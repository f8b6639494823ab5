"""SyncNet v2, both towers, from `syncnet_v2.model`.

Layers: class `S` of SyncNetModel.py (joonson/syncnet_python), as the package `syncnet-python` carries
it. Its widths are fixed, so the reduced model is the full one with random weights.
"""
from pathlib import Path

import torch
from common import Exporter, Graph, Port, load_weights, main, packages_without_start, random_floats, seeded
from torch import Tensor, nn

with packages_without_start("syncnet_python"):
    from syncnet_python.SyncNetModel import S


class Lips(nn.Module):
    """Pictures to embedding (`forward_lip`)."""

    def __init__(self, network: S) -> None:
        super().__init__()
        self.network = network

    def forward(self, frames: Tensor) -> Tensor:
        return self.network.forward_lip(frames)


class Sound(nn.Module):
    """Cepstra to embedding (`forward_aud`)."""

    def __init__(self, network: S) -> None:
        super().__init__()
        self.network = network

    def forward(self, mfcc: Tensor) -> Tensor:
        return self.network.forward_aud(mfcc)


def reduced(seed: int, folder: Path) -> list[Path]:
    """A table of tensors, as published."""
    path = folder / "syncnet_v2.model"
    torch.save(seeded(seed, S()).state_dict(), path)
    return [path]


def pictures() -> list[tuple[Tensor, ...]]:
    """One window, then two: blue first, 0..255."""
    return [(random_floats(n, 3, 5, 224, 224, seed=n).sigmoid() * 255,) for n in (1, 2)]


def cepstra() -> list[tuple[Tensor, ...]]:
    """One window, then three."""
    return [(random_floats(n, 1, 13, 20, seed=n, scale=10.0),) for n in (1, 3)]


def graphs(checkpoints: list[Path], reduced: bool) -> list[Graph]:
    """The two towers."""
    network = S()
    network.load_state_dict(load_weights(checkpoints[0]))
    network.eval()
    embedding = (Port("embedding", "f32", ("n", 1024)),)
    return [
        Graph("syncnet_v2_lip", "syncnet_v2", Lips(network), (Port("frames", "f32", ("n", 3, 5, 224, 224)),),
              embedding, pictures, 1e-3),
        Graph("syncnet_v2_audio", "syncnet_v2", Sound(network), (Port("mfcc", "f32", ("n", 1, 13, 20)),),
              embedding, cepstra, 1e-3),
    ]


EXPORTER = Exporter(__doc__, ("syncnet_v2.model",), reduced, graphs)

if __name__ == "__main__":
    main(EXPORTER)
