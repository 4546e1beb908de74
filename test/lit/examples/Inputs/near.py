"""near.py A B LIMIT: the tensors of both files differ by less than LIMIT, relative, in the 2-norm."""
import sys

import numpy as np
from safetensors.numpy import load_file

a, b = (load_file(path) for path in sys.argv[1:3])
assert a.keys() == b.keys() and a, (a.keys(), b.keys())
for name in a:
    x, y = a[name].astype(np.float64), b[name].astype(np.float64)
    error = np.linalg.norm(x - y) / np.linalg.norm(y)
    print(f"{name}: {error:.2g}")
    assert error < float(sys.argv[3]), (name, error)
