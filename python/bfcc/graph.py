"""Networks of bfcc's operators while they are made: nodes, and views of nodes.

A torch value is a View: a node and how its axes are those of the value. Reshapes and transpositions
of torch change only views, so that most of them vanish; axes of length 1, such as the batch, are in
none. Where an operator needs a certain layout, `View.materialise` adds what is left of them.
"""
from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any


class Unsupported(Exception):
    """Why something can't be expressed in the language."""


MAX_RANK = 4


@dataclass(eq=False)
class Node:
    """An operator. `label` is the path of the module that owns its parameters, `params` their whole
    names; `attrs` are settings as they are written, by position if their name is empty."""
    op: str
    inputs: tuple[Node, ...]
    shape: tuple[int, ...]
    attrs: dict[str, Any] = field(default_factory=dict)
    label: str = ""
    params: tuple[str, ...] = ()
    module: str = ""  # path of the module it is part of


class Graph:
    """Nodes, equal ones once."""

    def __init__(self) -> None:
        self._known: dict[Any, Node] = {}
        self.module = ""

    def node(self, op: str, inputs: Iterable[Node], shape: Sequence[int], label: str = "",
             params: Iterable[str] = (), /, **attrs: Any) -> Node:
        inputs, shape, params = tuple(inputs), tuple(shape), tuple(params)
        if len(shape) > MAX_RANK and op != "param":  # operators own larger ones
            raise Unsupported(f"{op} has a result of {len(shape)} axes; tensors have at most {MAX_RANK}")
        key = (op, tuple(map(id, inputs)), shape, label, params, repr(attrs))
        if key not in self._known:
            self._known[key] = Node(op, inputs, shape, attrs, label, params, self.module)
        return self._known[key]

    def reshape(self, node: Node, shape: Sequence[int]) -> Node:
        if node.op == "reshape":
            node = node.inputs[0]
        if node.shape == tuple(shape):
            return node
        return self.node("reshape", [node], shape, **{"": list(shape)})

    def transpose(self, node: Node, axes: Sequence[int]) -> Node:
        if list(axes) == sorted(axes):
            return node
        return self.node("transpose", [node], [node.shape[a] for a in axes], **{"": list(axes)})

    def slice(self, node: Node, axis: int, begin: int, end: int) -> Node:
        if (begin, end) == (0, node.shape[axis]):
            return node
        if node.op == "slice" and node.attrs["axis"] == axis:
            begin, end, node = begin + node.attrs["begin"], end + node.attrs["begin"], node.inputs[0]
        shape = list(node.shape)
        shape[axis] = end - begin
        return self.node("slice", [node], shape, axis=axis, begin=begin, end=end)


class Atom:
    """A factor of an axis, longer than 1."""
    __slots__ = ("size",)

    def __init__(self, size: int) -> None:
        self.size = size


Axes = list[list[Atom]]


def product(atoms: Iterable[Atom]) -> int:
    return math.prod(atom.size for atom in atoms)


def flat(axes: Axes) -> list[Atom]:
    return [atom for axis in axes for atom in axis]


def axes_of(shape: Iterable[int]) -> Axes:
    return [[Atom(n)] if n > 1 else [] for n in shape]


