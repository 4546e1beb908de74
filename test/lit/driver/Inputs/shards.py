"""A checkpoint in two shards with an index: shards.py FILE FOLDER [TYPE [PREFIX]]

The tensors of FILE, as TYPE (F16, BF16, F32 or F64; F16 numbers fit the last two exactly), with PREFIX
before their names.
"""
import json
import pathlib
import struct
import sys

import numpy
from safetensors.numpy import load_file

source, folder = load_file(sys.argv[1]), pathlib.Path(sys.argv[2])
kind = sys.argv[3] if len(sys.argv) > 3 else "F16"
prefix = sys.argv[4] if len(sys.argv) > 4 else ""


def encode(array):
    if kind == "BF16":
        return (array.astype("<f4").view("<u4") >> 16).astype("<u2").tobytes()
    return array.astype({"F16": "<f2", "F32": "<f4", "F64": "<f8"}[kind]).tobytes()


def write(path, names):
    header, data = {}, b""
    for name in names:
        raw = encode(numpy.ascontiguousarray(source[name]))
        header[prefix + name] = {"dtype": kind, "shape": list(source[name].shape),
                                 "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


folder.mkdir(exist_ok=True)
names, lines = sorted(source), {}
for number, part in enumerate((names[::2], names[1::2]), 1):
    shard = f"model-{number}.safetensors"
    write(folder / shard, part)
    lines |= {prefix + name: shard for name in part}
index = {"metadata": {"total_size": 0}, "weight_map": lines}
(folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=1) + "\n")
