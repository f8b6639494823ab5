"""ImageBind's towers for pictures, sound and text, from `imagebind_huge.pth`.

Layers: class `ImageBindModel` of imagebind_model.py (facebookresearch/ImageBind, as the package
`imagebind-unofficial` carries it). Takes about 24 GB of memory.
"""
from pathlib import Path

import torch
from common import Exporter, Graph, Port, load_weights, main, packages_without_start, random_floats, seeded
from torch import Tensor, nn

with packages_without_start("imagebind", "imagebind.models"):
    from imagebind.models.imagebind_model import ImageBindModel

# `imagebind_huge` in the same file.
HUGE = {
    "vision_embed_dim": 1280, "vision_num_blocks": 32, "vision_num_heads": 16, "text_embed_dim": 1024,
    "text_num_blocks": 24, "text_num_heads": 16, "out_embed_dim": 1024, "audio_drop_path": 0.1, "imu_drop_path": 0.7,
}
REDUCED = {f"{tower}_{size}": value
           for tower in ("vision", "text", "audio", "depth", "thermal", "imu")
           for size, value in (("embed_dim", 32), ("num_blocks", 2), ("num_heads", 4))} | {"out_embed_dim": 64}


class Tower(nn.Module):
    """One kind of input through `ImageBindModel.forward`, without its mean over clips."""

    def __init__(self, network: ImageBindModel, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.before = network.modality_preprocessors[kind]
        self.trunk = network.modality_trunks[kind]
        self.head = network.modality_heads[kind]
        self.after = network.modality_postprocessors[kind]

    def forward(self, input: Tensor) -> Tensor:
        given = self.before(**{self.kind: input})
        return self.after(self.head(self.trunk(**given["trunk"]), **given["head"]))


def reduced(seed: int, folder: Path) -> list[Path]:
    """A table of tensors, as published."""
    path = folder / "imagebind_huge.pth"
    torch.save(seeded(seed, ImageBindModel(**REDUCED)).state_dict(), path)
    return [path]


def tokens(b: int) -> Tensor:
    """Start, words, end, padding: the end marker is the largest number of a row."""
    words = torch.randint(1, 49_000, (b, 77), generator=torch.Generator().manual_seed(b))
    for row, end in zip(words, (10, 76, 1)):
        row[0], row[end], row[end + 1 :] = 49_406, 49_407, 0
    return words


def graphs(checkpoints: list[Path], reduced: bool) -> list[Graph]:
    """The three towers."""
    widths = REDUCED if reduced else HUGE
    network = ImageBindModel(**widths)
    network.load_state_dict(load_weights(checkpoints[0]))
    network.eval()
    shapes = {"vision": (3, 2, 224, 224), "audio": (1, 128, 204)}
    made = {kind: [(random_floats(b, *shape, seed=b),) for b in (2, 1, 3)] for kind, shape in shapes.items()}
    made["text"] = [(tokens(b),) for b in (2, 1, 3)]
    output = (Port("embedding", "f32", ("b", widths["out_embed_dim"])),)
    # The class averages pictures over clips, which the readers do themselves: it is given clips of one.
    clips = lambda x, kind: x[:, None] if kind == "vision" else x  # noqa: E731
    return [Graph(f"imagebind_{kind}", f"imagebind_huge_{kind}", Tower(network, kind),
                  (Port("input", "i64" if kind == "text" else "f32", ("b", *cases[0][0].shape[1:])),), output,
                  lambda cases=cases: cases, 1e-4, lambda x, kind=kind: (network({kind: clips(x, kind)})[kind],))
            for kind, cases in made.items()]


EXPORTER = Exporter(__doc__, ("imagebind_huge.pth",), reduced, graphs)

if __name__ == "__main__":
    main(EXPORTER)
