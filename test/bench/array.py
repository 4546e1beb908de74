#!/usr/bin/env python3
"""make bench - every kernel and network of the benchmark on the cycle simulator.

    test/bench/array.py [-build DIR] [-only TEXT] [-json FILE] [-bfcc OPTION]...

A row compares the cycles that the simulator counts, from launch to last store, with a bound that
depends on the arithmetic alone (slots.py): efficiency = formula slots / (PEs x cycles). Kernels run
resident: inputs, weights and outputs start and end in the scratchpad.
"""
import argparse
import json
import os
import re
import subprocess
import sys
import tempfile

import networks
import slots


class Case:
    """A network of one family. `formula`: slots of the whole network; `goal`: efficiency asked for."""

    def __init__(self, family, name, source, formula, goal=None, options=(), resident=True,
                 bound=None):
        self.family, self.name, self.source, self.formula = family, name, source, formula
        self.goal, self.options, self.resident = goal, list(options), resident
        self.bound = bound  # of a network: cycles, by groups; None: formula / PEs


def one(expression, *inputs):
    lines = [f"    input {name}: f16{list(shape)};" for name, shape in inputs]
    return "network bench() {\n" + "\n".join(lines) + f"\n    output y = {expression};\n}}\n"


def butterfly(n, batch, goal=None, scaled=False):
    form = "scaled" if scaled else "two-slot"
    formula = slots.butterfly(n, 0 if scaled else None) * slots.vectors(batch, 16)
    return Case("butterfly", f"{form} {n}, batch {batch}",
                one(f"f: butterfly(x, {n}, bias = false)", ("x", (batch, n))), formula, goal,
                [] if scaled else ["-passes=fold,simplify"])


def fft(n, tiles, goal=None):
    return Case("fft", f"complex {n}, {tiles} tiles", one("fft(x)", ("x", (2, 16 * tiles, n))),
                slots.fft(n) * tiles, goal)


def gemm(m, k, n, goal=None):
    return Case("gemm", f"{m} x {k} x {n}",
                one(f"f: linear(x, {n}, bias = false)", ("x", (m, k))),
                slots.gemm(k, n) * slots.vectors(m, 16), goal)


def attention(queries, keys, width, goal=None, heads=1):
    return Case("attention", f"{queries} queries, {keys} keys, d={width}, {heads} heads",
                one(f"attention(q, k, v, heads = {heads})", ("q", (queries, width * heads)),
                    ("k", (keys, width * heads)), ("v", (keys, width * heads))),
                heads * slots.attention(keys, width) * slots.vectors(queries, 16), goal)


