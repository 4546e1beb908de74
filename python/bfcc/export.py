"""bfcc.export: a torch module as a .bfly file and its weights."""
from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from .bfly import Text
from .graph import Node, Unsupported, View
from .lower import Const, Lowering, handlers


class ExportError(Exception):
    """What can't be exported, with the module's path and the line of source that asks for it."""


@dataclass(frozen=True)
class Exported:
    """Files that were written, the network's text, and the names of its inputs and outputs."""
    bfly: Path
    weights: Path
    text: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


@dataclass
class Refused:
    """The value of a node that has no counterpart; an error only if something depends on it."""
    error: ExportError


def export(module: nn.Module, example: Tensor | Sequence[Tensor], path: str | os.PathLike[str], *,
           batch_axis: int | None = 0, name: str | None = None,
           outputs: Sequence[str] | None = None) -> Exported:
    """Writes PATH (.bfly) and, beside it, the weights (.safetensors) of a module in evaluation.

    `example` are arguments of its forward; only shapes and types matter. The network is for one sample:
    of `batch_axis`, which every input and output must have, one sample is traced and the axis is left
    out; with None the inputs are one sample. Inputs are called as the arguments of forward (`x` where
    that is a word of the language, as `input` is), outputs `y` (or y0, y1, ..), as `outputs` says, or by their keys if forward returns a dict. Parameters have
    the names of the state_dict; what is computed from parameters alone is saved under names that end
    in `constant`.
    """
    target = Path(path)
    if target.suffix != ".bfly":
        raise ValueError(f"{target}: the name of a network ends in .bfly")
    samples = [example] if isinstance(example, Tensor) else list(example)
    samples = [_one_sample(x, batch_axis) for x in samples]
    program = _trace(module, tuple(samples))
    walk = Walk(program, module, batch_axis)
    walk.run()
    named = walk.outputs(outputs)
    title = name or re.sub(r"\W|^(?=\d)", "_", target.stem)
    text = Text(title, walk.inputs, named)
    written = str(text)
    weights = {k: walk.lowering.weights[k].detach().contiguous().clone()
               for k in sorted(text.parameters())}
    target.parent.mkdir(parents=True, exist_ok=True)
    tensors = target.with_suffix(".safetensors")
    save_file(weights, tensors)
    target.write_text(f"// {target.name} - {type(module).__name__}, exported from torch; its weights "
                      f"are in {tensors.name}.\n{written}")
    return Exported(target, tensors, target.read_text(), tuple(text.names[n] for n in walk.inputs),
                    tuple(n for n, _ in named))


def _one_sample(x: Tensor, axis: int | None) -> Tensor:
    if axis is None:
        return x
    if not -x.dim() <= axis < x.dim():
        raise ValueError(f"an example of shape {list(x.shape)} has no batch axis {axis}; "
                         "batch_axis=None says that the inputs are one sample")
    return x.narrow(axis, 0, 1)


def _attention(query: Tensor, key: Tensor, value: Tensor, embed_dim: int, heads: int,
               in_proj_weight: Tensor | None, in_proj_bias: Tensor | None, bias_k: Tensor | None,
               bias_v: Tensor | None, add_zero_attn: bool, dropout_p: float, out_weight: Tensor,
               out_bias: Tensor | None, training: bool = True, key_padding_mask: Tensor | None = None,
               need_weights: bool = True, attn_mask: Tensor | None = None,
               use_separate_proj_weight: bool = False, q_proj_weight: Tensor | None = None,
               k_proj_weight: Tensor | None = None, v_proj_weight: Tensor | None = None,
               static_k: Tensor | None = None, static_v: Tensor | None = None,
               average_attn_weights: bool = True,
               is_causal: bool = False) -> tuple[Tensor, Tensor | None]:
    """torch.nn.functional.multi_head_attention_forward as one node: sequences are [seq, batch, ..]."""
    unusual = {"bias_k": bias_k is not None, "add_zero_attn": add_zero_attn,
               "key_padding_mask": key_padding_mask is not None, "static_k": static_k is not None}
    if any(unusual.values()):
        raise Unsupported("MultiheadAttention with " + ", ".join(k for k, v in unusual.items() if v))
    if use_separate_proj_weight or in_proj_weight is None:
        projections = [q_proj_weight, k_proj_weight, v_proj_weight]
    else:
        projections = list(in_proj_weight.chunk(3))
    biases = [None] * 3 if in_proj_bias is None else list(in_proj_bias.chunk(3))
    causal = is_causal and attn_mask is not None
    batched = query.dim() == 3
    turn = [x.transpose(0, 1) if batched else x for x in (query, key, value)]
    if key is query:
        turn[1] = turn[0]
    if value is key:
        turn[2] = turn[1]
    y = torch.ops.bfcc.multihead_attention(*turn, projections, biases, out_weight, out_bias, heads,
                                           None if causal else attn_mask, causal)
    return y.transpose(0, 1) if batched else y, None


