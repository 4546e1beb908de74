"""Slices whose columns do not begin at a tile, read by kernels whose lanes run along the columns;
and networks that a small scratchpad makes bfcc cut in slices of the sequence."""
import os
import pathlib
import re
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


class SharedParts(unittest.TestCase):
    """A parameter of several samples joins what each sample of a batch has of its own."""

    def check(self, expression, shape, want):
        rng = np.random.default_rng(7)
        p = rng.normal(size=(2, 3, 5)).astype(np.float16)
        x = rng.normal(size=(6, *shape)).astype(np.float16)
        sizes = ", ".join(map(str, shape))
        with tempfile.TemporaryDirectory() as folder:
            folder = pathlib.Path(folder)
            (folder / "n.bfly").write_text(f'network n() {{ input x: f16[{sizes}]; p = param("p", 2, 3, 5);'
                                           f' output y = {expression}; }}\n')
            tensorfile.save(folder / "w.safetensors", {"p": p}, {})
            tensorfile.save(folder / "x.safetensors", {"x": x}, {})
            for command in ("bfcc n.bfly -batch 3 -weights w.safetensors -o n.bfx",
                            "bfrun n.bfx -in x.safetensors -out y.safetensors"):
                program, *words = command.split()
                subprocess.run([BUILD / program, *words], cwd=folder, check=True)
            got = tensorfile.load(folder / "y.safetensors")[0]["y"]
        np.testing.assert_array_equal(got, np.stack([want(sample, p) for sample in x]))

    def test_concat(self):
        for axis in range(3):
            shape = [2, 3, 5]
            shape[axis] = 4
            self.check(f"concat(x, p, axis = {axis})", shape,
                       lambda x, p: np.concatenate([x, p], axis=axis))

    def test_reshape(self):
        self.check("x + reshape(p, [6, 5])", [6, 5], lambda x, p: x + p.reshape(6, 5))


class SmallScratchpads(unittest.TestCase):
    """A network gives the same bytes whether its sequence goes through the scratchpad at once or not."""

    def outputs(self, folder, source, options, words):
        machine = subprocess.run([BUILD / "bfcc", "-print-arch", "default"], check=True, text=True,
                                 capture_output=True).stdout
        (folder / "m.arch").write_text(re.sub(r"words: 131072", f"words: {words}", machine))
        command = [BUILD / "bfcc", source, *options, "-random-weights", "1", "-arch", "m.arch"]
        subprocess.run([*command, "-o", "n.bfx"], cwd=folder, check=True)
        poly = subprocess.run([*command, "-emit", "poly"], cwd=folder, check=True, text=True,
                              capture_output=True).stdout
        subprocess.run([BUILD / "bfrun", "n.bfx", "-random-inputs", "1", "-device", "ref", "-out",
                        "y.safetensors"], cwd=folder, check=True, capture_output=True)
        return (folder / "y.safetensors").read_bytes(), poly.count("\nkernel ")

    def check(self, network, options, words):
        self.check_source(HERE.parent.parent / "examples" / "networks" / f"{network}.bfly", options, words)

    def check_source(self, source, options, words):
        with tempfile.TemporaryDirectory() as folder:
            whole, kernels = self.outputs(pathlib.Path(folder), source, options, 131072)
            cut, more = self.outputs(pathlib.Path(folder), source, options, words)
            self.assertGreater(more, kernels)  # it was cut
            self.assertEqual(whole, cut)

    def test_llama(self):
        self.check("llama", ["-Dseq=64", "-Dhidden=256", "-Dinner=352", "-Dheads=4",
                             "-Dkv_heads=2"], 4096)

    def test_chirp(self):
        for shape, axes in ("33, 160", "0, 1"), ("33, 160", "0"), ("160, 33", "1"):
            with self.subTest(shape, axes=axes), tempfile.NamedTemporaryFile("w", suffix=".bfly") as file:
                file.write(f"network n() {{ input x: f16[{shape}]; "
                           f"output y = fourier(x, axes = [{axes}]); }}\n")
                file.flush()
                self.check_source(file.name, [], 3072)

    def test_fabnet(self):
        self.check("fabnet", ["-Dseq=96", "-Dhidden=96", "-Dlayers=1", "-Dheads=3"], 3072)


if __name__ == "__main__":
    unittest.main()
