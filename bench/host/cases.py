"""The networks of the benchmark: their .bfly, their weights, their nominal work, their peers.

A case needs `ratio` against its peers: {peer: least ratio of times}. "best" is the fastest of all.
"""
import dataclasses
import math
import typing

import numpy as np


@dataclasses.dataclass
class Case:
    name: str
    source: str             # text of a .bfly, or a file of examples/networks
    options: list
    weights: dict           # name -> float32 array; made when asked for
    shape: tuple            # of x
    flops: float            # nominal
    peers: typing.Callable  # (case, x, threads) -> {peer: [function that makes a form]}
    needs: dict = dataclasses.field(default_factory=dict)
    peak: float = 0         # least fraction of the FMA peak, of nominal work
    in_cache: bool = False  # two threads must help by 1.8
    cold: bool = False      # measured with empty caches as well


def random(*shape, scale=1.0, seed=[0]):
    seed[0] += 1
    values = np.random.default_rng(seed[0]).standard_normal(shape, np.float32)
    return values * np.float32(scale)


def butterfly_weights(name, inputs, outputs, bias=True):
    """torch_butterfly's shapes; every stage keeps the variance."""
    m = max(1, math.ceil(math.log2(inputs)))
    stacks = -(-outputs // (1 << m))
    weights = {f"{name}.twiddle": random(stacks, 1, m, 1 << (m - 1), 2, 2, scale=2 ** -0.5)}
    if bias:
        weights[f"{name}.bias"] = random(outputs, scale=0.1)
    return weights


def linear_weights(name, inputs, outputs):
    return {f"{name}.weight": random(outputs, inputs, scale=inputs ** -0.5),
            f"{name}.bias": random(outputs, scale=0.1)}


def norm_weights(name, width):
    return {f"{name}.weight": 1 + random(width, scale=0.1), f"{name}.bias": random(width, scale=0.1)}


def butterfly_flops(rows, inputs, outputs):
    m = max(1, math.ceil(math.log2(inputs)))
    return 3.0 * rows * (1 << m) * m * -(-outputs // (1 << m))


def mixing_flops(rows, hidden):
    return 2.5 * rows * hidden * math.log2(rows * hidden)


def attention_flops(rows, hidden):
    return 4.0 * rows * rows * hidden


# ---- a single butterfly ----

def butterfly_case(n, rows, needs, peak=0, in_cache=False):
    def peers(case, x, threads):
        import peers as p
        weights = case.weights()
        dense = linear_weights("y", n, n)

        def form(kind):
            return p.butterfly(weights, "y", n, kind)
        return {
            "nn.Linear": [lambda: (p.eager(p.linear(dense, "y"), x), False)],
            "torch eager, the package's form": [lambda: (p.eager(form("sum"), x), True)],
            "torch eager, best form": [lambda k=k: (p.eager(form(k), x), True)
                                       for k in ("addcmul", "einsum")],
            "torch.compile, best form": [lambda: (p.compiled([form("addcmul")], x), True)],
        }
    source = f"""network one(rows = {rows}, n = {n}) {{
    input x: f32[rows, n];
    output y = y: butterfly(x, n, bias = false);
}}
"""
    return Case(f"butterfly N={n} B={rows}", source, [],
                lambda: butterfly_weights("y", n, n, bias=False), (rows, n),
                butterfly_flops(rows, n, n), peers, needs, peak, in_cache)


# ---- Fourier mixing ----

def mixing_case(rows, hidden, need, in_cache=False):
    def peers(case, x, threads):
        import peers as p
        import fftw
        return {
            "FFTW, real to complex only": [lambda: (fftw.Mixing(x, threads, False), False)],
            "FFTW and the real part": [lambda: (fftw.Mixing(x, threads, True), True)],
            "torch eager, best form": [lambda k=k: (p.eager(p.mixing(k, rows, hidden), x), True)
                                       for k in ("fft2", "rfft2")],
            "scipy": [lambda: (fftw.Scipy(x, threads), True)],
            "numpy": [lambda: (lambda: np.fft.fft2(x).real.astype(np.float32), True)],
        }
    source = f"""network mix(rows = {rows}, hidden = {hidden}) {{
    input x: f32[rows, hidden];
    output y = fourier(x);
}}
"""
    return Case(f"Fourier mixing ({rows},{hidden})", source, [], dict, (rows, hidden),
                mixing_flops(rows, hidden), peers, {"FFTW, real to complex only": need},
                in_cache=in_cache, cold=True)


# ---- FABNet: one block or a network ----

def fabnet_weights(layers, hidden, inner, attention):
    """`attention`: the last so many layers have it."""
    weights = {}
    for layer in range(layers):
        name = f"encoder.{layer}"
        if layer >= layers - attention:
            for label in ("query", "key", "value", "output"):
                weights |= butterfly_weights(f"{name}.attention.{label}", hidden, hidden)
        weights |= butterfly_weights(f"{name}.ffn.up", hidden, inner)
        weights |= butterfly_weights(f"{name}.ffn.down", inner, hidden)
        weights |= norm_weights(f"{name}.mixing_norm", hidden)
        weights |= norm_weights(f"{name}.ffn_norm", hidden)
    return weights


def dense_weights(layers, hidden, inner, attention):
    """The same with dense maps."""
    weights = {}
    for layer in range(layers):
        name = f"encoder.{layer}"
        if layer >= layers - attention:
            for label in ("query", "key", "value", "output"):
                weights |= linear_weights(f"{name}.attention.{label}", hidden, hidden)
        weights |= linear_weights(f"{name}.ffn.up", hidden, inner)
        weights |= linear_weights(f"{name}.ffn.down", inner, hidden)
        weights |= norm_weights(f"{name}.mixing_norm", hidden)
        weights |= norm_weights(f"{name}.ffn_norm", hidden)
    return weights


def fabnet_case(name, rows, layers, attention, needs, hidden=768, inner=3072, heads=12):
    def peers(case, x, threads):
        import peers as p
        weights, dense = case.weights(), dense_weights(layers, hidden, inner, attention)

        def network(kind):
            return [p.fabnet_layer(dense if kind == "dense" else weights, f"encoder.{i}", rows,
                                   hidden, inner, heads if i >= layers - attention else 0, kind)
                    for i in range(layers)]
        return {
            "torch eager, best form": [lambda k=k: (p.eager(p.chain(network(k)), x), True)
                                       for k in ("addcmul", "einsum")],
            "torch.compile, best form": [lambda: (p.compiled(network("addcmul"), x), True)],
            "dense maps, torch": [lambda: (p.eager(p.chain(network("dense")), x), False),
                                  lambda: (p.compiled(network("dense"), x), False)],
        }

    def block(with_attention):
        flops = (butterfly_flops(rows, hidden, inner) + butterfly_flops(rows, inner, hidden))
        if with_attention:
            return flops + 4 * butterfly_flops(rows, hidden, hidden) + attention_flops(rows, hidden)
        return flops + mixing_flops(rows, hidden)
    flops = sum(block(i >= layers - attention) for i in range(layers))
    return Case(name, "fabnet.bfly", [f"-Dseq={rows}", f"-Dlayers={layers}", f"-Ddense={attention}"],
                lambda: fabnet_weights(layers, hidden, inner, attention), (rows, hidden), flops,
                peers, needs, in_cache=layers == 1 and rows <= 128)


# ---- BERT: one block or the network ----

def bert_weights(layers, hidden):
    weights = {}
    for layer in range(layers):
        name = f"layers.{layer}"
        weights[f"{name}.self_attn.in_proj_weight"] = random(3 * hidden, hidden,
                                                             scale=hidden ** -0.5)
        weights[f"{name}.self_attn.in_proj_bias"] = random(3 * hidden, scale=0.1)
        weights |= linear_weights(f"{name}.self_attn.out_proj", hidden, hidden)
        weights |= linear_weights(f"{name}.linear1", hidden, 4 * hidden)
        weights |= linear_weights(f"{name}.linear2", 4 * hidden, hidden)
        weights |= norm_weights(f"{name}.norm1", hidden) | norm_weights(f"{name}.norm2", hidden)
    return weights


def bert_case(name, rows, hidden, layers, need, heads=12):
    def peers(case, x, threads):
        import peers as p
        weights = case.weights()
        network = [p.bert_layer(weights, f"layers.{i}", hidden, heads) for i in range(layers)]
        return {
            "onnxruntime": [lambda f=f: (p.onnx_bert(weights, x, layers, heads, threads, f), True)
                            for f in (False, True)],
            "torch eager": [lambda: (p.eager(p.chain(network), x), True)],
            "torch.compile": [lambda: (p.compiled(network, x), True)],
        }
    flops = layers * (24.0 * rows * hidden * hidden + attention_flops(rows, hidden))
    return Case(name, "bert.bfly", [f"-Dseq={rows}", f"-Dhidden={hidden}", f"-Dlayers={layers}"],
                lambda: bert_weights(layers, hidden), (rows, hidden), flops, peers,
                {"onnxruntime": need}, in_cache=layers == 1 and rows <= 128)


CASES = [
    butterfly_case(256, 128, {"nn.Linear": 24}),
    butterfly_case(512, 128, {"nn.Linear": 45}),
    butterfly_case(1024, 128, {"nn.Linear": 75, "torch.compile, best form": 20}, 0.74, True),
    butterfly_case(1024, 512, {"torch.compile, best form": 20}, 0.74, True),
    butterfly_case(4096, 16, {"nn.Linear": 200}),
    butterfly_case(4096, 128, {"nn.Linear": 200}),
    mixing_case(128, 768, 2.6, True),
    mixing_case(512, 768, 2.8, True),
    mixing_case(1024, 1024, 2.1),
    mixing_case(4096, 512, 1.3),
    fabnet_case("FABNet block S=128", 128, 1, 0,
                {"torch.compile, best form": 25, "dense maps, torch": 20}),
    fabnet_case("FABNet block S=512", 512, 1, 0,
                {"torch.compile, best form": 25, "dense maps, torch": 20}),
    bert_case("dense block H=384 S=128", 128, 384, 1, 1.15),
    bert_case("dense block H=768 S=128", 128, 768, 1, 1.0),
    fabnet_case("FABNet-base, 12 layers", 128, 12, 0, {"best": 20}),
    fabnet_case("FABNet-base, 2 layers of attention", 128, 12, 2, {"best": 8}),
    bert_case("BERT-base, 12 layers", 128, 768, 12, 1.0),
]
