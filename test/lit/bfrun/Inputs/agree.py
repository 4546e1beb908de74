"""agree.py TEST OUT: logits are the reference's, to f32."""
import sys

import numpy as np
from safetensors.numpy import load_file

want = load_file(sys.argv[1])["reference.logits"].astype(np.float64)
got = load_file(sys.argv[2])["logits"]
assert got.dtype == np.float32, got.dtype
error = np.linalg.norm(got - want) / np.linalg.norm(want)
assert error < 1e-5, error
