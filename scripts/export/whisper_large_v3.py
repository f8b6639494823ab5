"""Whisper large-v3, encoder and decoder, from the folder of `openai/whisper-large-v3`.

Layers: class `WhisperForConditionalGeneration` of modeling_whisper.py (package `transformers`). The
decoder is one graph of two branches, chosen by `use_cache_branch` as the readers expect: without a
cache of keys and values, and with one. Takes about 32 GB of memory.
"""
import json
from pathlib import Path

import onnx
import torch
from common import Exporter, Graph, Mismatch, Port, main, random_floats, seeded, traced
from onnx import helper
from torch import Tensor, nn
from transformers import EncoderDecoderCache, WhisperConfig, WhisperForConditionalGeneration

FRAMES = 3000
PARTS = ("decoder.key", "decoder.value", "encoder.key", "encoder.value")
CHOICE = "use_cache_branch"
TYPES = {"f32": onnx.TensorProto.FLOAT, "i64": onnx.TensorProto.INT64, "bool": onnx.TensorProto.BOOL}


class Encoder(nn.Module):
    """`WhisperEncoder`."""

    def __init__(self, network: WhisperForConditionalGeneration) -> None:
        super().__init__()
        self.encoder = network.model.encoder

    def forward(self, input_features: Tensor) -> Tensor:
        return self.encoder(input_features).last_hidden_state


class Linear(nn.Module):
    """A linear layer whose weight lies as a graph multiplies it, so that both branches share it as it is."""

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        self.weight = nn.Parameter(layer.weight.detach().t().contiguous(), requires_grad=False)
        self.bias = layer.bias

    def forward(self, x: Tensor) -> Tensor:
        x = x @ self.weight
        return x if self.bias is None else x + self.bias