@contextlib.contextmanager
def _tracing(module: nn.Module) -> Iterator[None]:
    """Evaluation, attention as one node, no shortcuts that hide the parameters."""
    states = [(m, m.training) for m in module.modules()]
    fast = torch.backends.mha.get_fastpath_enabled()
    module.eval()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with mock.patch("torch.nn.functional.multi_head_attention_forward", _attention), \
                mock.patch("torch.nn.modules.transformer._detect_is_causal_mask",
                           lambda mask, is_causal=None, size=None: bool(is_causal)):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
        for m, training in states:
            m.training = training


def _trace(module: nn.Module, samples: tuple[Tensor, ...]) -> torch.export.ExportedProgram:
    with _tracing(module):
        try:
            return torch.export.export(module, samples)
        except Unsupported as error:
            raise ExportError(f"{type(module).__name__}: {error}") from error
        except Exception as error:
            reason = next((line for line in str(error).splitlines() if line.strip()), "")
            raise ExportError(f"{type(module).__name__}: torch.export can't trace it: "
                              f"{type(error).__name__}: {reason}") from error


class Walk:
    """Goes through the operators of a traced program."""

    def __init__(self, program: torch.export.ExportedProgram, module: nn.Module,
                 batch_axis: int | None) -> None:
        self.program, self.batch_axis = program, batch_axis
        self.lowering = Lowering()
        self.values: dict[torch.fx.Node, Any] = {}
        self.inputs: list[Node] = []
        # The first name of each tensor, for those that have several.
        self.first: dict[tuple[int, tuple[int, ...]], str] = {}
        for name, tensor in module.state_dict().items():
            self.first.setdefault((tensor.data_ptr(), tuple(tensor.shape)), name)
        self.title = type(module).__name__

    def run(self) -> None:
        kinds = {spec.arg.name: spec for spec in self.program.graph_signature.input_specs}
        for node in self.program.graph.nodes:
            if node.op == "placeholder":
                self.values[node] = self.placeholder(node, kinds[node.name])
            elif node.op == "call_function":
                self.values[node] = self.call(node)
            elif node.op == "output":
                self.results = node.args[0]

    def placeholder(self, node: torch.fx.Node, spec: Any) -> Any:
        if spec.target is None:
            return self.input(node)
        tensor = self.program.state_dict.get(spec.target)
        if tensor is None:
            tensor = self.program.constants[spec.target]
        if not isinstance(tensor, Tensor):
            return Refused(self.refusal(node, f"{spec.target} is no tensor"))
        tensor = tensor.detach()
        if tensor.is_floating_point():
            name = self.first.get((tensor.data_ptr(), tuple(tensor.shape)), spec.target)
            return Const(tensor, self.lowering.parameter(name, tensor))
        return Const(tensor)

    def input(self, node: torch.fx.Node) -> Any:
        example = node.meta["val"]
        types = {torch.float16: "f16", torch.bool: "u8", torch.uint8: "u8"}
        integer = not example.is_floating_point()
        kind = types.get(example.dtype, "i32" if integer else "f32")
        shape = self.sample(example.shape, "input", node.name)
        made = self.lowering.graph.node("input", [], shape, name=node.name, type=kind)
        self.inputs.append(made)
        return View.of(self.lowering.graph, made).reshape(example.shape)

    def sample(self, shape: Sequence[int], what: str, name: str) -> list[int]:
        """A shape without the batch."""
        left = list(shape)
        if self.batch_axis is not None:
            if not -len(left) <= self.batch_axis < len(left) or left[self.batch_axis] != 1:
                raise ExportError(f"{self.title}: {what} {name} of shape {left} has no batch of one "
                                  f"sample at axis {self.batch_axis}")
            del left[self.batch_axis]
        return left

    def outputs(self, wanted: Sequence[str] | None) -> list[tuple[str, Node]]:
        results = [r for r in self.results if isinstance(r, torch.fx.Node)]
        spec = self.program.call_spec.out_spec
        names = list(wanted or [])
        if not names and spec is not None and spec.type is dict:
            names = [str(k) for k in spec.context]
        if not names:
            names = ["y"] if len(results) == 1 else [f"y{i}" for i in range(len(results))]
        if len(names) != len(results):
            raise ValueError(f"{len(names)} names for {len(results)} outputs")
        made = []
        for name, result in zip(names, results):
            value = self.read(result)
            shape = self.sample(result.meta["val"].shape, "output", name)
            try:
                made.append((name, self.lowering.view(value).materialise(shape)))
            except Unsupported as error:
                raise self.refusal(result, str(error)) from error
        return made

    # ---- one operator ----

    def read(self, argument: Any) -> Any:
        if isinstance(argument, torch.fx.Node):
            value = self.values[argument]
            if isinstance(value, Refused):
                raise value.error
            return value
        if isinstance(argument, (list, tuple)):
            return [self.read(a) for a in argument]
        return argument

    def call(self, node: torch.fx.Node) -> Any:
        try:
            arguments = [self.read(a) for a in node.args]
            settings = {k: self.read(v) for k, v in node.kwargs.items()}
        except ExportError as error:
            return Refused(error)
        name = _name(node.target)
        if name == "getitem":
            return arguments[0][arguments[1]]
        self.lowering.shape = _result_shape(node)
        self.lowering.graph.module = _module(node)[0]
        try:
            value = self.lower(node, name, arguments, settings)
        except Unsupported as error:
            return Refused(self.refusal(node, str(error)))
        if name.partition(".")[0].endswith("_") and not name.startswith("_"):
            self.values[node.args[0]] = value  # type: ignore[index]  # done in place
        return value

    def lower(self, node: torch.fx.Node, name: str, arguments: list[Any],
              settings: dict[str, Any]) -> Any:
        handler = handlers.get(name)
        tensors = [v for v in _leaves([*arguments, *settings.values()]) if hasattr(v, "shape")]
        if all(isinstance(v, Const) for v in tensors):
            return self.fold(node, name, arguments, settings)
        if handler is None:
            raise Unsupported(f"bfcc has no counterpart of {name}")
        if name in PARTS:
            return self.parts(node, arguments)
        if "in_place" in node.meta or (name.partition(".")[0].endswith("_")
                                       and _is_view_of(node.args[0])):
            raise Unsupported(f"{name} of a part of another tensor, in place")
        return handler(self.lowering, *arguments, **settings)

    def fold(self, node: torch.fx.Node, name: str, arguments: list[Any],
             settings: dict[str, Any]) -> Any:
        """What depends on parameters alone is computed now; parts of a parameter stay such."""
        with torch.no_grad():
            result = node.target(*_tensors(arguments), **_tensors(settings))  # type: ignore[operator]
        if isinstance(result, (list, tuple)):
            views = self.parts(node, arguments) if name in PARTS and arguments[0].view else \
                [None] * len(result)
            return [Const(r, getattr(v, "view", v)) for r, v in zip(result, views)]
        if not isinstance(result, Tensor):
            return result
        first = arguments[0] if arguments else None
        if name in VIEWS and isinstance(first, Const) and first.view is not None:
            try:
                view = handlers[name](self.lowering, first.view, *arguments[1:], **settings)
                return Const(result, view)
            except Unsupported:
                pass
        if name == "embedding.default" and isinstance(first, Const) and first.view is not None:
            ids = arguments[1].tensor.flatten()
            begin = int(ids[0]) if len(ids) else 0
            if torch.equal(ids, torch.arange(begin, begin + len(ids))):
                part = first.view.cut(0, begin, begin + len(ids))
                return Const(result, part.reshape(result.shape))
        return Const(result)

    def parts(self, node: torch.fx.Node, arguments: list[Any]) -> list[View]:
        """Views of the pieces that split, chunk and unbind give."""
        value = arguments[0]
        whole = value.view if isinstance(value, Const) else self.lowering.view(value)
        dim = int(node.kwargs.get("dim", 0))  # type: ignore[arg-type]
        position = 1 if _name(node.target).startswith("unbind") else 2
        if len(arguments) > position:
            dim = arguments[position]
        dim %= len(whole.shape)
        pieces, at = [], 0
        for part in node.meta["val"]:
            length = 1 if position == 1 else part.shape[dim]
            pieces.append(whole.cut(dim, at, at + length).reshape(part.shape))
            at += length
        return pieces

    def refusal(self, node: torch.fx.Node, reason: str) -> ExportError:
        path, kind = _module(node)
        where = path or self.title
        if kind and path:
            where += f" ({kind})"
        return ExportError(f"{_source(node)}{where}: {reason}")


