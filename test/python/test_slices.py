"""Slices whose columns do not begin at a tile, read by kernels whose lanes run along the columns."""
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

import numpy as np

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "reference"))
import tensorfile  # noqa: E402

BUILD = pathlib.Path(os.environ.get("BF_BUILD", HERE.parent.parent / "build")).resolve()
X = np.random.default_rng(5).normal(size=(12, 64)).astype(np.float16)


def run(expression):
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        (folder / "n.bfly").write_text(
            f"network n() {{ input x: f16[12, 64]; output y = {expression}; }}\n")
        tensorfile.save(folder / "x.safetensors", {"x": X}, {})
        for command in ("bfcc n.bfly -o n.bfx", "bfrun n.bfx -in x.safetensors -out y.safetensors"):
            program, *words = command.split()
            subprocess.run([BUILD / program, *words], cwd=folder, check=True)
        return tensorfile.load(folder / "y.safetensors")[0]["y"].astype(np.float64)


class Slices(unittest.TestCase):
    def expect(self, expression, want):
        np.testing.assert_allclose(run(expression), want, rtol=4e-3, atol=4e-3 * np.abs(want).max())

    def test_fft_compress(self):
        part = X[:, 19:38].astype(np.float64)
        bins = np.fft.fft(part.reshape(3, 4, 19), axis=1)[:, :2]
        want = np.fft.ifft(bins, axis=1).real.reshape(6, 19) / 2
        self.expect("fft_compress(x[.., 19 .. 38], 4, 2, mode = leading)", want)

    def test_fourier(self):
        want = np.fft.fft2(X[:, 19:38].astype(np.float64)).real
        self.expect("fourier(x[.., 19 .. 38])", want)


if __name__ == "__main__":
    unittest.main()