class Attention(nn.Module):
    """`WhisperAttention`, with keys and values handed in."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.heads, self.width, self.scaling = layer.num_heads, layer.head_dim, layer.scaling
        self.query, self.key, self.value, self.out = map(
            Linear, (layer.q_proj, layer.k_proj, layer.v_proj, layer.out_proj))

    def split(self, x: Tensor) -> Tensor:
        return x.view(x.shape[0], -1, self.heads, self.width).transpose(1, 2)  # (b, heads, t, width)

    def pair(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.split(self.key(x)), self.split(self.value(x))

    def forward(self, x: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None) -> Tensor:
        scores = self.split(self.query(x) * self.scaling) @ key.transpose(-1, -2)
        scores = scores if mask is None else scores + mask
        seen = torch.softmax(scores, dim=-1) @ value
        return self.out(seen.transpose(1, 2).reshape(x.shape[0], -1, self.heads * self.width))


class Layer(nn.Module):
    """`WhisperDecoderLayer`."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.norms = nn.ModuleList((layer.self_attn_layer_norm, layer.encoder_attn_layer_norm, layer.final_layer_norm))
        self.own, self.cross = Attention(layer.self_attn), Attention(layer.encoder_attn)
        self.wide, self.narrow, self.activation = Linear(layer.fc1), Linear(layer.fc2), layer.activation_fn

    def forward(self, x: Tensor, hidden: Tensor, mask: Tensor, past: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        normed = self.norms[0](x)
        key, value = self.own.pair(normed)
        if past:
            key, value = torch.cat([past[0], key], dim=2), torch.cat([past[1], value], dim=2)
        x = x + self.own(normed, key, value, mask)
        cross = past[2:] or self.cross.pair(hidden)
        x = x + self.cross(self.norms[1](x), *cross)
        x = x + self.narrow(self.activation(self.wide(self.norms[2](x))))
        # The encoder's part does not change: with a cache nothing is returned for it.
        return x, key, value, *(part[:, :, :0] if past else part for part in cross)


class Decoder(nn.Module):
    """`WhisperDecoder` and the projection to the vocabulary; with `cached`, four pasts per layer follow."""

    def __init__(self, network: WhisperForConditionalGeneration) -> None:
        super().__init__()
        decoder = network.model.decoder
        self.tokens, self.positions = decoder.embed_tokens, decoder.embed_positions
        self.layers = nn.ModuleList(map(Layer, decoder.layers))
        self.norm, self.vocabulary = decoder.layer_norm, Linear(network.proj_out)

    def forward(self, input_ids: Tensor, encoder_hidden_states: Tensor, *past: Tensor) -> tuple[Tensor, ...]:
        before = past[0].shape[2] if past else 0
        at = torch.arange(input_ids.shape[1]) + before
        mask = (torch.arange(input_ids.shape[1] + before)[None] > at[:, None]).float() * -1e9
        x = self.tokens(input_ids) + self.positions.weight[at]
        present: list[Tensor] = []
        for i, layer in enumerate(self.layers):
            x, *parts = layer(x, encoder_hidden_states, mask, past[4 * i : 4 * i + 4])
            present += parts
        return self.vocabulary(self.norm(x)), *present


def reduced(seed: int, folder: Path) -> list[Path]:
    """The folder as the hub has it, in half precision; 128 bands and the vocabulary stay."""
    config = WhisperConfig(
        vocab_size=51_866, num_mel_bins=128, d_model=32, encoder_layers=2, decoder_layers=2, encoder_attention_heads=4,
        decoder_attention_heads=4, encoder_ffn_dim=64, decoder_ffn_dim=64, max_source_positions=FRAMES // 2)
    seeded(seed, WhisperForConditionalGeneration(config)).half().save_pretrained(folder / "whisper")
    (folder / "whisper" / "tokenizer.json").write_text(json.dumps({"reduced": seed}))
    return [folder / "whisper"]


def merged(first: onnx.ModelProto, after: onnx.ModelProto, inputs: list, shared: set[str]) -> onnx.ModelProto:
    """One graph that asks `use_cache_branch`; weights that both branches have lie outside, once."""
    weights, branches = {}, []
    for model, prefix in ((after, "after/"), (first, "first/")):
        for tensor in model.graph.initializer:
            if tensor.name in shared and weights.setdefault(tensor.name, tensor).raw_data != tensor.raw_data:
                raise Mismatch(f"the branches differ in `{tensor.name}`")
        keep = shared | {value.name for value in inputs}
        branches.append(branch(model.graph, prefix, keep, shared))
    outputs = [helper.make_empty_tensor_value_info(value.name) for value in first.graph.output]
    for value, of in zip(outputs, first.graph.output):
        value.CopyFrom(of)
    choose = helper.make_node("If", [CHOICE], [v.name for v in outputs], then_branch=branches[0], else_branch=branches[1])
    graph = helper.make_graph([choose], "decoder", inputs, outputs, list(weights.values()))
    return helper.make_model(graph, opset_imports=first.opset_import, ir_version=first.ir_version)


def branch(graph: onnx.GraphProto, prefix: str, keep: set[str], shared: set[str]) -> onnx.GraphProto:
    """The graph as a branch: no inputs, no shared weights, and names that the other branch does not have."""
    name = lambda old: old if not old or old in keep else prefix + old  # noqa: E731
    made = onnx.GraphProto(name=prefix.strip("/"))
    for node in graph.node:
        own = made.node.add()
        own.CopyFrom(node)
        own.name = prefix + node.name
        own.input[:] = map(name, node.input)
        own.output[:] = map(name, node.output)
    for tensor in (t for t in graph.initializer if t.name not in shared):
        made.initializer.add().CopyFrom(tensor)
        made.initializer[-1].name = name(tensor.name)
    for value in graph.output:
        made.output.add().CopyFrom(value)
        made.output[-1].name = name(value.name)
    return made


def decoder_ports(config: WhisperConfig) -> tuple[tuple[Port, ...], tuple[Port, ...]]:
    """Inputs and outputs of the merged decoder."""
    heads = config.decoder_attention_heads
    width = config.d_model // heads

    def cache(prefix: str, when: str) -> tuple[Port, ...]:
        names = ((f"{prefix}.{i}.{part}", part.split(".")[0]) for i in range(config.decoder_layers) for part in PARTS)
        return tuple(Port(name, "f32", ("b", heads, f"{side}_{when}", width)) for name, side in names)

    inputs = (Port("input_ids", "i64", ("b", "s")), Port("encoder_hidden_states", "f32", ("b", "frames", config.d_model)),
              *cache("past_key_values", "past"), Port(CHOICE, "bool", (1,)))
    return inputs, (Port("logits", "f32", ("b", "s", config.vocab_size)), *cache("present", "now"))


def empty_past(config: WhisperConfig, b: int) -> list[Tensor]:
    """What is handed in where there is no cache yet."""
    heads = config.decoder_attention_heads
    return [torch.zeros(b, heads, 0, config.d_model // heads) for _ in range(config.decoder_layers * len(PARTS))]


def ask(network: WhisperForConditionalGeneration, *inputs: Tensor) -> tuple[Tensor | None, ...]:
    """The class' own answer; nothing is compared of the encoder's part once it is cached."""
    ids, hidden, *past, cached = inputs
    layers = [tuple(past[i : i + 4]) for i in range(0, len(past), 4)]
    cache = EncoderDecoderCache.from_legacy_cache(tuple(layers) if cached.item() else None)
    answer = network(decoder_input_ids=ids, encoder_outputs=(hidden,), past_key_values=cache, use_cache=True)
    parts = [part for layer in answer.past_key_values.to_legacy_cache() for part in layer]
    if cached.item():
        parts = [None if i % 4 > 1 else part for i, part in enumerate(parts)]
    return answer.logits, *parts


def decoder_cases(network: WhisperForConditionalGeneration) -> list[tuple[Tensor, ...]]:
    """Four tokens without a cache, one and then three more with it; two sequences at once."""
    hidden = random_floats(2, 60, network.config.d_model)
    ids = torch.randint(0, network.config.vocab_size, (2, 8), generator=torch.Generator().manual_seed(5))
    first = (ids[:, :4], hidden, *empty_past(network.config, 2), torch.tensor([False]))
    with torch.no_grad():
        _, *past = ask(network, *first)
    made = [first]
    for tokens in (ids[:, 4:5], ids[:, 4:7]):
        made.append((tokens, hidden, *past, torch.tensor([True])))
    return made


def decoder_graph(network: WhisperForConditionalGeneration) -> Graph:
    """Both branches are traced from one module, so that their weights bear the same names."""
    module = Decoder(network).eval()
    inputs, outputs = decoder_ports(network.config)

    def build(folder: Path) -> onnx.ModelProto:
        cases = decoder_cases(network)
        first = traced(module, cases[0][:2], inputs[:2], outputs, folder / "first", fold=False)
        after = traced(module, cases[2][:-1], inputs[:-1], outputs, folder / "after", fold=False)
        values = [helper.make_tensor_value_info(p.name, TYPES[p.kind], p.shape) for p in inputs]
        return merged(first, after, values, {name for name, _ in module.named_parameters()})

    return Graph("whisper_v3_decoder", "whisper_large_v3", module, inputs, outputs, lambda: decoder_cases(network), 1e-3,
                 lambda *case: ask(network, *case), build)


def graphs(checkpoints: list[Path], reduced: bool) -> list[Graph]:
    """Encoder and decoder."""
    network = WhisperForConditionalGeneration.from_pretrained(
        checkpoints[0], attn_implementation="eager", torch_dtype=torch.float32).eval()
    config = network.config
    encoder = Graph(
        "whisper_v3_encoder", "whisper_large_v3", Encoder(network),
        (Port("input_features", "f32", ("b", config.num_mel_bins, FRAMES)),),
        (Port("last_hidden_state", "f32", ("b", FRAMES // 2, config.d_model)),),
        lambda: [(random_floats(b, config.num_mel_bins, FRAMES, seed=b),) for b in (1, 2)], 1e-3)
    return [encoder, decoder_graph(network)]


EXPORTER = Exporter(__doc__, ("folder of whisper-large-v3",), reduced, graphs,
                    beside=("tokenizer.json", "config.json", "generation_config.json"))

if __name__ == "__main__":
    main(EXPORTER)
