"""What bfrun -compare -stats json says, against numpy: compare.py JSON WEIGHTS X Y Z

The network is three.bfly. Errors of the outputs must be those of the files, and the norm's own.
"""
import json
import math
import sys

import numpy
from safetensors.numpy import load_file

report = json.load(open(sys.argv[1]))
w = {k: v.astype(float) for k, v in load_file(sys.argv[2]).items()}
x = load_file(sys.argv[3])["x"].astype(numpy.float16).astype(float)
got = {k: v.astype(float) for k, v in load_file(sys.argv[4]).items()}

fourier = lambda a: numpy.fft.fft2(a).real
erf = numpy.vectorize(math.erf)
h = x @ w["up.weight"].T + w["up.bias"]
h = h * (1 + erf(h / math.sqrt(2))) / 2
h = x + fourier(h @ w["down.weight"].T + w["down.bias"])
mean, variance = h.mean(-1, keepdims=True), h.var(-1, keepdims=True)
exact = {"y": (h - mean) / numpy.sqrt(variance + 1e-5) * w["norm.weight"] + w["norm.bias"],
         "z": fourier(x)}

for name in exact:
    layer, = (l for l in report["layers"] if l["kind"] == "output" and l["label"] == name)
    error, largest = got[name] - exact[name], abs(exact[name]).max()
    assert numpy.isfinite(error).all()
    assert abs(layer["largest"] - largest) < 1e-9 * largest, layer
    assert abs(layer["max_error"] - abs(error).max()) < 1e-9 * largest, layer
    relative = numpy.linalg.norm(error) / numpy.linalg.norm(exact[name])
    assert abs(layer["relative_l2"] - relative) < 1e-6 * relative, (layer, relative)
    assert layer["shape"] == list(exact[name].shape[1:]), layer
kinds = [l["kind"] for l in report["layers"]]
assert kinds == ["linear", "gelu", "linear", "fourier", "add", "layernorm", "fourier", "output",
                 "output"], kinds
norm = report["layers"][5]
assert norm["label"] == "norm" and norm["relative_l2"] == report["layers"][7]["relative_l2"]
assert not any(l.get("loses") for l in report["layers"]), report["layers"]
