"""Operators of random networks, each twice.

`exact` is an independent model in float64: dense sums, numpy.fft, loops over heads. It shares nothing
with the compiler or with test/reference. `rounded` is the operator of test/reference/operators.py at a
precision that emulates the array; it only says how large errors may be.

An operator is a class with
    exact(tensors, weights)         -> array
    rounded(p, tensors, weights)    -> array; p as in operators.py
over one sample; `tensors` are its operands in order, `weights` its parameters by their short names.
"""
import math
import pathlib
import sys

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "reference"))
import operators as reference  # noqa: E402


class Linear:
    """Weights: weight [out, in], bias [out] or none; `rows` picks a part of packed ones."""

    def __init__(self, rows=None):
        self.rows = rows or slice(None)

    def parts(self, w):
        return w["weight"][self.rows], w["bias"][self.rows] if "bias" in w else None

    def exact(self, tensors, w):
        weight, bias = self.parts(w)
        y = np.einsum("...i,oi->...o", tensors[0], weight)
        return y if bias is None else y + bias

    def rounded(self, p, tensors, w):
        return reference.linear(p, tensors[0], *self.parts(w))


class Butterfly:
    def __init__(self, out, increasing):
        self.out, self.increasing = out, increasing

    def exact(self, tensors, w):
        twiddle = w["twiddle"]
        stacks, blocks, m = twiddle.shape[:3]
        n = 2 ** m
        x = np.zeros((*tensors[0].shape[:-1], n))
        x[..., :tensors[0].shape[-1]] = tensors[0]
        index = np.arange(n)
        results = []
        for stack in range(stacks):
            v = x
            for block in range(blocks):
                rising = self.increasing == (block % 2 == 0)
                for t in range(m):
                    bit = t if rising else m - 1 - t
                    pair = (index >> (bit + 1) << bit) | (index & (2 ** bit - 1))
                    row = (index >> bit) & 1
                    mine = twiddle[stack, block, t, pair, row, row]
                    other = twiddle[stack, block, t, pair, row, 1 - row]
                    v = mine * v + other * v[..., index ^ (1 << bit)]
            results.append(v)
        y = np.concatenate(results, -1)[..., :self.out]
        return y + w["bias"] if "bias" in w else y

    def rounded(self, p, tensors, w):
        return reference.butterfly(p, tensors[0], w["twiddle"], w.get("bias"), self.out,
                                   self.increasing)


class BlockButterfly:
    """Each tile as a dense matrix."""

    def __init__(self, increasing):
        self.increasing = increasing

    def exact(self, tensors, w):
        twiddle = w["twiddle"]
        rows, cols, _, m = twiddle.shape[:4]
        tile = 2 ** m
        y = np.zeros((*tensors[0].shape[:-1], rows * tile))
        for row in range(rows):
            for col in range(cols):
                matrix = Butterfly(tile, self.increasing).exact(
                    [np.eye(tile)], {"twiddle": twiddle[row, col][None]})
                part = tensors[0][..., col * tile:(col + 1) * tile]
                y[..., row * tile:(row + 1) * tile] += part @ matrix
        return y + w["bias"] if "bias" in w else y

    def rounded(self, p, tensors, w):
        rows, cols, _, m = w["twiddle"].shape[:4]
        parts = np.split(p.load(tensors[0]), cols, -1)
        y = np.concatenate([sum(reference.butterfly_stages(p, parts[col], w["twiddle"][row, col, 0],
                                                           self.increasing)
                                for col in range(cols)) for row in range(rows)], -1)
        return p.store(y + p.store(w["bias"]) if "bias" in w else y)


class Monarch:
    def exact(self, tensors, w):
        right, left = w["blkdiag1"], w["blkdiag2"]
        r = len(right)
        y = np.zeros(tensors[0].shape)
        for j in range(r):
            middle = np.stack([tensors[0][..., b * r:(b + 1) * r] @ right[b, j] for b in range(r)],
                              -1)
            for k in range(r):
                y[..., k * r + j] = middle @ left[j, k]
        return y + w["bias"] if "bias" in w else y

    def rounded(self, p, tensors, w):
        return reference.monarch(p, tensors[0], w["blkdiag1"], w["blkdiag2"], w.get("bias"))


