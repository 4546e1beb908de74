"""bfcc.factorize: a trained dense model -> one with butterfly, block-butterfly or Monarch layers.

Every method rests on one fact. If W = X Y where X and Y are sparse as below, then each block of W that
belongs to one intermediate element is an outer product, and blocks of different elements don't
overlap, so that the best X and Y in the Frobenius norm are a singular vector pair a block:

    Monarch (Dao et al., 2022): W[(k, j), (b, i)] = L[j, k, b] R[b, j, i], a block for each (j, b);
    butterfly: the product of the stages a .. b - 1 splits in those of a .. c - 1 and of c .. b - 1 in
    the same way, again and again down to single stages (Zheng, Riccietti and Gribonval, 2023). For a
    product of butterflies that finds its stages exactly; for other matrices every split is best by
    itself.
"""
from __future__ import annotations

import copy
import fnmatch
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from .modules import BlockButterfly, Butterfly, Monarch, MonarchStack

Select = Callable[[str, nn.Linear], bool] | str | Iterable[str] | None
METHODS = ("butterfly", "block_butterfly", "monarch")


@dataclass(frozen=True)
class Layer:
    """A layer that was replaced. `error` is |W - W'| / |W| (Frobenius) of the fit, `output_error` the
    relative error of its results, without bias, on the samples, `parameters` and `flops` (of one row)
    are those of before and after."""
    path: str
    in_features: int
    out_features: int
    method: str
    error: float
    output_error: float | None
    parameters: tuple[int, int]
    flops: tuple[int, int]


@dataclass(frozen=True)
class Factorized:
    """The model with its new layers, and what each of them cost."""
    model: nn.Module
    layers: tuple[Layer, ...]

    def __str__(self) -> str:
        rows = [("layer", "map", "in x out", "error", "on samples", "parameters", "flops a row")]
        rows += [(x.path, x.method, f"{x.in_features} x {x.out_features}", f"{x.error:.3f}",
                  "-" if x.output_error is None else f"{x.output_error:.3f}",
                  f"{x.parameters[0]} -> {x.parameters[1]}", f"{x.flops[0]} -> {x.flops[1]}")
                 for x in self.layers]
        widths = [max(map(len, column)) for column in zip(*rows)]
        return "\n".join("  ".join(cell.ljust(w) for cell, w in zip(row, widths)).rstrip()
                         for row in rows)


# ---- closed forms ----

def outer(blocks: Tensor) -> tuple[Tensor, Tensor]:
    """Best u v^T of each matrix [.., rows, columns]: u [.., rows] and v [.., columns]."""
    u, s, vh = torch.linalg.svd(blocks, full_matrices=False)
    root = s[..., :1].sqrt()
    return u[..., :, 0] * root, vh[..., 0, :] * root


def monarch_factors(w: Tensor) -> tuple[Tensor, Tensor]:
    """blkdiag1 and blkdiag2 [r, r, r] that fit a matrix [r r, r r] best."""
    r = math.isqrt(len(w))
    blocks = w.reshape(r, r, r, r).permute(1, 2, 0, 3)  # (k, j, b, i) -> (j, b, k, i)
    left, right = outer(blocks)
    return right.transpose(0, 1).contiguous(), left.transpose(1, 2).contiguous()


def butterfly_stages(w: Tensor) -> Tensor:
    """twiddle [m, n/2, 2, 2] of increasing strides that fits matrices [.., n, n]; [.., m, n/2, 2, 2]."""
    n = w.shape[-1]
    m = n.bit_length() - 1
    # The stages a .. b - 1 together are dense blocks [.., high, low, 2^(b-a), 2^(b-a)], one for each
    # value of the bits above b and of those below a.
    done: list[Tensor] = []

    def split(blocks: Tensor, a: int, b: int) -> None:
        if b - a == 1:
            done.append(blocks.flatten(-4, -3))  # pair number: high bits, then low ones
            return
        c = (a + b) // 2
        h, l = 1 << (b - c), 1 << (c - a)
        parts = blocks.unflatten(-1, (h, l)).unflatten(-3, (h, l))  # .., H, L, h, l, h', l'
        left, right = outer(parts.movedim(-4, -2))  # .., H, L, l, h', h, l'
        lead = left.dim() - 5  # axes in front of H
        front = list(range(lead))
        high, low, at_l, at_h, last = range(lead, lead + 5)
        # left [.., H, L, l, h', h] -> stages c .. b - 1: H, (l, L), h, h'
        upper = left.permute(*front, high, at_l, low, last, at_h).flatten(lead + 1, lead + 2)
        # right [.., H, L, l, h', l'] -> stages a .. c - 1: (H, h'), L, l, l'
        lower = right.permute(*front, high, at_h, low, at_l, last).flatten(lead, lead + 1)
        split(lower, a, c)
        split(upper, c, b)

    split(w.unsqueeze(-3).unsqueeze(-3), 0, m)
    return torch.stack(done, -4)


