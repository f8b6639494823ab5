#!/usr/bin/env python3
"""Write the small PyTorch files that model/tests/pth.rs reads, without torch: the layout is that of torch.save.

    python3 scripts/golden/pth_fixtures.py model/tests/fixtures

plain.pth and nested.pth hold the same tensors, at the top and below a key; beyond.pth has a tensor that reaches beyond its
storage; hostile.pth has a pickle with a call in it, which must be refused by name.
"""
import collections
import io
import os
import pickle
import struct
import sys
import types
import zipfile

torch = types.ModuleType("torch")
utils = types.ModuleType("torch._utils")
sys.modules.update({"torch": torch, "torch._utils": utils})


def named(module, name, kind):
    """An object that pickle stores as module.name."""
    made = type(name, (), {}) if kind is type else lambda *_: None
    made.__module__, made.__name__, made.__qualname__ = module.__name__, name, name
    setattr(module, name, made)
    return made


FLOAT = named(torch, "FloatStorage", type)
HALF = named(torch, "HalfStorage", type)
REBUILD_TENSOR = named(utils, "_rebuild_tensor_v2", None)
REBUILD_PARAMETER = named(utils, "_rebuild_parameter", None)

Storage = collections.namedtuple("Storage", "kind key count")


class Tensor:
    def __init__(self, storage, offset, size, stride):
        self.arguments = (storage, offset, size, stride, False, collections.OrderedDict())

    def __reduce__(self):
        return REBUILD_TENSOR, self.arguments


class Parameter:
    def __init__(self, tensor):
        self.tensor = tensor

    def __reduce__(self):
        return REBUILD_PARAMETER, (self.tensor, True, collections.OrderedDict())


class Call:
    def __reduce__(self):
        return os.system, ("true",)


class Pickler(pickle.Pickler):
    def persistent_id(self, value):
        if isinstance(value, Storage):
            return "storage", value.kind, value.key, "cpu", value.count
        return None


def save(name, value, storages):
    stream = io.BytesIO()
    Pickler(stream, 2).dump(value)
    parts = {"data.pkl": stream.getvalue(), **{f"data/{key}": data for key, data in storages.items()}, "version": b"3\n"}
    with zipfile.ZipFile(os.path.join(sys.argv[1], name), "w", zipfile.ZIP_STORED) as archive:
        for part, data in parts.items():
            archive.writestr(zipfile.ZipInfo(f"archive/{part}", (1980, 1, 1, 0, 0, 0)), data)


floats, halves = Storage(FLOAT, "0", 6), Storage(HALF, "1", 4)
data = {"0": struct.pack("<6f", *range(6)), "1": struct.pack("<4e", 0.5, 1.5, 2.5, 3.5)}
state = collections.OrderedDict(
    {
        "a.weight": Tensor(floats, 0, (2, 3), (3, 1)),
        "a.turned": Parameter(Tensor(floats, 0, (3, 2), (1, 3))),
        "a.tail": Tensor(floats, 4, (2,), (1,)),
        "half": Tensor(halves, 0, (4,), (1,)),
        "scalar": Tensor(floats, 5, (), ()),
    }
)
save("plain.pth", state, data)
save("nested.pth", {"step": 7, "lr": 0.5, "generator": state, "note": ["x", None, True, (1, 2**40)]}, data)
save("hostile.pth", {"generator": state, "x": Call()}, data)
save("beyond.pth", collections.OrderedDict(a=Tensor(floats, 4, (3,), (1,))), {"0": data["0"]})
