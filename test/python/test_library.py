"""Networks of the shipped blocks against numpy: every weight bound by its name, ref and sim."""
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import unittest

import numpy as np

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "fuzz"))
import network_ops as ops  # noqa: E402  (also finds test/reference)
import tensorfile  # noqa: E402

BUILD = pathlib.Path(os.environ.get("BF_BUILD", HERE.parent.parent / "build")).resolve()
PARAM = re.compile(r"^param (\S+)\s+f16\[([\d,]*)\]", re.M)


class Weights:
    """Those below a path: w["attention"]["query"]("weight")."""

    def __init__(self, tensors, path=""):
        self.tensors, self.path = tensors, path

    def __getitem__(self, name):
        return Weights(self.tensors, f"{self.path}{name}.")

    def __call__(self, name):
        return self.tensors[self.path + name].astype(float)

    def own(self):
        n = len(self.path)
        return {k[n:]: v.astype(float) for k, v in self.tensors.items()
                if k.startswith(self.path) and "." not in k[n:]}


def linear(x, w, out=None):
    own = w.own()
    if "weight" in own:
        return ops.Linear().exact([x], own)
    if "blkdiag1" in own:
        return ops.Monarch().exact([x], own)
    if own["twiddle"].ndim == 7:
        return ops.BlockButterfly(True).exact([x], own)
    return ops.Butterfly(out or x.shape[-1], True).exact([x], own)


def layernorm(x, w, eps=1e-5):
    return ops.LayerNorm(eps).exact([x], w.own())


def rmsnorm(x, w):
    return ops.RmsNorm().exact([x], w.own())


def gelu(x):
    return ops.Gelu("none").exact([x], {})


def silu(x):
    return x / (1 + np.exp(-x))


def attend(q, k, v, heads, kv_heads=None, sees=None):
    return ops.Attention(heads, kv_heads or heads, sees).exact([q, k, v], {})


def self_attention(x, w, heads):
    q, k, v = (linear(x, w[n]) for n in ("query", "key", "value"))
    return linear(attend(q, k, v, heads), w["output"])


def compressed_attention(x, w, heads, chunk, keep):
    q, k, v = (linear(x, w[n]) for n in ("query", "key", "value"))
    k, v = (ops.FftCompress(chunk, keep, "lowpass").exact([t], {}) for t in (k, v))
    return linear(attend(q, k, v, heads), w["output"])


def feed_forward(x, w, inner):
    return linear(gelu(linear(x, w["up"], inner)), w["down"], x.shape[-1])


def encoder(x, w, inner, heads=0, pre_norm=False, eps=1e-5):
    def mix(h):
        return self_attention(h, w["attention"], heads) if heads else np.fft.fft2(h).real
    if pre_norm:
        x = x + mix(layernorm(x, w["mixing_norm"], eps))
        return x + feed_forward(layernorm(x, w["ffn_norm"], eps), w["ffn"], inner)
    x = layernorm(x + mix(x), w["mixing_norm"], eps)
    return layernorm(x + feed_forward(x, w["ffn"], inner), w["ffn_norm"], eps)


def llama(x, w, heads, kv_heads, inner, cache=None):
    """(x, keys, values); behind a cache of keys and values all tokens are seen, else those before."""
    a, m, past = w["self_attn"], w["mlp"], len(cache[0]) if cache else 0
    h = rmsnorm(x, w["input_layernorm"])
    d = x.shape[1] // heads * kv_heads
    q = ops.Rope(heads, 1e4, past, False).exact([linear(h, a["q_proj"])], {})
    k = ops.Rope(kv_heads, 1e4, past, False).exact([linear(h, a["k_proj"], d)], {})
    v = linear(h, a["v_proj"], d)
    if cache:
        k, v = np.concatenate([cache[0], k]), np.concatenate([cache[1], v])
    y = attend(q, k, v, heads, kv_heads, None if cache else lambda i, j: j <= i)
    x = x + linear(y, a["o_proj"])
    h = rmsnorm(x, w["post_attention_layernorm"])
    h = silu(linear(h, m["gate_proj"], inner)) * linear(h, m["up_proj"], inner)
    return x + linear(h, m["down_proj"], x.shape[1]), k, v


