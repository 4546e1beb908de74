"""Networks of torch, exported, compiled and run on every device, against torch itself."""
import shutil
import tempfile
import unittest
from pathlib import Path

import networks
import numpy as np
import torch
from safetensors.numpy import load_file
from torch import nn
from torch.nn import functional as F

import bfcc

# Relative error in the Euclidean norm: fp16 between operators on the array, f32 on the host.
TOLERANCE = {"ref": 2e-3, "sim": 2e-3, "host": 1e-5}


class Folder(unittest.TestCase):
    def setUp(self):
        self.folder = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.folder)
        torch.manual_seed(1)


class Networks(Folder):
    def check(self, module, *example, batch=1, devices=("ref", "sim", "host"), **settings):
        """Exports, runs `batch` samples on the devices, compares; returns what was exported."""
        module.train()
        exported = bfcc.export(module, example, self.folder / "net.bfly", **settings)
        self.assertTrue(module.training)
        module.eval()
        model = bfcc.Model(bfcc.compile(exported, batch=batch))
        samples = [torch.cat([x] + [self.another(x) for _ in range(batch - 1)]) for x in example]
        with torch.no_grad():
            expected = module(*samples)
        expected = list(expected.values()) if isinstance(expected, dict) else expected
        expected = expected if isinstance(expected, (list, tuple)) else [expected]
        inputs = {name: x.numpy() for name, x in zip(exported.inputs, samples)}
        for device in devices:
            results = model.run(inputs, device)
            self.assertEqual(tuple(results), exported.outputs)
            for result, wanted in zip(results.values(), expected):
                self.assertEqual(result.shape, tuple(wanted.shape))
                wanted = wanted.numpy().astype(float)
                error = np.linalg.norm(result - wanted) / np.linalg.norm(wanted)
                self.assertLess(error, TOLERANCE[device], device)
            self.assertEqual(model.stats.cycles > 0, device == "sim")
        names = set(load_file(exported.weights))
        self.assertLessEqual({n for n in names if "constant" not in n and "zeros" not in n},
                             set(module.state_dict()))
        return exported

    def another(self, x):
        if x.dtype == torch.bool:
            return x
        return x.flip(-1) if not x.is_floating_point() else torch.randn_like(x)

    def test_fnet(self):
        exported = self.check(networks.FNet(), torch.randint(0, 50, (1, 32)), batch=3)
        self.assertEqual(exported.text.count("= fourier("), 2)

    def test_fabnet(self):
        exported = self.check(networks.fabnet(), torch.randn(1, 32, 64), batch=2)
        self.assertNotIn("reshape", exported.text)

    def test_transformer_encoder(self):
        exported = self.check(networks.encoder(), torch.randn(1, 32, 64), batch=2)
        self.assertIn("MultiheadAttention", exported.text)
        self.check(networks.encoder(norm_first=True, activation="gelu"), torch.randn(1, 24, 64))
        self.check(networks.encoder(bias=False), torch.randn(1, 16, 64), devices=["ref"])

    def test_causal_encoder(self):
        class Causal(nn.Module):
            def __init__(self):
                super().__init__()
                self.encoder = networks.encoder()

            def forward(self, x):
                mask = nn.Transformer.generate_square_subsequent_mask(x.shape[1])
                return self.encoder(x, mask=mask)
        exported = self.check(Causal(), torch.randn(1, 32, 64))
        self.assertIn("causal = true", exported.text)

    def test_llama_block(self):
        for repeat in (True, False):
            exported = self.check(networks.LlamaBlock(repeat=repeat), torch.randn(1, 32, 64))
            self.assertIn("kv_heads = 2", exported.text)
            self.assertEqual(exported.text.count("rmsnorm("), 2)

    def test_attention_by_hand(self):
        exported = self.check(networks.GPTBlock(), torch.randn(1, 32, 64), batch=2)
        self.assertIn("causal = true", exported.text)

    def test_every_layer(self):
        exported = self.check(networks.Everything(), torch.randn(1, 32, 64))
        for operator in ("monarch", "block_butterfly", "butterfly", "fft_compress"):
            self.assertIn(f"{operator}(", exported.text)

    def test_tied_weights(self):
        exported = self.check(networks.Tied(), torch.randint(0, 48, (1, 15)), batch=2)
        self.assertEqual(exported.outputs, ("first", "scores"))
        self.assertEqual(set(load_file(exported.weights)),
                         {"embedding.weight", "layer.weight", "layer.bias", "cls"})

    def test_any_axes(self):
        self.check(networks.Interleaved(), torch.randn(1, 12, 8, 16), devices=["ref", "host"])

    def test_cross_attention(self):
        class Cross(nn.Module):
            def __init__(self):
                super().__init__()
                self.attention = nn.MultiheadAttention(32, 2, batch_first=True)

            def forward(self, x, context):
                return self.attention(x, context, context)[0]
        self.check(Cross(), torch.randn(1, 8, 32), torch.randn(1, 12, 32), devices=["ref", "host"])

    def test_mask_input(self):
        def attend(q, k, mask):
            return F.scaled_dot_product_attention(q, k, k, attn_mask=mask)

        class Masked(nn.Module):
            def forward(self, q, k, mask):
                split = [t.unflatten(-1, (2, -1)).transpose(1, 2) for t in (q, k)]
                return attend(*split, mask[:, None, None, :]).transpose(1, 2).flatten(2)
        mask = torch.arange(12)[None] < 7
        exported = self.check(Masked(), torch.randn(1, 8, 32), torch.randn(1, 12, 32), mask,
                              devices=["ref", "host"])
        self.assertIn("input mask: u8[12];", exported.text)

    def test_in_place(self):
        class InPlace(nn.Module):
            def forward(self, x):
                y = x * 2
                y += x
                y.mul_(0.5)
                return F.relu(y, inplace=True)
        self.check(InPlace(), torch.randn(1, 8, 16), devices=["ref"])

    def test_no_batch(self):
        class Sample(nn.Module):
            def __init__(self):
                super().__init__()
                self.map = nn.Linear(16, 8)

            def forward(self, x):
                return torch.fft.fft2(self.map(x), norm="ortho").real
        module = Sample()
        x = torch.randn(12, 16)
        exported = bfcc.export(module, x, self.folder / "n.bfly", batch_axis=None)
        y = bfcc.Model(exported.bfly).run({"x": x.numpy()}, "host")["y"]
        np.testing.assert_allclose(y, module(x).detach().numpy(), atol=1e-5)

    def test_the_same_twice(self):
        texts = []
        for name in ("a", "b"):
            torch.manual_seed(3)
            exported = bfcc.export(networks.LlamaBlock(), torch.randn(1, 8, 64),
                                   self.folder / name / "net.bfly")
            texts.append((exported.text, exported.weights.read_bytes()))
        self.assertEqual(*texts)


