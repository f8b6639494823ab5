"""Every exporter on a reduced network with random weights: `./scripts/test-export`.

`OMNI_SHARED` names the folder that holds `golden/metrics`; without it signatures are not compared with
the graphs there.
"""
import importlib
import json
import os
import re
import tempfile
import unittest
import unittest.mock
from pathlib import Path

import common
import onnx
import torch
from common import Graph, Mismatch, Port

SEED = 7
SCRIPTS = ("audiobox_aes", "imagebind_huge", "musiq_spaq", "siglip_aes25", "syncnet_v2", "wavlm_large_sv",
           "whisper_large_v3")
# Our graph, the one of the golden folder, and outputs that only the latter has.
GOLDEN = {
    "audiobox_aes": ("audiobox/audiobox_reduced.onnx", ()),
    "imagebind_audio": ("imagebind/imagebind_reduced_audio.onnx", ()),
    "imagebind_text": ("imagebind/imagebind_reduced_text.onnx", ()),
    "imagebind_vision": ("imagebind/imagebind_reduced_vision.onnx", ()),
    "musiq_spaq": ("musiq/musiq_reduced.onnx", ()),
    # Ours leaves out the pooled picture, which metrics.md does not list.
    "siglip_aes25": ("aesthetic/aesthetic_reduced.onnx", ("image_embeds",)),
    "syncnet_v2_audio": ("syncnet/syncnet_w4_audio.onnx", ()),
    "syncnet_v2_lip": ("syncnet/syncnet_w4_lip.onnx", ()),
    "wavlm_large_sv": ("wavlm/wavlm_ecapa_reduced.onnx", ()),
}
# The golden graph was traced with a batch of two; ours takes any.
TRACED_BATCH = {"audiobox_aes": 2}


def signature(path):
    """Name, kind and sizes of inputs and outputs; `None` for an axis of any size."""
    graph = onnx.load(path, load_external_data=False).graph
    dims = lambda v: [None if d.dim_param else d.dim_value for d in v.type.tensor_type.shape.dim]  # noqa: E731
    ports = lambda values: [(v.name, v.type.tensor_type.elem_type, dims(v)) for v in values]  # noqa: E731
    return ports(graph.input), ports(graph.output)