# ---- layers ----

def _padded(w: Tensor, rows: int, columns: int) -> Tensor:
    return nn.functional.pad(w, (0, columns - w.shape[1], 0, rows - w.shape[0]))


def _distance(w: Tensor, module: Butterfly | BlockButterfly | Monarch | MonarchStack) -> float:
    norm = w.norm().item()
    return (w - module.matrix()).norm().item() / norm if norm else 0.0


@torch.no_grad()
def fit(w: Tensor, bias: Tensor | None, method: str,
        tile: int = 32) -> Butterfly | BlockButterfly | Monarch | MonarchStack:
    """The layer of a method that fits a matrix [out, in], in closed form. A butterfly takes the
    direction of strides that fits better."""
    out, width = w.shape
    exact = w.double()
    module: Butterfly | BlockButterfly | Monarch | MonarchStack
    if method == "monarch":
        if out == width and math.isqrt(width) ** 2 == width:
            module = Monarch(width, bias is not None)
            factors = [(module, exact)]
        else:
            module = MonarchStack(width, out, bias is not None)
            whole = _padded(exact, module.n * len(module.stack), module.n)
            factors = [(part, rows) for part, rows in zip(module.stack, whole.split(module.n))]  # type: ignore[misc]
        for part, rows in factors:
            first, second = monarch_factors(rows)
            part.blkdiag1.copy_(first)
            part.blkdiag2.copy_(second)
    elif method == "butterfly":
        choices = []
        for increasing in (True, False):
            module = Butterfly(width, out, bias is not None, increasing)
            stacks = _padded(exact, module.n * module.nstacks, module.n).unflatten(0, (-1, module.n))
            module.twiddle.copy_(_directed(stacks, increasing).unsqueeze(1))
            choices.append(module)
        module = min(choices, key=lambda choice: _distance(w, choice.to(w)))
    elif method == "block_butterfly":
        tile = _tile(tile, width, out)
        module = BlockButterfly(width, out, tile, bias is not None)
        tiles = exact.unflatten(0, (-1, tile)).unflatten(-1, (-1, tile)).transpose(1, 2)
        module.twiddle.copy_(butterfly_stages(tiles).unsqueeze(2))
    else:
        raise ValueError(f"method is one of {', '.join(METHODS)}, not {method!r}")
    if bias is not None:
        module.bias.copy_(bias)  # type: ignore[union-attr]
    return module.to(w)


def _directed(w: Tensor, increasing: bool) -> Tensor:
    """Strides that decrease are those that increase of the transposed matrix, in the other order."""
    if increasing:
        return butterfly_stages(w)
    return butterfly_stages(w.transpose(-1, -2)).flip(-4).transpose(-1, -2)


def _tile(tile: int, width: int, out: int) -> int:
    """The largest power of two up to `tile` that divides both widths."""
    while tile > 1 and (width % tile or out % tile):
        tile //= 2
    if tile < 2:
        raise ValueError(f"no tile divides {width} and {out}")
    return tile


def refine(module: nn.Module, w: Tensor, steps: int, moment: Tensor | None = None,
           rate: float = 1e-2) -> None:
    """Adam on |(W - W') C^1/2|^2, where C [in, in] is the second moment of what the layer reads, or 1;
    keeps the best."""
    if not steps:
        return
    fitted = [p for name, p in module.named_parameters() if name != "bias"]
    scale = sum(p.square().mean().item() for p in fitted) / len(fitted)
    optimizer = torch.optim.Adam(fitted, rate * math.sqrt(scale))
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    best, kept = math.inf, [p.detach().clone() for p in fitted]
    with torch.enable_grad():
        for step in range(steps + 1):
            error = w - module.matrix()  # type: ignore[operator]
            loss = (error * error).sum() if moment is None else ((error @ moment) * error).sum()
            if loss.item() < best:
                best, kept = loss.item(), [p.detach().clone() for p in fitted]
            if step < steps:
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
    with torch.no_grad():
        for p, value in zip(fitted, kept):
            p.copy_(value)
            p.grad = None


