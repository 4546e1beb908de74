"""Parameters, layouts and results of the layers, against the reference operators in numpy (float64)."""
import sys
import unittest
from pathlib import Path

import numpy as np
import torch

import bfcc

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "test/reference"))
import operators  # noqa: E402

EXACT = operators.EXACT


class Modules(unittest.TestCase):
    def setUp(self):
        torch.manual_seed(1)

    def compare(self, module, x, expected):
        module = module.double()
        y = module(torch.from_numpy(x)).detach().numpy()
        np.testing.assert_allclose(y, expected({k: v.numpy() for k, v in module.state_dict().items()}),
                                   rtol=1e-10, atol=1e-10)
        if isinstance(module, bfcc.modules._Map):
            dense = module.matrix().detach().numpy()
            bias = 0 if module.bias is None else module.bias.detach().numpy()
            np.testing.assert_allclose(y, x @ dense.T + bias, rtol=1e-10, atol=1e-10)

    def shapes(self, module, **wanted):
        self.assertEqual({k: tuple(v.shape) for k, v in module.state_dict().items()}, wanted)

    def test_butterfly(self):
        x = np.random.default_rng(1).standard_normal((2, 3, 24))
        for out, increasing, nblocks, bias in ((24, True, 1, True), (100, False, 1, True),
                                               (5, True, 3, False), (64, False, 2, True)):
            module = bfcc.Butterfly(24, out, bias, increasing, nblocks=nblocks)
            self.shapes(module, twiddle=(-(-out // 32), nblocks, 5, 16, 2, 2),
                        **({"bias": (out,)} if bias else {}))
            self.compare(module, x, lambda w: operators.butterfly(
                EXACT, x, w["twiddle"], w.get("bias"), out, increasing))

    def test_inits(self):
        for init in ("randn", "ortho", "identity"):
            w = bfcc.Butterfly(16, 16, init=init).matrix().detach()
            if init != "randn":
                torch.testing.assert_close(w @ w.T, torch.eye(16))
        with self.assertRaisesRegex(ValueError, "init is"):
            bfcc.Butterfly(16, 16, init="zero")

    def test_block_butterfly(self):
        x = np.random.default_rng(2).standard_normal((3, 48))
        module = bfcc.BlockButterfly(48, 32, tile=16)
        self.shapes(module, twiddle=(2, 3, 1, 4, 8, 2, 2), bias=(32,))
        self.compare(module, x, lambda w: operators.block_butterfly(EXACT, x, w["twiddle"], w["bias"]))
        with self.assertRaisesRegex(ValueError, "power of two"):
            bfcc.BlockButterfly(48, 32, tile=24)

    def test_monarch(self):
        x = np.random.default_rng(3).standard_normal((4, 5, 36))
        module = bfcc.Monarch(36)
        self.shapes(module, blkdiag1=(6, 6, 6), blkdiag2=(6, 6, 6), bias=(36,))
        self.compare(module, x, lambda w: operators.monarch(EXACT, x, w["blkdiag1"], w["blkdiag2"],
                                                            w["bias"]))
        with self.assertRaisesRegex(ValueError, "square"):
            bfcc.Monarch(32)

    def test_transforms(self):
        x = np.random.default_rng(4).standard_normal((64, 6))
        self.compare(bfcc.Fourier(), x, lambda _: np.fft.fft2(x).real)
        for keep, mode in ((8, "lowpass"), (16, "lowpass"), (7, "leading")):
            self.compare(bfcc.FFTCompress(16, keep, mode), x,
                         lambda _: operators.fft_compress(EXACT, x, 16, keep, mode))
        with self.assertRaisesRegex(ValueError, "even"):
            bfcc.FFTCompress(16, 7)

    def test_training(self):
        """Gradients are those of numbers, and a few steps of Adam learn a transform."""
        for module in (bfcc.Butterfly(8, 8), bfcc.BlockButterfly(8, 8, 4), bfcc.Monarch(9),
                       bfcc.FFTCompress(4, 2), bfcc.MonarchStack(7, 11)):
            width = getattr(module, "in_features", 8)
            x = torch.randn(8, width, dtype=torch.float64, requires_grad=True)
            self.assertTrue(torch.autograd.gradcheck(module.double(), x))
        target = torch.linalg.qr(torch.randn(16, 16))[0]
        module = bfcc.Monarch(16, bias=False)
        optimizer = torch.optim.Adam(module.parameters(), 0.02)
        losses = []
        for _ in range(200):
            loss = (module.matrix() - target).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        self.assertLess(losses[-1], losses[0] / 2)


if __name__ == "__main__":
    unittest.main()
