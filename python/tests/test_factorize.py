"""Layers fitted to matrices, and trained models whose layers are replaced."""
import tempfile
import unittest
from pathlib import Path

import networks
import numpy as np
import torch
from torch import nn

import bfcc
from bfcc.factorize import fit, monarch_factors


def distance(w, module):
    return ((w - module.matrix()).norm() / w.norm()).item()


class Fits(unittest.TestCase):
    def setUp(self):
        torch.manual_seed(1)

    def test_exact(self):
        """What is a product already is found, whatever its widths and direction."""
        for module, method in ((bfcc.Butterfly(64, 64), "butterfly"),
                               (bfcc.Butterfly(32, 96, increasing_stride=False), "butterfly"),
                               (bfcc.Butterfly(24, 50), "butterfly"), (bfcc.Butterfly(2, 1), "butterfly"),
                               (bfcc.BlockButterfly(64, 96, 16), "block_butterfly"),
                               (bfcc.Monarch(64), "monarch"), (bfcc.MonarchStack(60, 100), "monarch")):
            w = module.matrix().detach()
            found = fit(w, None, method, tile=16)
            self.assertLess(distance(w, found), 1e-6, (method, tuple(w.shape)))
            self.assertEqual(tuple(found.matrix().shape), tuple(w.shape))

    def test_fourier_matrix_is_a_butterfly(self):
        """The Hadamard transform and, in bit-reversed order, others of its kind."""
        w = torch.ones(1, 1)
        for _ in range(6):
            w = torch.kron(w, torch.tensor([[1.0, 1.0], [1.0, -1.0]]))
        self.assertLess(distance(w, fit(w, None, "butterfly")), 1e-6)

    def test_monarch_is_best(self):
        """The error is that of the singular values left out: nothing closer exists."""
        w = torch.randn(36, 36, dtype=torch.float64)
        blocks = w.reshape(6, 6, 6, 6).permute(1, 2, 0, 3)
        rest = torch.linalg.svdvals(blocks)[..., 1:].square().sum().sqrt()
        found = fit(w, None, "monarch")
        self.assertAlmostEqual(distance(w, found), (rest / w.norm()).item(), places=9)
        self.assertEqual(monarch_factors(w)[0].shape, (6, 6, 6))

    def test_refinement_helps(self):
        for method in ("butterfly", "block_butterfly", "monarch"):
            model = nn.Sequential(nn.Linear(32, 32))
            plain, better = (bfcc.factorize(model, method=method, refine_steps=n).layers[0].error
                             for n in (0, 100))
            self.assertLess(better, plain - (0 if method == "monarch" else 1e-3) + 1e-6, method)

    def test_zero(self):
        self.assertEqual(fit(torch.zeros(8, 8), None, "butterfly").matrix().abs().max(), 0)


class Models(unittest.TestCase):
    def setUp(self):
        torch.manual_seed(1)

    def test_report_and_export(self):
        model = networks.encoder(d=64, inner=128).eval()
        x = torch.randn(4, 16, 64)
        before = model(x)
        done = bfcc.factorize(model, "layers.*.linear?", "butterfly", samples=x, refine_steps=20)
        self.assertEqual([layer.path for layer in done.layers],
                         [f"layers.{i}.linear{k}" for i in (0, 1) for k in (1, 2)])
        torch.testing.assert_close(model(x), before)  # the model itself is as it was
        for layer in done.layers:
            module = done.model.get_submodule(layer.path)
            self.assertIsInstance(module, bfcc.Butterfly)
            w = model.get_submodule(layer.path).weight
            self.assertAlmostEqual(layer.error, distance(w.detach(), module), places=5)
            self.assertEqual(layer.parameters[1], sum(p.numel() for p in module.parameters()))
            self.assertLess(layer.flops[1], layer.flops[0])
        self.assertRegex(str(done), r"layers\.1\.linear2 +butterfly +128 x 64 +0\.\d+ +0\.\d+ +8256 -> ")
        done.model.train()
        done.model(x).square().mean().backward()
        self.assertTrue(all(p.grad is not None for p in done.model.parameters()))
        done.model.eval()
        with tempfile.TemporaryDirectory() as folder:
            program = bfcc.compile(done.model, Path(folder, "net.bfx"), example=x)
            y = bfcc.Model(program).run({"src": x.numpy()})["y"]
        expected = done.model(x).detach().numpy()
        self.assertLess(np.linalg.norm(y - expected) / np.linalg.norm(expected), 2e-3)

    def test_output_error(self):
        """Measured on what the layer really reads, here a subspace."""
        model = nn.Sequential(nn.Linear(16, 16), nn.Linear(16, 16))
        x = torch.randn(64, 16)
        done = bfcc.factorize(model, ["1"], "monarch", samples=x)
        h = model[0](x)
        w, fitted = model[1].weight, done.model[1].matrix()
        wanted = ((h @ (w - fitted).T).norm() / (h @ w.T).norm()).item()
        self.assertAlmostEqual(done.layers[0].output_error, wanted, places=5)

    def test_selection(self):
        model = nn.Sequential(nn.Linear(16, 16), nn.Linear(16, 24), nn.MultiheadAttention(24, 2))
        self.assertEqual(len(bfcc.factorize(model).layers), 2)
        self.assertEqual(len(bfcc.factorize(model, lambda _, m: m.out_features == 24).layers), 1)
        with self.assertRaisesRegex(ValueError, "no nn.Linear is called 'x'"):
            bfcc.factorize(model, ["0", "x"])
        with self.assertRaisesRegex(ValueError, "read by the module around it"):
            bfcc.factorize(model, "*.out_proj")
        with self.assertRaisesRegex(ValueError, "method is"):
            bfcc.factorize(model, method="svd")
        shared = nn.Linear(8, 8)
        twice = bfcc.factorize(nn.Sequential(shared, shared), inplace=True).model
        self.assertIs(twice[0], twice[1])


if __name__ == "__main__":
    unittest.main()