class Refusals(Folder):
    def refused(self, module, *example):
        with self.assertRaises(bfcc.ExportError) as caught:
            bfcc.export(module, example, self.folder / "net.bfly")
        self.assertFalse((self.folder / "net.bfly").exists())
        return str(caught.exception)

    def line(self, text):
        """The line of this file that holds a text first."""
        with open(__file__) as file:
            return next(i for i, line in enumerate(file, 1) if text in line)

    def test_operator(self):
        class Inner(nn.Module):
            def forward(self, x):
                return torch.cumsum(x, 1)

        class Outer(nn.Module):
            def __init__(self):
                super().__init__()
                self.parts = nn.ModuleList([Inner()])

            def forward(self, x):
                return self.parts[0](x) + 1
        text = self.refused(Outer(), torch.randn(1, 8, 8))
        self.assertRegex(text, rf"test_export\.py:{self.line('torch.cumsum(x, 1)')}: parts\.0 "
                               r"\(Inner\): bfcc has no counterpart of cumsum\.default")

    def test_dead_code_is_not(self):
        class Dead(nn.Module):
            def forward(self, x):
                torch.cumsum(x, 1)
                return x * 2
        bfcc.export(Dead(), torch.randn(1, 8, 8), self.folder / "net.bfly")

    def test_what_is_wrong(self):
        class Product(nn.Module):
            def forward(self, x):
                return x @ x.transpose(1, 2)

        class Complex(nn.Module):
            def forward(self, x):
                return torch.fft.fft(x).imag

        class Branch(nn.Module):
            def forward(self, x):
                return x * 2 if x.sum() > 0 else x

        class Mask(nn.Module):
            def forward(self, x):
                return F.scaled_dot_product_attention(x, x, x, torch.eye(8, dtype=torch.bool))

        class Batches(nn.Module):
            def forward(self, x):
                return x.sum(0)
        for module, wanted in ((Product(), "not part of attention"), (Complex(), "imag|complex"),
                               (Branch(), "torch.export can't trace it"), (Mask(), "constant mask"),
                               (Batches(), "no batch of one")):
            self.assertRegex(self.refused(module, torch.randn(1, 8, 8)), wanted)
        layer = nn.MultiheadAttention(16, 2, add_zero_attn=True, batch_first=True)
        self.assertRegex(self.refused(layer, *[torch.randn(1, 8, 16)] * 3), "add_zero_attn")

    def test_arguments(self):
        with self.assertRaisesRegex(ValueError, "ends in .bfly"):
            bfcc.export(nn.Linear(4, 4), torch.randn(1, 4), self.folder / "net.txt")
        with self.assertRaisesRegex(ValueError, "batch axis"):
            bfcc.export(nn.Linear(4, 4), torch.randn(4), self.folder / "net.bfly", batch_axis=1)


if __name__ == "__main__":
    unittest.main()