class Exports(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.out = Path(cls.folder.name)
        cls.errors = {}
        for name in SCRIPTS:
            cls.errors |= common.run_reduced(importlib.import_module(name).EXPORTER, SEED, cls.out)

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    def test_there_is_a_test_for_every_script(self):
        here = {p.stem for p in Path(__file__).parent.glob("*.py")} - {"common", "test_export"}
        self.assertEqual(here, set(SCRIPTS))

    def test_every_graph_has_its_sidecar_and_nothing_else_is_left(self):
        kept = {f"{name}.{end}" for name in self.errors for end in ("onnx", "json")}
        self.assertEqual({p.name for p in self.out.iterdir()}, kept | {"tokenizer.json", "config.json", "generation_config.json"})
        for name, worst in self.errors.items():
            sidecar = json.loads((self.out / f"{name}.json").read_text())
            self.assertEqual(sidecar["files"][0]["sha256"], common.sha256(self.out / f"{name}.onnx"))
            self.assertEqual(sidecar["check"]["largest_error"], worst)
            self.assertTrue(sidecar["checkpoint"] and all(len(c["sha256"]) == 64 for c in sidecar["checkpoint"]))
            inputs, outputs = signature(self.out / f"{name}.onnx")
            self.assertEqual([p["name"] for p in sidecar["inputs"] + sidecar["outputs"]],
                             [name for name, *_ in inputs + outputs])

    def test_names_are_those_of_the_list_of_networks(self):
        import tomllib

        path = Path(__file__).resolve().parents[2] / "perception" / "models.toml"
        listed = {n["id"]: {f["name"] for f in n["files"]} for n in tomllib.loads(path.read_text())["network"]}
        for name in self.errors:
            sidecar = json.loads((self.out / f"{name}.json").read_text())
            self.assertIn(f"{name}.onnx", listed[sidecar["network"]])
        self.assertLessEqual({"tokenizer.json", "config.json", "generation_config.json"}, listed["whisper_large_v3"])

    def test_signatures_are_those_of_the_golden_graphs(self):
        folder = Path(os.environ.get("OMNI_SHARED", "")) / "golden" / "metrics"
        if not os.environ.get("OMNI_SHARED") or not folder.is_dir():
            self.skipTest("OMNI_SHARED names no folder with golden/metrics")
        for name, (file, more) in GOLDEN.items():
            with self.subTest(name):
                inputs, outputs = signature(folder / file)
                outputs = [port for port in outputs if port[0] not in more]
                for port in (*inputs, *outputs):
                    if name in TRACED_BATCH and port[2][0] == TRACED_BATCH[name]:
                        port[2][0] = None
                ours = signature(self.out / f"{name}.onnx")
                self.assertEqual(ours[0], inputs)
                # The tracer left the width of some golden outputs open.
                for mine, theirs in zip(ours[1], outputs):
                    theirs[2][:] = [m if t is None else t for m, t in zip(mine[2], theirs[2])]
                self.assertEqual(ours[1], outputs)

    def test_the_scales_of_the_ratings_are_in_the_sidecar(self):
        scales = json.loads((self.out / "audiobox_aes.json").read_text())["target_transform"]
        self.assertEqual(list(scales), ["CE", "CU", "PC", "PQ"])
        self.assertEqual(scales["PQ"], {"mean": 8.0, "std": 1.3})

    def test_the_decoder_holds_each_weight_once(self):
        graph = onnx.load(self.out / "whisper_v3_decoder.onnx").graph
        (choose,) = graph.node
        inside = [t.dims for a in choose.attribute for t in a.g.initializer]
        self.assertFalse([dims for dims in inside if len(dims) > 1])
        self.assertTrue(any(t.name == "vocabulary.weight" for t in graph.initializer))


class Voice(unittest.TestCase):
    """What of WavLM's wiring no package carries, against another implementation of it."""

    # Names of UniSpeech's WavLM and of `transformers`', as its conversion script pairs them; the first that fits.
    NAMES = (
        (r"conv_layers\.(\d)\.0\.", r"conv_layers.\1.conv."),
        (r"conv_layers\.(\d)\.2\.1\.", r"conv_layers.\1.layer_norm."),
        (r"^post_extract_proj", "feature_projection.projection"),
        (r"^layer_norm", "feature_projection.layer_norm"),
        (r"pos_conv\.0\.weight_g", "pos_conv_embed.conv.parametrizations.weight.original0"),
        (r"pos_conv\.0\.weight_v", "pos_conv_embed.conv.parametrizations.weight.original1"),
        (r"pos_conv\.0\.bias", "pos_conv_embed.conv.bias"),
        (r"self_attn\.grep_linear", "attention.gru_rel_pos_linear"),
        (r"self_attn\.grep_a", "attention.gru_rel_pos_const"),
        (r"self_attn\.relative_attention_bias", "attention.rel_attn_embed"),
        (r"self_attn_layer_norm", "layer_norm"),
        (r"self_attn\.", "attention."),
        (r"fc1", "feed_forward.intermediate_dense"),
        (r"fc2", "feed_forward.output_dense"),
        (r"^mask_emb", "masked_spec_embed"),
    )

    def renamed(self, name):
        for pattern, new in self.NAMES:
            if re.search(pattern, name):
                return re.sub(pattern, new, name)
        return name

    def test_hidden_states_are_those_of_transformers(self):
        import transformers
        from wavlm_large_sv import REDUCED, Upstream

        ours = common.seeded(SEED, Upstream(REDUCED))
        theirs = transformers.WavLMModel(transformers.WavLMConfig(
            hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64, conv_dim=[16] * 7,
            num_conv_pos_embeddings=16, num_conv_pos_embedding_groups=4, do_stable_layer_norm=True,
            feat_extract_norm="layer", max_bucket_distance=800)).eval()
        theirs.load_state_dict({self.renamed(k): v for k, v in ours.model.state_dict().items()})
        wav = common.random_floats(9_000, scale=0.1) + 0.02
        with torch.no_grad():
            mine = ours([wav])["hidden_states"]
            normal = torch.nn.functional.layer_norm(wav, wav.shape)
            states = theirs(normal[None], output_hidden_states=True).hidden_states
        self.assertEqual(len(mine), len(states))
        for a, b in zip(mine, states):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)


