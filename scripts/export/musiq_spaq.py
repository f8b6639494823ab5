"""MUSIQ trained on SPAQ, from `musiq_spaq_ckpt-358bb6af.pth`.

Layers: class `MUSIQ` of musiq_arch.py (package `pyiqa`). The graph begins after the cutting into
patches, which `perception/src/vision/musiq.rs` does.
"""
from pathlib import Path

import torch
from common import Exporter, Graph, Port, load_weights, main, packages_without_start, random_floats, seeded
from torch import Tensor, nn

with packages_without_start("pyiqa", "pyiqa.archs", "pyiqa.utils", "pyiqa.data"):
    from pyiqa.archs.musiq_arch import MUSIQ

REDUCED = {"hidden_size": 48, "mlp_dim": 96, "num_layers": 2, "num_heads": 6}
SIDE = 32


class Patches(nn.Module):
    """`MUSIQ.forward` from the patches on."""

    def __init__(self, network: MUSIQ) -> None:
        super().__init__()
        self.network = network

    def forward(self, patches: Tensor, spatial: Tensor, scale: Tensor, mask: Tensor) -> Tensor:
        network, (b, n, _) = self.network, patches.shape
        x = network.gn_root(network.conv_root(patches.reshape(-1, 3, SIDE, SIDE)))
        x = network.block1(network.root_pool(x))
        # The embedding was trained by TensorFlow, where channels come last.
        x = network.embedding(x.permute(0, 2, 3, 1).reshape(b, n, -1))
        return network.head(network.transformer_encoder(x, spatial, scale, mask)[:, 0])


def reduced(seed: int, folder: Path) -> list[Path]:
    """Tensors under the key `params`, as `pyiqa` keeps them."""
    path = folder / "musiq_spaq.pth"
    torch.save({"params": seeded(seed, MUSIQ(pretrained=False, **REDUCED)).state_dict()}, path)
    return [path]


def cases() -> list[tuple[Tensor, ...]]:
    """Two sequences of one length, then one of another; the end of each is padding."""
    made = []
    for b, n in ((2, 20), (1, 33)):
        generator = torch.Generator().manual_seed(n)
        mask = (torch.arange(n) < n - 4).float().repeat(b, 1)
        spatial = torch.randint(0, 100, (b, n), generator=generator)
        scale = torch.randint(0, 3, (b, n), generator=generator)
        patches = random_floats(b, n, 3 * SIDE * SIDE, seed=n, scale=0.5) * mask[..., None]
        made.append((patches, spatial, scale, mask))
    return made


def reference(network: MUSIQ, *inputs: Tensor) -> tuple[Tensor]:
    """`MUSIQ.forward` itself, which takes patches and positions as one tensor while it is trained."""
    patches, spatial, scale, mask = inputs
    joined = torch.cat([patches, *(x.float()[..., None] for x in (spatial, scale, mask))], dim=-1)
    network.training = True
    try:
        return (network(joined),)
    finally:
        network.training = False


def graphs(checkpoints: list[Path], reduced: bool) -> list[Graph]:
    """The one graph."""
    network = MUSIQ(pretrained=False, **(REDUCED if reduced else {}))
    weights = load_weights(checkpoints[0])
    network.load_state_dict(weights.get("params", weights))
    network.eval()
    inputs = (
        Port("patches", "f32", ("b", "n", 3 * SIDE * SIDE)),
        Port("spatial_positions", "i64", ("b", "n")),
        Port("scale_positions", "i64", ("b", "n")),
        Port("mask", "f32", ("b", "n")),
    )
    expected = lambda *case: reference(network, *case)  # noqa: E731
    return [Graph("musiq_spaq", "musiq_spaq", Patches(network), inputs, (Port("score", "f32", ("b", 1)),), cases, 1e-3,
                  expected)]


EXPORTER = Exporter(__doc__, ("musiq_spaq_ckpt-358bb6af.pth",), reduced, graphs)

if __name__ == "__main__":
    main(EXPORTER)
