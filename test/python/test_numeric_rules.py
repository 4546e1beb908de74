"""What keeps fp16 from hurting, rule by rule, as it shows in results and reports."""
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

import numpy as np

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "reference"))
import operators as op  # noqa: E402
import tensorfile  # noqa: E402

BUILD = pathlib.Path(os.environ.get("BF_BUILD", HERE.parent.parent / "build")).resolve()
ROUNDING = 2.1e-4  # of one rounding to fp16, relative L2
rng = np.random.default_rng(41)


def normal(*shape, mean=0.0, std=1.0):
    return rng.normal(mean, std, shape).astype(np.float16)


class Rules(unittest.TestCase):
    def setUp(self):
        self.scratch = tempfile.TemporaryDirectory()
        self.folder = pathlib.Path(self.scratch.name)

    def tearDown(self):
        self.scratch.cleanup()

    def call(self, program, *words):
        done = subprocess.run([BUILD / program, *words], cwd=self.folder, text=True,
                              capture_output=True)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout + done.stderr

    def compile(self, body, weights, *options):
        (self.folder / "n.bfly").write_text(f"network n() {{\n{body}\n}}\n")
        if weights:
            tensorfile.save(self.folder / "w", weights)
            options = ("-weights", "w", *options)
        return self.call("bfcc", "n.bfly", *options)

    def run_net(self, body, x, weights=None, *options):
        """(y as float64, what bfrun said)"""
        tensorfile.save(self.folder / "x", {"x": x})
        self.compile(body, weights, "-o", "n.bfx", *options)
        said = self.call("bfrun", "n.bfx", "-in", "x", "-out", "y", "-device", "ref")
        return tensorfile.load(self.folder / "y")[0]["y"].astype(np.float64), said

    def close(self, got, want, limit):
        self.assertTrue(np.isfinite(got).all())
        self.assertLess(np.linalg.norm(got - want) / np.linalg.norm(want), limit)

    # 1: sums in f32 whatever their length, the bias among them, one rounding

    def test_long_sums(self):
        x, w, b = normal(16, 4096), normal(16, 4096, std=1 / 64), normal(16, std=100)
        got, _ = self.run_net("input x: f16[16, 4096]; output y = linear(x, 16);", x,
                              {"weight": w, "bias": b})
        self.close(got, x.astype(float) @ w.astype(float).T + b, 1.3 * ROUNDING)
        x = normal(4096, 16, mean=1)
        got, _ = self.run_net("input x: f16[4096, 16]; output y = mean(x, axis = 0);", x)
        self.close(got, x.astype(float).mean(0), 1.5 * ROUNDING)

    # 2, 3: an exponent is part of a transform's type and undone in its reader's accumulator

    def test_exponents(self):
        x = normal(128, 96, mean=8)  # bin 0 is 98304: no fp16 number
        w = {"norm.weight": normal(96, mean=1, std=0.1), "norm.bias": normal(96, std=0.1)}
        body = ("input x: f16[128, 96];\noutput y = norm: layernorm(x + fourier(x));")
        got, said = self.run_net(body, x, w)
        self.assertNotIn("infinit", said)
        want, half = (op.fourier_add_norm(p, x, w["norm.weight"], w["norm.bias"])
                      for p in (op.EXACT, op.HALF_STAGE))
        self.close(got, want, 2 * np.linalg.norm(half - want) / np.linalg.norm(want))
        net, poly = (self.compile(body, w, "-emit", level, "-o", "-") for level in ("net", "poly"))
        self.assertRegex(net, r"fourier %x .* f16\[128,96\]\*2\^6 ")
        self.assertRegex(poly, r'buffer "\S+" temp f16 .* exponent=6 loc\(0,3,')

    def test_overflow_is_reported_and_calibrated_away(self):
        x = np.full((64, 64), 2400, np.float16)  # bin 0: 9.8e6, over 2^6 still 153600
        body = "input x: f16[64, 64];\nf = fourier(x);\noutput y = f * 0.001;"
        got, said = self.run_net(body, x)
        self.assertFalse(np.isfinite(got).all())
        self.assertRegex(said, r"n.bfly:3:\d+: warning: fourier stored \d+ (infinit|NaN)")
        self.assertIn("bfcc -calibrate", said)
        got, said = self.run_net(body, x, None, "-calibrate", "x")
        self.assertNotIn("warning", said)
        self.assertAlmostEqual(got[0, 0] / (0.001 * 4096 * 2400), 1, 2)
        self.assertLess(np.abs(got.ravel()[1:]).max(), 0.01 * got[0, 0])

    # 3: two passes, the mean never rounded, eps in f32; squares in f32

    def test_norms(self):
        x = np.concatenate((normal(8, 512, mean=200, std=0.5), normal(8, 512, std=2000)))
        one, zero = np.ones(512, np.float16), np.zeros(512, np.float16)
        got, _ = self.run_net("input x: f16[16, 512]; output y = layernorm(x);", x,
                              {"weight": one, "bias": zero})
        self.close(got, op.layer_norm(op.EXACT, x, one, zero), 1.5 * ROUNDING)
        got, _ = self.run_net("input x: f16[16, 512]; output y = rmsnorm(x);", x, {"weight": one})
        self.close(got, op.rms_norm(op.EXACT, x, one), 1.5 * ROUNDING)
        x = np.zeros((16, 512), np.float16)
        x[:, ::2] = 1e-5
        got, _ = self.run_net("input x: f16[16, 512]; output y = layernorm(x, eps = 1e-12);", x,
                              {"weight": one, "bias": zero})
        self.close(got, op.layer_norm(op.EXACT, x, one, zero, 1e-12), 4 * ROUNDING)

    # 4: the maximum is subtracted, exponentials are added in f32, scores stay in f32

    def test_softmax(self):
        x = np.concatenate((normal(8, 2048, std=0.1), normal(8, 2048, mean=3e4, std=100)))
        got, _ = self.run_net("input x: f16[16, 2048]; output y = softmax(x);", x)
        self.close(got[:8], op.softmax(op.EXACT, x)[:8], 2 * ROUNDING)
        self.close(got[8:], op.softmax(op.EXACT, x)[8:], 2 * ROUNDING)
        self.assertLess(np.abs(got.sum(1) - 1).max(), 1e-3)

    def test_attention_with_large_scores(self):
        x = normal(64, 64, std=4)
        got, said = self.run_net("input x: f16[64, 64]; output y = attention(x, x, x, heads = 1);",
                                 x)
        self.assertNotIn("infinit", said)
        self.close(got, op.attention(op.EXACT, x, x, x, 1), 1e-3)

    # 5: good to one unit in the last place

    def test_functions(self):
        bits = np.arange(0x0400, 0x4A00, dtype=np.uint16)  # 2^-14 to 12
        x = np.concatenate((bits, bits | 0x8000)).view(np.float16)
        x = np.resize(x, (len(x) // 64, 64))
        for name, want in (("gelu", op.gelu(op.EXACT, x)), ("silu", op.silu(op.EXACT, x)),
                           ("sigmoid", 1 / (1 + np.exp(-x.astype(float)))),
                           ("tanh", np.tanh(x.astype(float)))):
            got, _ = self.run_net(f"input x: f16[{len(x)}, 64]; output y = {name}(x);", x)
            ulp = np.exp2(np.floor(np.log2(np.maximum(np.abs(want), 2.0 ** -14))) - 10)
            self.assertLess((np.abs(got - want) / ulp).max(), 1.01, name)

    # 6, 7: a chain of stages costs what stages in fp16 do, and no more; subnormals are numbers

    def test_stages(self):
        x, w = normal(16, 1024), normal(1, 1, 10, 512, 2, 2, std=0.5 ** 0.5)
        body = "input x: f16[16, 1024]; output y = butterfly(x, 1024, bias = false);"
        got, _ = self.run_net(body, x, {"twiddle": w})
        self.close(got, op.butterfly(op.EXACT, x, w), 8e-4)

    def test_subnormals(self):
        x = normal(16, 64, std=2.0 ** -16)
        self.assertGreater((np.abs(x) < 2.0 ** -14).mean(), 0.9)
        got, _ = self.run_net("input x: f16[16, 64]; output y = x * 0.5;", x)
        np.testing.assert_array_equal(got, (x.astype(np.float32) * 0.5).astype(np.float16))
        got, _ = self.run_net("input x: f16[16, 64]; output y = fourier(x);", x)
        want = np.fft.fft2(x.astype(float)).real
        self.assertLess(np.linalg.norm(got - want) / np.linalg.norm(want), 1.5e-2)


if __name__ == "__main__":
    unittest.main()
