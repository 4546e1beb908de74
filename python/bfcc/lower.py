"""What each operator of torch becomes: one method an operator, called with the values of its arguments.

Values are Views, Consts (parameters and what is computed of them alone), numbers, and the halves of
patterns below: what is an operator only together with those around it, as the product of queries and
keys is with softmax and the product with values.
"""
from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from .graph import Graph, Node, Unsupported, View, flat, product, together


@dataclass
class Const:
    """A tensor that is known. `view` is how it is cut from a parameter, if it is."""
    tensor: torch.Tensor
    view: View | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.tensor.shape)


@dataclass
class Spectrum:
    """factor * transform of a real value along axes."""
    x: View
    axes: tuple[int, ...]
    factor: float
    shape: tuple[int, ...]


@dataclass
class Scores:
    """scale * q k^T with what is masked; probabilities after softmax."""
    q: View
    k: View
    scale: float
    shape: tuple[int, ...]
    mask: Any = None
    soft: bool = False


@dataclass
class MeanSquare:
    """Steps of x / sqrt(mean(x^2) + eps): square, mean, plus eps, rsqrt."""
    x: View
    step: str
    eps: float
    shape: tuple[int, ...]


Value = Any
handlers: dict[str, Callable[..., Value]] = {}


def lowers(*names: str) -> Callable[[Callable[..., Value]], Callable[..., Value]]:
    def register(method: Callable[..., Value]) -> Callable[..., Value]:
        handlers.update(dict.fromkeys(names, method))
        return method
    return register


def number(value: float) -> float | int:
    return int(value) if float(value).is_integer() and abs(value) < 2**53 else float(value)


