"""Compile a network to a shared object and call it: host code without bfrun.

    net = Network("build/bfcc", "net.bfly", "-weights", "w.safetensors")
    outputs = net.run({"x": array})
"""
import ctypes
import os
import pathlib
import subprocess
import tempfile

import numpy as np

ALIGN = 64
TYPES = (np.float32, np.int32, np.uint8)


class Tensor(ctypes.Structure):
    _fields_ = [("name", ctypes.c_char_p), ("kind", ctypes.c_int32), ("rank", ctypes.c_uint32),
                ("dims", ctypes.c_int64 * 8)]


class Description(ctypes.Structure):
    _fields_ = [("name", ctypes.c_char_p), ("cpu", ctypes.c_char_p), ("batch", ctypes.c_int64),
                ("input_count", ctypes.c_int64), ("output_count", ctypes.c_int64),
                ("inputs", ctypes.POINTER(Tensor)), ("outputs", ctypes.POINTER(Tensor)),
                ("workspace_size", ctypes.c_int64), ("workspace_align", ctypes.c_int64),
                ("weights_size", ctypes.c_int64)]


class Failed(Exception):
    """bfcc refuses, or the network returns an error."""


def aligned(size, fill=0):
    raw = np.full(size + ALIGN, fill, np.uint8)
    start = -raw.ctypes.data % ALIGN
    return raw[start:start + size]


class Network:
    def __init__(self, bfcc, *options):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "network.so"
            done = subprocess.run([str(bfcc), *map(str, options), "-emit", "obj", "-shared", "-o",
                                   str(path)], capture_output=True, text=True, check=False)
            if done.returncode:
                raise Failed(done.stderr.strip())
            self.library = ctypes.CDLL(str(path), mode=os.RTLD_NOW)
            symbols = subprocess.run(["nm", "-D", "--defined-only", str(path)], text=True,
                                     capture_output=True, check=True).stdout.split()
        self.name = next(s for s in symbols if s.endswith("_describe"))[:-len("_describe")]
        describe = self.function("describe")
        describe.restype = ctypes.POINTER(Description)
        self.description = describe().contents

    def function(self, name):
        return getattr(self.library, f"{self.name}_{name}")

    def ports(self, output):
        d = self.description
        tensors = d.outputs if output else d.inputs
        for i in range(d.output_count if output else d.input_count):
            t = tensors[i]
            shape = tuple(t.dims[:t.rank])
            if d.batch > 1:
                shape = (d.batch,) + shape
            yield t.name.decode(), shape, TYPES[t.kind]

    def run(self, inputs):
        """Outputs by name; memory that must not be read or written is watched."""
        given = [np.ascontiguousarray(np.asarray(inputs[name]).reshape(shape), kind)
                 for name, shape, kind in self.ports(False)]
        taken = [(name, np.full(int(np.prod(shape)) + 2, 77, kind), shape)
                 for name, shape, kind in self.ports(True)]
        size = self.description.workspace_size
        workspace = aligned(size + ALIGN, 0xFF)  # NaN wherever it is read before it is written
        addresses = [a.ctypes.data for a in given]
        results = [a[1:].ctypes.data for _, a, _ in taken]
        status = self.function("run")((ctypes.c_void_p * len(given))(*addresses),
                                      (ctypes.c_void_p * len(taken))(*results),
                                      ctypes.c_void_p(workspace.ctypes.data))
        if status:
            raise Failed(f"{self.name}_run returns {status}")
        if (workspace[size:] != 0xFF).any():
            raise Failed("writes beyond the workspace")
        for name, array, _ in taken:
            if array[0] != 77 or array[-1] != 77:
                raise Failed(f"writes beyond '{name}'")
        return {name: array[1:-1].reshape(shape) for name, array, shape in taken}
