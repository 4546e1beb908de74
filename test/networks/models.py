"""The networks of examples/networks in numpy: weights, inputs and values at any precision.

They are written with the operators of test/reference, which know nothing of bfcc, at float64
(EXACT) and in two emulations of fp16 with f32 accumulators. Weights and inputs are fp16 numbers,
drawn as in the reference cases.
"""
import math
import pathlib
import sys
import zlib

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "reference"))
import operators as op  # noqa: E402


class Draw:
    """A seeded source of tensors, collected by name in `weights`."""

    def __init__(self, name):
        self.rng = np.random.default_rng(zlib.crc32(name.encode()))
        self.weights = {}

    def normal(self, *shape, mean=0.0, std=1.0):
        x = self.rng.standard_normal(shape, np.float32)
        return (x * np.float32(std) + np.float32(mean)).astype(np.float16)

    def put(self, name, *shape, **how):
        self.weights[name] = self.normal(*shape, **how)

    def linear(self, name, out, fan_in, bias=True):
        self.put(f"{name}.weight", out, fan_in, std=fan_in ** -0.5)
        if bias:
            self.put(f"{name}.bias", out, std=0.1)

    def butterfly(self, name, out, fan_in):
        m = math.ceil(math.log2(fan_in))
        stacks = math.ceil(out / (1 << m))
        self.put(f"{name}twiddle", stacks, 1, m, 1 << (m - 1), 2, 2, std=0.5 ** 0.5)
        self.put(f"{name}bias", out, std=0.1)

    def block_butterfly(self, name, out, fan_in, tile):
        m = int(math.log2(tile))
        std = 0.5 ** 0.5 * (fan_in / tile) ** (-0.5 / m)
        self.put(f"{name}.twiddle", out // tile, fan_in // tile, 1, m, tile // 2, 2, 2, std=std)

    def norm(self, name, d, bias=True):
        self.put(f"{name}.weight", d, mean=1, std=0.1)
        if bias:
            self.put(f"{name}.bias", d, std=0.1)

    def encoder_block(self, name, d, inner, attention=None, feed="linear"):
        """attention: None (Fourier), 'linear' or 'butterfly'."""
        def draw(kind, path, out, fan_in):
            getattr(self, kind)(path + "." * (kind == "butterfly"), out, fan_in)
        if attention:
            for n in ("query", "key", "value", "output"):
                draw(attention, f"{name}.attention.{n}", d, d)
        self.norm(f"{name}.mixing_norm", d)
        draw(feed, f"{name}.ffn.up", inner, d)
        draw(feed, f"{name}.ffn.down", d, inner)
        self.norm(f"{name}.ffn_norm", d)

    def torch_layer(self, name, d, inner):
        self.put(f"{name}.self_attn.in_proj_weight", 3 * d, d, std=d ** -0.5)
        self.put(f"{name}.self_attn.in_proj_bias", 3 * d, std=0.1)
        self.linear(f"{name}.self_attn.out_proj", d, d)
        self.linear(f"{name}.linear1", inner, d)
        self.linear(f"{name}.linear2", d, inner)
        self.norm(f"{name}.norm1", d)
        self.norm(f"{name}.norm2", d)


# ---- operators that have to be quicker than those of test/reference ----

STEP = 1 / 1024
GRID = np.arange(-6 * 1024, 6 * 1024 + 1) * STEP
GRID_ERF = np.array([math.erf(g) for g in GRID])


def erf(x):
    """Taylor's series about the nearest of 12,289 points: right to 1e-16."""
    x = np.clip(np.asarray(x, np.float64), -6, 6)
    at = np.rint(x / STEP).astype(np.int32) + len(GRID) // 2
    g = GRID[at]
    h = x - g
    series = h * (1 - h * (g - h * ((4 * g * g - 2) / 6 - h * g * (8 * g * g - 12) / 24)))
    return GRID_ERF[at] + 2 / math.sqrt(math.pi) * np.exp(-g * g) * series


def gelu(p, x, approximate="none"):
    if approximate != "none":
        return op.gelu(p, x, approximate)
    x = p.load(x)
    return p.store(p.dtype(0.5) * x * (1 + erf(x / math.sqrt(2)).astype(p.dtype)))


def tile_matrices(p, twiddle):
    """Each block of a block butterfly as a matrix (rows, cols, out, in): stages applied to unit
    vectors, in the precision of sums."""
    rows, cols, _, m = twiddle.shape[:4]
    n = 1 << m
    v = np.broadcast_to(np.eye(n, dtype=p.dtype), (rows, cols, n, n)).copy()
    w = twiddle.astype(p.dtype)
    for t in range(m):
        stride = 1 << t
        wt = w[:, :, 0, t].reshape(rows, cols, 1, n // (2 * stride), stride, 2, 2)
        pair = v.reshape(rows, cols, n, n // (2 * stride), 2, stride)
        lo, hi = pair[..., 0, :], pair[..., 1, :]
        v = np.stack((wt[..., 0, 0] * lo + wt[..., 0, 1] * hi,
                      wt[..., 1, 0] * lo + wt[..., 1, 1] * hi), axis=-2).reshape(v.shape)
    return np.swapaxes(v, -1, -2)


def block_butterfly(p, x, twiddle):
    """op.block_butterfly; where nothing is rounded between stages, as one matrix."""
    rows, cols, _, m = twiddle.shape[:4]
    n = 1 << m
    if p is not op.HALF_STAGE:
        matrix = np.swapaxes(tile_matrices(p, twiddle), 1, 2).reshape(rows * n, cols * n)
        return p.store(p.load(x) @ matrix.T)
    parts = p.load(x).reshape(x.shape[0], cols, n)
    w = p.store(twiddle)
    outs = []
    for o in range(rows):
        v = parts
        for t in range(m):
            stride = 1 << t
            wt = w[o, :, 0, t].reshape(cols, n // (2 * stride), stride, 2, 2)
            pair = v.reshape(*v.shape[:-1], n // (2 * stride), 2, stride)
            lo, hi = pair[..., 0, :], pair[..., 1, :]
            v = p.stage(np.stack((wt[..., 0, 0] * lo + wt[..., 0, 1] * hi,
                                  wt[..., 1, 0] * lo + wt[..., 1, 1] * hi),
                                 axis=-2).reshape(v.shape))
        outs.append(v.sum(1, dtype=p.dtype))
    return p.store(np.concatenate(outs, axis=-1))


# ---- networks: draw(d, s) makes the weights and gives the input; run(p, w, x, s) the output ----

def encoder_block(p, w, name, x, heads, approximate="none", pre_norm=False):
    def mix(h):
        if f"{name}.attention.query.bias" not in w:
            return op.fourier(p, h)
        q, k, v = (op.any_linear(p, w, f"{name}.attention.{n}", h) for n in ("query", "key",
                                                                           "value"))
        return op.any_linear(p, w, f"{name}.attention.output", op.attention(p, q, k, v, heads))

    def ffn(h):
        up = gelu(p, op.any_linear(p, w, f"{name}.ffn.up", h), approximate)
        return op.any_linear(p, w, f"{name}.ffn.down", up)
    if pre_norm:
        x = op.add(p, x, mix(op.norm(p, w, f"{name}.mixing_norm", x)))
        return op.add(p, x, ffn(op.norm(p, w, f"{name}.ffn_norm", x)))
    x = op.norm(p, w, f"{name}.mixing_norm", op.add(p, x, mix(x)))
    return op.norm(p, w, f"{name}.ffn_norm", op.add(p, x, ffn(x)))


def draw_fabnet(d, s):
    for n in range(s["layers"]):
        dense = n >= s["layers"] - s["dense"]
        d.encoder_block(f"encoder.{n}", s["hidden"], s["expansion"] * s["hidden"],
                        "butterfly" if dense else None, "butterfly")
    return d.normal(s["seq"], s["hidden"])


def draw_fnet(d, s):
    for n in range(s["layers"]):
        d.encoder_block(f"encoder.{n}", s["hidden"], s["expansion"] * s["hidden"])
    return d.normal(s["seq"], s["hidden"])


def draw_compressed(d, s):
    for n in range(s["layers"]):
        d.encoder_block(f"encoder.{n}", s["hidden"], s["expansion"] * s["hidden"], "linear")
    return d.normal(s["seq"], s["hidden"], mean=0.25)


def run_encoder(p, w, x, s, approximate="none"):
    for n in range(s["layers"]):
        x = encoder_block(p, w, f"encoder.{n}", x, s.get("heads"), approximate)
    return x


def run_fnet(p, w, x, s):
    return run_encoder(p, w, x, s, "tanh")


def run_compressed(p, w, x, s):
    return run_encoder(p, w, op.fft_compress(p, x, s["chunk"], s["keep"]), s)


def draw_bert(d, s):
    for n in range(s["layers"]):
        d.torch_layer(f"layers.{n}", s["hidden"], s["expansion"] * s["hidden"])
    return d.normal(s["seq"], s["hidden"])


def run_bert(p, w, x, s):
    size = s["hidden"]
    for n in range(s["layers"]):
        name = f"layers.{n}"
        qkv = op.linear(p, x, w[f"{name}.self_attn.in_proj_weight"],
                        w[f"{name}.self_attn.in_proj_bias"])
        y = op.attention(p, qkv[:, :size], qkv[:, size:2 * size], qkv[:, 2 * size:], s["heads"])
        x = op.norm(p, w, f"{name}.norm1",
                    op.add(p, x, op.any_linear(p, w, f"{name}.self_attn.out_proj", y)), 1e-12)
        h = gelu(p, op.any_linear(p, w, f"{name}.linear1", x))
        x = op.norm(p, w, f"{name}.norm2",
                    op.add(p, x, op.any_linear(p, w, f"{name}.linear2", h)), 1e-12)
    return x


LLAMA_MAPS = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj",
              "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj")


def draw_llama(d, s):
    hidden, inner = s["hidden"], s["inner"]
    for n in range(s["layers"]):
        name = f"layers.{n}"
        d.norm(f"{name}.input_layernorm", hidden, bias=False)
        d.norm(f"{name}.post_attention_layernorm", hidden, bias=False)
        for path in LLAMA_MAPS:
            out = {"mlp.gate_proj": inner, "mlp.up_proj": inner}.get(path, hidden)
            if path[:11] in ("self_attn.k", "self_attn.v"):
                out = hidden // s["heads"] * s["kv_heads"]
            fan_in = inner if path == "mlp.down_proj" else hidden
            if s["tile"]:
                d.block_butterfly(f"{name}.{path}", out, fan_in, s["tile"])
            else:
                d.linear(f"{name}.{path}", out, fan_in, bias=False)
    return d.normal(s["seq"], hidden)


def rotated(p, x, heads, base=10000.0):
    """Rotary positions: columns i and i + h/2 of each head turned by position x base^(-2i/h)."""
    rows, cols = x.shape
    half = cols // heads // 2
    angle = np.arange(rows)[:, None] * base ** (-np.arange(half) / half)
    cosine, sine = (p.store(f(angle))[:, None, :] for f in (np.cos, np.sin))
    a, b = np.split(p.load(x).reshape(rows, heads, 2 * half), 2, axis=2)
    return p.store(np.concatenate((a * cosine - b * sine, b * cosine + a * sine), 2)
                   .reshape(rows, cols))


def run_llama(p, w, x, s):
    allowed = op.causal_mask(s["seq"])
    for n in range(s["layers"]):
        def put(path, h):
            name = f"layers.{n}.{path}"
            if s["tile"]:
                return block_butterfly(p, h, w[f"{name}.twiddle"])
            return op.linear(p, h, w[f"{name}.weight"])
        h = op.rms_norm(p, x, w[f"layers.{n}.input_layernorm.weight"])
        q, k, v = (put(f"self_attn.{c}_proj", h) for c in "qkv")
        q, k = rotated(p, q, s["heads"]), rotated(p, k, s["kv_heads"])
        y = op.attention(p, q, k, v, s["heads"], s["kv_heads"], allowed)
        x = op.add(p, x, put("self_attn.o_proj", y))
        h = op.rms_norm(p, x, w[f"layers.{n}.post_attention_layernorm.weight"])
        h = p.store(op.silu(p, put("mlp.gate_proj", h)) * put("mlp.up_proj", h))
        x = op.add(p, x, put("mlp.down_proj", h))
    return x


def draw_vit(d, s):
    hidden = s["hidden"]
    d.put("cls_token", 1, hidden, std=0.5)
    d.put("pos_embed", s["patches"] + 1, hidden, std=0.5)
    d.linear("patch_embed", hidden, s["pixels"])
    for n in range(s["layers"]):
        d.encoder_block(f"blocks.{n}", hidden, s["expansion"] * hidden, "linear")
    d.norm("norm", hidden)
    d.linear("head", s["classes"], hidden)
    return d.normal(s["patches"], s["pixels"])


def run_vit(p, w, x, s):
    h = op.any_linear(p, w, "patch_embed", x)
    h = np.concatenate((p.store(w["cls_token"]), h))
    h = op.add(p, h, p.store(w["pos_embed"]))
    for n in range(s["layers"]):
        h = encoder_block(p, w, f"blocks.{n}", h, s["heads"], pre_norm=True)
    h = op.norm(p, w, "norm", h, 1e-6)
    return op.any_linear(p, w, "head", h[:1])[0]


def draw_butterfly(d, s):
    d.butterfly("", s["out"], s["features"])
    return d.normal(s["tokens"], s["features"])


def run_butterfly(p, w, x, s):
    return op.butterfly(p, x, w["twiddle"], w["bias"], s["out"])


def draw_fft(d, s):
    return d.normal(2, s["rows"], s["points"])


def run_fft(p, w, x, s):
    re, im, shift = op.fft(p, x[0], x[1], "half")
    return p.store(np.stack((re, im)) * p.dtype(2.0 ** shift))


NETWORKS = {
    "fabnet": (draw_fabnet, run_encoder), "fnet": (draw_fnet, run_fnet),
    "bert": (draw_bert, run_bert), "llama": (draw_llama, run_llama),
    "compressed": (draw_compressed, run_compressed), "vit": (draw_vit, run_vit),
    "butterfly": (draw_butterfly, run_butterfly), "fft": (draw_fft, run_fft),
}