class View:
    """`dims` are the axes of the torch value in atoms, `base` those of the node. Atoms of dims that are
    not in base are repetitions."""

    def __init__(self, graph: Graph, node: Node, base: Axes, dims: Axes) -> None:
        self.graph, self.node, self.base, self.dims = graph, node, base, dims

    @staticmethod
    def of(graph: Graph, node: Node, shape: Sequence[int] | None = None) -> View:
        base = axes_of(node.shape)
        view = View(graph, node, base, base)
        return view if shape is None else view.reshape(shape)

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(product(axis) for axis in self.dims)

    def repeated(self) -> bool:
        own = set(flat(self.base))
        return any(atom not in own for atom in flat(self.dims))

    def with_dims(self, dims: Axes) -> View:
        return View(self.graph, self.node, self.base, dims)

    def split(self, atom: Atom, outer: int) -> View:
        """The same with an atom cut in two, the first of size `outer`."""
        parts = [Atom(outer), Atom(atom.size // outer)]

        def cut(axes: Axes) -> Axes:
            return [[p for a in axis for p in (parts if a is atom else [a])] for axis in axes]
        return View(self.graph, self.node, cut(self.base), cut(self.dims))

    def permute(self, order: Sequence[int]) -> View:
        return self.with_dims([self.dims[i] for i in order])

    def reshape(self, shape: Sequence[int]) -> View:
        """The elements in row-major order under another shape."""
        view, dims, at = self, [], 0
        for n in shape:
            axis: list[Atom] = []
            while product(axis) < n:
                atom = flat(view.dims)[at]
                need, left = divmod(n, product(axis))
                if left or (atom.size > need and atom.size % need) or need % min(atom.size, need):
                    return self._reshape_elements(shape)
                if atom.size > need:
                    view = view.split(atom, need)
                    # Earlier axes hold no cut atom: it is the next one.
                    atom = flat(view.dims)[at]
                axis.append(atom)
                at += 1
            dims.append(axis)
        return view.with_dims(dims)

    def _reshape_elements(self, shape: Sequence[int]) -> View:
        kept = [n for n in shape if n > 1]
        node = self.graph.reshape(self.plain(), kept)
        return View.of(self.graph, node, shape)

    def merge(self) -> View:
        """Atoms that are neighbours in base and dims become one."""
        view = self
        while True:
            order, pair = flat(view.dims), None
            follows = {a: b for axis in view.base for a, b in zip(axis, axis[1:])}
            for axis in view.dims:
                for a, b in zip(axis, axis[1:]):
                    if follows.get(a) is b:
                        pair = (a, b)
            if pair is None or not order:
                return view
            one = Atom(pair[0].size * pair[1].size)

            def join(axes: Axes) -> Axes:
                return [[one if a is pair[0] else a for a in axis if a is not pair[1]]
                        for axis in axes]
            view = View(view.graph, view.node, join(view.base), join(view.dims))

    def plain(self) -> Node:
        """The node with the axes of the value that are longer than 1."""
        return self.materialise([n for n in self.shape if n > 1])

    def materialise(self, shape: Sequence[int]) -> Node:
        """A node of exactly this shape, which holds the elements of the value in row-major order."""
        shape = tuple(shape)
        assert math.prod(shape) == math.prod(self.shape), (shape, self.shape)
        own = flat(self.base)
        wanted = flat(self.dims)
        present = [atom for atom in wanted if atom in set(own)]
        if len(present) < len(wanted):
            return self._repeat(wanted, shape)
        if present == own:
            return self.graph.reshape(self.node, shape)
        runs: list[list[Atom]] = []  # neighbours in both orders, in the order wanted
        place = {atom: i for i, atom in enumerate(own)}
        for atom in present:
            if runs and place[runs[-1][-1]] + 1 == place[atom]:
                runs[-1].append(atom)
            else:
                runs.append([atom])
        if len(runs) > MAX_RANK:
            raise Unsupported(f"a transposition of {len(runs)} axes; tensors have at most {MAX_RANK}")
        order = sorted(range(len(runs)), key=lambda i: place[runs[i][0]])
        node = self.graph.reshape(self.node, [product(runs[i]) for i in order])
        node = self.graph.transpose(node, [order.index(i) for i in range(len(runs))])
        return self.graph.reshape(node, shape)

    def _repeat(self, wanted: list[Atom], shape: tuple[int, ...]) -> Node:
        """Repeats along the axes that are not in the node, by a product with ones."""
        own = set(flat(self.base))
        runs: list[list[Atom]] = []
        for atom in wanted:
            if runs and (runs[-1][-1] in own) == (atom in own):
                runs[-1].append(atom)
            else:
                runs.append([atom])
        if len(runs) > MAX_RANK:
            raise Unsupported("a repetition between so many axes")
        once = self.with_dims([[a for a in run if a in own] for run in runs])
        node = once.materialise([product(run) if run[0] in own else 1 for run in runs])
        full = [product(run) for run in runs]
        ones = self.graph.node("constant", [], full, value=1, shape=list(full))
        return self.graph.reshape(self.graph.node("mul", [node, ones], full), shape)

    def last(self, width: int) -> View:
        """The same value over a node whose last axis is the last of the value."""
        view = self.merge()
        if view.base and view.base[-1] == view.dims[-1] and view.node.shape[-1] == width \
                and not view.repeated():
            return view
        shape = [n for n in self.shape[:-1] if n > 1] + [width]
        node = self.materialise(shape)
        base = axes_of(shape)
        dims = [base.pop(0) if n > 1 else [] for n in self.shape[:-1]] + [base.pop(0)]
        whole = [axis for axis in dims[:-1] if axis] + [dims[-1]]
        return View(self.graph, node, whole, dims)

    def axis(self, dim: int) -> tuple[View, int]:
        """A view of the same value, and the axis of its node that is `dim`."""
        view = self.merge()
        for i, axis in enumerate(view.base):
            if axis == view.dims[dim] and axis and not view.repeated():
                return view, i
        kept = [i for i, n in enumerate(self.shape) if n > 1 or i == dim]
        node = self.materialise([self.shape[i] for i in kept])
        base = axes_of(node.shape)
        dims = [base[kept.index(i)] if i in kept else [] for i in range(len(self.dims))]
        return View(self.graph, node, base, dims), kept.index(dim)

    def map(self, node: Node) -> View:
        """The same axes over another node of the same shape."""
        return View(self.graph, node, self.base, self.dims)

    def cut(self, dim: int, begin: int, end: int) -> View:
        """Elements begin to end - 1 of an axis."""
        size = self.shape[dim]
        if (begin, end) == (0, size):
            return self
        view = self.merge()
        atoms = view.dims[dim]
        inner = product(atoms[1:])
        if begin % inner or end % inner or atoms[0] not in set(flat(view.base)):
            whole, axis = View.of(self.graph, self.plain(), self.shape).axis(dim)
            return whole._cut_axis(dim, axis, whole.dims[dim][0], begin, end)
        atom = atoms[0]
        axis = next(i for i, a in enumerate(view.base) if atom in a)
        before = view.base[axis].index(atom)
        if before:
            front, back = view.base[axis][:before], view.base[axis][before:]
            base = view.base[:axis] + [front, back] + view.base[axis + 1:]
            node = self.graph.reshape(view.node, [product(a) for a in base])
            if len(base) > MAX_RANK:
                raise Unsupported("a part of an axis inside so many others")
            view, axis = View(self.graph, node, base, view.dims), axis + 1
        return view._cut_axis(dim, axis, atom, begin // inner, end // inner)

    def _cut_axis(self, dim: int, axis: int, atom: Atom, begin: int, end: int) -> View:
        """Of the outermost atom of an axis of the node."""
        rest = product(self.base[axis]) // atom.size
        node = self.graph.slice(self.node, axis, begin * rest, end * rest)
        kept = [Atom(end - begin)] if end - begin > 1 else []

        def swap(axes: Axes) -> Axes:
            return [[p for a in x for p in (kept if a is atom else [a])] for x in axes]
        return View(self.graph, node, swap(self.base), swap(self.dims))


def refine(a: View, b: View) -> tuple[View, View] | None:
    """Two views whose axes have equal atoms wherever both have some; None if they don't fit."""
    for i in range(len(a.dims)):
        k = 0
        while a.dims[i] and b.dims[i] and k < len(a.dims[i]):
            if k >= len(b.dims[i]):
                return None
            x, y = a.dims[i][k], b.dims[i][k]
            if x.size > y.size:
                if x.size % y.size:
                    return None
                a = a.split(x, y.size)
            elif y.size > x.size:
                if y.size % x.size:
                    return None
                b = b.split(y, x.size)
            k += 1
    return a, b


def together(graph: Graph, op: str, a: View, b: View, shape: Sequence[int]) -> View:
    """add, sub, mul or div of two values, broadcast as torch does."""
    a, b = (v.with_dims([[]] * (len(shape) - len(v.dims)) + v.dims).merge() for v in (a, b))
    a, b = (_without_repeats(v, other) for v, other in ((a, b), (b, a)))
    size = math.prod(shape)
    for frame, other, swapped in ((a, b, False), (b, a, True)):
        if math.prod(frame.shape) == size and not frame.repeated() and not other.repeated():
            view = _in_frame(graph, op, frame, other, swapped)
            if view is not None:
                return view
    kept = [i for i, n in enumerate(shape) if n > 1]
    nodes = [v.materialise(_trim([v.shape[i] for i in kept])) for v in (a, b)]
    node = graph.node(op, nodes, [shape[i] for i in kept])
    return View.of(graph, node, shape)


def _trim(shape: list[int]) -> list[int]:
    """Without ones in front, which broadcasting adds."""
    while shape and shape[0] == 1:
        shape = shape[1:]
    return shape


def _without_repeats(view: View, other: View) -> View:
    """Axes that are nothing but repetition become ones where the other operand has the length."""
    own = set(flat(view.base))
    return view.with_dims([[] if axis and other.dims[i] and not own & set(axis) else axis
                           for i, axis in enumerate(view.dims)])


def _in_frame(graph: Graph, op: str, frame: View, other: View, swapped: bool) -> View | None:
    """The result laid out as the frame, which has all its elements."""
    refined = refine(frame, other)
    if refined is None:
        return None
    frame, other = refined
    twin = {x: y for i, axis in enumerate(frame.dims) for x, y in zip(axis, other.dims[i])}
    # Axes of the frame are cut where the other operand begins or ceases to vary.
    base: Axes = []
    for axis in frame.base:
        base.append([])
        for atom in axis:
            if base[-1] and (base[-1][-1] in twin) != (atom in twin):
                base.append([])
            base[-1].append(atom)
    if len(base) > MAX_RANK:
        return None
    node = graph.reshape(frame.node, [product(axis) for axis in base])
    turned = other.with_dims([[twin[atom] for atom in axis if atom in twin] for axis in base])
    same = turned.materialise(_trim([product(axis) for axis in turned.dims]))
    pair = [same, node] if swapped else [node, same]
    return View(graph, graph.node(op, pair, node.shape), base, frame.dims)
