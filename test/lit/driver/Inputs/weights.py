"""Weights for the parameters that a net text lists: weights.py NET OUT SEED"""
import re
import sys

import numpy
from safetensors.numpy import save_file

random = numpy.random.default_rng(int(sys.argv[3]))
tensors = {}
for name, shape in re.findall(r"^param (\S+) +f16\[([\d,]+)\]", open(sys.argv[1]).read(), re.M):
    dims = [int(d) for d in shape.split(",")]
    tensors[name] = (random.standard_normal(dims) / 2).astype(numpy.float16)
save_file(tensors, sys.argv[2])
