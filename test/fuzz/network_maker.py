"""Makes random networks: the text in bfcc's language, and the same as a list of steps that numpy runs.

A Body is what stands between the braces of a block or of the network. Its steps are operators of
network_ops.py, or other bodies that it calls. Values are tracked while a network grows, so that what
is made stays well inside the range of fp16 and a transform or a softmax gets numbers of a sensible
size: networks test the compiler, not the number format.
"""
import numpy as np

import network_ops as ops

LONGEST = 96  # of an axis
LARGEST = 4000.0  # value of a tensor that is kept


class Unsuitable(Exception):
    """What was drawn is out of range or badly conditioned; draw again."""


class Step:
    """target = op(args); `inits` maps short parameter names to (path, shape, mean, deviation), paths
    relative to the body. If op is a Body, `path` is the label of the call."""

    def __init__(self, target, op, args, inits, path=""):
        self.target, self.op, self.args, self.inits, self.path = target, op, args, inits, path


class Body:
    def __init__(self, inputs):
        self.inputs, self.steps, self.lines, self.results = inputs, [], [], []


def draw_weights(body, prefix, rng, weights):
    """Adds a tensor for each parameter that `weights` lacks, fp16 numbers in one of three types."""
    for step in body.steps:
        if isinstance(step.op, Body):
            draw_weights(step.op, prefix + step.path + ".", rng, weights)
        for path, shape, mean, deviation in step.inits.values():
            if prefix + path not in weights:
                values = rng.normal(mean, deviation, shape).astype(np.float16)
                weights[prefix + path] = values.astype(rng.choice(["f2", "f2", "f4", "f8"]))


def evaluate(body, tensors, prefix, weights, precision=None):
    """The results of a body for one sample: exact in float64, or rounded at a precision."""
    values = dict(zip(body.inputs, tensors))
    for step in body.steps:
        args = [values[name] for name in step.args]
        if isinstance(step.op, Body):
            values[step.target], = evaluate(step.op, args, prefix + step.path + ".", weights,
                                            precision)
            continue
        own = {short: weights[prefix + init[0]].astype(np.float64)
               for short, init in step.inits.items()}
        with np.errstate(over="ignore", invalid="ignore"):
            values[step.target] = (step.op.rounded(precision, args, own) if precision
                                   else step.op.exact(args, own))
    return [values[name] for name in body.results]