class Checks(unittest.TestCase):
    """That a graph which is wrong is refused."""

    class Twice(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.full((64, 64), 2.0))

        def forward(self, x):
            return x @ self.weight

    def graph(self, **changed):
        port = lambda name: (Port(name, "f32", ("b", 64)),)  # noqa: E731
        cases = lambda: [(common.random_floats(b, 64, seed=b),) for b in (1, 3)]  # noqa: E731
        return Graph(**{"file": "twice", "network": "twice", "module": self.Twice(), "inputs": port("x"),
                        "outputs": port("y"), "cases": cases, "tolerance": 1e-4, **changed})

    def refused(self, **changed):
        with tempfile.TemporaryDirectory() as folder:
            with self.assertRaises(Mismatch) as caught:
                common.write(self.graph(**changed), [], Path(folder))
            self.assertEqual(list(Path(folder).iterdir()), [])
        return str(caught.exception)

    def test_other_numbers(self):
        self.assertIn("differs", self.refused(expected=lambda x: (x @ torch.full((64, 64), 2.1),)))

    def test_numbers_that_are_none(self):
        self.assertIn("inf", self.refused(expected=lambda x: (x @ torch.full((64, 64), float("nan")),)))

    def test_another_kind_and_another_size(self):
        self.assertIn("i64", self.refused(outputs=(Port("y", "i64", ("b", 64)),)))
        self.assertIn("listed", self.refused(outputs=(Port("y", "f32", ("b", 32)),)))

    def test_large_weights_lie_beside_the_graph(self):
        with tempfile.TemporaryDirectory() as folder:
            common.write(self.graph(), [], Path(folder), largest=1000)
            kept = sorted(p.name for p in Path(folder).iterdir())
            self.assertEqual(kept, ["twice.json", "twice.onnx", "twice.onnx.data"])
            files = json.loads((Path(folder) / "twice.json").read_text())["files"]
            self.assertEqual([f["name"] for f in files], kept[1:])

    def test_what_is_no_checkpoint_is_named(self):
        with tempfile.TemporaryDirectory() as folder:
            torch.save({"other": torch.zeros(1)}, Path(folder) / "other.pth")
            (Path(folder) / "text.pth").write_text("not a checkpoint")
            for name in SCRIPTS:
                exporter = importlib.import_module(name).EXPORTER
                for file, word in (("absent.pth", "no such"), ("text.pth", "not what"), ("other.pth", "other")):
                    with self.subTest(name, file=file), self.assertRaisesRegex(Mismatch, word):
                        paths = [Path(folder) / file] * len(exporter.checkpoints)
                        common.run(exporter, paths, Path(folder) / "out", reduced=True)
            self.assertFalse((Path(folder) / "out").exists())

    def test_a_failed_check_ends_the_script_with_one(self):
        wrong = common.Exporter("", ("file",), lambda *_: [], lambda *_: [self.graph(tolerance=-1.0)])
        with tempfile.TemporaryDirectory() as folder, unittest.mock.patch("sys.argv", ["x", "--reduced", "1", "--out", folder]):
            with self.assertRaises(SystemExit) as caught:
                common.main(wrong)
        self.assertIn("error: twice", str(caught.exception.code))


if __name__ == "__main__":
    unittest.main()
