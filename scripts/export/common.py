"""What the export scripts share: a traced graph with fixed names, its check against PyTorch, its sidecar.

A script describes its network as an `Exporter`; `main` does the rest. Signatures are those that
`perception/models.toml` lists and the readers in `perception/src` hold each file to.
"""
import argparse
import contextlib
import hashlib
import importlib.machinery
import importlib.util
import json
import pickle
import shutil
import sys
import tempfile
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from torch import Tensor, nn

OPSET = 17
# A protobuf file ends at 2 GiB: weights beyond this go into one `<graph>.data` beside it.
LARGEST_FILE = 1_800_000_000
KINDS = {torch.float32: "f32", torch.int64: "i64", torch.bool: "bool"}
ONNX_KINDS = {onnx.TensorProto.FLOAT: "f32", onnx.TensorProto.INT64: "i64", onnx.TensorProto.BOOL: "bool"}


@dataclass(frozen=True)
class Port:
    """An input or output: name, `f32`, `i64` or `bool`, and sizes, where a word is an axis of any size."""

    name: str
    kind: str
    shape: tuple[int | str, ...]


@dataclass
class Graph:
    """One file to write.

    `module` takes the inputs in their order and returns the outputs in theirs. `cases` makes sets of
    random inputs; the first one is traced, and all are compared. `expected`, where given, is asked
    in place of `module`: the published class' own forward; `None` in its answer is not compared.
    """

    file: str
    network: str
    module: nn.Module
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    cases: Callable[[], list[tuple[Tensor, ...]]]
    tolerance: float
    expected: Callable[..., tuple[Tensor | None, ...]] | None = None
    build: Callable[[Path], onnx.ModelProto] | None = None
    constants: dict = field(default_factory=dict)
    preprocessing: int = 1


@dataclass(frozen=True)
class Exporter:
    """A script: what it is about, the files it takes, and how graphs come of them.

    `reduced(seed, folder)` writes checkpoints of the published form with random weights and small
    widths; `graphs(checkpoints, reduced)` reads either kind. `beside` names files of a checkpoint
    folder that the readers need next to the graphs.
    """

    about: str
    checkpoints: tuple[str, ...]
    reduced: Callable[[int, Path], list[Path]]
    graphs: Callable[[list[Path], bool], list[Graph]]
    beside: tuple[str, ...] = ()


class Mismatch(Exception):
    """A checkpoint or a graph is not what it should be: other names, other sizes, other numbers."""


@contextlib.contextmanager
def packages_without_start(*names: str) -> Iterator[None]:
    """Lets files of these packages be imported without running the packages' `__init__`.

    Those pull in readers of video, detectors and training code that no layer needs.
    """
    made = [name for name in names if name not in sys.modules]
    for name in made:
        spec = importlib.machinery.PathFinder.find_spec(name.rsplit(".", 1)[-1], parent_path(name))
        if spec is None or not spec.submodule_search_locations:
            raise SystemExit(f"error: no package `{name}`: pip install --no-deps -r scripts/export/requirements.txt")
        module = types.ModuleType(name)
        module.__path__ = list(spec.submodule_search_locations)
        sys.modules[name] = module
    try:
        yield
    finally:
        for name in made:
            sys.modules.pop(name, None)


def parent_path(name: str) -> list[str] | None:
    """Where to look for a package: inside its parent, which has been put in place before."""
    parent, _, _ = name.rpartition(".")
    return list(sys.modules[parent].__path__) if parent else None


def seeded(seed: int, module: nn.Module) -> nn.Module:
    """Random weights and running statistics, such that no layer is without effect; ready to be asked."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, value in (*module.named_parameters(), *module.named_buffers()):
            if name.endswith("running_var"):
                value.uniform_(0.5, 1.5, generator=generator)
            elif name.endswith("running_mean"):
                value.normal_(0.0, 0.1, generator=generator)
            elif isinstance(value, nn.Parameter) and value.ndim < 2:
                value.add_(torch.randn(value.shape, generator=generator) * 0.05)
            elif isinstance(value, nn.Parameter):
                value.normal_(0.0, value[0].numel() ** -0.5, generator=generator)
    return module.eval()


def random_floats(*shape: int, seed: int = 1, scale: float = 1.0) -> Tensor:
    """Normal values, the same for the same seed."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) * scale


