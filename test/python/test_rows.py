"""Row kernels: variance of products, which must not lose small rows; arrays of 64 PEs."""
import os
import subprocess
import tempfile
import unittest

import numpy as np
from safetensors.numpy import load_file, save_file

BUILD = os.path.abspath(os.environ.get("BF_BUILD", "build"))


def normalised(x):
    return (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5)


def softmax(x):
    power = np.exp(x - x.max(-1, keepdims=True))
    return power / power.sum(-1, keepdims=True)


class Rows(unittest.TestCase):
    def run_network(self, expression, tensors, *options):
        declared = "".join(f"input {name}: f16{list(t.shape)};" for name, t in tensors.items())
        with tempfile.TemporaryDirectory() as folder:
            def run(*command):
                subprocess.run([os.path.join(BUILD, command[0]), *command[1:]], cwd=folder,
                               check=True)
            with open(os.path.join(folder, "n.bfly"), "w") as file:
                file.write(f"network n() {{ {declared} output y = {expression}; }}\n")
            save_file(tensors, os.path.join(folder, "x"))
            run("bfcc", "n.bfly", "-o", "n.bfx", *options)
            run("bfrun", "n.bfx", "-in", "x", "-out", "y", "-device", "ref")
            return load_file(os.path.join(folder, "y"))["y"].astype(float)

    def check(self, expression, tensors, wanted):
        got = self.run_network(f"layernorm({expression}, affine = false)", tensors)
        error = np.linalg.norm(got - normalised(wanted)) / np.linalg.norm(normalised(wanted))
        self.assertLess(error, 1e-3, expression)

    def test_products(self):
        rng = np.random.default_rng(1)
        x = rng.standard_normal((64, 32)).astype(np.float16)
        c = rng.standard_normal((64, 32)).astype(np.float16)
        # Rows of very different sizes.
        column = (2.0 ** np.linspace(-6, 6, 64)[:, None]).astype(np.float16)
        wide = x.astype(float)
        self.check("x * softmax(x)", {"x": x}, wide * softmax(wide))
        self.check("x * c", {"x": x, "c": c}, wide * c)
        self.check("x * c", {"x": x, "c": column}, wide * column)
        self.check("fourier(x) * c", {"x": x, "c": c}, np.fft.fft2(wide).real * c)

    def test_all_pes_of_a_large_mesh_work(self):
        x = np.random.default_rng(2).standard_normal((128, 64)).astype(np.float16)
        got = self.run_network("softmax(x)", {"x": x}, "-arch", "mesh8x8")
        self.assertLess(np.abs(got - softmax(x.astype(float))).max(), 1e-3)


if __name__ == "__main__":
    unittest.main()
