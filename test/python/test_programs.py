"""The hand-written programs of test/programs: order and storage proved, the same bytes from ref and
sim, numbers within twice the error of an fp16 emulation, occupancy, planted faults named."""
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import unittest

import numpy as np

TOP = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("BF_BUILD", TOP / "build"))
sys.path.insert(0, str(TOP / "test" / "programs"))
sys.path.insert(0, str(TOP / "test" / "reference"))
import make_programs
import operators as op
import tensorfile


def tolerances(want, emulated):
    """(largest absolute error, relative L2 error): twice those of the worse emulation, and never
    below what rounding a stored result costs."""
    half_ulp = 2.0 ** (np.floor(np.log2(max(np.abs(want).max(), 2.0 ** -14))) - 11)
    worst = [np.max([f(got - want) for got in emulated])
             for f in (lambda e: np.abs(e).max(), np.linalg.norm)]
    return 2 * max(worst[0], half_ulp), 2 * max(worst[1] / np.linalg.norm(want), 2.0 ** -12)


class Programs(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.temporary = tempfile.TemporaryDirectory()
        cls.folder = pathlib.Path(cls.temporary.name)
        cls.programs = make_programs.programs()
        for name, (text, cases, _) in cls.programs.items():
            (cls.folder / f"{name}.bfs").write_text(text)
            for case, x in cases.items():
                make_programs.save(cls.folder / f"{name}.{case}.safetensors", {"x": x[None]})
            cls.tool("bfas", f"{name}.bfs", "-o", f"{name}.bfx")

    @classmethod
    def tearDownClass(cls):
        cls.temporary.cleanup()

    @classmethod
    def run_tool(cls, *command):
        return subprocess.run([str(BUILD / command[0]), *command[1:]], cwd=cls.folder, text=True,
                              capture_output=True, timeout=300)

    @classmethod
    def tool(cls, *command):
        done = cls.run_tool(*command)
        if done.returncode:
            raise AssertionError(f"{' '.join(command)}\n{done.stderr}")
        return done.stdout

    def run_case(self, name, case, device):
        file = f"{name}.{case}.{device}.safetensors"
        stats = self.tool("bfrun", f"{name}.bfx", "-in", f"{name}.{case}.safetensors", "-out", file,
                          "-device", device, "-stats", "json")
        return (self.folder / file).read_bytes(), json.loads(stats)

    def check_program(self, name):
        _, cases, model = self.programs[name]
        self.tool("bfrun", "-check", f"{name}.bfx")
        for case, x in cases.items():
            with self.subTest(case=case):
                on_ref, _ = self.run_case(name, case, "ref")
                on_sim, _ = self.run_case(name, case, "sim")
                self.assertEqual(on_ref, on_sim)
                tensors, _ = tensorfile.load(self.folder / f"{name}.{case}.sim.safetensors")
                want = model(op.EXACT, x)
                got = tensors["y"].astype(np.float64).reshape(want.shape)
                emulated = [model(p, x).astype(np.float64) for p in op.EMULATIONS]
                largest, relative = tolerances(want, emulated)
                self.assertTrue(np.isfinite(got).all())
                self.assertLessEqual(np.abs(got - want).max(), largest)
                self.assertLessEqual(np.linalg.norm(got - want) / np.linalg.norm(want), relative)

    def test_text_comes_back(self):
        for name in self.programs:
            self.tool("bfdis", f"{name}.bfx", "-o", f"{name}.again.bfs")
            self.tool("bfas", f"{name}.again.bfs", "-o", f"{name}.again.bfx")
            self.assertEqual((self.folder / f"{name}.bfx").read_bytes(),
                             (self.folder / f"{name}.again.bfx").read_bytes())

    def test_butterfly_512_keeps_the_multipliers_busy(self):
        """At least 80 % of the CAL slots between launch and last store."""
        _, stats = self.run_case("butterfly_512", "normal", "sim")
        kernel = stats["kernels"][0]
        occupancy = kernel["CAL"]["issued"] / (16 * kernel["cycles"])
        self.assertGreaterEqual(occupancy, 0.80)

    # ---- planted faults

    def refused(self, name, pattern, replacement, finding, count=1):
        text, changed = re.subn(pattern, replacement, self.programs[name][0], count=count)
        self.assertGreater(changed, 0, pattern)
        (self.folder / "fault.bfs").write_text(text)
        self.tool("bfas", "fault.bfs", "-o", "fault.bfx")
        done = self.run_tool("bfrun", "-check", "fault.bfx")
        self.assertEqual(done.returncode, 1, done.stdout)
        self.assertRegex(done.stderr, finding)

    def test_missing_token(self):
        self.refused("butterfly_512", r"token=cal\.5", "token=cal.6",
                     r"k0: order: block 5 \"stage 5\" of PE \(0,0\) needs 32 tokens and gets 0")

    def test_forgotten_token(self):
        text = r"(\.block cal\.2 .*) to=cal\.3 (.*\n\.block cal\.3) need=1"
        self.refused("butterfly_512", text, r"\1 \2 need=0",
                     r"k0: order: RAM word 0 of PE \(0,0\) is read by block 3 \"stage 3\" in iteration "
                     r"0, and nothing orders that after block . \".*\" in iteration 0, which writes it"
                     r"|k0: storage: RAM word .* \"stage 3\"")

    def test_overwritten_live_word(self):
        self.refused("butterfly_512", r"context=0,64", "context=0,60",
                     r"k0: storage: RAM word 6. of PE \(0,0\) is written by block .* in iteration .")

    def test_early_reuse_of_a_receive_buffer(self):
        self.refused("butterfly_64", r"(flow\.1 .*) destination=8", r"\1 destination=4",
                     r"k0: (storage|order): RAM word . of PE \(0,0\) is written by block . "
                     r"\".*\" in iteration 0 while block 49 \"exchange 1\" in iteration 0 may still")

    def test_unstrict_accumulator(self):
        self.refused("gemm_16x64x64", r"(cal\.1 .*) chain=1 (.*\n\.block cal\.2)(.*)",
                     r"\1 to=cal.2 \2 need=1\3",
                     r"k0: storage: accumulator 0 of PE \(0,0\) is read by block 2 \"round\" before the "
                     r"block writes it")

    def test_cyclic_wait(self):
        """LOAD waits for STORE, for the products, for LOAD; the check and both devices say so."""
        text = self.programs["gemm_16x64x64"][0].replace(".block load.0 ", ".block load.0 need=1 ")
        text = re.sub(r"(\.block store\.0 .*) need=1", r"\1 need=1 to=load.0", text)
        (self.folder / "circle.bfs").write_text(text)
        self.tool("bfas", "circle.bfs", "-o", "circle.bfx")
        run = ["circle.bfx", "-in", "gemm_16x64x64.normal.safetensors", "-out", "none", "-device"]
        for command in (["-check", "circle.bfx"], [*run, "ref"], [*run, "sim"]):
            done = self.run_tool("bfrun", *command)
            self.assertEqual(done.returncode, 1)
            self.assertRegex(done.stderr, r"deadlock")
            for block in (r"32 \"x\"", r"56 \"y\"", r"0 \"first product\""):
                self.assertRegex(done.stderr, r"block " + block + r" of PE \(0,0\)")

    def test_region_read_before_its_dma(self):
        self.refused("gemm_16x64x64", r"  dma weights\n  waitd all", "  waitd all\n  dma weights",
                     r"k0: order: scratchpad word \d+ is read by the weight LOAD of group 0 while dma \d+ "
                     r"may still write it: no waitd stands between job and launch")


def add_tests():
    for name in ("butterfly_64", "butterfly_512", "gemm_16x64x64", "fft_64", "layer_norm_768",
                 "layer_norm_1024"):
        setattr(Programs, f"test_{name}", lambda self, name=name: self.check_program(name))


add_tests()

if __name__ == "__main__":
    unittest.main()