def block_butterfly(width, tile, batch, goal=None):
    formula = (width // tile) ** 2 * slots.butterfly(tile) * slots.vectors(batch, 16)
    return Case("block butterfly", f"{width}, tile {tile}, batch {batch}",
                one(f"f: block_butterfly(x, {width}, {tile}, bias = false)", ("x", (batch, width))),
                formula, goal)


def rows(name, expression, shape, formula, goal=None):
    return Case("rows", name, one(expression, ("x", shape)), formula, goal)


def kernels():
    yield butterfly(512, 256, .95)
    yield butterfly(512, 1024, .985)
    for batch, goal in ((256, .94), (512, .96), (1024, .98)):
        yield butterfly(512, batch, goal, scaled=True)
    yield butterfly(64, 1024, .95)
    yield butterfly(1024, 256, .95)
    yield butterfly(4096, 256, .96)
    yield fft(256, 64, .96)
    yield fft(512, 64, .94)
    yield fft(1024, 32, .94)  # 64 tiles of input, passes and output exceed what addresses reach
    yield gemm(128, 512, 512, .985)
    yield gemm(1024, 64, 1024, .985)
    yield attention(256, 1024, 64, .95)
    yield block_butterfly(1024, 32, 128, .95)
    vectors = slots.vectors(128, 16)
    yield rows("layernorm 128 x 768", "n: layernorm(x)", (128, 768),
               vectors * slots.layer_norm(768, 16))
    yield rows("gelu tanh 128 x 3072", "gelu(x, approximate = tanh)", (128, 3072),
               vectors * 3072 * slots.GELU_TANH)
    yield rows("gelu erf 128 x 3072", "gelu(x)", (128, 3072), vectors * 3072 * slots.GELU_ERF)


def network(name, file, defines, groups, goal, layers):
    path = os.path.join(os.path.dirname(__file__), "../../examples/networks", file)
    options = [f"-D{key}={value}" for key, value in {**defines, "layers": layers}.items()]
    return Case("network", f"{name}, {layers} layers", open(path).read(),
                sum(group.slots for group in groups), goal, options, resident=False,
                bound=lambda machine: networks.bound(groups, machine))


def whole_networks(full):
    """`full`: all layers; else two, as they are alike."""
    for size, hidden, heads, all_layers in (("base", 768, 12, 12), ("large", 1024, 16, 24)):
        for seq in (128, 512, 1024):
            layers = all_layers if full else 2
            yield network(f"FABNet-{size}, {seq} tokens", "fabnet.bfly",
                          {"seq": seq, "hidden": hidden, "heads": heads, "activation": "gelu_tanh"},
                          networks.fabnet(seq, hidden, layers, 16), 1 / 1.15, layers)
    layers = 12 if full else 2
    yield network("BERT-base, 128 tokens", "bert.bfly", {"seq": 128},
                  networks.bert(128, 768, layers, 12, 16), 1 / 1.08, layers)


# ---- running ----

class Runner:
    def __init__(self, build, options):
        self.build, self.options = build, options

    def tool(self, name, *arguments):
        command = [os.path.join(self.build, name), *arguments]
        result = subprocess.run(command, capture_output=True, text=True)
        if result.returncode:
            raise RuntimeError(f"{' '.join(command)}: {result.stderr.strip()}")
        return result.stdout

    def roomy(self, folder):
        """The default machine with a scratchpad of twice the words."""
        path = os.path.join(folder, "roomy.arch")
        text = self.tool("bfcc", "-print-arch", "default")
        with open(path, "w") as file:
            for line in text.splitlines():
                if line.strip().startswith("words:"):
                    line = re.sub(r"\d+", lambda words: str(2 * int(words.group())), line, count=1)
                file.write(line + "\n")
        return path

    def run(self, case):
        with tempfile.TemporaryDirectory() as folder:
            source, image = os.path.join(folder, "bench.bfly"), os.path.join(folder, "bench.bfx")
            with open(source, "w") as file:
                file.write(case.source)
            # What a resident kernel is about is the array: the scratchpad holds all of it.
            resident = ["-resident", "-arch", self.roomy(folder)] if case.resident else []
            self.tool("bfcc", source, "-o", image, "-random-weights", "1", *resident,
                      *self.options, *case.options)
            return json.loads(self.tool("bfrun", image, "-random-inputs", "1", "-device", "sim", "-exact",
                                        "-stats", "json"))


LOSSES = {"drain": "start-up", "tokens": "exchange", "weights": "weights", "hazards": "hazards",
          "banks": "banks", "special": "special functions", "queues": "queues", "ports": "ports"}


def losses(stats, pes, cycles):
    """Share of all PE-cycles in which CAL did not issue, by cause; what lies between kernels is
    "dma"."""
    found = {}
    for kernel in stats["kernels"]:
        for cause, count in kernel["CAL"]["stalled"].items():
            name = LOSSES[cause]
            found[name] = found.get(name, 0) + count
    inside = sum(kernel["cycles"] for kernel in stats["kernels"])
    found["dma"] = max(0, cycles - inside) * pes
    return {name: round(count / (pes * cycles), 4) for name, count in found.items()
            if count >= 0.0005 * pes * cycles}


def measure(case, runner):
    stats = runner.run(case)
    pes = stats["machine"]["rows"] * stats["machine"]["cols"]
    cycles = stats["measured_cycles"]
    bound = case.bound(stats["machine"]) if case.bound else case.formula / pes
    emitted = sum(kernel["CAL"]["issued"] for kernel in stats["kernels"])
    return {"family": case.family, "case": case.name, "cycles": cycles, "bound": round(bound),
            "ratio": round(cycles / bound, 4), "efficiency": round(bound / cycles, 4),
            "goal": case.goal and round(case.goal, 3), "formula_slots": round(case.formula), "emitted_slots": emitted,
            "emitted_over_formula": round(emitted / case.formula, 4),
            "occupancy": round(emitted / (pes * cycles), 4),
            "energy_nj": round(stats["joules"] * 1e9, 1), "loss": losses(stats, pes, cycles)}


COLUMNS = (("case", 40, "{}"), ("cycles", 10, "{}"), ("bound", 10, "{}"), ("efficiency", 10, "{:.3f}"),
           ("goal", 6, "{}"), ("emitted_over_formula", 8, "{:.3f}"), ("occupancy", 9, "{:.3f}"),
           ("energy_nj", 11, "{:.0f}"))
HEADS = {"efficiency": "efficiency", "emitted_over_formula": "emitted", "energy_nj": "energy nJ"}


def show(row):
    cells = []
    for key, width, form in COLUMNS:
        value = row[key]
        text = "" if value is None else form.format(value)
        cells.append(text.ljust(width) if key == "case" else text.rjust(width))
    loss = ", ".join(f"{name} {100 * share:.1f} %" for name, share in
                     sorted(row["loss"].items(), key=lambda item: -item[1])[:4])
    print("  ".join(cells) + "   " + loss, flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("-build", default=os.environ.get("BF_BUILD", "build"))
    parser.add_argument("-only", default="")
    parser.add_argument("-json")
    parser.add_argument("-full", action="store_true", help="all layers of networks")
    parser.add_argument("-bfcc", action="append", default=[])
    arguments = parser.parse_args()
    runner, table, family, failed = Runner(arguments.build, arguments.bfcc), [], None, 0
    for case in [*kernels(), *whole_networks(arguments.full)]:
        if arguments.only not in f"{case.family} {case.name}":
            continue
        if case.family != family:
            family = case.family
            heads = [HEADS.get(key, key) for key, _, _ in COLUMNS]
            heads = [head.ljust(width) if key == "case" else head.rjust(width)
                     for (key, width, _), head in zip(COLUMNS, heads)]
            print(f"\n{family}\n" + "  ".join(heads) + "   lost to")
        try:
            row = measure(case, runner)
        except RuntimeError as problem:
            failed += 1
            print(f"{case.name:40}  {str(problem)}")
            continue
        show(row)
        table.append(row)
    if arguments.json:
        with open(arguments.json, "w") as file:
            json.dump(table, file, indent=1)
            file.write("\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
