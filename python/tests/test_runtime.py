"""Finding and calling bfcc, running by libbfrt, and the errors of both."""
import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

import numpy as np
import torch
from torch import nn

import bfcc
from bfcc import runtime, tools

TOP = Path(__file__).resolve().parents[2]


class Runtime(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = Path(tempfile.mkdtemp())
        cls.addClassCleanup(shutil.rmtree, cls.folder)
        torch.manual_seed(1)
        cls.module = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 4))
        cls.program = bfcc.compile(cls.module, cls.folder / "net.bfx", example=torch.zeros(1, 8, 16),
                                   batch=2)
        cls.model = bfcc.Model(cls.program)

    def test_declarations(self):
        """What the package declares is what bfrt.h says."""
        header = re.sub(r"/\*.*?\*/", "", (TOP / "runtime/bfrt.h").read_text(), flags=re.S)
        header = " ".join(re.sub(r"\s*=\s*\d+(?=,)|,(?=\s*})", "", header).split())
        wanted = re.sub(r",(?=\s*})", "", runtime.DECLARATIONS)
        parts = re.split(r";\s*\n(?=\S)", wanted.strip().rstrip(";"))
        self.assertGreater(len(parts), 20)
        for part in parts:
            self.assertIn(" ".join(part.split()), header)

    def test_shapes_and_types(self):
        self.assertEqual(repr(self.model).partition(": ")[2], "x: f32[8, 16] -> y: f16[8, 4])")
        x = np.random.default_rng(1).standard_normal((5, 8, 16))
        expected = self.module(torch.tensor(x, dtype=torch.float32)).detach().numpy()
        for dtype in (np.float16, np.float32, np.float64):
            y = self.model.run({"x": x.astype(dtype)})["y"]
            self.assertEqual((y.dtype, y.shape), (np.float32, (5, 8, 4)))
            np.testing.assert_allclose(y, expected, atol=5e-3)
        one = self.model.run({"x": x[3]}, "host")["y"]
        np.testing.assert_allclose(one, expected[3], atol=1e-5)
        strided = self.model.run({"x": np.asfortranarray(x)})["y"]
        np.testing.assert_allclose(strided, expected, atol=5e-3)

    def test_stats(self):
        x = np.zeros((4, 8, 16), np.float32)
        self.model.run({"x": x}, "sim")
        stats = self.model.stats
        self.assertEqual((stats.samples, stats.groups, stats.nans), (4, 2, 0))
        self.assertLessEqual(stats.bound, stats.cycles)
        self.assertGreaterEqual(stats.cycles, max(k.cycles for k in stats.kernels))
        self.assertGreater(stats.energy, 0)
        self.assertEqual(stats.cycles_per_sample, stats.cycles / 4)
        self.model.run({"x": x}, "ref")
        self.assertEqual((self.model.stats.cycles, self.model.stats.kernels), (0, ()))

    def test_overflow_is_told(self):
        with self.assertWarnsRegex(RuntimeWarning, "infinities"):
            self.model.run({"x": np.full((8, 16), 65000, np.float32)})

    def test_network_without_program(self):
        model = bfcc.Model(self.folder / "net.bfly")
        x = np.ones((8, 16), np.float32)
        np.testing.assert_allclose(model.run({"x": x}, "host")["y"],
                                   self.model.run({"x": x}, "host")["y"])

    def test_errors(self):
        x = np.zeros((8, 16), np.float32)
        for inputs, device, error, text in (
                ({}, "ref", bfcc.RunError, "no value for input 'x'"),
                ({"x": x, "z": x}, "ref", bfcc.RunError, "no input is called 'z'"),
                ({"x": x[:7]}, "ref", bfcc.RunError, r"\[7, ?16\]"),
                ({"x": x.astype(complex)}, "ref", bfcc.RunError, "complex128"),
                ({"x": x}, "gpu", ValueError, "device is one of")):
            with self.assertRaisesRegex(error, text):
                self.model.run(inputs, device)
        with self.assertRaises(bfcc.RunError):
            bfcc.Model(self.folder / "none.bfx")
        with self.assertRaisesRegex(bfcc.RunError, "cycle"):
            self.model.run({"x": x}, "sim", cycle_limit=10)

    def test_compile_errors(self):
        wrong = self.folder / "wrong.bfly"
        wrong.write_text("network n() {\n    input x: f16[8, 8];\n    output y = gellu(x);\n}\n")
        with self.assertRaisesRegex(bfcc.CompileError, r"wrong\.bfly:3:.*gellu"):
            bfcc.compile(wrong)
        with self.assertRaisesRegex(ValueError, "example"):
            bfcc.compile(self.module, "net.bfx")

    def test_host_object(self):
        made = [bfcc.compile(self.folder / "net.bfly", emit=emit) for emit in ("obj", "header")]
        self.assertEqual([m.suffix for m in made], [".o", ".h"])
        self.assertTrue(all(m.exists() for m in made))

    def test_finding(self):
        """By BFCC_PATH, PATH and pkg-config; without any, the error says what to do."""
        home = self.folder / "prefix"
        (home / "bin").mkdir(parents=True)
        (home / "bin/bfcc").symlink_to(tools.program())
        script = "from bfcc import tools; tools._TREE = tools.Path('/none'); print(tools.program())"
        python = [sys.executable, "-c", script]
        bare = {k: v for k, v in os.environ.items() if k not in ("BFCC_PATH", "PKG_CONFIG_PATH")}
        bare["PATH"] = "/usr/bin:/bin"
        (self.folder / "bfcc.pc").write_text(f"bfcc={home}/bin/bfcc\nName: bfcc\nDescription: x\n"
                                             "Version: 0\n")
        for more in ({"BFCC_PATH": str(home)}, {"BFCC_PATH": str(home / "share/bfcc/library")},
                     {"PATH": f"{home}/bin:/usr/bin:/bin"}, {"PKG_CONFIG_PATH": str(self.folder)}):
            done = subprocess.run(python, env={**bare, **more}, text=True, capture_output=True)
            self.assertEqual(done.stdout.strip(), str(tools.program()), (more, done.stderr))
        if not shutil.which("bfcc", path=bare["PATH"]):
            done = subprocess.run(python, env=bare, text=True, capture_output=True)
            self.assertRegex(done.stderr, "the program bfcc: install it")


if __name__ == "__main__":
    unittest.main()