def _chosen(model: nn.Module, select: Select) -> dict[str, nn.Linear]:
    """Paths and layers. A layer that its parent reads the weight of can't be replaced."""
    plain = {path: layer for path, layer in model.named_modules() if type(layer) is nn.Linear}
    linears = {path: layer for path, layer in model.named_modules() if isinstance(layer, nn.Linear)}
    if select is None:
        return plain
    if callable(select):
        return {path: layer for path, layer in plain.items() if select(path, layer)}
    patterns = [select] if isinstance(select, str) else list(select)
    for pattern in patterns:
        if not fnmatch.filter(linears, pattern):
            raise ValueError(f"no nn.Linear is called {pattern!r}; there are {', '.join(linears)}")
        other = [path for path in fnmatch.filter(linears, pattern) if path not in plain]
        if other:
            raise ValueError(f"{other[0]} is a {type(linears[other[0]]).__name__}, whose weight is "
                             "read by the module around it")
    return {path: layer for path, layer in plain.items()
            if any(fnmatch.fnmatchcase(path, pattern) for pattern in patterns)}


@torch.no_grad()
def _moments(model: nn.Module, layers: dict[str, nn.Linear],
             samples: Sequence[Tensor]) -> dict[str, Tensor]:
    """x^T x of what each layer reads, [in, in]."""
    sums = {path: torch.zeros(x.in_features, x.in_features, dtype=torch.float64)
            for path, x in layers.items()}

    def watch(path: str) -> Callable[..., None]:
        def hook(_module: nn.Module, arguments: tuple[Tensor, ...]) -> None:
            x = arguments[0].detach().reshape(-1, arguments[0].shape[-1]).double()
            sums[path] += (x.T @ x).to(sums[path])
        return hook
    handles = [layer.register_forward_pre_hook(watch(path)) for path, layer in layers.items()]
    training = model.training
    try:
        model.eval()(*samples)
    finally:
        model.train(training)
        for handle in handles:
            handle.remove()
    return sums


def factorize(model: nn.Module, select: Select = None, method: str = "butterfly", *,
              samples: Tensor | Sequence[Tensor] | None = None, refine_steps: int = 0,
              tile: int = 32, inplace: bool = False) -> Factorized:
    """Replaces nn.Linear layers of a trained model by layers with fewer weights that are fitted to them.

    `select` is a pattern of paths ("blocks.*.ffn.*"), several, a function of path and layer, or None
    for all. `samples` are arguments of the model's forward: with them, errors of the layers' results
    are reported, and refinement weighs what the layers really read. `refine_steps` of Adam follow the
    closed form. `tile` is the largest tile of block_butterfly. The model is copied unless `inplace`;
    what comes back trains and exports like any other.
    """
    if method not in METHODS:
        raise ValueError(f"method is one of {', '.join(METHODS)}, not {method!r}")
    result = model if inplace else copy.deepcopy(model)
    layers = _chosen(result, select)
    moments = {}
    if samples is not None:
        samples = [samples] if isinstance(samples, Tensor) else samples
        moments = _moments(result, layers, samples)
    reports, made = [], {}
    for path, layer in layers.items():
        w = layer.weight.detach()
        module = fit(w, None if layer.bias is None else layer.bias.detach(), method, tile)
        moment = moments[path].to(w) if path in moments else None
        refine(module, w, refine_steps, moment)
        module.train(layer.training)
        made[layer] = module
        reports.append(_report(path, layer, module, method, moments.get(path)))
    for path, old in list(result.named_modules(remove_duplicate=False)):
        if old in made:
            parent, _, name = path.rpartition(".")
            setattr(result.get_submodule(parent), name, made[old])  # type: ignore[index]
    return Factorized(result, tuple(reports))


@torch.no_grad()
def _report(path: str, layer: nn.Linear, module: nn.Module, method: str,
            moment: Tensor | None) -> Layer:
    def count(m: nn.Module) -> int:
        return sum(p.numel() for p in m.parameters())
    w = layer.weight.detach()
    output_error = None
    if moment is not None:
        def power(m: Tensor) -> float:
            return ((m.double().cpu() @ moment) * m.double().cpu()).sum().item()
        whole = power(w)
        lost = power(w - module.matrix())  # type: ignore[operator]
        output_error = math.sqrt(max(lost, 0) / whole) if whole > 0 else 0.0
    dense = 2 * layer.in_features * layer.out_features
    dense += layer.out_features if layer.bias is not None else 0
    return Layer(path, layer.in_features, layer.out_features, method, _distance(w, module),  # type: ignore[arg-type]
                 output_error, (count(layer), count(module)),
                 (dense, module.flops()))  # type: ignore[operator]
