"""A graph as the text of a network."""
from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from .graph import Node

WIDTH = 96
SIGNS = {"add": "+", "sub": "-", "mul": "*", "div": "/"}
UNARY = ("gelu", "relu", "silu", "tanh", "sigmoid")
LIBRARY = ("MultiheadAttention",)  # blocks of transformer.bfly
KEYWORDS = {"include", "const", "block", "network", "input", "output", "if", "else", "for", "in",
            "return", "shared", "true", "false", "none", "f16", "f32", "i32", "u8"}


def literal(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(literal, value)) + "]"
    return repr(value) if isinstance(value, (int, float)) else str(value)


def label(path: str) -> str:
    """layers.0.fc1 as a label."""
    return f'"{path}"'


def order(outputs: Sequence[Node]) -> list[Node]:
    """Everything that outputs depend on, operands first."""
    done: dict[Node, None] = {}
    stack: list[tuple[Node, Iterator[Node]]] = []
    for output in outputs:
        stack.append((output, iter(output.inputs)))
        while stack:
            node, rest = stack[-1]
            following = next((n for n in rest if n not in done), None)
            if following is None:
                done[node] = None
                stack.pop()
            else:
                stack.append((following, iter(following.inputs)))
    return list(done)


class Text:
    """inputs: all of the network's, in order; outputs: (name, node)."""

    def __init__(self, name: str, inputs: Sequence[Node], outputs: Sequence[tuple[str, Node]]) -> None:
        self.name, self.inputs, self.outputs = name, inputs, outputs
        self.nodes = order([node for _, node in outputs])
        self.uses = Counter(i for node in self.nodes for i in node.inputs)
        self.uses.update(node for _, node in outputs)
        self.owners = Counter(p for node in self.nodes for p in node.params)
        self.labels = Counter(node.label for node in self.nodes if node.label)
        self.names: dict[Node, str] = {}
        self.taken: set[str] = set(KEYWORDS)
        self.inline: dict[Node, str] = {}

    def parameters(self) -> set[str]:
        return set(self.owners)

    def fresh(self, wanted: str) -> str:
        wanted = "".join(c if c.isalnum() or c == "_" else "_" for c in wanted)
        wanted = wanted if wanted and not wanted[0].isdigit() else "x" + wanted
        name, count = wanted, 1
        while name in self.taken:
            count += 1
            name = f"{wanted}_{count}"
        self.taken.add(name)
        return name

    def value(self, node: Node) -> str:
        return self.names.get(node) or self.inline[node]

    def operand(self, node: Node) -> str:
        """As a part of an expression."""
        text = self.value(node)
        return text if node in self.names or node.op not in (*SIGNS, "scale") else f"({text})"

    def expression(self, node: Node) -> str:
        inputs = node.inputs
        if node.op in SIGNS:
            return f"{self.operand(inputs[0])} {SIGNS[node.op]} {self.operand(inputs[1])}"
        if node.op == "scale":
            by = node.attrs["by"]
            return f"-{self.operand(inputs[0])}" if by == -1 else \
                f"{self.operand(inputs[0])} * {literal(by)}"
        if node.op == "constant" and not node.attrs.get("shape"):
            return literal(node.attrs["value"])
        if node.op == "slice":
            axis, begin, end = (node.attrs[k] for k in ("axis", "begin", "end"))
            after = len(node.shape) - axis - 1 if axis else 0
            index = [".."] * (axis if after else min(axis, 1)) + [f"{begin} .. {end}"] + [".."] * after
            return f"{self.operand(inputs[0])}[{', '.join(index)}]"
        tensors = node.attrs.get("tensors", [])
        plain = inputs[:len(inputs) - len(tensors)]
        arguments = [self.value(i) for i in plain]
        if node.op == "param":
            arguments.append(f'"{node.attrs[""]}"')
        arguments += [literal(v) for k, v in node.attrs.items() if k == "" and node.op != "param"]
        arguments += [f"{k} = {self.value(i)}" for k, i in zip(tensors, inputs[len(plain):])]
        for key, setting in node.attrs.items():
            if key not in ("", "tensors"):
                arguments.append(f"{key} = {literal(setting)}")
        text = f"{node.op}({', '.join(arguments)})"
        if node.label:
            text = f"{label(node.label)}: {text}"
            if self.labels[node.label] > 1:
                text = "shared " + text
        return text

    def statement(self, node: Node) -> str | None:
        """The line that makes a node; None if it is part of another's."""
        text = self.expression(node)
        if node.op == "constant" and not node.attrs.get("shape"):
            self.inline[node] = text
            return None
        small = node.op in (*SIGNS, *UNARY, "scale") and not node.label
        if small and self.uses[node] == 1 and len(text) < 48:
            self.inline[node] = text
            return None
        wanted = node.label.rpartition(".")[2] if node.label else ""
        if node.op == "param":
            wanted = f"{wanted}_{node.attrs['']}" if wanted and not wanted.isdigit() else node.attrs[""]
        self.names[node] = self.fresh(wanted if wanted and not wanted.isdigit() else {
            "add": "sum", "mul": "product", "slice": "part"}.get(node.op, node.op)[:12])
        return f"{self.names[node]} = {text};"

    def lines(self) -> Iterator[str]:
        if any(node.op in LIBRARY for node in self.nodes):
            yield "include <transformer.bfly>;"
            yield ""
        yield f"network {self.name}() {{"
        for node in self.inputs:
            wanted = node.attrs["name"]
            name = self.names[node] = self.fresh("x" if wanted in KEYWORDS else wanted)
            shape = ", ".join(map(str, node.shape))
            yield f"    input {name}: {node.attrs['type']}{f'[{shape}]' if shape else ''};"
        module = ""
        for node in self.nodes:
            if node.op == "input":
                continue
            line = self.statement(node)
            if line:
                top = ".".join(node.module.split(".")[:2])
                if top != module and top:
                    yield f"    // {top}"
                module = top or module
                yield from wrapped("    " + line)
        for name, node in self.outputs:
            yield f"    output {name} = {self.value(node)};"
        yield "}"

    def __str__(self) -> str:
        return "\n".join(self.lines()) + "\n"


def wrapped(line: str) -> Iterator[str]:
    """A line cut behind commas."""
    while len(line) > WIDTH and ", " in line[8:WIDTH]:
        cut = line.rfind(", ", 8, WIDTH) + 1
        yield line[:cut]
        line = " " * 8 + line[cut:].lstrip()
    yield line
