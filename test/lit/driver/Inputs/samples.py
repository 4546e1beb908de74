"""Samples for mix.bfly: samples.py FILE SAMPLES MEAN"""
import sys

import numpy
from safetensors.numpy import save_file

samples, mean = int(sys.argv[2]), float(sys.argv[3])
x = numpy.random.default_rng(4).standard_normal((samples, 32, 64)) + mean
save_file({"input.x": x.astype(numpy.float32), "input.keep": numpy.ones((samples, 32), numpy.uint8),
           "label": numpy.zeros(1, numpy.uint8)},
          sys.argv[1])