class Lowering:
    """Makes the graph. `weights` collects the tensors that its parameters name."""

    def __init__(self) -> None:
        self.graph = Graph()
        self.weights: dict[str, torch.Tensor] = {}
        self.shape: tuple[int, ...] = ()  # of the result that is asked for

    # ---- values ----

    def view(self, value: Value) -> View:
        if isinstance(value, View):
            return value
        if isinstance(value, Const):
            return self.constant(value)
        if isinstance(value, (int, float)):
            return View.of(self.graph, self.graph.node("constant", [], (), value=number(value)))
        if isinstance(value, Spectrum):
            raise Unsupported("a complex tensor, of which only the real part can be used")
        if isinstance(value, Scores):
            raise Unsupported("a product of two computed tensors that is not part of attention")
        if isinstance(value, MeanSquare):
            if value.step == "square":
                return together(self.graph, "mul", value.x, value.x, value.shape)
            if value.step == "mean":
                square = together(self.graph, "mul", value.x, value.x, value.x.shape)
                return self.reduce("mean", square, len(value.x.shape) - 1, True)
            raise Unsupported("rsqrt outside of x * rsqrt(mean(x^2) + eps)")
        raise Unsupported(f"a {type(value).__name__} where a tensor is expected")

    def constant(self, value: Const) -> View:
        """A parameter, a number, or a tensor that is saved beside the parameters."""
        if value.view is not None:
            return value.view
        tensor = value.tensor
        if not tensor.is_floating_point():
            tensor = tensor.float()
        first = tensor.flatten()[0].item()
        if bool((tensor == first).all()) and math.isfinite(first):
            shape = [n for n in tensor.shape if n > 1]
            attrs = {"shape": shape} if shape else {}
            node = self.graph.node("constant", [], shape, value=number(first), **attrs)
            return View.of(self.graph, node, value.shape)
        if not bool(torch.isfinite(tensor).all()):
            raise Unsupported("a constant with infinities")
        place = self.graph.module + "." if self.graph.module else ""
        count = 0
        while True:
            name = f"{place}constant{count or ''}"
            if name not in self.weights or torch.equal(self.weights[name], tensor):
                break
            count += 1
        value.view = self.parameter(name, tensor)
        return value.view

    def parameter(self, name: str, tensor: torch.Tensor) -> View:
        self.weights[name] = tensor
        path, _, last = name.rpartition(".")
        node = self.graph.node("param", [], tensor.shape, path, [name],
                               **{"": last, "shape": list(tensor.shape)})
        return View.of(self.graph, node)

    def own(self, names: Sequence[str], values: Sequence[Value]) -> tuple[str, list[str]] | None:
        """The path below which the values are the parameters of these names; None if there is none."""
        path, full = None, []
        for name, value in zip(names, values):
            node = value.view.node if isinstance(value, Const) and value.view is not None else None
            if node is None or node.op != "param" or value.view.shape != value.shape:
                return None
            prefix, _, last = node.params[0].rpartition(".")
            if last != name or path not in (None, prefix) or math.prod(node.shape) != math.prod(
                    value.shape):
                return None
            path = prefix
            full.append(node.params[0])
        return None if path is None else (path, full)

    def piece(self, value: Value, what: str) -> Node:
        """A parameter, or a part of one, that an operator takes instead of its own."""
        if not isinstance(value, Const):
            raise Unsupported(f"a {what} that is computed; it must be a parameter")
        node = self.constant(value).materialise(value.shape)
        root = node
        while root.op == "slice":
            root = root.inputs[0]
        if root.op != "param":  # turned or reshaped: a tensor of its own
            node = self.constant(Const(value.tensor.contiguous())).materialise(value.shape)
        if node.op not in ("param", "slice"):
            raise Unsupported(f"a {what} whose elements are all {value.tensor.flatten()[0].item()}")
        return node

    def rowwise(self, op: str, x: View, out: int | None, width: int, inputs: Sequence[Node] = (),
                label: str = "", params: Sequence[str] = (), /, **attrs: Any) -> View:
        """An operator along the last axis, which becomes `out` long if that is given."""
        x = x.last(width)
        out = width if out is None else out
        shape = (*x.node.shape[:-1], out)
        node = self.graph.node(op, [x.node, *inputs], shape, label, params, **attrs)
        result = View.of(self.graph, node)
        base = [*x.base[:-1], result.base[-1]]
        return View(self.graph, node, base, [*x.dims[:-1], result.base[-1]])

    def map(self, op: str, x: Value, **attrs: Any) -> View:
        x = self.view(x)
        return x.map(self.graph.node(op, [x.node], x.node.shape, **attrs))

    def reduce(self, op: str, x: View, dim: int, keep: bool) -> View:
        dim %= len(x.shape)
        x, axis = x.axis(dim)
        shape = [n for i, n in enumerate(x.node.shape) if i != axis]
        node = self.graph.node(op, [x.node], shape, axis=axis)
        dims = [[] if i == dim else d for i, d in enumerate(x.dims) if keep or i != dim]
        return View(self.graph, node, [b for i, b in enumerate(x.base) if i != axis], dims)

    def binary(self, op: str, a: Value, b: Value, shape: Sequence[int]) -> Value:
        a, b = (v.tensor.item() if isinstance(v, Const) and v.tensor.numel() == 1 else v
                for v in (a, b))
        if isinstance(b, (int, float)) and op in ("mul", "div"):
            by = b if op == "mul" else 1 / b
            if by == 1:
                return self.view(a).reshape(shape)
            return self.map("scale", a, by=number(by)).reshape(shape)
        if isinstance(a, (int, float)) and op == "mul":
            return self.binary("mul", b, a, shape)
        if b == 0 and isinstance(b, (int, float)) and op in ("add", "sub"):
            return self.view(a).reshape(shape)
        return together(self.graph, op, self.view(a), self.view(b), shape)

    # ---- element by element ----

    @lowers("add.Tensor", "add_.Tensor", "add.Scalar")
    def add(self, a: Value, b: Value, alpha: float = 1) -> Value:
        for x, y in ((a, b), (b, a)):
            if isinstance(x, MeanSquare) and x.step == "mean" and _is_number(y) and alpha == 1:
                return replace(x, step="eps", eps=float(_item(y)))
            if isinstance(x, Scores) and not x.soft and alpha == 1:
                return replace(x, mask=_both(x.mask, y))
        if alpha != 1:
            b = self.binary("mul", b, alpha, _shape(b))
        return self.binary("add", a, b, self.shape)

    @lowers("sub.Tensor", "sub_.Tensor")
    def sub(self, a: Value, b: Value, alpha: float = 1) -> Value:
        if alpha != 1:
            b = self.binary("mul", b, alpha, _shape(b))
        return self.binary("sub", a, b, self.shape)

    @lowers("rsub.Scalar")
    def rsub(self, a: Value, b: Value, alpha: float = 1) -> Value:
        return self.sub(b, a, alpha)

    @lowers("mul.Tensor", "mul_.Tensor", "mul.Scalar")
    def mul(self, a: Value, b: Value) -> Value:
        for x, y in ((a, b), (b, a)):
            if isinstance(x, MeanSquare) and x.step == "rsqrt" and isinstance(y, View) \
                    and _same(x.x, y):
                return self.rowwise("rmsnorm", y, None, y.shape[-1], eps=x.eps, affine=False)
            if isinstance(x, (Scores, Spectrum)) and _is_number(y):
                return self.scaled(x, float(_item(y)))
            # A weight after an rmsnorm without one
            if isinstance(x, View) and x.node.op == "rmsnorm" and not x.node.attrs.get("affine", True):
                own = self.own(["weight"], [y])
                if own and len(y.shape) == 1 and x.base[-1] == x.dims[-1]:
                    return x.map(self.graph.node("rmsnorm", x.node.inputs, x.node.shape, own[0],
                                                 own[1], eps=x.node.attrs["eps"]))
        if isinstance(a, View) and isinstance(b, View) and _same(a, b):
            return MeanSquare(a, "square", 0, a.shape)
        return self.binary("mul", a, b, self.shape)

    def scaled(self, x: Scores | Spectrum, by: float) -> Value:
        if isinstance(x, Spectrum):
            return replace(x, factor=x.factor * by)
        if x.mask is not None or x.soft:
            raise Unsupported("attention whose scores are scaled after the mask")
        return replace(x, scale=x.scale * by)

    @lowers("div.Tensor", "div_.Tensor", "div.Scalar")
    def div(self, a: Value, b: Value) -> Value:
        if isinstance(a, (Scores, Spectrum)) and _is_number(b):
            return self.scaled(a, 1 / float(_item(b)))
        return self.binary("div", a, b, self.shape)

    @lowers("reciprocal.default")
    def reciprocal(self, x: Value) -> Value:
        return self.binary("div", 1, x, self.shape)

    @lowers("neg.default")
    def neg(self, x: Value) -> Value:
        return self.binary("mul", x, -1, self.shape)

    @lowers("square.default")
    def square(self, x: Value) -> Value:
        return self.mul(x, x)

    @lowers("pow.Tensor_Scalar")
    def pow(self, x: Value, exponent: float) -> Value:
        if exponent == 2:
            return self.mul(x, x)
        if exponent == 3:
            return self.binary("mul", x, self.mul(x, x), self.shape)
        if exponent == -0.5:
            return self.rsqrt(x)
        raise Unsupported(f"a power of {exponent}; powers of 2 and 3 are supported")

    @lowers("rsqrt.default")
    def rsqrt(self, x: Value) -> Value:
        if isinstance(x, MeanSquare) and x.step in ("eps", "mean"):
            return replace(x, step="rsqrt")
        raise Unsupported("rsqrt outside of x * rsqrt(mean(x^2) + eps)")

    @lowers("gelu.default")
    def gelu(self, x: Value, approximate: str = "none") -> Value:
        return self.map("gelu", x, **({} if approximate == "none" else {"approximate": "tanh"}))

    @lowers("relu.default", "relu_.default")
    def relu(self, x: Value) -> Value:
        return self.map("relu", x)

    @lowers("silu.default", "silu_.default")
    def silu(self, x: Value) -> Value:
        return self.map("silu", x)

    @lowers("tanh.default", "tanh_.default")
    def tanh(self, x: Value) -> Value:
        return self.map("tanh", x)

    @lowers("sigmoid.default", "sigmoid_.default")
    def sigmoid(self, x: Value) -> Value:
        return self.map("sigmoid", x)

    @lowers("dropout.default", "dropout_.default", "feature_dropout.default")
    def dropout(self, x: Value, p: float, train: bool) -> Value:
        if train and p:
            raise Unsupported("dropout while training")
        return x

    @lowers("contiguous.default", "clone.default", "detach.default", "detach_.default", "alias.default",
            "lift_fresh_copy.default", "positive.default")
    def same(self, x: Value, **_: Any) -> Value:
        return x

    @lowers("to.dtype", "to.dtype_layout", "to.device", "_to_copy.default", "type_as.default",
            "float.default", "to.other")
    def convert(self, x: Value, *arguments: Any, dtype: torch.dtype | None = None, **_: Any) -> Value:
        for a in arguments:
            dtype = a if isinstance(a, torch.dtype) else dtype
        if dtype is not None and not dtype.is_floating_point:
            raise Unsupported(f"a conversion to {dtype}")
        if isinstance(x, View) and x.node.op == "input" and x.node.attrs["type"] in ("i32", "u8"):
            raise Unsupported("integers of an input used as numbers")
        return x

    # ---- linear maps ----

    @lowers("linear.default")
    def linear(self, x: Value, weight: Value, bias: Value = None) -> Value:
        x = self.view(x)
        out, width = _shape(weight)
        parameters = [("weight", weight)] + ([("bias", bias)] if bias is not None else [])
        own = self.own(*zip(*parameters))  # type: ignore[arg-type]
        no_bias = {} if bias is not None else {"bias": False}
        if own:
            return self.rowwise("linear", x, out, width, (), *own, **{"": out}, **no_bias)
        tensors = {name: self.piece(value, name) for name, value in parameters}
        return self.rowwise("linear", x, out, width, list(tensors.values()), tensors=list(tensors),
                            **no_bias)

    @lowers("addmm.default")
    def addmm(self, bias: Value, x: Value, weight: Value) -> Value:
        return self.linear(x, self.turned(weight), bias)

    def turned(self, weight: Value) -> Value:
        if not isinstance(weight, Const):
            raise Unsupported("a product of two computed tensors that is not part of attention")
        view = weight.view.permute([1, 0]) if weight.view is not None else None
        return Const(weight.tensor.t(), view)

    @lowers("matmul.default", "bmm.default", "mm.default")
    def matmul(self, a: Value, b: Value) -> Value:
        if isinstance(a, Scores):
            return self.attended(a, self.view(b))
        if isinstance(b, Const) and len(b.shape) == 2:
            return self.linear(a, self.turned(b)).reshape(self.shape)
        if not isinstance(a, View) or not isinstance(b, View):
            raise Unsupported("a product of a constant and a computed tensor in this order")
        return Scores(a, b.permute([*range(len(b.shape) - 2), -1, -2]), 1, self.shape)

    @lowers("baddbmm.default")
    def baddbmm(self, c: Value, a: Value, b: Value, beta: float = 1, alpha: float = 1) -> Value:
        if beta != 1 or alpha != 1:
            raise Unsupported("baddbmm with factors")
        return self.add(self.matmul(a, b), c)

    @lowers("bfcc.butterfly.default")
    def butterfly(self, x: Value, twiddle: Value, bias: Value, out: int, increasing: bool) -> Value:
        nblocks = _shape(twiddle)[1]
        return self.module_map("butterfly", x, {"twiddle": twiddle}, bias, out, {
            "": out, **({} if increasing else {"increasing": False}),
            **({"nblocks": nblocks} if nblocks > 1 else {})})

    @lowers("bfcc.block_butterfly.default")
    def block_butterfly(self, x: Value, twiddle: Value, bias: Value, increasing: bool) -> Value:
        rows, _, _, _, half = _shape(twiddle)[:5]
        return self.module_map("block_butterfly", x, {"twiddle": twiddle}, bias, 2 * half * rows, {
            "": 2 * half * rows, "tile": 2 * half, **({} if increasing else {"increasing": False})})

    @lowers("bfcc.monarch.default")
    def monarch(self, x: Value, blkdiag1: Value, blkdiag2: Value, bias: Value) -> Value:
        return self.module_map("monarch", x, {"blkdiag1": blkdiag1, "blkdiag2": blkdiag2}, bias, None,
                               {})

    def module_map(self, op: str, x: Value, parameters: dict[str, Value], bias: Value,
                   out: int | None, attrs: dict[str, Any]) -> Value:
        if bias is not None:
            parameters = {**parameters, "bias": bias}
        own = self.own(list(parameters), list(parameters.values()))
        if own is None:
            raise Unsupported(f"a {op} whose parameters are not those of one module")
        no_bias = {} if bias is not None else {"bias": False}
        return self.rowwise(op, self.view(x), out, _shape(x)[-1], (), *own, **attrs, **no_bias)

    # ---- transforms ----

    @lowers("bfcc.fourier.default")
    def fourier(self, x: Value) -> Value:
        return self.real(Spectrum(self.view(x), (-2, -1), 1, _shape(x)))

    @lowers("fft_fft2.default", "fft_fftn.default")
    def fft2(self, x: Value, s: Any = None, dim: Any = (-2, -1), norm: str | None = None) -> Value:
        if dim is None:
            dim = range(len(_shape(x)))
        for axis in dim:
            x = self.fft(x, None if s is None else 0, axis, norm)
        return x

    @lowers("fft_fft.default")
    def fft(self, x: Value, n: int | None = None, dim: int = -1, norm: str | None = None) -> Value:
        shape = _shape(x)
        if n is not None and n != shape[dim]:
            raise Unsupported("a transform of another length than the axis")
        length = shape[dim]
        factor = {None: 1, "backward": 1, "ortho": length ** -0.5, "forward": 1 / length}[norm]
        if not isinstance(x, Spectrum):
            x = Spectrum(self.view(x), (), 1, shape)
        return replace(x, axes=(*x.axes, dim % len(shape)), factor=x.factor * factor)

    @lowers("real.default")
    def real(self, z: Value) -> Value:
        if not isinstance(z, Spectrum):
            return z
        axes = {a % len(z.shape) for a in z.axes}
        if len(axes) != len(z.axes) or len(axes) > 2:
            raise Unsupported("a transform along more than two axes, or twice along one")
        axes = {a for a in axes if z.shape[a] > 1}
        kept = [i for i, n in enumerate(z.shape) if n > 1]
        node = z.x.plain()
        places = sorted(kept.index(a) for a in axes)
        if places:
            last = places == [len(kept) - 2, len(kept) - 1]
            node = self.graph.node("fourier", [node], node.shape, **({} if last else {"axes": places}))
        view = View.of(self.graph, node, z.shape)
        return view if z.factor == 1 else self.map("scale", view, by=number(z.factor))

    @lowers("bfcc.fft_compress.default")
    def fft_compress(self, x: Value, chunk: int, keep: int, mode: str) -> Value:
        shape = _shape(x)
        node = self.view(x).materialise(self.matrix(shape))
        node = self.graph.node("fft_compress", [node], [shape[-2] // chunk * keep, shape[-1]],
                               chunk=chunk, keep=keep, **({} if mode == "lowpass" else {"mode": mode}))
        return View.of(self.graph, node, self.shape)

    def matrix(self, shape: Sequence[int]) -> tuple[int, int]:
        if math.prod(shape[:-2]) != 1:
            raise Unsupported(f"a sequence [seq, hidden] with more axes: {list(shape)}")
        return shape[-2], shape[-1]

    # ---- attention ----

    @lowers("scaled_dot_product_attention.default")
    def sdpa(self, q: Value, k: Value, v: Value, mask: Value = None, dropout: float = 0,
             is_causal: bool = False, scale: float | None = None, enable_gqa: bool = False) -> Value:
        if dropout:
            raise Unsupported("attention with dropout")
        q, k, v = self.view(q), self.view(k), self.view(v)
        return self.attention(q, k, v, 1 / math.sqrt(q.shape[-1]) if scale is None else scale, mask,
                              is_causal)

    def attended(self, scores: Scores, v: View) -> Value:
        if not scores.soft:
            raise Unsupported("a product of three computed tensors without softmax")
        return self.attention(scores.q, scores.k, v, scores.scale, scores.mask, False)

    def attention(self, q: View, k: View, v: View, scale: float, mask: Value, causal: bool) -> Value:
        h = q.shape[-1]
        if v.shape[-1] != h:
            raise Unsupported("attention with values of another width than queries")
        heads = math.prod(q.shape[:-2])
        normal = 1 / math.sqrt(h)
        if abs(scale - normal) > 1e-6 * normal:
            q = self.map("scale", q, by=number(scale / normal))
        kv_heads = self.key_heads(k)
        if kv_heads != self.key_heads(v) or heads % kv_heads:
            raise Unsupported("attention whose keys and values have other heads than queries")
        attrs: dict[str, Any] = {"heads": heads}
        if kv_heads != heads:
            attrs["kv_heads"] = kv_heads
        inputs = [self.heads_last(q), self.heads_last(k), self.heads_last(v)]
        mask = self.mask(mask, heads, inputs[0].shape[0], inputs[1].shape[0])
        if causal or mask == "causal":
            attrs["causal"] = True
        elif isinstance(mask, Node):
            inputs.append(mask)
            attrs["tensors"] = ["mask"]
        node = self.graph.node("attention", inputs, inputs[0].shape, **attrs)
        rows = View.of(self.graph, node, (node.shape[0], heads, h))
        return rows.permute([1, 0, 2]).reshape(self.shape)

    def key_heads(self, k: View) -> int:
        """Heads of keys or values, repetitions of each in a row counted once."""
        own, atoms = set(flat(k.base)), flat(k.dims[:-2])
        kept = [a for a in atoms if a in own]
        if atoms[:len(kept)] != kept:
            raise Unsupported("keys whose heads repeat in another order than 0 0 1 1 ..")
        return product(kept)

    def heads_last(self, x: View) -> Node:
        """[.., tokens, h] -> [tokens, heads * h], without repetitions of heads."""
        own = set(flat(x.base))
        dims = [[a for a in axis if a in own] for axis in x.dims[:-2]] + x.dims[-2:]
        x = x.with_dims([dims[-2], [a for axis in dims[:-2] for a in axis], dims[-1]])
        rows, heads, h = x.shape
        return x.materialise((rows, heads * h))

    def mask(self, mask: Value, heads: int, queries: int, keys: int) -> Node | str | None:
        """The mask as attention takes it, "causal", or None."""
        if mask is None:
            return None
        if isinstance(mask, Const):
            seen = mask.tensor
            if seen.dtype != torch.bool:
                if not bool(((seen == 0) | (seen < -1e4)).all()):
                    raise Unsupported("a mask that adds other numbers than 0 and -inf")
                seen = seen == 0
            if bool(seen.all()):
                return None
            full = torch.ones(queries, keys, dtype=torch.bool).tril()
            if bool((seen == full).all()) and seen.shape[-2:] == full.shape:
                return "causal"
            raise Unsupported("a constant mask that is not causal; a mask can be an input")
        if not isinstance(mask, View) or mask.node.op != "input" or mask.node.attrs["type"] != "u8":
            raise Unsupported("a mask that is computed; it must be an input of booleans, true where a "
                              "key is seen")
        shape = _trim(mask.shape)
        if shape not in ((keys,), (queries, keys), (heads, queries, keys)):
            raise Unsupported(f"a mask of shape {list(mask.shape)}; it is [keys], [queries, keys] or "
                              "[heads, queries, keys]")
        return mask.materialise(shape)

    @lowers("bfcc.multihead_attention.default")
    def multihead_attention(self, query: Value, key: Value, value: Value, projections: list[Value],
                            biases: list[Value], out_weight: Value, out_bias: Value, heads: int,
                            mask: Value, causal: bool) -> Value:
        whole = self.packed(query, key, value, projections, biases, out_weight, out_bias)
        tokens = self.matrix(_shape(query))[0]
        if whole:
            found = self.mask(mask, heads, tokens, tokens)
            path, params = whole
            node = self.view(query).materialise(self.matrix(_shape(query)))
            masks = [found] if isinstance(found, Node) else []
            return View.of(self.graph, self.graph.node(
                "MultiheadAttention", [node, *masks], node.shape, path, params, heads=heads,
                **({"causal": True} if causal or found == "causal" else {}),
                **({"tensors": ["mask"]} if masks else {})), self.shape)
        parts = []
        for x, weight, bias in zip((query, key, value), projections, biases):
            y = self.linear(x, weight, bias)
            rows, width = self.matrix(y.shape)
            parts.append(y.reshape([rows, heads, width // heads]).permute([1, 0, 2]))
        shape, self.shape = self.shape, tuple(parts[0].shape)
        y = self.attention(*parts, 1 / math.sqrt(parts[0].shape[-1]), mask, causal)
        self.shape = shape
        y = y.permute([1, 0, 2]).reshape([*shape[:-1], _shape(out_weight)[1]])
        return self.linear(y, out_weight, out_bias)

    def packed(self, query: Value, key: Value, value: Value, projections: list[Value],
               biases: list[Value], out_weight: Value, out_bias: Value) -> tuple[str, list[str]] | None:
        """Path and parameters of a self-attention whose parameters are those of torch's module."""
        if not (_same(query, key) and _same(key, value)):
            return None
        names = []
        for parts, last in ((projections, "in_proj_weight"), (biases, "in_proj_bias")):
            roots = {_root(p) for p in parts}
            if len(roots) != 1 or None in roots:
                return None
            name = roots.pop().params[0]  # type: ignore[union-attr]
            if name.rpartition(".")[2] != last:
                return None
            names.append(name)
        path = names[0].rpartition(".")[0]
        own = self.own(["weight", "bias"], [out_weight, out_bias])
        if own is None or own[0] != (path + "." if path else "") + "out_proj":
            return None
        return path, [*names, *own[1]]

    # ---- along an axis ----

    @lowers("softmax.int", "_softmax.default", "special_softmax.int")
    def softmax(self, x: Value, dim: int, *_: Any) -> Value:
        if isinstance(x, Scores):
            if dim % len(x.shape) != len(x.shape) - 1:
                raise Unsupported("attention with softmax along another axis than keys")
            return replace(x, soft=True)
        x, axis = self.view(x).axis(dim % len(_shape(x)))
        return x.map(self.graph.node("softmax", [x.node], x.node.shape, axis=axis))

    @lowers("masked_fill.Scalar")
    def masked_fill(self, x: Value, mask: Value, value: float) -> Value:
        if isinstance(x, Scores) and isinstance(mask, Const) and value < -1e4:
            return replace(x, mask=_both(x.mask, Const(torch.zeros(mask.shape).masked_fill(
                mask.tensor, -math.inf))))
        raise Unsupported("masked_fill other than of attention scores by a constant mask")

    @lowers("layer_norm.default")
    def layer_norm(self, x: Value, shape: Sequence[int], weight: Value = None, bias: Value = None,
                   eps: float = 1e-5, *_: Any) -> Value:
        return self.norm("layernorm", x, shape, {"weight": weight, "bias": bias}, eps)

    @lowers("rms_norm.default")
    def rms_norm(self, x: Value, shape: Sequence[int], weight: Value = None,
                 eps: float | None = None) -> Value:
        return self.norm("rmsnorm", x, shape, {"weight": weight},
                         torch.finfo(torch.float32).eps if eps is None else eps)

    def norm(self, op: str, x: Value, shape: Sequence[int], parameters: dict[str, Value],
             eps: float) -> Value:
        if len(shape) != 1:
            raise Unsupported(f"{op} over {len(shape)} axes")
        if all(p is not None for p in parameters.values()):
            own = self.own(list(parameters), list(parameters.values()))
            if own:
                return self.rowwise(op, self.view(x), None, shape[0], (), *own, eps=eps)
        y: Value = self.rowwise(op, self.view(x), None, shape[0], eps=eps, affine=False)
        if parameters["weight"] is not None:
            y = self.binary("mul", y, parameters["weight"], y.shape)
        if parameters.get("bias") is not None:
            y = self.binary("add", y, parameters["bias"], y.shape)
        return y

    @lowers("mean.dim", "mean.default")
    def mean(self, x: Value, dim: Any = None, keep: bool = False, **_: Any) -> Value:
        rank = len(_shape(x))
        if isinstance(x, MeanSquare) and x.step == "square":
            if [d % rank for d in dim or []] == [rank - 1] and keep:
                return replace(x, step="mean", shape=self.shape)
        return self.reduced("mean", x, dim, keep)

    @lowers("sum.dim_IntList", "sum.default")
    def sum(self, x: Value, dim: Any = None, keep: bool = False, **_: Any) -> Value:
        return self.reduced("sum", x, dim, keep)

    @lowers("amax.default", "max.default")
    def amax(self, x: Value, dim: Any = None, keep: bool = False) -> Value:
        return self.reduced("max", x, dim, keep)

    def reduced(self, op: str, x: Value, dim: Any, keep: bool) -> Value:
        x = self.view(x)
        dims = range(len(x.shape)) if not dim and dim != 0 else [dim] if isinstance(dim, int) else dim
        for d in sorted({d % len(x.shape) for d in dims}, reverse=True):
            x = self.reduce(op, x, d, True) if x.shape[d] > 1 else x
        return x.reshape(self.shape)

    @lowers("embedding.default")
    def embedding(self, weight: Value, ids: Value, *_: Any) -> Value:
        num, dim = _shape(weight)
        if not isinstance(ids, View):
            raise Unsupported("an embedding of this")
        x = ids.merge()
        own = self.own(["weight"], [weight])
        if own:
            node = self.graph.node("embedding", [x.node], [*x.node.shape, dim], *own,
                                   **{"": num, "dim": dim})
        else:
            node = self.graph.node("embedding", [x.node, self.piece(weight, "weight")],
                                   [*x.node.shape, dim], tensors=["weight"])
        last = View.of(self.graph, node).base[-1]
        return View(self.graph, node, [*x.base, last], [*x.dims, last])

    # ---- layout ----

    def turn(self, x: Value, change: Callable[[View], View]) -> Value:
        return change(self.view(x))

    @lowers("view.default", "reshape.default", "_unsafe_view.default", "flatten.using_ints",
            "unflatten.int", "squeeze.dim", "squeeze.dims", "squeeze.default", "unsqueeze.default",
            "squeeze_.dim", "unsqueeze_.default", "view_as.default", "reshape_as.default")
    def reshape(self, x: Value, *_: Any) -> Value:
        if isinstance(x, Scores):
            return replace(x, shape=self.shape)
        return self.turn(x, lambda v: v.reshape(self.shape))

    @lowers("permute.default")
    def permute(self, x: Value, order: Sequence[int]) -> Value:
        return self.turn(x, lambda v: v.permute(order))

    @lowers("transpose.int", "swapaxes.default")
    def transpose(self, x: Value, a: int, b: int) -> Value:
        order = list(range(len(_shape(x))))
        order[a], order[b] = order[b], order[a]
        return self.permute(x, order)

    @lowers("t.default", "numpy_T.default", "mT.default")
    def t(self, x: Value) -> Value:
        return self.transpose(x, -1, -2) if len(_shape(x)) > 1 else x

    @lowers("movedim.int", "moveaxis.int")
    def movedim(self, x: Value, source: int, place: int) -> Value:
        order = list(range(len(_shape(x))))
        order.insert(place % len(order), order.pop(source))
        return self.permute(x, order)

    @lowers("expand.default", "expand_as.default")
    def expand(self, x: Value, *_: Any) -> Value:
        from .graph import Atom

        def repeat(v: View) -> View:
            dims = [[]] * (len(self.shape) - len(v.dims)) + v.dims
            return v.with_dims([[Atom(n)] if n > 1 and not axis else axis
                                for axis, n in zip(dims, self.shape)])
        return self.turn(x, repeat)

    @lowers("repeat_interleave.self_int")
    def repeat_interleave(self, x: Value, repeats: int, dim: int | None = None, **_: Any) -> Value:
        from .graph import Atom
        if dim is None:
            raise Unsupported("repeat_interleave without an axis")
        return self.turn(x, lambda v: v.with_dims(
            [[*axis, Atom(repeats)] if i == dim % len(v.dims) and repeats > 1 else axis
             for i, axis in enumerate(v.dims)]))

    @lowers("slice.Tensor")
    def slice(self, x: Value, dim: int = 0, begin: int | None = None, end: int | None = None,
              step: int = 1) -> Value:
        dim %= len(_shape(x))
        size = _shape(x)[dim]
        begin, end, step = slice(begin, end, step).indices(size)
        if step == 1:
            return self.turn(x, lambda v: v.cut(dim, begin, end))
        if size % step or begin >= step or len(range(begin, end, step)) != size // step:
            raise Unsupported(f"a slice with step {step} that is not every {step}th element of the axis")

        def every(v: View) -> View:
            shape = v.shape
            v = v.reshape([*shape[:dim], size // step, step, *shape[dim + 1:]])
            return v.cut(dim + 1, begin, begin + 1).reshape(
                [*shape[:dim], size // step, *shape[dim + 1:]])
        return self.turn(x, every)

    @lowers("narrow.default")
    def narrow(self, x: Value, dim: int, begin: int, length: int) -> Value:
        return self.slice(x, dim, begin, begin + length)

    @lowers("select.int")
    def select(self, x: Value, dim: int, index: int) -> Value:
        size = _shape(x)[dim]
        index %= size
        return self.turn(x, lambda v: v.cut(dim % len(v.shape), index, index + 1).reshape(self.shape))

    @lowers("split.Tensor", "split.sizes", "split_with_sizes.default", "chunk.default",
            "tensor_split.sections", "unbind.int")
    def split(self, x: Value, *arguments: Any) -> Value:
        raise AssertionError("made by Walk.parts")

    @lowers("cat.default", "concat.default", "concatenate.default")
    def cat(self, tensors: Sequence[Value], dim: int = 0) -> Value:
        dim %= len(self.shape)
        views = [self.view(t) for t in tensors]
        if len(views) == 1:
            return views[0]
        frame, axis = views[0].axis(dim)
        order = [frame.dims.index(a) if a in frame.dims else -1 for a in frame.base]
        if frame.shape[dim] == 1 or -1 in order or [] in frame.base:
            order = [i for i, n in enumerate(self.shape) if n > 1 or i == dim]
            axis = order.index(dim)
        nodes = [v.permute([*order, *(i for i in range(len(v.shape)) if i not in order)]).materialise(
            [v.shape[i] for i in order]) for v in views]
        node = self.graph.node("concat", nodes, [self.shape[i] for i in order], axis=axis)
        result = View.of(self.graph, node)
        dims = [result.base[order.index(i)] if i in order else [] for i in range(len(self.shape))]
        return View(self.graph, node, result.base, dims)

    @lowers("stack.default")
    def stack(self, tensors: Sequence[Value], dim: int = 0) -> Value:
        dim %= len(self.shape)
        return self.cat([v.with_dims([*v.dims[:dim], [], *v.dims[dim:]])
                         for v in map(self.view, tensors)], dim)

    @lowers("pad.default", "constant_pad_nd.default")
    def pad(self, x: Value, widths: Sequence[int], mode: str = "constant",
            value: float | None = None) -> Value:
        if mode != "constant" or value or any(w < 0 for w in widths):
            raise Unsupported("padding by something else than zeros")
        view, shape = self.view(x), self.shape
        for i, (before, after) in enumerate(zip(widths[::2], widths[1::2])):
            dim = len(shape) - 1 - i
            front, back = (self.zeros([width if k == dim else n for k, n in enumerate(view.shape)])
                           for width in (before, after))
            parts = [*front, view, *back]
            self.shape = tuple(n + (before + after if k == dim else 0)
                               for k, n in enumerate(view.shape))
            view = self.cat(parts, dim)
        self.shape = shape
        return view

    def zeros(self, shape: Sequence[int]) -> list[View]:
        """A tensor of zeros, saved as a parameter; none if it has no elements."""
        if not math.prod(shape):
            return []
        kept = [n for n in shape if n > 1] or [1]
        name = "zeros_" + "x".join(map(str, kept))
        return [self.parameter(name, torch.zeros(kept)).reshape(shape)]


def _root(value: Value) -> Node | None:
    """The parameter that a value is a part of."""
    node = value.view.node if isinstance(value, Const) and value.view is not None else None
    while node is not None and node.op == "slice":
        node = node.inputs[0]
    return node if node is not None and node.op == "param" else None


def _trim(shape: Sequence[int]) -> tuple[int, ...]:
    return tuple(shape) if not shape or shape[0] != 1 else _trim(shape[1:])


def _shape(value: Value) -> tuple[int, ...]:
    return tuple(value.shape) if hasattr(value, "shape") else ()


def _is_number(value: Value) -> bool:
    return isinstance(value, (int, float)) or (isinstance(value, Const) and value.tensor.numel() == 1)


def _item(value: Value) -> float:
    return value.tensor.item() if isinstance(value, Const) else value


def _same(a: Value, b: Value) -> bool:
    return a is b or (isinstance(a, View) and isinstance(b, View) and a.node is b.node
                      and a.shape == b.shape and _atoms(a) == _atoms(b))


def _atoms(view: View) -> list[list[int | None]]:
    """Which atom of the node each of dims is."""
    view = view.merge()
    own = flat(view.base)
    return [[own.index(a) if a in own else None for a in axis] for axis in view.dims]


def _both(a: Value, b: Value) -> Value:
    if a is None:
        return b
    if isinstance(a, Const) and isinstance(b, Const):
        return Const(a.tensor + b.tensor)
    raise Unsupported("two masks")