class FftCompress:
    def __init__(self, chunk, keep, mode):
        self.chunk, self.keep, self.mode = chunk, keep, mode

    def exact(self, tensors, w):
        x = tensors[0]
        spectrum = np.fft.fft(x.reshape(-1, self.chunk, x.shape[1]), axis=1)
        if self.mode == "lowpass":
            low = spectrum[:, :self.keep // 2 + 1].copy()
            low[:, -1] = low[:, -1].real
            y = np.fft.irfft(low, self.keep, axis=1)
        else:
            y = np.fft.ifft(spectrum[:, :self.keep], axis=1).real
        return (y * self.keep / self.chunk).reshape(-1, x.shape[1])

    def rounded(self, p, tensors, w):
        return reference.fft_compress(p, tensors[0], self.chunk, self.keep, self.mode)


class Transpose:
    def __init__(self, axes):
        self.axes = axes

    def exact(self, tensors, w):
        return np.transpose(tensors[0], self.axes)

    def rounded(self, p, tensors, w):
        return np.transpose(tensors[0], self.axes)


class Fourier:
    """The real part of the transform along some axes; negative numbers."""

    def __init__(self, axes):
        self.axes = axes

    def exact(self, tensors, w):
        return np.fft.fftn(tensors[0], axes=self.axes).real

    def rounded(self, p, tensors, w):
        re, im, shift = p.load(tensors[0]), np.zeros_like(p.load(tensors[0])), 0
        for axis in self.axes:
            re, im = np.swapaxes(re, axis, -1), np.swapaxes(im, axis, -1)
            re, im, more = reference.fft(p, re, im, "half")
            re, im, shift = np.swapaxes(re, axis, -1), np.swapaxes(im, axis, -1), shift + more
        return p.store(re * p.dtype(2.0 ** shift))


class Fft:
    """Complex, planes on the first axis."""

    def __init__(self, axis, inverse):
        self.axis, self.inverse = axis, inverse

    def exact(self, tensors, w):
        z = tensors[0][0] + 1j * tensors[0][1]
        n = z.shape[self.axis]
        z = np.fft.ifft(z, axis=self.axis) * n if self.inverse else np.fft.fft(z, axis=self.axis)
        return np.stack([z.real, z.imag])

    def rounded(self, p, tensors, w):
        re, im = (np.swapaxes(p.load(plane), self.axis, -1) for plane in tensors[0])
        re, im, shift = reference.fft(p, re, im, "half", self.inverse)
        y = np.stack([np.swapaxes(re, self.axis, -1), np.swapaxes(im, self.axis, -1)])
        return p.store(y * p.dtype(2.0 ** shift))


class Attention:
    """q, k, v and perhaps a mask [keys], [queries, keys] or [heads, queries, keys]. Query head i reads key head
    i / (heads / kv_heads); `sees(i, j)` says whether query i may look at key j."""

    def __init__(self, heads, kv_heads, sees=None):
        self.heads, self.kv_heads, self.sees = heads, kv_heads, sees

    def allowed(self, tensors):
        """[heads, queries, keys]"""
        shape = len(tensors[0]), len(tensors[1])
        seen = np.ones((self.heads, *shape), bool)
        if len(tensors) == 4:
            seen &= tensors[3].astype(bool)
        return seen & np.fromfunction(self.sees, shape, dtype=int) if self.sees else seen

    def exact(self, tensors, w):
        q, k, v = tensors[:3]
        d, group = q.shape[1] // self.heads, self.heads // self.kv_heads
        y, allowed = np.zeros(q.shape), self.allowed(tensors)
        for head in range(self.heads):
            own, shared = (slice(h * d, h * d + d) for h in (head, head // group))
            for i, seen in enumerate(allowed[head]):
                scores = k[:, shared] @ q[i, own] / math.sqrt(d)
                power = np.where(seen, np.exp(scores - scores[seen].max()), 0)
                y[i, own] = power / power.sum() @ v[:, shared]
        return y

    def rounded(self, p, tensors, w):
        return reference.attention(p, *tensors[:3], self.heads, self.kv_heads,
                                   self.allowed(tensors))


class Rope:
    def __init__(self, heads, base, offset, interleaved):
        self.heads, self.base, self.offset, self.interleaved = heads, base, offset, interleaved

    def angles(self, shape):
        """[seq, 1, h/2]"""
        half = shape[-1] // self.heads // 2
        return np.multiply.outer(np.arange(shape[-2]) + self.offset,
                                 self.base ** (-np.arange(half)[None] / half))

    def turned(self, x, c, s):
        v = x.reshape(*x.shape[:-1], self.heads, -1)
        half = v.shape[-1] // 2
        a, b = ((v[..., ::2], v[..., 1::2]) if self.interleaved
                else (v[..., :half], v[..., half:]))
        a, b = a * c - b * s, b * c + a * s
        y = np.stack([a, b], -1) if self.interleaved else np.stack([a, b], -2)
        return y.reshape(x.shape)

    def exact(self, tensors, w):
        angles = self.angles(tensors[0].shape)
        return self.turned(tensors[0], np.cos(angles), np.sin(angles))

    def rounded(self, p, tensors, w):
        angles = self.angles(tensors[0].shape)
        return p.store(self.turned(p.load(tensors[0]), p.store(np.cos(angles)),
                                   p.store(np.sin(angles))))


class Softmax:
    def __init__(self, axis):
        self.axis = axis

    def exact(self, tensors, w):
        power = np.exp(tensors[0] - tensors[0].max(self.axis, keepdims=True))
        return power / power.sum(self.axis, keepdims=True)

    def rounded(self, p, tensors, w):
        x = np.swapaxes(tensors[0], self.axis, -1)
        return np.swapaxes(reference.softmax(p, x), self.axis, -1)


class LayerNorm:
    def __init__(self, eps):
        self.eps = eps

    def exact(self, tensors, w):
        x = tensors[0]
        mean = x.sum(-1, keepdims=True) / x.shape[-1]
        variance = ((x - mean) ** 2).sum(-1, keepdims=True) / x.shape[-1]
        y = (x - mean) / np.sqrt(variance + self.eps)
        return y * w["weight"] + w["bias"] if w else y

    def rounded(self, p, tensors, w):
        one = np.ones(tensors[0].shape[-1])
        return reference.layer_norm(p, tensors[0], w.get("weight", one), w.get("bias", 0 * one),
                                    self.eps)


class RmsNorm:
    def exact(self, tensors, w):
        x = tensors[0]
        return x / np.sqrt((x * x).sum(-1, keepdims=True) / x.shape[-1] + 1e-6) * w["weight"]

    def rounded(self, p, tensors, w):
        return reference.rms_norm(p, tensors[0], w["weight"])


class Gelu:
    def __init__(self, approximate):
        self.approximate = approximate

    def exact(self, tensors, w):
        x = tensors[0]
        if self.approximate == "tanh":
            return x / (1 + np.exp(-2 * math.sqrt(2 / math.pi) * (x + 0.044715 * x ** 3)))
        return 0.5 * x * np.array([math.erfc(-v / math.sqrt(2)) for v in x.flat]).reshape(x.shape)

    def rounded(self, p, tensors, w):
        return reference.gelu(p, tensors[0], self.approximate)


class Pointwise:
    """A numpy function of one or two tensors."""

    def __init__(self, function):
        self.function = function

    def exact(self, tensors, w):
        return self.function(*tensors)

    def rounded(self, p, tensors, w):
        return p.store(self.function(*(p.load(t) for t in tensors)))


class Slice:
    def __init__(self, *index):
        self.index = index

    def exact(self, tensors, w):
        return tensors[0][self.index]

    def rounded(self, p, tensors, w):
        return tensors[0][self.index]


class Mean:
    """Along an axis; a second operand is a mask as long as the axis."""

    def __init__(self, axis, keep):
        self.axis, self.keep = axis, keep

    def exact(self, tensors, w):
        x = np.moveaxis(tensors[0], self.axis, -1)
        keep = tensors[1].astype(float) if len(tensors) == 2 else np.ones(x.shape[-1])
        y = x @ keep / keep.sum()
        return np.expand_dims(y, self.axis) if self.keep else y

    def rounded(self, p, tensors, w):
        x = np.moveaxis(tensors[0], self.axis, -2 if tensors[0].ndim > 1 else 0)
        x = x[:, None] if x.ndim == 1 else x
        y = reference.mean_pool(p, x, tensors[1] if len(tensors) == 2 else None)
        y = y.reshape(np.delete(tensors[0].shape, self.axis).astype(int))
        return np.expand_dims(y, self.axis) if self.keep else y


class Embedding:
    def exact(self, tensors, w):
        return w["weight"][tensors[0]]

    def rounded(self, p, tensors, w):
        return p.store(w["weight"])[tensors[0]]


class Param:
    """A tensor of the weights as a value."""

    def exact(self, tensors, w):
        return next(iter(w.values()))

    def rounded(self, p, tensors, w):
        return p.store(next(iter(w.values())))
