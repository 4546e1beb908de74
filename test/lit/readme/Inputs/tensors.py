"""tensors.py make FILE: an input of the README's network; tensors.py show FILE: what a file holds."""
import sys

import numpy
from safetensors.numpy import load_file, save_file

if sys.argv[1] == "make":
    values = numpy.random.default_rng(1).standard_normal((64, 128))
    save_file({"x": values.astype(numpy.float32)}, sys.argv[2])
else:
    for name, tensor in sorted(load_file(sys.argv[2]).items()):
        print(name, list(tensor.shape), "finite" if numpy.isfinite(tensor).all() else "not finite")
