"""A safetensors file of zeros: tensors.py FILE NAME=TYPE[AxB] ..."""
import re
import sys

import numpy
from safetensors.numpy import save_file

tensors = {}
for name, dtype, shape in (re.fullmatch(r"(.+)=(\w+)\[([\dx]*)\]", a).groups() for a in sys.argv[2:]):
    tensors[name] = numpy.zeros([int(n) for n in shape.split("x")], dtype)
save_file(tensors, sys.argv[1])
