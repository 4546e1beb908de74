"""What bfcc's host code is measured against: torch (eager, compiled), onnxruntime, FFTW.

Every peer is a list of *forms*, functions without arguments that compute the case's output from
the same values; the fastest one counts. Weights are a dict of float32 arrays under the names that
the .bfly network has.
"""
import numpy as np
import onnx
import onnxruntime
import torch
from onnx import TensorProto, helper, numpy_helper
from torch.nn import functional as F

torch.set_grad_enabled(False)


def tensor(array):
    return torch.from_numpy(np.ascontiguousarray(array))


# ---- pieces of networks in torch: each is made once and gives a function of x ----

def linear(weights, name):
    weight, bias = tensor(weights[f"{name}.weight"]), weights.get(f"{name}.bias")
    bias = None if bias is None else tensor(bias)
    return lambda x: F.linear(x, weight, bias)


def layernorm(weights, name, eps=1e-5):
    weight, bias = tensor(weights[f"{name}.weight"]), tensor(weights[f"{name}.bias"])
    return lambda x: F.layer_norm(x, weight.shape, weight, bias, eps)


def stages(twiddle):
    """Coefficients of each stage, [stacks, blocks, stride] for output o and input i."""
    stacks, _, count, half = twiddle.shape[:4]
    for s in range(count):
        stride = 1 << s
        yield stride, twiddle[:, 0, s].reshape(stacks, half // stride, stride, 2, 2)


def butterfly(weights, name, out, form):
    """torch_butterfly's map. Forms: `addcmul`, `einsum`, and `sum`, the package's own."""
    twiddle = weights[f"{name}.twiddle"]
    bias = tensor(weights[f"{name}.bias"]) if f"{name}.bias" in weights else None
    stacks, n = twiddle.shape[0], 2 * twiddle.shape[3]
    if form == "addcmul":
        steps = [(stride, [[tensor(t[..., o, i]) for i in (0, 1)] for o in (0, 1)])
                 for stride, t in stages(twiddle)]
    elif form == "einsum":
        steps = [(stride, tensor(t)) for stride, t in stages(twiddle)]
    else:
        steps = [(stride, tensor(t.transpose(0, 1, 3, 4, 2))) for stride, t in stages(twiddle)]

    def stage(x, stride, t):
        if form == "sum":
            x = x.reshape(x.shape[0], stacks, n // (2 * stride), 1, 2, stride)
            return (t * x).sum(4)
        x = x.reshape(x.shape[0], stacks, n // (2 * stride), 2, stride)
        if form == "einsum":
            return torch.einsum("snjoi,bsnij->bsnoj", t, x)
        a, b = x[..., 0, :], x[..., 1, :]
        return torch.stack([torch.addcmul(t[o][0] * a, t[o][1], b) for o in (0, 1)], dim=-2)

    def run(x):
        x = F.pad(x, (0, n - x.shape[1])) if x.shape[1] < n else x
        x = x.unsqueeze(1).expand(x.shape[0], stacks, n)
        for stride, t in steps:
            x = stage(x, stride, t)
        x = x.reshape(x.shape[0], stacks * n)[:, :out]
        return x if bias is None else x + bias
    return run


def mixing(form, rows, cols):
    """Re(FFT along both axes): the whole complex transform, or half of it mirrored."""
    if form == "fft2":
        return lambda x: torch.fft.fft2(x).real
    mirror = tensor(-np.arange(rows) % rows)

    def run(x):
        half = torch.fft.rfft2(x).real
        rest = half[mirror, 1:(cols + 1) // 2].flip(1)
        return torch.cat([half, rest], dim=1)
    return run


def attention(q, k, v, heads):
    split = [t.view(t.shape[0], heads, -1).transpose(0, 1).unsqueeze(0) for t in (q, k, v)]
    y = F.scaled_dot_product_attention(*split)
    return y[0].transpose(0, 1).reshape(q.shape)


def fabnet_layer(weights, name, rows, hidden, inner, heads, form):
    """FBfly, or ABfly where there are projections. form `dense`: linear maps instead."""
    def map_(label, out):
        if form == "dense":
            return linear(weights, f"{name}.{label}")
        return butterfly(weights, f"{name}.{label}", out, form)
    up, down = map_("ffn.up", inner), map_("ffn.down", hidden)
    norm1, norm2 = layernorm(weights, f"{name}.mixing_norm"), layernorm(weights, f"{name}.ffn_norm")
    if heads:
        q, k, v, o = (map_(f"attention.{p}", hidden) for p in ("query", "key", "value", "output"))

        def mix(x):
            return o(attention(q(x), k(x), v(x), heads))
    else:
        mix = mixing("rfft2", rows, hidden)

    def run(x):
        x = norm1(x + mix(x))
        return norm2(x + down(F.gelu(up(x))))
    return run


def bert_layer(weights, name, hidden, heads):
    w, b = (tensor(weights[f"{name}.self_attn.in_proj_{p}"]) for p in ("weight", "bias"))
    out = linear(weights, f"{name}.self_attn.out_proj")
    up, down = linear(weights, f"{name}.linear1"), linear(weights, f"{name}.linear2")
    norm1, norm2 = (layernorm(weights, f"{name}.norm{i}", 1e-12) for i in (1, 2))

    def run(x):
        q, k, v = F.linear(x, w, b).split(hidden, dim=1)
        x = norm1(x + out(attention(q, k, v, heads)))
        return norm2(x + down(F.gelu(up(x))))
    return run


def chain(layers):
    def run(x):
        for layer in layers:
            x = layer(x)
        return x
    return run


# ---- forms ----

def eager(function, x):
    x = tensor(x)
    return lambda: function(x)


def compiled(layers, x):
    """torch.compile for the number of threads that is set now; a graph a layer, as one of a whole
    network takes hours to make."""
    torch._dynamo.reset()
    torch._dynamo.config.recompile_limit = 2 * len(layers) + 8
    torch._inductor.config.freezing = True
    network = chain([torch.compile(layer, dynamic=False) for layer in layers])
    return eager(network, x)


# ---- onnxruntime ----

class Graph:
    def __init__(self):
        self.nodes, self.constants = [], []

    def constant(self, array):
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def add(self, kind, inputs, domain="", **attributes):
        name = f"n{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [name], domain=domain, **attributes))
        return name


def onnx_layer(g, x, weights, name, rows, hidden, heads, fused):
    """One layer of bert_layer. fused: onnxruntime's own operators for attention and norms."""
    def matmul(x, weight, bias):
        return g.add("Add", [g.add("MatMul", [x, g.constant(weight.T)]), g.constant(bias)])

    def norm(x, residual, label):
        scale, bias = (g.constant(weights[f"{name}.{label}.{p}"]) for p in ("weight", "bias"))
        if fused:
            return g.add("SkipLayerNormalization", [x, residual, scale, bias], "com.microsoft",
                         epsilon=1e-12)
        return g.add("LayerNormalization", [g.add("Add", [x, residual]), scale, bias],
                     epsilon=1e-12)

    def heads_first(t, order):
        shape = g.constant(np.array([1, rows, heads, hidden // heads]))
        return g.add("Transpose", [g.add("Reshape", [t, shape])], perm=order)

    w, b = (weights[f"{name}.self_attn.in_proj_{p}"] for p in ("weight", "bias"))
    q, k, v = (matmul(x, w[i:i + hidden], b[i:i + hidden]) for i in range(0, 3 * hidden, hidden))
    if fused:
        y = g.add("MultiHeadAttention", [q, k, v], "com.microsoft", num_heads=heads)
    else:
        scores = g.add("MatMul", [heads_first(q, [0, 2, 1, 3]), heads_first(k, [0, 2, 3, 1])])
        scale = g.constant(np.float32(1 / np.sqrt(hidden // heads)))
        p = g.add("Softmax", [g.add("Mul", [scores, scale])], axis=-1)
        y = g.add("MatMul", [p, heads_first(v, [0, 2, 1, 3])])
        y = g.add("Reshape", [g.add("Transpose", [y], perm=[0, 2, 1, 3]),
                              g.constant(np.array([1, rows, hidden]))])
    y = matmul(y, weights[f"{name}.self_attn.out_proj.weight"],
               weights[f"{name}.self_attn.out_proj.bias"])
    x = norm(x, y, "norm1")
    h = g.add("Gelu", [matmul(x, weights[f"{name}.linear1.weight"],
                              weights[f"{name}.linear1.bias"])])
    y = matmul(h, weights[f"{name}.linear2.weight"], weights[f"{name}.linear2.bias"])
    return norm(x, y, "norm2")


def onnx_bert(weights, x, layers, heads, threads, fused):
    rows, hidden = x.shape
    g = Graph()
    at = "x"
    for layer in range(layers):
        at = onnx_layer(g, at, weights, f"layers.{layer}", rows, hidden, heads, fused)
    shape = [1, rows, hidden]
    graph = helper.make_graph(
        g.nodes, "bert", [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(at, TensorProto.FLOAT, shape)], g.constants)
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=9)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.add_session_config_entry("session.intra_op.allow_spinning", "1")
    session = onnxruntime.InferenceSession(model.SerializeToString(), options,
                                           providers=["CPUExecutionProvider"])
    given = {"x": x[None]}
    return lambda: session.run(None, given)[0][0]
