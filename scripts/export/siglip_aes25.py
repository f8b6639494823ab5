"""SigLIP so400m with the aesthetic v2.5 head, from the folder of `google/siglip-so400m-patch14-384` and
`aesthetic_predictor_v2_5.pth`.

Layers: class `SiglipVisionModel` (package `transformers`), then the five linear layers of siglip_v2_5.py
(discus0434/aesthetic-predictor-v2-5), written here from their sizes in the checkpoint.
"""
from pathlib import Path

import torch
from common import Exporter, Graph, Port, load_weights, main, random_floats, seeded
from torch import Tensor, nn
from transformers import SiglipConfig, SiglipModel, SiglipVisionModel

SIDE = 384
WIDTHS = (1024, 128, 64, 16, 1)
VISION = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
          "image_size": SIDE, "patch_size": 14}
TEXT = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 4, "vocab_size": 50}


class Aesthetic(nn.Module):
    """Pooled picture, unit length, five linear layers with nothing between them."""

    def __init__(self, tower: SiglipVisionModel, head: nn.Sequential) -> None:
        super().__init__()
        self.tower = tower
        self.head = head

    def forward(self, pixel_values: Tensor) -> Tensor:
        pooled = self.tower(pixel_values=pixel_values, return_dict=True).pooler_output
        return self.head(pooled / pooled.norm(dim=-1, keepdim=True))


def head_of(width: int) -> nn.Sequential:
    """`scoring_head`; dropout keeps the numbering of the checkpoint and does nothing here."""
    layers = []
    for size in WIDTHS:
        layers += [nn.Linear(width, size), nn.Dropout()]
        width = size
    return nn.Sequential(*layers[:-1])


def reduced(seed: int, folder: Path) -> list[Path]:
    """The folder of a whole SigLIP, and a head in bfloat16, as published."""
    whole = SiglipModel(SiglipConfig(vision_config=VISION, text_config=TEXT))
    seeded(seed, whole).save_pretrained(folder / "siglip")
    head = seeded(seed + 1, head_of(VISION["hidden_size"])).state_dict()
    path = folder / "aesthetic_predictor_v2_5.pth"
    torch.save({f"scoring_head.{k}": v.bfloat16() for k, v in head.items()}, path)
    return [folder / "siglip", path]


def cases() -> list[tuple[Tensor, ...]]:
    """One picture, then two, -1..1."""
    return [(random_floats(b, 3, SIDE, SIDE, seed=b).tanh(),) for b in (1, 2)]


def graphs(checkpoints: list[Path], reduced: bool) -> list[Graph]:
    """The one graph."""
    tower = SiglipVisionModel.from_pretrained(checkpoints[0], attn_implementation="eager", torch_dtype=torch.float32)
    head = head_of(tower.config.hidden_size)
    head.load_state_dict({k.removeprefix("scoring_head."): v.float() for k, v in load_weights(checkpoints[1]).items()})
    # The pooling's fast path is one operator that no graph can hold.
    torch.backends.mha.set_fastpath_enabled(False)
    return [Graph("siglip_aes25", "siglip_aesthetic_2_5", Aesthetic(tower, head).eval(),
                  (Port("pixel_values", "f32", ("b", 3, SIDE, SIDE)),), (Port("score", "f32", ("b", 1)),), cases, 1e-3)]


EXPORTER = Exporter(__doc__, ("folder of siglip-so400m-patch14-384", "aesthetic_predictor_v2_5.pth"), reduced, graphs)

if __name__ == "__main__":
    main(EXPORTER)
