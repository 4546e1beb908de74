"""Bounds of whole networks: cycles that their arithmetic, scratchpad words or DRAM bytes need.

A network is a list of groups of operators that run one after the other; the bound of a group is

    max(slots / PEs, words / words a cycle, DRAM bytes / bytes a cycle)

Words: each activation operand and result once, twice more for each further pass of a transform or
butterfly through the scratchpad, each weight set once. DRAM: all weights, activations at the ends.
"""
import math

import slots

LANES = 16
ONE_PASS = 512  # points of a butterfly or transform that go through the RAM in one pass


class Group:
    def __init__(self, name, slots_, words, dram):
        self.name, self.slots, self.words, self.dram = name, slots_, words, dram

    def cycles(self, machine, port_words, dram_bytes):
        pes = machine["rows"] * machine["cols"]
        return max(self.slots / pes, self.words / port_words, self.dram / dram_bytes)


def vectors(rows):
    return slots.vectors(rows, LANES)


def further(points, words):
    """Words that passes behind the first one move again."""
    return 0 if points <= ONE_PASS else 2 * words


def fourier_seq(seq, hidden):
    columns, half = vectors(hidden), seq // 2 + 1
    words = seq * columns + 2 * half * columns
    return Group("fourier along seq", columns * slots.real_fft(seq),
                 words + further(seq, 2 * half * columns), 0)


def fourier_hidden(seq, hidden, pes):
    tiles, half = vectors(seq // 2 + 1), seq // 2 + 1
    work = tiles * slots.fft(hidden) + vectors(seq) * slots.layer_norm(hidden, pes, residual=True)
    spectrum = 2 * half * vectors(hidden)
    words = spectrum + 2 * seq * vectors(hidden)  # residual, result
    return Group("fourier along hidden, residual, norm", work,
                 words + further(hidden, spectrum), 0)


def butterfly_map(seq, inputs, outputs):
    """Slots of the scaled, pruned map; words of its activations and weights; bytes of the weights."""
    points = 1 << math.ceil(math.log2(inputs))
    stacks = -(-outputs // points)
    weights = stacks * (math.log2(points) + 1) * points
    words = seq * (vectors(inputs) + vectors(outputs)) + weights / LANES
    words += further(points, seq * stacks * vectors(points))
    return vectors(seq) * slots.pruned_butterfly(inputs, outputs, True), words, 2 * weights


def linear_map(seq, inputs, outputs):
    return (vectors(seq) * inputs * outputs,
            seq * (vectors(inputs) + vectors(outputs)) + inputs * outputs / LANES,
            2 * inputs * outputs)


def feed_forward(seq, hidden, inner, pes, mapping, gelu):
    up, words, weights = mapping(seq, hidden, inner)
    yield Group("fc1, gelu", up + vectors(seq) * inner * gelu, words, weights)
    down, words, weights = mapping(seq, inner, hidden)
    norm = vectors(seq) * slots.layer_norm(hidden, pes, residual=True)
    yield Group("fc2, residual, norm", down + norm, words + seq * vectors(hidden), weights)


def attention(seq, hidden, heads, pes, mapping):
    width, work, words, weights = hidden // heads, 0, 0, 0
    for _ in range(3):
        one = mapping(seq, hidden, hidden)
        work, words, weights = work + one[0], words + one[1], weights + one[2]
    yield Group("query, key, value", work, words, weights)
    yield Group("attention", heads * vectors(seq) * slots.attention(seq, width),
                4 * seq * vectors(hidden), 0)
    out, words, weights = mapping(seq, hidden, hidden)
    norm = vectors(seq) * slots.layer_norm(hidden, pes, residual=True)
    yield Group("projection, residual, norm", out + norm, words + seq * vectors(hidden), weights)


def fabnet(seq, hidden, layers, pes, gelu=slots.GELU_TANH):
    layer = [fourier_seq(seq, hidden), fourier_hidden(seq, hidden, pes),
             *feed_forward(seq, hidden, 4 * hidden, pes, butterfly_map, gelu)]
    return at_the_ends(layer * layers, seq, hidden)


def bert(seq, hidden, layers, heads, pes, gelu=slots.GELU_ERF):
    layer = [*attention(seq, hidden, heads, pes, linear_map),
             *feed_forward(seq, hidden, 4 * hidden, pes, linear_map, gelu)]
    return at_the_ends(layer * layers, seq, hidden)


def at_the_ends(groups, seq, hidden):
    first, last = groups[0], groups[-1]
    ends = 2 * seq * hidden
    groups[0] = Group(first.name, first.slots, first.words, first.dram + ends)
    groups[-1] = Group(last.name, last.slots, last.words, last.dram + ends)
    return groups


def bound(groups, machine, dram_bytes=25.6):
    ports = {4: 6.2, 8: 12.6}[machine["rows"]]
    return sum(group.cycles(machine, ports, dram_bytes) for group in groups)