class Maker:
    """Grows one body. `values` has an array for each name, of one sample, to see shapes and sizes."""

    def __init__(self, rng, inputs, weights, prefix="", blocks=None):
        self.rng, self.weights, self.prefix = rng, weights, prefix
        self.body = Body(list(inputs))
        self.values = dict(inputs)
        self.blocks = blocks if blocks is not None else []  # texts of the blocks made so far
        self.count = 0

    # ---- growing ----

    def chance(self, probability):
        return self.rng.random() < probability

    def choose(self, *things):
        return things[self.rng.integers(len(things))]

    def shape(self, name):
        return self.values[name].shape

    def largest(self, name):
        return float(np.abs(self.values[name]).max())

    def new_name(self, letter):
        self.count += 1
        return f"{letter}{self.count}"

    def label(self):
        """(text before a call, path): a name, a name with an index, or a string."""
        name = self.new_name("l")
        kind = self.rng.integers(6)
        if kind == 0:
            return f"{name}[{2 + kind}]: ", f"{name}.2"
        if kind == 1:
            return f'"{name}.inner": ', f"{name}.inner"
        return f"{name}: ", name

    def add(self, text, op, args, inits=None, path=""):
        """Adds `NAME = text;` and returns the name."""
        step = Step(self.new_name("v"), op, args, inits or {}, path)
        probe = Body(args)
        probe.steps, probe.results = [step], [step.target]
        draw_weights(probe, self.prefix, self.rng, self.weights)
        value, = evaluate(probe, [self.values[a] for a in args], self.prefix, self.weights)
        if not np.isfinite(value).all() or np.abs(value).max() > LARGEST:
            raise Unsuitable
        self.body.steps.append(step)
        self.body.lines.append(f"{step.target} = {text};")
        self.values[step.target] = value
        return step.target

    def width(self):
        return int(self.choose(*([16, 32, 64] * 3), 2, 3, 5, 8, 10, 24, 33, 40, 48, 80, LONGEST))

    # ---- operators ----

    def linear(self, x, out=None):
        width, out = self.shape(x)[-1], out or self.width()
        before, path = self.label()
        inits = {"weight": (path + ".weight", (out, width), 0, width ** -0.5)}
        if self.chance(0.2):
            name = self.new_name("w")
            self.body.lines.append(f'{name} = param("{name}", {out}, {width});')
            inits = {"weight": (name, (out, width), 0, width ** -0.5)}
            return self.add(f"linear({x}, weight = {name}, bias = false)", ops.Linear(), [x], inits)
        if self.chance(0.2):
            return self.add(f"{before}linear({x}, {out}, bias = false)", ops.Linear(), [x], inits)
        inits["bias"] = (path + ".bias", (out,), 0, 0.1)
        return self.add(f"{before}linear({x}, {out})", ops.Linear(), [x], inits)

    def butterfly(self, x, out=None):
        width, out = self.shape(x)[-1], out or self.width()
        if width < 2:
            raise Unsuitable
        before, path = self.label()
        m = int(np.ceil(np.log2(width)))
        blocks = 2 if self.chance(0.15) else 1
        increasing, bias = self.chance(0.6), self.chance(0.8)
        shape = (-(-out // 2 ** m), blocks, m, 2 ** (m - 1), 2, 2)
        inits = {"twiddle": (path + ".twiddle", shape, 0, 0.5 ** 0.5)}
        if bias:
            inits["bias"] = (path + ".bias", (out,), 0, 0.1)
        text = f"{before}butterfly({x}, {out}"
        text += ", nblocks = 2" if blocks == 2 else ""
        text += "" if increasing else ", increasing = false"
        text += ")" if bias else ", bias = false)"
        return self.add(text, ops.Butterfly(out, increasing), [x], inits)

    def block_butterfly(self, x, out=None):
        width = self.shape(x)[-1]
        tiles = [t for t in (2, 4, 8, 16, 32, 64) if width % t == 0]
        if not tiles:
            raise Unsuitable
        tile = int(self.choose(*tiles))
        cols, m = width // tile, int(np.log2(tile))
        if out and out % tile:
            raise Unsuitable
        rows = out // tile if out else int(self.rng.integers(1, 1 + LONGEST // tile))
        before, path = self.label()
        increasing, bias = self.chance(0.6), self.chance(0.8)
        inits = {"twiddle": (path + ".twiddle", (rows, cols, 1, m, tile // 2, 2, 2), 0,
                             (0.5 ** m / cols) ** (0.5 / m))}
        if bias:
            inits["bias"] = (path + ".bias", (rows * tile,), 0, 0.1)
        text = f"{before}block_butterfly({x}, {rows * tile}, tile = {tile}"
        text += "" if increasing else ", increasing = false"
        text += ")" if bias else ", bias = false)"
        return self.add(text, ops.BlockButterfly(increasing), [x], inits)

    def monarch(self, x, out=None):
        width = self.shape(x)[-1]
        r = int(round(width ** 0.5))
        if r * r != width or out not in (None, width):
            raise Unsuitable
        before, path = self.label()
        inits = {"blkdiag1": (path + ".blkdiag1", (r, r, r), 0, r ** -0.5),
                 "blkdiag2": (path + ".blkdiag2", (r, r, r), 0, r ** -0.5)}
        if self.chance(0.2):
            return self.add(f"{before}monarch({x}, bias = false)", ops.Monarch(), [x], inits)
        inits["bias"] = (path + ".bias", (width,), 0, 0.1)
        return self.add(f"{before}monarch({x})", ops.Monarch(), [x], inits)

    def blocks_of_columns(self, x):
        return self.choose(self.block_butterfly, self.monarch)(x)

    def compress(self, x):
        x = self.tamed(x, 8)
        if self.values[x].ndim != 2:
            raise Unsuitable
        seq = self.shape(x)[0]
        chunk = int(self.choose(*(c for c in range(1, seq + 1) if seq % c == 0)))
        mode = self.choose("lowpass", "leading")
        keep = int(self.rng.integers(1, chunk + 1))
        if mode == "lowpass":
            keep -= keep % 2
        if keep == 0:
            raise Unsuitable
        return self.add(f"fft_compress({x}, {chunk}, {keep}, mode = {mode})",
                        ops.FftCompress(chunk, keep, mode), [x])

    def transpose(self, x):
        rank = self.values[x].ndim
        if rank < 2:
            raise Unsuitable
        if rank == 2 and self.chance(0.7):
            return self.add(f"transpose({x})", ops.Transpose([1, 0]), [x])
        axes = [int(a) for a in self.rng.permutation(rank)]
        return self.add(f"transpose({x}, {axes})", ops.Transpose(axes), [x])

    def any_linear(self, x, out=None):
        return self.choose(*[self.linear, self.butterfly] * 4, self.block_butterfly,
                           self.monarch)(x, out)

    def layernorm(self, x):
        width = self.shape(x)[-1]
        if width < 3:  # two numbers would become -1 and 1, whatever they are
            raise Unsuitable
        if self.chance(0.15):
            return self.add(f"layernorm({x}, eps = 1e-3, affine = false)", ops.LayerNorm(1e-3), [x])
        before, path = self.label()
        return self.add(f"{before}layernorm({x})", ops.LayerNorm(1e-5), [x],
                        {"weight": (path + ".weight", (width,), 1, 0.1),
                         "bias": (path + ".bias", (width,), 0, 0.1)})

    def rmsnorm(self, x):
        before, path = self.label()
        return self.add(f"{before}rmsnorm({x})", ops.RmsNorm(), [x],
                        {"weight": (path + ".weight", self.shape(x)[-1:], 1, 0.1)})

    def tamed(self, x, limit):
        """x, normalised if it has large values."""
        return self.layernorm(x) if self.largest(x) > limit else x

    def activation(self, x):
        x = self.tamed(x, 100)
        if self.chance(0.2):
            name, function = self.choose(("tanh", np.tanh),
                                         ("sigmoid", lambda v: 1 / (1 + np.exp(-v))),
                                         ("silu", lambda v: v / (1 + np.exp(-v))))
            return self.add(f"{name}({x})", ops.Pointwise(function), [x])
        kind = self.choose("gelu", "gelu_tanh", "relu")
        if kind == "relu":
            return self.add(f"relu({x})", ops.Pointwise(lambda v: np.maximum(v, 0)), [x])
        tanh = kind == "gelu_tanh"
        return self.add(f"gelu({x}, approximate = tanh)" if tanh else f"gelu({x})",
                        ops.Gelu("tanh" if tanh else "none"), [x])

    def rope(self, x):
        heads = self.choose(1, 2, 3, 4)
        if self.values[x].ndim < 2 or self.shape(x)[-1] % (2 * heads):
            raise Unsuitable
        base, offset = self.choose((10000, 0), (10000, 0), (500, 7), (1e6, 3000))
        text, interleaved = f"rope({x}, heads = {heads}", self.chance(0.4)
        text += f", base = {base}, offset = {offset}" if offset else ""
        text += ", interleaved)" if interleaved else ")"
        return self.add(text, ops.Rope(heads, float(base), offset, interleaved), [x])

    def softmax(self, x):
        x = self.tamed(x, 8)
        if self.chance(0.25):
            axis = -int(self.rng.integers(1, 1 + self.values[x].ndim))
            return self.add(f"softmax({x}, axis = {axis})", ops.Softmax(axis), [x])
        return self.add(f"softmax({x})", ops.Softmax(-1), [x])

    def fourier(self, x):
        x = self.tamed(x, 8)
        rank = self.values[x].ndim
        if rank < 2:
            return self.add(f"fourier({x})", ops.Fourier([-1]), [x])
        kind = self.rng.integers(4)
        if rank > 2 and self.chance(0.3):
            axes = sorted(int(a) for a in self.rng.permutation(rank)[:2])
            return self.add(f"fourier({x}, axes = {axes})", ops.Fourier(axes), [x])
        if kind < 2:
            axis = -int(self.rng.integers(1, rank + 1))
            written = axis + rank if self.chance(0.5) else axis
            return self.add(f"fourier({x}, axes = [{written}])", ops.Fourier([axis]), [x])
        return self.add(f"fourier({x})", ops.Fourier([-1, -2]), [x])

    def scalar(self, x):
        """An operator with a number."""
        text, function = self.choose(
            ("{} * 0.5", lambda v: v * 0.5), ("{} / 8", lambda v: v / 8),
            ("-{}", lambda v: -v), ("{} + 1", lambda v: v + 1), ("2 - {}", lambda v: 2 - v),
            ("3 * {}", lambda v: 3 * v), ("{} - 0.25", lambda v: v - 0.25))
        return self.add(text.format(x), ops.Pointwise(function), [x])

    def partner(self, x):
        """Another value that broadcasts with x: one made before, or a parameter."""
        shape = self.shape(x)
        same = [n for n, v in self.values.items()
                if v.shape == shape and n != x and v.dtype.kind == "f"]
        if same and self.chance(0.7):
            return self.choose(*same)
        fit = [n for n, v in self.values.items() if v.dtype.kind == "f" and n != x
               and v.ndim <= len(shape) and all(a in (1, b) for a, b in zip(
                   v.shape[::-1], shape[::-1]))]
        if fit and self.chance(0.5):
            return self.choose(*fit)
        options = [shape, shape[-1:], (1,) * (len(shape) - 1) + shape[-1:]]
        if len(shape) > 1:
            options.append(shape[:-1] + (1,))
        shape = self.choose(*options)
        path = self.new_name("p")
        sizes = ", ".join(map(str, shape))
        return self.add(f'param("{path}", {sizes})', ops.Param(), [],
                        {path: (path, shape, 0, 1)})

    def two(self, x):
        """An operator on two tensors."""
        other = self.partner(x)
        a, b = (x, other) if self.chance(0.5) else (other, x)
        sign, function = self.choose(("+", np.add), ("+", np.add), ("-", np.subtract),
                                     ("*", np.multiply))
        return self.add(f"{a} {sign} {b}", ops.Pointwise(function), [a, b])

    def cut(self, x):
        """A part of the last axis, or of the one before."""
        rank, size = self.values[x].ndim, self.shape(x)[-1]
        if rank > 1 and self.chance(0.25) and self.shape(x)[0] > 1:
            first = int(self.rng.integers(self.shape(x)[0]))
            last = int(self.rng.integers(first + 1, self.shape(x)[0] + 1))
            if self.chance(0.4):
                return self.add(f"{x}[{first}]", ops.Slice(first), [x])
            return self.add(f"{x}[{first} .. {last}]", ops.Slice(slice(first, last)), [x])
        if size < 4:
            raise Unsuitable
        first = int(self.rng.integers(size // 2))
        last = int(self.rng.integers(first + 2, size + 1))
        return self.add(f"{x}[.., {first} .. {last}]",
                        ops.Slice(..., slice(first, last)), [x])

    def attention(self, x):
        if self.values[x].ndim != 2:
            raise Unsuitable
        x = self.tamed(x, 8)
        hidden = self.shape(x)[1]
        heads = self.choose(*(h for h in (1, 2, 3, 4, 8) if hidden % h == 0))
        kv_heads = heads // 2 if heads % 2 == 0 and self.chance(0.15) else heads
        width = hidden // heads * kv_heads
        if width == hidden and self.chance(0.25):
            q, k, v = self.packed(x)
        else:
            q, k, v = (self.any_linear(x, out) for out in (hidden, width, width))
        args, text, sees = [q, k, v], f"attention({q}, {k}, {v}, heads = {heads}", None
        text += f", kv_heads = {kv_heads}" if kv_heads < heads else ""
        if self.chance(0.2):
            text, sees = self.limited(text)
        seq = len(self.values[x])
        masks = [n for n, value in self.values.items() if value.dtype == np.uint8 and value.shape
                 in ((seq,), (seq, seq), (heads, seq, seq))]
        if masks and not sees and self.chance(0.8):
            args.append(self.choose(*masks))
            text += f", mask = {args[3]}"
        y = self.add(text + ")", ops.Attention(heads, kv_heads, sees), args)
        return self.any_linear(y, hidden) if self.chance(0.7) else y

    def limited(self, text):
        """Attention to tokens nearby, or to those before."""
        window = int(self.rng.integers(1, 20))
        return self.choose(
            (text + ", causal", lambda i, j: j <= i),
            (text + f", window = {window}", lambda i, j: abs(i - j) <= window),
            (text + f", causal, window = {window}", lambda i, j: (j <= i) & (i - j < window)))

    def packed(self, x):
        """Three maps that are parts of one parameter, as in torch.nn.MultiheadAttention."""
        d, name = self.shape(x)[1], self.new_name("w")
        self.body.lines.append(f'{name} = param("{name}", {3 * d}, {d});')
        self.body.lines.append(f'{name}b = param("{name}_bias", {3 * d});')
        inits = {"weight": (name, (3 * d, d), 0, d ** -0.5),
                 "bias": (name + "_bias", (3 * d,), 0, 0.1)}
        for i in range(3):
            rows = f"{i * d} .. {i * d + d}"
            yield self.add(f"linear({x}, weight = {name}[{rows}], bias = {name}b[{rows}])",
                           ops.Linear(slice(i * d, i * d + d)), [x], inits)

    def mean(self, x):
        rank = self.values[x].ndim
        axis = int(self.rng.integers(rank))
        masks = [n for n, v in self.values.items()
                 if v.dtype == np.uint8 and v.shape == (self.shape(x)[axis],)]
        keep = self.chance(0.2)
        args, text = [x], f"mean({x}, axis = {axis if self.chance(0.5) else axis - rank}"
        if masks and self.chance(0.6):
            args.append(masks[0])
            text += f", mask = {masks[0]}"
        return self.add(text + (", keep)" if keep else ")"), ops.Mean(axis, keep), args)

    def reduce(self, x):
        """Sum or maximum along an axis, which stays."""
        axis = int(self.rng.integers(self.values[x].ndim))
        name, function = self.choose(("sum", np.sum), ("max", np.max))
        return self.add(f"{name}({x}, axis = {axis}, keep)", ops.Pointwise(
            lambda v: function(v, axis=axis, keepdims=True)), [x])

    def reshape(self, x):
        """One axis in two, or two in one."""
        shape = list(self.shape(x))
        at = int(self.rng.integers(len(shape)))
        divisors = [d for d in range(2, shape[at]) if shape[at] % d == 0]
        if len(shape) < 4 and divisors and self.chance(0.6):
            part = int(self.choose(*divisors))
            shape[at:at + 1] = [part, shape[at] // part]
        elif at + 1 < len(shape) and shape[at] * shape[at + 1] <= LONGEST:
            shape[at:at + 2] = [shape[at] * shape[at + 1]]
        else:
            raise Unsuitable
        return self.add(f"reshape({x}, {shape})",
                        ops.Pointwise(lambda v: v.reshape(shape)), [x])

    def concat(self, x):
        other, axis = self.partner(x), -int(self.rng.integers(1, self.values[x].ndim + 1))
        if self.shape(other) != self.shape(x) or self.shape(x)[axis] > LONGEST // 2:
            raise Unsuitable
        return self.add(f"concat({x}, {other}, axis = {axis})", ops.Pointwise(
            lambda a, b: np.concatenate([a, b], axis)), [x, other])

    # ---- larger structures ----

    def residual(self, x):
        y = self.choose(self.feed_forward, self.attention, self.same_fourier)(x)
        y = self.add(f"{x} + {y}", ops.Pointwise(np.add), [x, y])
        return self.layernorm(y) if self.chance(0.7) else y

    def same_fourier(self, x):
        x = self.tamed(x, 8)
        axes = [-1, -2] if self.values[x].ndim > 1 else [-1]
        return self.add(f"fourier({x})", ops.Fourier(axes), [x])

    def feed_forward(self, x):
        hidden = self.shape(x)[-1]
        h = self.activation(self.any_linear(x))
        return self.any_linear(h, hidden)

    def loop(self, x):
        """A block in a loop, each time with weights of its own."""
        name, label = f"Block{len(self.blocks) + 1}", self.new_name("layer")
        times = int(self.rng.integers(1, 4))
        inner = Maker(self.rng, {"x": self.values[x]}, self.weights,
                      f"{self.prefix}{label}.0.", self.blocks)
        y = "x"
        for _ in range(self.rng.integers(1, 3)):
            y = inner.residual(y)
        inner.finish([inner.layernorm(y)])
        self.blocks.append(block_text(name, inner.body))
        target, lines = x, len(self.body.lines)
        for i in range(times):
            target = self.add("", inner.body, [target], path=f"{label}.{i}")
        made = list(self.values)[-times:-1]
        for each in made:  # the text has one name for all
            del self.values[each]
        del self.body.lines[lines:]
        counter = self.new_name("i")
        self.body.lines += [f"{target} = {x};", f"for ({counter} in 0 .. {times})",
                            f"    {target} = {label}[{counter}]: {name}({target});"]
        return target

    def finish(self, results):
        self.body.results = results

    def grow(self, x, steps):
        actions = [self.linear, self.butterfly, self.butterfly, self.layernorm, self.activation,
                   self.softmax, self.fourier, self.scalar, self.two, self.two, self.cut,
                   self.attention, self.residual, self.residual, self.loop, self.feed_forward,
                   self.blocks_of_columns, self.compress, self.transpose, self.rmsnorm,
                   self.reduce, self.concat, self.rope, self.reshape]
        for _ in range(steps):
            kept = len(self.body.steps), len(self.body.lines), dict(self.values), len(self.blocks)
            try:
                x = self.choose(*actions)(x)
            except Unsuitable:  # as if it had not been tried
                del self.body.steps[kept[0]:], self.body.lines[kept[1]:]
                self.values = kept[2]
                del self.blocks[kept[3]:]
        return x


def block_text(name, body):
    lines = "".join(f"    {line}\n" for line in body.lines)
    return f"block {name}(x) {{\n{lines}    return {body.results[0]};\n}}\n"


class Network:
    """text; body; inputs: name -> (language type, shape); weights; samples of the inputs by draw()"""

    def __init__(self, seed):
        self.rng = rng = np.random.default_rng(seed)
        self.weights = {}
        self.inputs = self.choose_inputs()
        sample = self.draw()
        maker = Maker(rng, sample, self.weights)
        if "z" in self.inputs:
            results = self.transforms(maker)
        else:
            results = self.layers(maker)
        maker.finish(results)
        self.body, self.outputs = maker.body, [f"y{i}" for i in range(len(results))]
        used = {a for step in self.body.steps for a in step.args} | set(results)
        self.inputs = {n: what for n, what in self.inputs.items() if n in used}
        self.body.inputs = list(self.inputs)
        made = {}
        draw_weights(self.body, "", np.random.default_rng(0), made)
        self.weights = {n: self.weights.get(n, made[n]) for n in made}
        if not self.inputs or not self.body.steps:
            raise Unsuitable
        self.text = self.network_text(maker)

    # ---- inputs ----

    def choose_inputs(self):
        pick = self.rng.choice
        seq = int(pick([1, 2, 3, 4, 5, 7, 12, 24, 33, 40] + [8, 16, 32, 64] * 3))
        hidden = int(pick([2, 3, 5, 12, 24, 33, 48, 80, LONGEST] + [8, 16, 32, 64] * 4))
        kind = self.rng.integers(12)
        if kind == 0:
            self.ids = int(self.rng.integers(2, 120))
            inputs = {"ids": ("i32", (seq,))}
        elif kind == 1:
            inputs = {"z": ("f16", (2, min(seq, 32), min(hidden, 64)))}
        elif kind == 2:
            inputs = {"x": ("f16", (hidden,))}
        elif kind == 3:
            sizes = [int(pick([1, 2, 3, 4])) for _ in range(self.rng.integers(1, 3))]
            inputs = {"x": ("f16", (*sizes, min(seq, 24), min(hidden, 40)))}
            if self.rng.random() < 0.5:
                cut = inputs["x"][1][int(self.rng.integers(len(sizes) + 1)):]
                inputs["c"] = ("f16", tuple(n if self.rng.random() < 0.7 else 1 for n in cut))
        else:
            inputs = {"x": (str(pick(["f16", "f16", "f32"])), (seq, hidden))}
            if self.rng.random() < 0.15:
                inputs["c"] = ("f16", (seq, hidden))
        if self.rng.random() < 0.5:
            shape = (seq, seq) if self.rng.random() < 0.3 else (seq,)
            if len(shape) == 2 and seq <= 40 and self.rng.random() < 0.3:
                shape = (int(pick([1, 2, 3, 4])), seq, seq)
            inputs["mask"] = ("u8", shape)
        return inputs

    def draw(self):
        """One sample of every input."""
        sample = {}
        for name, (kind, shape) in self.inputs.items():
            if kind == "u8":
                sample[name] = (self.rng.random(shape) < 0.7).astype(np.uint8)
                sample[name][..., self.rng.integers(shape[-1])] = 1
            elif kind == "i32":
                sample[name] = self.rng.integers(0, self.ids, shape).astype(np.int32)
            else:
                sample[name] = self.rng.normal(size=shape).astype(np.float16).astype(np.float64)
        return sample

    # ---- kinds of networks ----

    def transforms(self, maker):
        """Complex transforms in a row; each makes values larger by the root of its length."""
        z = "z"
        for _ in range(self.rng.integers(1, 3)):
            axis, inverse = -int(self.rng.integers(1, 3)), maker.chance(0.4)
            text = f"fft({z}, axis = {axis}" + (", inverse)" if inverse else ")")
            z = maker.add(text, ops.Fft(axis, inverse), [z])
        return [z]

    def layers(self, maker):
        rng = self.rng
        x = "x"
        if "ids" in self.inputs:
            width = maker.width()
            x = maker.add(f"table: embedding(ids, {self.ids}, {width})", ops.Embedding(), ["ids"],
                          {"weight": ("table.weight", (self.ids, width), 0, 1)})
        x = maker.grow(x, int(rng.integers(1, 7)))
        results = []
        if rng.random() < 0.15:
            results.append(x)
        if rng.random() < 0.3:
            x = maker.mean(x)
            if maker.values[x].ndim and rng.random() < 0.6:
                x = maker.linear(x, int(rng.integers(2, 20)))
        if x in self.inputs:
            x = maker.add(f"relu({x})", ops.Pointwise(lambda v: np.maximum(v, 0)), [x])
        return results + [x] if x not in results else results

    def network_text(self, maker):
        def sizes(shape):
            return "[" + ", ".join(map(str, shape)) + "]" if shape else ""
        lines = [f"input {n}: {kind}{sizes(shape)};" for n, (kind, shape) in self.inputs.items()]
        lines += maker.body.lines
        lines += [f"output {o} = {r};" for o, r in zip(self.outputs, maker.body.results)]
        return "\n".join(maker.blocks) + "network random() {\n" + "".join(
            f"    {line}\n" for line in lines) + "}\n"


def random_machine(rng):
    """The name of a shipped description, or the text of one."""
    if rng.random() < 0.5:
        return str(rng.choice(["default", "default", "mlx-reduced", "mlx-full", "mesh8x8"]))

    def pick(*values):
        return int(rng.choice(values))
    groups = {
        "array": {"rows": pick(1, 2, 4, 8), "cols": pick(1, 2, 4, 8), "lanes": pick(4, 8, 16, 32),
                  "window": pick(1, 2, 3, 4, 6, 8), "retire_latency": pick(1, 10, 20)},
        "pe": {"data_ram": pick(128, 256, 512, 1024, 1024), "ram_banks": pick(1, 2, 4, 8),
               "weight_half": pick(16, 32, 64, 64), "accumulators": pick(4, 8, 8, 8, 8, 8, 12, 16),
               "fma_latency": pick(2, 4, 4, 6), "special_latency": pick(8, 12, 20),
               "special_interval": pick(1, 4, 8)},
        "mesh": {"router_queue": pick(1, 2, 4, 8), "eject_queue": pick(1, 2, 4)},
        "scratchpad": {"words": pick(16384, 131072), "ports": pick(1, 2, 4, 8, 16),
                       "latency": pick(1, 4, 9), "request_queue": pick(1, 4, 8),
                       "response_queue": pick(2, 8, 16)},
        "dram": {"tenth_bytes_per_cycle": pick(32, 256, 2048), "setup": pick(0, 100),
                 "queue": pick(2, 8)}}
    text = "name: random\n"
    for group, numbers in groups.items():
        text += f"{group}:\n" + "".join(f"  {key}: {value}\n" for key, value in numbers.items())
    return text
