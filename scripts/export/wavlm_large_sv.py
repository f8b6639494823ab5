"""WavLM-large speaker verification (UniSpeech), from `wavlm_large_finetune.pth`.

Layers: class `ECAPA_TDNN_SMALL` of ecapa_tdnn.py (microsoft/UniSpeech, as the package `f5-tts` carries
it) on class `WavLM` of UniSpeech's WavLM.py (as `audiobox_aesthetics` carries it). What stands between
the two is s3prl's `UpstreamExpert` (upstream/wavlm/expert.py), written here from its description.
"""
from pathlib import Path
from unittest import mock

import torch
from audiobox_aesthetics.model.wavlm import WavLM, WavLMConfig
from common import Exporter, Graph, Mismatch, Port, load_weights, main, random_floats, seeded
from f5_tts.eval.ecapa_tdnn import ECAPA_TDNN
from torch import Tensor, nn

# The configuration inside WavLM-Large.pt; `embedding` is the width of what comes out at last.
LARGE = {
    "embedding": 256,
    "extractor_mode": "layer_norm", "encoder_layers": 24, "encoder_embed_dim": 1024, "encoder_ffn_embed_dim": 4096,
    "encoder_attention_heads": 16, "layer_norm_first": True, "normalize": True, "num_buckets": 320, "max_distance": 800,
    "relative_position_embedding": True, "gru_rel_pos": True,
    "conv_feature_layers": "[(512,10,5)] + [(512,3,2)] * 4 + [(512,2,2)] * 2",
}
REDUCED = {
    **LARGE,
    "embedding": 64, "encoder_layers": 2, "encoder_embed_dim": 32, "encoder_ffn_embed_dim": 64, "encoder_attention_heads": 4,
    "conv_feature_layers": "[(16,10,5)] + [(16,3,2)] * 4 + [(16,2,2)] * 2", "conv_pos": 16, "conv_pos_groups": 4,
}


class Upstream(nn.Module):
    """Hidden states of one wave: what goes into each layer, and what the encoder gives at last."""

    def __init__(self, widths: dict) -> None:
        super().__init__()
        self.model = WavLM(WavLMConfig(widths))
        # Scaling of gradients is a function of its own that no graph can hold.
        self.model.feature_grad_mult = 0.0
        self.normalize = widths["normalize"]
        self.layers = widths["encoder_layers"]

    def forward(self, wavs: list[Tensor]) -> dict[str, list[Tensor]]:
        wav = torch.stack(wavs)
        if self.normalize:
            # Layer norm over the utterance, in a form that keeps its length free.
            centred = wav - wav.mean(dim=1, keepdim=True)
            wav = centred / torch.sqrt((centred * centred).mean(dim=1, keepdim=True) + 1e-5)
        (_, layers), _ = self.model.extract_features(wav, output_layer=self.layers + 1, ret_layer_results=True)
        states = [state.transpose(0, 1) for state, _ in layers]
        if self.model.cfg.layer_norm_first:
            states[-1] = self.model.encoder.layer_norm(states[-1])
        return {"hidden_states": states}


class Voice(nn.Module):
    """One wave in, its embedding out."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, wav: Tensor) -> Tensor:
        return self.network(wav)


def network_of(reduced: bool) -> ECAPA_TDNN:
    """The class asks `torch.hub` for its front end; it is given ours."""
    widths = REDUCED if reduced else LARGE
    upstream = Upstream(widths).eval()
    with mock.patch.object(torch.hub, "load", lambda *_, **__: upstream):
        return ECAPA_TDNN(feat_dim=widths["encoder_embed_dim"], channels=64 if reduced else 512,
                          emb_dim=widths["embedding"])


def reduced(seed: int, folder: Path) -> list[Path]:
    """Tensors under the key `model`."""
    path = folder / "wavlm_large_finetune.pth"
    torch.save({"model": seeded(seed, network_of(True)).state_dict()}, path)
    return [path]


def cases() -> list[tuple[Tensor, ...]]:
    """A second of noise, then other lengths: the shortest has a handful of frames."""
    return [(random_floats(1, t, seed=t, scale=0.1),) for t in (16_000, 23_456, 4_000)]


def graphs(checkpoints: list[Path], reduced: bool) -> list[Graph]:
    """The one graph."""
    network = network_of(reduced)
    width = (REDUCED if reduced else LARGE)["embedding"]
    weights = load_weights(checkpoints[0])
    lacking, unknown = network.load_state_dict(weights.get("model", weights), strict=False)
    # Training leaves heads of its own in the checkpoint; nothing that is asked may lack.
    unknown = [name for name in unknown if not name.startswith(("loss_calculator.", "feature_extract.model.mask_emb"))]
    if lacking or unknown:
        raise Mismatch(f"another checkpoint: lacking {lacking[:5]}, unknown {unknown[:5]}")
    network.eval()
    nn.utils.remove_weight_norm(network.feature_extract.model.encoder.pos_conv[0])
    return [Graph("wavlm_large_sv", "wavlm_large_sv", Voice(network), (Port("wav", "f32", (1, "t")),),
                  (Port("embedding", "f32", (1, width)),), cases, 1e-3)]


EXPORTER = Exporter(__doc__, ("wavlm_large_finetune.pth",), reduced, graphs)

if __name__ == "__main__":
    main(EXPORTER)
