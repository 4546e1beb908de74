"""Operators along any axis, on tensors of up to four axes, alone and in a batch, against numpy."""
import itertools
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest
from concurrent.futures import ThreadPoolExecutor

import numpy as np

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "fuzz"))
import network_ops as ops  # noqa: E402  (also finds test/reference)
import tensorfile  # noqa: E402

BUILD = pathlib.Path(os.environ.get("BF_BUILD", HERE.parent.parent / "build")).resolve()
TOLERANCE = 4e-3  # of the largest value


def softmax(x, axis=-1):
    power = np.exp(x - x.max(axis, keepdims=True))
    return power / power.sum(axis, keepdims=True)


def attention(heads, kv_heads=None, sees=None):
    """Masks have a row a query, or one for all; a matrix a head, or one for all."""
    def model(q, k, v, mask=None):
        d, group, y = q.shape[1] // heads, heads // (kv_heads or heads), np.zeros(q.shape)
        for head in range(heads):
            own, shared = (slice(h * d, h * d + d) for h in (head, head // group))
            scores = q[:, own] @ k[:, shared].T / np.sqrt(d)
            if mask is not None:
                scores = np.where(mask[head] if mask.ndim == 3 else mask, scores, -np.inf)
            if sees:
                scores = np.where(np.fromfunction(sees, scores.shape, dtype=int), scores, -np.inf)
            y[:, own] = softmax(scores) @ v[:, shared]
        return y
    return model


def gelu(x):
    return ops.Gelu("none").exact([x], {})


def fft(axis):
    """Of planes [2, ..]; the axis is one of a plane."""
    return lambda z: ops.Fft(axis, False).exact([z], {})


def fourier(*axes):
    return lambda x: np.fft.fft2(x, axes=axes).real if len(axes) == 2 else np.fft.fft(
        x, axis=axes[0]).real


def rope(heads, offset, interleaved):
    return lambda x: ops.Rope(heads, 1e4, offset, interleaved).exact([x], {})


def masked(x, mask, axis, rest):
    shape = [1] * x.ndim
    shape[axis] = -1
    return np.where(mask.reshape(shape), x, rest)


X2, X3, X4 = {"x": (12, 24)}, {"x": (3, 12, 24)}, {"x": (2, 3, 5, 6)}
Z = {"z": (2, 12, 16)}


def with_y(x, *shape):
    return {**x, "y": shape}


def with_mask(x, *shape):
    return {**x, "m": ("u8", *shape)}


def broadcasts():
    for shape in ((12, 24), (24,), (3, 1, 24), (3, 1, 1), (1, 12, 1), (3, 12, 1), ()):
        yield with_y(X3, *shape), "y - x * y", lambda x, y: y - x * y
    for x, y in (((3, 1, 24), (1, 12, 24)), ((3, 1, 1), (12, 24)), ((12, 1), (1, 24)),
                 ((12, 1), (24,)), ((2, 3, 5, 6), (3, 1, 6)), ((2, 3, 5, 6), (2, 1, 5, 6)),
                 ((2, 3, 5, 6), (2, 3, 1, 1))):
        yield {"x": x, "y": y}, "x + y", np.add
    yield X3, "x / 3", lambda x: x / 3
    yield with_y(X3, 3, 12, 24), "x / (2 + relu(y))", lambda x, y: x / (2 + np.maximum(y, 0))
    yield X3, "gelu(x) * sigmoid(x)", lambda x: gelu(x) / (1 + np.exp(-x))
    yield X2, "x - mean(x, axis = 1, keep)", lambda x: x - x.mean(1, keepdims=True)
    yield X3, "x - mean(x, axis = 0)", lambda x: x - x.mean(0)


def reductions():
    functions = (("sum", np.sum), ("mean", np.mean), ("max", np.max))
    for axis, keep, (name, f) in itertools.product(range(3), (False, True), functions):
        yield (X3, f"{name}(x, axis = {axis}{', keep' if keep else ''})",
               lambda x, f=f, axis=axis, keep=keep: f(x, axis=axis, keepdims=keep))
    for axis in range(4):
        yield X4, f"sum(x, axis = {axis})", lambda x, axis=axis: x.sum(axis)
        yield X4, f"softmax(x, axis = {axis})", lambda x, axis=axis: softmax(x, axis)
    for axis in range(3):
        yield (with_mask(X3, X3["x"][axis]), f"softmax(x, axis = {axis}, mask = m)",
               lambda x, m, axis=axis: softmax(masked(x, m, axis, -np.inf), axis))
        yield (with_mask(X3, X3["x"][axis]), f"mean(x, axis = {axis}, mask = m)",
               lambda x, m, axis=axis: masked(x, m, axis, 0).sum(axis) / m.sum())
        yield (with_mask(X3, X3["x"][axis]), f"max(x, axis = {axis}, mask = m)",
               lambda x, m, axis=axis: masked(x, m, axis, -9e9).max(axis))


def slices():
    for text, index in (("1", 1), ("1 .. 3", slice(1, 3)), ("1, 5 .. 9", (1, slice(5, 9))),
                        ("0 .. 3, 5", (slice(None), 5)), ("0 .. 2, 3 .. 8, 7 .. 20",
                                                          np.s_[0:2, 3:8, 7:20])):
        yield X3, f"x[{text}]", lambda x, index=index: x[index]
        yield X3, f"softmax(relu(x)[{text}])", lambda x, index=index: softmax(
            np.maximum(x, 0)[index])
    yield X4, "x[1, 2]", lambda x: x[1, 2]
    yield X4, "x[0 .. 2, 2]", lambda x: x[:, 2]
    yield X3, "x[0] + x[2]", lambda x: x[0] + x[2]
    yield X2, "x[3 .. 8, 3 .. 9] * x[1 .. 6, 5 .. 11]", lambda x: x[3:8, 3:9] * x[1:6, 5:11]
    yield X2, "softmax(x[3 .. 8, 2 .. 9], axis = 0)", lambda x: softmax(x[3:8, 2:9], 0)
    yield X2, "x[1 .. 12] - x[0 .. 11]", lambda x: x[1:] - x[:-1]
    yield X2, "x[.., 1 .. 24] - x[.., 0 .. 23]", lambda x: x[:, 1:] - x[:, :-1]
    yield X2, "x + x[5 .. 6]", lambda x: x + x[5:6]
    yield X2, "x + x[.., 5 .. 6]", lambda x: x + x[:, 5:6]


def layouts():
    for shape in ((24, 12), (288,), (3, 4, 24), (12, 1, 24), (4, 3, 2, 12)):
        yield X2, f"reshape(x, {list(shape)}) * 2", lambda x, s=shape: x.reshape(s) * 2
        yield X2, f"reshape(gelu(x), {list(shape)})", lambda x, s=shape: gelu(x).reshape(s)
    for axes in itertools.permutations(range(4)):
        yield X4, f"transpose(x, {list(axes)})", lambda x, axes=axes: x.transpose(axes)
    for x, axis in ((X2, 0), (X2, 1), (X3, 0), (X3, 1), (X3, 2), (X4, 0), (X4, 1)):
        yield (with_y(x, *x["x"]), f"concat(x, relu(y), x, axis = {axis})",
               lambda x, y, axis=axis: np.concatenate([x, np.maximum(y, 0), x], axis))
    yield with_y(X2, 1, 24), "concat(y, x, axis = 0)", lambda x, y: np.concatenate([y, x])
    yield {"x": (4,), "y": (5,)}, "concat(y, x)", lambda x, y: np.concatenate([y, x])


def attentions():
    for q, k in ((1, 1), (1, 9), (9, 1), (1, 40), (5, 7), (33, 17)):
        plain = {"q": (q, 24), "k": (k, 24), "v": (k, 24)}
        grouped = {"q": (q, 32), "k": (k, 16), "v": (k, 16)}
        yield plain, "attention(q, k, v, heads = 3)", attention(3)
        for shape in ((k,), (q, k), (3, q, k)):
            yield (with_mask(plain, *shape), "attention(q, k, v, heads = 3, mask = m)",
                   attention(3))
        yield (with_mask(grouped, 4, q, k),
               "attention(q, k, v, heads = 4, kv_heads = 2, mask = m)", attention(4, 2))
    square = {"q": (9, 24), "k": (9, 24), "v": (9, 24)}
    yield (with_mask(square, 3, 9, 9), "attention(q, k, v, heads = 3, causal, mask = m)",
           attention(3, None, lambda i, j: j <= i))
    yield (with_mask(square, 9), "attention(q, k, v, heads = 3, window = 2, mask = m)",
           attention(3, None, lambda i, j: abs(i - j) <= 2))
    yield ({"q": (9, 24), "k": (30, 24)}, "attention(q, k[3 .. 20], k[3 .. 20], heads = 3)",
           lambda q, k: attention(3)(q, k[3:20], k[3:20]))


def transforms():
    two = fourier(-2, -1)
    yield X2, "fourier(fourier(x))", lambda x: two(two(x))
    yield {"x": (64, 64)}, "fourier(fourier(x))", lambda x: two(two(x))
    yield X2, "fourier(x + fourier(x)) / 100", lambda x: two(x + two(x)) / 100
    for axes in ([0], [1], [0, 1], [0, 2], [1, 2]):
        yield X3, f"fourier(x, axes = {axes})", fourier(*axes)
    yield Z, "fft(fft(z, axis = 1), axis = 2)", lambda z: fft(1)(fft(0)(z))
    yield Z, "fft(fft(z), inverse) / 16", lambda z: z
    yield Z, "fft(relu(z))", lambda z: fft(-1)(np.maximum(z, 0))
    yield Z, "relu(fft(z))", lambda z: np.maximum(fft(-1)(z), 0)
    yield Z, "fft(z)[0]", lambda z: fft(-1)(z)[0]
    yield {"z": (2, 3, 12, 16)}, "fft(z, axis = 1)", fft(0)
    real = "concat(reshape(x, 1, 12, 24), reshape(0 * x, 1, 12, 24), axis = 0)"
    yield X2, f"fft({real})[1]", lambda x: np.fft.fft(x).imag


def ropes():
    for shape, heads, offset, interleaved in (
            ((24, 32), 4, 5, False), ((24, 32), 4, 5, True), ((1, 32), 4, 4000, False),
            ((7, 30), 3, 0, True), ((3, 12, 24), 3, 0, False), ((40, 256), 1, 2, True),
            ((5, 10), 5, 1, False), ((5, 2), 1, 1, True), ((33, 384), 3, 9, False)):
        text = f"rope(x, heads = {heads}, offset = {offset}"
        yield ({"x": shape}, text + (", interleaved)" if interleaved else ")"),
               rope(heads, offset, interleaved))
    yield X2, "rope(fourier(x), heads = 3)", lambda x: rope(3, 0, False)(fourier(-2, -1)(x))


def draw(rng, shape):
    if shape and shape[0] == "u8":
        mask = (rng.random(shape[1:]) < 0.7).astype(np.uint8)
        mask[..., 0] = 1
        return mask
    return rng.normal(size=shape).astype(np.float16)


def check(inputs, text, model, batch, machine):
    """What is wrong, or None."""
    rng = np.random.default_rng([len(text), batch])
    samples = [{n: draw(rng, s) for n, s in inputs.items()} for _ in range(batch)]
    tensors = {n: np.stack([s[n] for s in samples]) if batch > 1 else np.asarray(samples[0][n])
               for n in inputs}
    want = [model(*(s[n].astype(float) for n in inputs)) for s in samples]
    want = np.stack(want) if batch > 1 else np.asarray(want[0])
    lines = ""
    for name, shape in inputs.items():
        kind, sizes = ("u8", shape[1:]) if shape and shape[0] == "u8" else ("f16", shape)
        lines += f"input {name}: {kind}{list(sizes) if sizes else ''}; "
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        (folder / "n.bfly").write_text(f"network n() {{ {lines}output out = {text}; }}\n")
        tensorfile.save(folder / "in", tensors)
        for command in (f"bfcc n.bfly -o n.bfx -batch {batch} -arch {machine}",
                        "bfrun n.bfx -in in -out ref -device ref",
                        "bfrun n.bfx -in in -out sim -device sim"):
            program, *words = command.split()
            done = subprocess.run([BUILD / program, *words], cwd=folder, stdin=subprocess.DEVNULL,
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            if done.returncode:
                return f"{command}: {done.stdout}"
        if (folder / "ref").read_bytes() != (folder / "sim").read_bytes():
            return "ref and sim differ"
        got = tensorfile.load(folder / "ref")[0]["out"].astype(float)
    if got.shape != want.shape:
        return f"shape {got.shape}, not {want.shape}"
    error = np.abs(got - want).max() / max(np.abs(want).max(), 1e-3)
    return None if error < TOLERANCE else f"error {error:.3g}"


class Operators(unittest.TestCase):
    def check_all(self, cases):
        """Every case alone and as a batch, on machines in turn."""
        machines = itertools.cycle(["default", "mlx-reduced", "mlx-full"])
        jobs = [(*case, batch, next(machines)) for case in cases for batch in (1, 3)]
        with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
            for job, wrong in zip(jobs, pool.map(lambda job: check(*job), jobs)):
                with self.subTest(inputs=job[0], text=job[1], batch=job[3], machine=job[4]):
                    self.assertIsNone(wrong)

    def test_broadcasting(self):
        self.check_all(broadcasts())

    def test_reductions(self):
        self.check_all(reductions())

    def test_slices(self):
        self.check_all(slices())

    def test_layouts(self):
        self.check_all(layouts())

    def test_attention(self):
        self.check_all(attentions())

    def test_transforms(self):
        self.check_all(transforms())

    def test_rope(self):
        self.check_all(ropes())


if __name__ == "__main__":
    unittest.main()