def load_weights(path: Path) -> dict:
    """A PyTorch checkpoint; code inside it is not run."""
    return torch.load(path, map_location="cpu", weights_only=True)


def sha256(path: Path) -> str:
    """Of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def files_of(path: Path) -> list[dict]:
    """Name, size and hash of a checkpoint: a file, or the files of a folder."""
    files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
    return [{"name": p.name, "bytes": p.stat().st_size, "sha256": sha256(p)} for p in files]


def traced(module: nn.Module, example: tuple[Tensor, ...], inputs: tuple[Port, ...], outputs: tuple[Port, ...],
           folder: Path, fold: bool = True) -> onnx.ModelProto:
    """The graph of one run of the module, all weights in memory."""
    axes = {p.name: {i: s for i, s in enumerate(p.shape) if isinstance(s, str)} for p in (*inputs, *outputs)}
    path = folder / "traced.onnx"
    folder.mkdir(parents=True, exist_ok=True)
    with torch.no_grad():
        torch.onnx.export(module.eval(), example, str(path), opset_version=OPSET, dynamo=False,
                          do_constant_folding=fold, input_names=[p.name for p in inputs],
                          output_names=[p.name for p in outputs], dynamic_axes=axes)
    return onnx.load(path)


def declare(model: onnx.ModelProto, inputs: tuple[Port, ...], outputs: tuple[Port, ...]) -> None:
    """Holds names and kinds to the signature and writes its sizes into the graph."""
    for side, ports, values in (("inputs", inputs, model.graph.input), ("outputs", outputs, model.graph.output)):
        found = [(v.name, ONNX_KINDS.get(v.type.tensor_type.elem_type)) for v in values]
        wanted = [(p.name, p.kind) for p in ports]
        if found != wanted:
            raise Mismatch(f"{side} are {found}, not {wanted}")
        for port, value in zip(ports, values):
            value.type.tensor_type.shape.ClearField("dim")
            for size in port.shape:
                dim = value.type.tensor_type.shape.dim.add()
                setattr(dim, "dim_param" if isinstance(size, str) else "dim_value", size)


def save(model: onnx.ModelProto, path: Path, largest: int = LARGEST_FILE) -> list[Path]:
    """Writes the graph, and its weights beside it when they do not fit; the files written."""
    weights = sum(len(tensor.raw_data) for tensor in model.graph.initializer)
    if weights <= largest:
        onnx.save_model(model, path)
        return [path]
    data = path.with_name(path.name + ".data")
    onnx.save_model(model, path, save_as_external_data=True, all_tensors_to_one_file=True,
                    location=data.name, size_threshold=1024)
    return [path, data]


def compare(graph: Graph, path: Path) -> float:
    """The largest difference between ONNX Runtime and PyTorch over all cases and outputs."""
    options = onnxruntime.SessionOptions()
    # Errors only: sizes are held to the signature below.
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    worst = 0.0
    for case in graph.cases():
        with torch.no_grad():
            expected = (graph.expected or graph.module)(*case)
        expected = expected if isinstance(expected, tuple) else (expected,)
        feed = {port.name: value.numpy() for port, value in zip(graph.inputs, case, strict=True)}
        got = session.run([port.name for port in graph.outputs], feed)
        for port, ours, theirs in zip(graph.outputs, got, expected, strict=True):
            if theirs is not None:
                worst = max(worst, difference(port, ours, theirs))
    return worst


def difference(port: Port, ours: np.ndarray, theirs: Tensor) -> float:
    """Of one output; its sizes must be those of the signature and of PyTorch."""
    fixed = all(isinstance(s, str) or s == n for s, n in zip(port.shape, ours.shape))
    if ours.shape != tuple(theirs.shape) or len(port.shape) != ours.ndim or not fixed:
        raise Mismatch(f"`{port.name}` is {ours.shape}, PyTorch gives {tuple(theirs.shape)}, listed is {port.shape}")
    gap = np.abs(ours.astype(np.float64) - theirs.numpy().astype(np.float64))
    return float(gap.max()) if np.isfinite(gap).all() else float("inf")


def sidecar(graph: Graph, written: list[Path], checkpoints: list[dict], worst: float) -> dict:
    """What a reader of the graph has to know that is not in it."""
    ports = lambda side: [{"name": p.name, "kind": p.kind, "shape": list(p.shape)} for p in side]  # noqa: E731
    return {
        "network": graph.network,
        "files": [{"name": p.name, "bytes": p.stat().st_size, "sha256": sha256(p)} for p in written],
        "checkpoint": checkpoints,
        "opset": OPSET,
        "inputs": ports(graph.inputs),
        "outputs": ports(graph.outputs),
        "preprocessing": graph.preprocessing,
        "check": {"largest_error": worst, "tolerance": graph.tolerance},
        "made_with": {"torch": torch.__version__, "onnx": onnx.__version__, "onnxruntime": onnxruntime.__version__},
        **graph.constants,
    }


def write(graph: Graph, checkpoints: list[dict], out: Path, largest: int = LARGEST_FILE) -> float:
    """Writes one graph with its sidecar; nothing is left in `out` when the check does not hold.

    The largest error is returned; beyond the tolerance it is a `Mismatch`.
    """
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out, prefix=".export-") as scratch:
        folder = Path(scratch)
        if graph.build:
            model = graph.build(folder)
        else:
            model = traced(graph.module, graph.cases()[0], graph.inputs, graph.outputs, folder / "traced")
        declare(model, graph.inputs, graph.outputs)
        written = save(model, folder / f"{graph.file}.onnx", largest)
        del model
        worst = compare(graph, written[0])
        print(f"{graph.file}: largest error {worst:.3g}, tolerance {graph.tolerance:.3g}", flush=True)
        if not worst <= graph.tolerance:
            raise Mismatch(f"{graph.file}: ONNX Runtime differs from PyTorch by {worst:.3g}")
        text = json.dumps(sidecar(graph, written, checkpoints, worst), indent=1) + "\n"
        (folder / f"{graph.file}.json").write_text(text, encoding="utf-8")
        for path in (*written, folder / f"{graph.file}.json"):
            path.replace(out / path.name)
    return worst


def run(exporter: Exporter, checkpoints: list[Path], out: Path, reduced: bool) -> dict[str, float]:
    """All graphs of one network; the largest error of each."""
    for path in checkpoints:
        if not path.exists():
            raise Mismatch(f"no such checkpoint: {path}")
    sources = [entry for path in checkpoints for entry in files_of(path)]
    try:
        graphs = exporter.graphs(checkpoints, reduced)
    except (OSError, EOFError, KeyError, RuntimeError, ValueError, pickle.UnpicklingError) as error:
        given = ", ".join(map(str, checkpoints))
        raise Mismatch(f"{given}: not what this script reads ({', '.join(exporter.checkpoints)}): {error}") from error
    errors = {graph.file: write(graph, sources, out) for graph in graphs}
    for name in exporter.beside:
        for path in (c / name for c in checkpoints if (c / name).is_file()):
            shutil.copyfile(path, out / name)
    return errors


def run_reduced(exporter: Exporter, seed: int, out: Path) -> dict[str, float]:
    """The same with random weights and small widths, through a checkpoint file of the published form."""
    torch.manual_seed(seed)
    with tempfile.TemporaryDirectory() as scratch:
        return run(exporter, exporter.reduced(seed, Path(scratch)), out, reduced=True)


def main(exporter: Exporter) -> None:
    """The command line; exit code 1 when a check does not hold."""
    parser = argparse.ArgumentParser(description=exporter.about)
    parser.add_argument("checkpoints", nargs="*", type=Path, metavar="CHECKPOINT", help=", ".join(exporter.checkpoints))
    parser.add_argument("--out", type=Path, required=True, help="folder for the graphs and their sidecars")
    parser.add_argument("--reduced", type=int, metavar="SEED", help="random weights and small widths, no checkpoint")
    options = parser.parse_args()
    if options.reduced is None and len(options.checkpoints) != len(exporter.checkpoints):
        parser.error(f"needs: {', '.join(exporter.checkpoints)}")
    try:
        if options.reduced is None:
            run(exporter, options.checkpoints, options.out, reduced=False)
        else:
            run_reduced(exporter, options.reduced, options.out)
    except Mismatch as error:
        sys.exit(f"error: {error}")