def patches(image, p):
    c, height, width = image.shape
    squares = image.reshape(c, height // p, p, width // p, p).transpose(1, 3, 0, 2, 4)
    return squares.reshape(-1, c * p * p)


def vision(image, w, patch, layers, heads, inner):
    e = w["embedding"]
    x = np.concatenate([e("cls_token"), linear(patches(image, patch), e["projection"])])
    x = x + e["position"]("weight")
    for layer in range(layers):
        x = encoder(x, w["encoder"][layer], inner, heads, True, 1e-6)
    return linear(layernorm(x[0], w["norm"], 1e-6), w["head"])


def draw(name, shape, rng):
    if name.endswith("norm.weight"):
        return rng.normal(1, 0.1, shape).astype(np.float16)
    if name.endswith("bias"):
        return rng.normal(0, 0.1, shape).astype(np.float16)
    if len(shape) == 7:  # tiles of butterflies, summed
        return rng.normal(0, (0.5 ** shape[3] / shape[1]) ** (0.5 / shape[3]), shape).astype("f2")
    deviation = 0.5 ** 0.5 if len(shape) == 6 else shape[-1] ** -0.5
    return rng.normal(0, deviation, shape).astype(np.float16)


def declaration(shape):
    return f"f16{list(shape)}" if isinstance(shape[0], int) else f"{shape[0]}{list(shape[2:])}"


def draw_input(rng, shape):
    """Of a shape, or of (type, limit, shape ..) of ids."""
    if isinstance(shape[0], int):
        return rng.normal(size=shape).astype(np.float16)
    return rng.integers(0, shape[1], shape[2:]).astype({"i32": "i4", "u8": "u1"}[shape[0]])


class Library(unittest.TestCase):
    def check(self, inputs, body, model, outputs=("y",), batch=1):
        """`model` gets the weights and the inputs of a sample and gives the outputs, a list."""
        rng = np.random.default_rng(7)
        lines = "".join(f"input {n}: {declaration(s)}; " for n, s in inputs.items())
        samples = [{n: draw_input(rng, s) for n, s in inputs.items()} for _ in range(batch)]
        with tempfile.TemporaryDirectory() as folder:
            folder = pathlib.Path(folder)

            def run(*command):
                done = subprocess.run([BUILD / command[0], *command[1:]], cwd=folder, text=True,
                                      stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                      stderr=subprocess.STDOUT)
                self.assertEqual(done.returncode, 0, done.stdout)
                return done.stdout
            (folder / "n.bfly").write_text(
                f"include <transformer.bfly>;\nnetwork n() {{ {lines}{body} }}\n")
            net = run("bfcc", "-emit", "net", "-o", "-", "n.bfly")
            tensors = {name.strip('"'): draw(name.strip('"'), tuple(map(int, dims.split(","))), rng)
                       for name, dims in PARAM.findall(net)}
            tensorfile.save(folder / "w", tensors)
            tensorfile.save(folder / "in", {n: np.stack([s[n] for s in samples]) if batch > 1
                                            else samples[0][n] for n in inputs})
            run("bfcc", "n.bfly", "-o", "n.bfx", "-weights", "w", "-batch", str(batch))
            for device in ("ref", "sim"):
                run("bfrun", "n.bfx", "-in", "in", "-out", device, "-device", device)
            self.assertEqual((folder / "ref").read_bytes(), (folder / "sim").read_bytes())
            got = tensorfile.load(folder / "ref")[0]
        for i, sample in enumerate(samples):
            exact = model(Weights(tensors), *(
                sample[n].astype(float if sample[n].dtype == np.float16 else int) for n in inputs))
            for name, want in zip(outputs, exact):
                value = (got[name][i] if batch > 1 else got[name]).astype(float)
                self.assertEqual(value.shape, want.shape, name)
                error = np.linalg.norm(value - want) / np.linalg.norm(want)
                self.assertLess(error, 4e-3, f"{name} of sample {i}")

    def test_encoders(self):
        x = {"x": (24, 32)}
        for body, model in (
                ("PostNormBlock(x, 4, 48)", lambda w, x: encoder(x, w, 48, 4)),
                ("PreNormBlock(x, 4, 48)", lambda w, x: encoder(x, w, 48, 4, True)),
                ("FNetBlock(x, 48)", lambda w, x: encoder(x, w, 48)),
                ("FBfly(x, 64)", lambda w, x: encoder(x, w, 64)),
                ("ABfly(x, 4, 64)", lambda w, x: encoder(x, w, 64, 4))):
            with self.subTest(body):
                self.check(x, f"output y = {body};", lambda w, x, m=model: [m(w, x)], batch=2)

    def test_maps(self):
        """What may take the place of a linear map, in projections and between."""
        for kind, rest in (("dense", ""), ("butterfly", ""), ("block_butterfly", ", tile = 8"),
                           ("monarch", "")):
            with self.subTest(kind):
                self.check({"x": (12, 64)},
                           f"output y = SelfAttention(x, 4, map = {kind}{rest});",
                           lambda w, x: [self_attention(x, w, 4)])
        self.check({"x": (12, 32)}, "output y = FeedForward(x, 64, map = block_butterfly);",
                   lambda w, x: [feed_forward(x, w, 64)])

    def test_llama(self):
        for kind in ("dense", "butterfly", "block_butterfly"):
            with self.subTest(kind):
                self.check({"x": (20, 32)}, "output y = layer: LlamaBlock(x, heads = 4, "
                           f"kv_heads = 2, inner = 64, map = {kind}, tile = 8);",
                           lambda w, x: llama(x, w["layer"], 4, 2, 64)[:1])

    def test_decode_step(self):
        body = ("(y, k, v) = layer: LlamaDecodeBlock(x, keys, values, heads = 4, kv_heads = 2, "
                "inner = 64); output y = y; output new_keys = k; output new_values = v;")
        inputs = {"x": (1, 32), "keys": (19, 16), "values": (19, 16)}
        for batch in (1, 3):
            self.check(inputs, body,
                       lambda w, x, k, v: llama(x, w["layer"], 4, 2, 64, (k, v)),
                       ("y", "new_keys", "new_values"), batch)

    def test_vision(self):
        for channels, batch in ((3, 2), (1, 1)):
            self.check({"image": (channels, 24, 32)},
                       "output y = VisionTransformer(image, 8, 32, 2, 4, 48, 10);",
                       lambda w, image: [vision(image, w, 8, 2, 4, 48)], batch=batch)

    def test_compressed_attention(self):
        self.check({"x": (32, 32)}, "output y = CompressedAttention(x, 4, 16, 8);",
                   lambda w, x: [compressed_attention(x, w, 4, 16, 8)], batch=2)

    def test_embeddings(self):
        """Tokens and segments by ids of two types; the table is the last map, too."""
        def model(w, ids, kinds):
            table = w["embedding"]("weight")
            x = table[ids] + w["position"]("weight") + w["segment"]("weight")[kinds]
            x = layernorm(x, w["norm"])
            return [x @ table.T, x[-1] @ table.T]
        body = """table = param("embedding.weight", 50, 32);
            x = embedding(ids, weight = table) + position: param("weight", 12, 32);
            x = norm: layernorm(x + segment: embedding(kinds, 2, 32));
            output y = linear(x, weight = table, bias = false);
            output last = linear(x[-1], weight = table, bias = false);"""
        for batch in (1, 3):
            self.check({"ids": ("i32", 50, 12), "kinds": ("u8", 2, 12)}, body, model,
                       ("y", "last"), batch)

    def test_shared_and_several_outputs(self):
        """Weights of a loop shared, a value with two names, an output that is read again."""
        def model(w, x, c):
            for _ in range(3):
                x = layernorm(x + linear(x, w["layer"]["map"]), w["layer"]["norm"])
            return [x, x, gelu(x) + c]
        self.check({"x": (12, 32), "c": (32,)}, "for (_l in 0 .. 3) x = shared layer: Layer(x); "
                   "output y = x; output again = x; output z = gelu(x) + c; } "
                   "block Layer(x) { return norm: layernorm(x + map: linear(x, 32));", model,
                   ("y", "again", "z"), 2)


if __name__ == "__main__":
    unittest.main()
