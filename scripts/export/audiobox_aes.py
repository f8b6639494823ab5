"""AudioBox-Aesthetics, from `checkpoint.pt`, or from the hub's folder (`config.json`, `model.safetensors`).

Layers: class `AesMultiOutput` of model/aes.py (package `audiobox_aesthetics`). The graph's ratings are
standardised; mean and deviation of each axis are `target_transform` in the sidecar.
"""
import contextlib
import re
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import audiobox_aesthetics.model.aes as aes
import torch
from audiobox_aesthetics.model.wavlm import WavLMConfig
from common import Exporter, Graph, Port, load_weights, main, random_floats, seeded
from torch import Tensor, nn

SAMPLES = 160_000
# Widths of the reduced trunk; the front end's strides stay, or the frames would be others.
REDUCED = {
    "encoder_layers": 2, "encoder_embed_dim": 32, "encoder_ffn_embed_dim": 64, "encoder_attention_heads": 4,
    "conv_feature_layers": "[(16,10,5)] + [(16,3,2)] * 4 + [(16,2,2)] * 2", "conv_pos": 16, "conv_pos_groups": 4,
}
FIELDS = ("proj_num_layer", "proj_ln", "proj_act_fn", "proj_dropout", "nth_layer", "use_weighted_layer_sum",
          "precision", "normalize_embed", "output_dim")


class Ratings(nn.Module):
    """The four axes side by side, in the order CE, CU, PC, PQ."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, wav: Tensor, mask: Tensor) -> Tensor:
        with fill_instead_of_assignment():
            axes = self.network({"wav": wav[:, None], "mask": mask[:, None]})
        return torch.stack([axes[name] for name in aes.AXES_NAME], dim=1)


@contextlib.contextmanager
def fill_instead_of_assignment() -> Iterator[None]:
    """`x[padding_mask] = 0` (model/wavlm.py, TransformerEncoder) is nothing the exporter can write; a masked fill is."""
    assign = Tensor.__setitem__

    def fill(tensor: Tensor, at: object, value: object) -> None:
        if isinstance(at, Tensor) and at.dtype == torch.bool and not isinstance(value, Tensor):
            tensor.masked_fill_(at[(...,) + (None,) * (tensor.ndim - at.ndim)], value)
        else:
            assign(tensor, at, value)

    with mock.patch.object(Tensor, "__setitem__", fill):
        yield


def network_of(fields: dict, transform: dict, reduced: bool) -> nn.Module:
    """The class, with the trunk's widths that it takes from a constant of its module."""
    trunk = WavLMConfig({**vars(aes.DEFAULT_AUDIO_CFG), **(REDUCED if reduced else {})})
    with mock.patch.object(aes, "DEFAULT_AUDIO_CFG", trunk):
        return aes.AesMultiOutput(**fields, target_transform=transform)


def reduced(seed: int, folder: Path) -> list[Path]:
    """Tensors under `state_dict` with the prefix `model.`, settings and scales beside them."""
    fields = {"proj_num_layer": 1, "proj_ln": False, "proj_act_fn": "gelu", "proj_dropout": 0, "nth_layer": 3,
              "use_weighted_layer_sum": True, "precision": "32", "normalize_embed": True, "output_dim": 1}
    transform = {axis: {"mean": 5.0 + i, "std": 1.0 + i / 10} for i, axis in enumerate(aes.AXES_NAME)}
    weights = seeded(seed, network_of(fields, transform, True)).state_dict()
    path = folder / "checkpoint.pt"
    torch.save({"state_dict": {f"model.{k}": v for k, v in weights.items()}, "model_cfg": fields,
                "target_transform": transform}, path)
    return [path]


def load(path: Path, reduced: bool) -> nn.Module:
    """As `AesPredictor.setup_model` (infer.py) reads either form."""
    if path.is_dir():
        return aes.AesMultiOutput.from_pretrained(str(path))
    checkpoint = load_weights(path)
    fields = {name: checkpoint["model_cfg"][name] for name in FIELDS}
    network = network_of(fields, checkpoint["target_transform"], reduced)
    network.load_state_dict({re.sub("^model.", "", k): v for k, v in checkpoint["state_dict"].items()})
    return network


def cases() -> list[tuple[Tensor, ...]]:
    """Two pieces, the second of them half padding; then one whole piece."""
    mask = torch.ones(2, SAMPLES, dtype=torch.bool)
    mask[1, SAMPLES // 2 :] = False
    return [(random_floats(2, SAMPLES, scale=0.1) * mask, mask),
            (random_floats(1, SAMPLES, seed=2, scale=0.1), torch.ones(1, SAMPLES, dtype=torch.bool))]


def graphs(checkpoints: list[Path], reduced: bool) -> list[Graph]:
    """The one graph."""
    network = load(checkpoints[0], reduced).eval()
    scales = {axis: {key: float(network.target_transform[axis][key]) for key in ("mean", "std")}
              for axis in aes.AXES_NAME}
    # What scales gradients while training is a function of its own that no graph can hold.
    network.wavlm_model.feature_grad_mult = 0.0
    nn.utils.remove_weight_norm(network.wavlm_model.encoder.pos_conv[0])
    inputs = (Port("wav", "f32", ("b", SAMPLES)), Port("mask", "bool", ("b", SAMPLES)))

    def expected(wav: Tensor, mask: Tensor) -> tuple[Tensor]:
        # The class' own assignment writes into its input's features, never into `wav`.
        axes = network({"wav": wav[:, None], "mask": mask[:, None]})
        return (torch.stack([axes[name] for name in aes.AXES_NAME], dim=1),)

    return [Graph("audiobox_aes", "audiobox_aesthetics", Ratings(network), inputs,
                  (Port("axes_ce_cu_pc_pq", "f32", ("b", len(aes.AXES_NAME))),), cases, 1e-4, expected,
                  constants={"axes": list(aes.AXES_NAME), "target_transform": scales})]


EXPORTER = Exporter(__doc__, ("checkpoint.pt or folder",), reduced, graphs)

if __name__ == "__main__":
    main(EXPORTER)