PARTS = {"split.Tensor", "split.sizes", "split_with_sizes.default", "chunk.default",
         "tensor_split.sections", "unbind.int"}
VIEWS = {"view.default", "reshape.default", "_unsafe_view.default", "flatten.using_ints",
         "unflatten.int", "squeeze.dim", "squeeze.dims", "squeeze.default", "unsqueeze.default",
         "permute.default", "transpose.int", "t.default", "expand.default", "slice.Tensor",
         "select.int", "narrow.default", "contiguous.default", "clone.default", "detach.default",
         "alias.default", "lift_fresh_copy.default"}


def _name(target: Any) -> str:
    """linear.default, bfcc.butterfly.default, getitem"""
    name = str(target)
    if name.startswith("<"):
        return str(getattr(target, "__name__", target))
    return name.removeprefix("aten.")


def _leaves(values: Any) -> Iterator[Any]:
    for value in values:
        if isinstance(value, (list, tuple)):
            yield from _leaves(value)
        else:
            yield value


def _tensors(value: Any) -> Any:
    if isinstance(value, Const):
        return value.tensor
    if isinstance(value, list):
        return [_tensors(v) for v in value]
    if isinstance(value, dict):
        return {k: _tensors(v) for k, v in value.items()}
    return value


def _result_shape(node: torch.fx.Node) -> tuple[int, ...]:
    value = node.meta.get("val")
    return tuple(value.shape) if isinstance(value, Tensor) else ()


def _is_view_of(argument: Any) -> bool:
    return isinstance(argument, torch.fx.Node) and _name(argument.target) in (
        VIEWS | PARTS | {"getitem"}) - {"clone.default", "contiguous.default"}


def _module(node: torch.fx.Node) -> tuple[str, str]:
    """Path and class of the innermost module that an operator is part of."""
    stack = node.meta.get("nn_module_stack") or {}
    if not stack:
        return "", ""
    path, kind = list(stack.values())[-1]
    kind = kind if isinstance(kind, str) else kind.__name__
    return re.sub(r"@\d+$", "", path), kind.rpartition(".")[2]


def _source(node: torch.fx.Node) -> str:
    """model.py:12: of the innermost line that is not torch's own."""
    trace = node.meta.get("stack_trace") or ""
    frames = re.findall(r'File "([^"]+)", line (\d+)', trace)
    own = [(f, n) for f, n in frames if f"{os.sep}torch{os.sep}" not in f]
    if not (own or frames):
        return ""
    file, line = (own or frames)[-1]
    shown = os.path.relpath(file) if not os.path.relpath(file).startswith("..") else file
    return f"{shown}:{line}: "
