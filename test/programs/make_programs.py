#!/usr/bin/env python3
"""Array programs written by hand, as assembly texts with their data: make_programs.py FOLDER

For each program NAME.bfs and its input NAME.CASE.safetensors. docs/kernels.md has the drawings:
layouts, blocks, tokens, RAM maps. Deterministic; numpy alone.

The 4 x 4 PEs are numbered row x 4 + column, a tile is 16 rows (tokens), one a lane. Scratchpad
buffers are read along columns: a word is 16 tokens of one column.
"""
import json
import math
import pathlib
import struct
import sys

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "reference"))
import operators as op

V, PES = 16, 16


# ---------------------------------------------------------------- text

class Program:
    """Collects the lines of a .bfs file."""

    def __init__(self, name):
        self.name = name
        self.tensors, self.code, self.blocks, self.data = [], [], [], []
        self.dmas, self.before, self.after = [], [], []
        self.spm = 0  # first free scratchpad word

    def body(self, name, *instructions):
        self.code += [f".body {name}", *("  " + line for line in instructions)]

    def block(self, unit, number, name, **attributes):
        words = [f".block {unit}.{number}"]
        for key, value in attributes.items():
            if isinstance(value, (tuple, list)):
                value = ",".join(str(v) for v in value)
            words.append(f"{key}={value}")
        self.blocks.append(" ".join(words) + f' name="{name}"')

    def buffer(self, rows, columns):
        """The first word of a new buffer of V x V tiles."""
        first = self.spm
        self.spm += math.ceil(rows / V) * V * math.ceil(columns / V)
        return first

    def input(self, name, shape, rows, columns):
        self.tensors.append(f".tensor input {name} f16[{','.join(map(str, shape))}]")
        spm = self.buffer(rows, columns)
        self.dmas.append(f".dma load label={name} dram={name} rows={rows} cols={columns} "
                         f"width={columns} spm={spm}")
        self.before.append(name)
        return spm

    def output(self, name, shape, rows, columns):
        self.tensors.append(f".tensor output {name} f16[{','.join(map(str, shape))}]")
        spm = self.buffer(rows, columns)
        self.dmas.append(f".dma store label={name} dram={name} rows={rows} cols={columns} "
                         f"width={columns} spm={spm}")
        self.after.append(name)
        return spm

    def weights(self, lists):
        """lists: 16 lists of fp16, one a PE. Word k of a PE is elements 16 k .. 16 k + 15 of its
        list: column k of its own tile row, so that PEs in step read from different banks."""
        words = math.ceil(max(len(values) for values in lists) / V)
        table = np.zeros((PES, words, V), np.float16)
        for pe, values in enumerate(lists):
            table[pe].reshape(-1)[:len(values)] = values
        spm, width = self.buffer(PES * V, words), math.ceil(words / V) * V
        self.data += [".label weights", ".hex " + table.transpose(0, 2, 1).tobytes().hex()]
        self.dmas.append(f".dma load label=weights dram=weights rows={PES * V} cols={words} "
                         f"width={width} spm={spm}")
        self.before.append("weights")
        for pe in range(PES):
            self.block("load", 15, "weights", pes=pe, weights=1, trips=words, ram_stride=1,
                       spm=spm + pe * width, spm_stride=1)

    def text(self, window, context, tiles):
        jobs = [*(f"  dma {d}" for d in self.before), "  waitd all"]
        return "\n".join([
            "bfcc asm 1 arch=default", f'.network "{self.name}"', *self.tensors,
            f'.kernel k0 "{self.name}"', ".code", *self.code, *self.blocks,
            f".launch kernel=k0 window={window} one_weight_set=1 group_level=3 context=0,{context} "
            f"trips={tiles}",
            *self.dmas, ".seq", "  code 0 k0", *jobs, "  mark 0", "  launch 0", "  waitk",
            "  mark 1", *(f"  dma {d}" for d in self.after), "  waitd all", "  end",
            ".rodata", *self.data]) + "\n"


def half(*shape, rng, mean=0.0, std=1.0):
    return (rng.normal(size=shape) * std + mean).astype(np.float16)


# ---------------------------------------------------------------- butterfly

class Digits:
    """Which bit of an element's number each bit of the PE number and of the local word number
    holds; most significant first."""

    def __init__(self, bits):
        self.pe = list(range(bits - 1, bits - 5, -1))
        self.local = list(range(bits - 5, -1, -1))

    def element(self, pe, word):
        bits = zip(self.pe + self.local, f"{pe:04b}" + f"{word:0{len(self.local)}b}")
        return sum(int(value) << digit for digit, value in bits)

    def exchange(self, digit):
        """Swaps the PE bits from `digit` upwards with as many low local bits: (shift, width)."""
        shift = self.pe[::-1].index(digit)
        width = min(len(self.local), 4 - shift)
        here = slice(4 - shift - width, 4 - shift)
        self.pe[here], self.local[-width:] = self.local[-width:], self.pe[here]
        return shift, width

    def loops(self):
        """Loop levels over local words: [(trips, stride of the element's number)], innermost first."""
        levels = []
        for digit in reversed(self.local):
            if levels and 1 << digit == levels[-1][0] * levels[-1][1]:
                levels[-1][0] *= 2
            else:
                levels.append([2, 1 << digit])
        return levels


def pair_runs(words, bit):
    """How a stage along local bit `bit` visits its pairs, two a run: the first words of the two
    pairs, trips, strides."""
    if bit == 0:
        return (0, 2), (words // 4,), (4,)
    return (0, 1), (1 << (bit - 1), words >> (bit + 1)), (2, 2 << bit)


def run_starts(trips, strides):
    starts = [0]
    for trip, stride in zip(trips, strides):
        starts = [start + k * stride for k in range(trip) for start in starts]
    return starts


def store_strides(levels):
    """RAM strides 1, trips0, ... beside the scratchpad strides of Digits.loops."""
    trips = [trip for trip, _ in levels]
    ram = [int(np.prod(trips[:k], dtype=int)) for k in range(len(trips))]
    return trips, ram, [stride for _, stride in levels]


def exchange_block(p, number, digit, digits, words, source, token):
    """All words of a PE to the PEs of a field: word (high, k) goes to PE k, as (high, self)."""
    shift, width = digits.exchange(digit)
    high = words >> width
    p.block("flow", number, f"exchange {number}", need=1, trips=(high, 1 << width),
            source_relative=1, destination_relative=1, source=source, destination=source + words,
            source_stride=(1 << width, 0), destination_stride=(1 << width, 0), shift=shift,
            width=width, token=token)


def butterfly(bits, batch, twiddle, window):
    """y = B_(m-1) ... B_0 x, increasing stride, two slots an output, in place."""
    n, words = 1 << bits, 1 << (bits - 4)
    p = Program(f"butterfly_{n}")
    x, y = p.input("x", (batch, n), batch, n), p.output("y", (batch, n), batch, n)
    digits, base, flows = Digits(bits), 0, 0
    for pe in range(PES):
        p.block("load", 0, "tile", pes=pe, to="cal.0", trips=words, relative=1, ram_stride=1,
                spm=x + pe * words, spm_stride=1, iteration_delta=n)
    weights = [[] for _ in range(PES)]
    for stage in range(bits):
        fresh = stage not in digits.local
        if fresh:
            exchange_block(p, flows, stage, digits, words, base, f"cal.{stage}")
            base, flows = base + words, flows + 1
        bit = digits.local[::-1].index(stage)
        last = stage == bits - 1
        ends = not last and stage + 1 not in digits.local
        to = "store.0" if last else f"flow.{flows}" if ends else f"cal.{stage + 1}"
        butterfly_stage(p, stage, base, words, bit, digits, twiddle[stage], weights, to,
                        need=words if fresh else 1)
    trips, ram, spm = store_strides(digits.loops())
    for pe in range(PES):
        p.block("store", 0, "tile", pes=pe, need=1, trips=trips, relative=1, ram=base,
                ram_stride=ram, spm=y + digits.element(pe, 0), spm_stride=spm, iteration_delta=n)
    p.weights(weights)
    return p.text(window, base + words, batch // V)


def butterfly_stage(p, stage, base, words, bit, digits, twiddle, weights, to, need):
    firsts, trips, strides = pair_runs(words, bit)
    w = len(weights[0])
    (i0, i1), step = (base + f for f in firsts), 1 << bit
    j0, j1 = i0 + step, i1 + step
    p.body(f"stage{stage}",
           *(f"fma a{k} <- r[{i}] * l[{w + k}].1" for k, i in enumerate((i0, i0, i1, i1))),
           *(f"fma r[{d}] <- r[{j}] * l[{w + 4 + k}].1 + a{k}"
             for k, (d, j) in enumerate(((i0, j0), (j0, j0), (i1, j1), (j1, j1)))))
    for pe in range(PES):
        for start in run_starts(trips, strides):
            pairs = []
            for first in firsts:
                i = digits.element(pe, start + first)
                q = (i >> (stage + 1) << stage) + (i & ((1 << stage) - 1))
                pairs.append(twiddle[q])
            weights[pe] += [pair[out, 0] for pair in pairs for out in (0, 1)]
            weights[pe] += [pair[out, 1] for pair in pairs for out in (0, 1)]
    p.block("cal", stage, f"stage {stage}", need=need, body=f"stage{stage}", trips=trips, relative=0,
            weights=1, stride0=strides, delta1=(8, 8, 8), to=to)


# ---------------------------------------------------------------- complex FFT

def fft(bits, rows, window):
    """z -> FFT(z) / 2^(bits // 2) along rows of 2^bits complex numbers; decimation in time."""
    n, words = 1 << bits, 1 << (bits - 4)
    p = Program(f"fft_{n}")
    x = p.input("x", (2, rows, n), 2 * rows, n)
    y = p.output("y", (2, rows, n), 2 * rows, n)
    plane = rows // V * n  # scratchpad words between real and imaginary parts
    digits, base, pong, flows = Digits(bits), 0, 0, 0
    local = len(digits.local)
    for pe in range(PES):  # position pe x words + l holds element reversed(l) x 16 + reversed(pe)
        p.block("load", 0, "tile", pes=pe, to="cal.0", trips=(words, 2), relative=1, reverse=local,
                ram_stride=(1, words), spm=x + int(f"{pe:04b}"[::-1], 2), spm_stride=(PES, plane),
                iteration_delta=n)
    weights = [[] for _ in range(PES)]
    for stage in range(bits):
        fresh = stage not in digits.local
        if fresh:
            shift, width = digits.exchange(stage)
            p.block("flow", flows, f"exchange {flows}", need=1,
                    trips=(words >> width, 1 << width, 2), source_relative=1,
                    destination_relative=1, source=pong, destination=base + 4 * words,
                    source_stride=(1 << width, 0, words),
                    destination_stride=(1 << width, 0, words), shift=shift, width=width,
                    token=f"cal.{stage}")
            base, flows = base + 4 * words, flows + 1
        bit = digits.local[::-1].index(stage)
        ping = base + (2 * words if bit % 2 else 0)
        pong = base + (0 if bit % 2 else 2 * words)
        last = stage == bits - 1
        ends = not last and stage + 1 not in digits.local
        to = "store.0" if last else f"flow.{flows}" if ends else f"cal.{stage + 1}"
        fft_stage(p, stage, ping, pong, words, bit, digits, weights, to,
                  need=2 * words if fresh else 1)
    trips, ram, spm = store_strides(digits.loops())
    for pe in range(PES):
        p.block("store", 0, "tile", pes=pe, need=1, trips=(*trips, 2), relative=1, ram=pong,
                ram_stride=(*ram, words), spm=y + digits.element(pe, 0),
                spm_stride=(*spm, plane), iteration_delta=n)
    p.weights(weights)
    return p.text(window, base + 4 * words, rows // V)


def fft_stage(p, stage, ping, pong, words, bit, digits, weights, to, need):
    """Two butterflies a run, six slots each, from one buffer to the other. Real parts first, then
    imaginary ones. y_j = 2 x_i - y_i, from the accumulator."""
    firsts, trips, strides = pair_runs(words, bit)
    w, step = len(weights[0]), 1 << bit
    first, second, third = [], [], []
    for k, i in enumerate(firsts):
        j, real, imag = i + step, f"a{2 * k}", f"a{2 * k + 1}"
        re, im = f"l[{w + 2 * k}].1", f"l[{w + 2 * k + 1}].1"
        i_re, i_im = f"r[{ping + i}]", f"r[{ping + words + i}]"
        j_re, j_im = f"r[{ping + j}]", f"r[{ping + words + j}]"
        first += [f"fma {real} <- {j_re} * {re} + {i_re}", f"fma {imag} <- {j_im} * {re} + {i_im}"]
        second += [f"fma {real}, r[{pong + i}] <- -{j_im} * {im} + {real}",
                   f"fma {imag}, r[{pong + words + i}] <- {j_re} * {im} + {imag}"]
        third += [f"fma r[{pong + j}] <- {i_re} * 2 - {real}",
                  f"fma r[{pong + words + j}] <- {i_im} * 2 - {imag}"]
    p.body(f"stage{stage}", *first, *second, *third)
    for pe in range(PES):
        for start in run_starts(trips, strides):
            for i in firsts:
                k = digits.element(pe, start + i) & ((1 << stage) - 1)
                angle = -math.pi * k / (1 << stage)
                weights[pe] += [np.float16(math.cos(angle)), np.float16(math.sin(angle))]
    p.block("cal", stage, f"stage {stage}", need=need, body=f"stage{stage}", trips=trips, relative=0,
            weights=1, stride0=strides, delta1=(4, 4, 4), to=to, exponent=-(stage % 2))


# ---------------------------------------------------------------- GEMM

def gemm(rows, inner, columns, weight, bias):
    """y = x weight + bias: each PE all of x's words and columns / 16 columns of y, one accumulator
    a column. The first product takes the bias, from the word that holds its weight."""
    each = columns // PES
    p = Program(f"gemm_{rows}x{inner}x{columns}")
    x, y = p.input("x", (rows, inner), rows, inner), p.output("y", (rows, columns), rows, columns)
    p.block("load", 0, "x", to="cal.0", trips=inner, relative=1, ram_stride=1, spm=x, spm_stride=1,
            iteration_delta=inner)
    p.body("first", *(f"fma a{c} <- r[0] * l[{c}].1 + l+{each}" for c in range(each)))
    p.body("rest", *(f"fma a{c} <- r[1] * l[{2 * each + c}].1 + a{c}" for c in range(each)))
    p.body("round", *(f"fma r[{inner + c}] <- a{c} * 1" for c in range(each)))
    p.block("cal", 0, "first product", need=1, body="first", relative=0, weights=1, chain=1)
    p.block("cal", 1, "products", body="rest", trips=inner - 1, relative=0, weights=1, chain=1,
            stride0=1, stride1=each)
    p.block("cal", 2, "round", body="round", relative=0, to="store.0")
    for pe in range(PES):
        p.block("store", 0, "y", pes=pe, need=1, trips=each, relative=1, ram=inner, ram_stride=1,
                spm=y + pe * each, spm_stride=1, iteration_delta=columns)
    lists = []
    for pe in range(PES):
        mine = slice(pe * each, (pe + 1) * each)
        lists.append([*weight[0, mine], *bias[mine], *weight[1:, mine].reshape(-1)])
    p.weights(lists)
    return p.text(2, inner + each, rows // V)


# ---------------------------------------------------------------- LayerNorm

def layer_norm(rows, n, gamma, beta, eps, window):
    """Two passes. Sums over PEs travel as the raw halves of f32 accumulators: along the mesh row,
    added in column order, then along the mesh column, added in row order, so that all PEs hold the
    same bits."""
    each = n // PES
    p = Program(f"layer_norm_{n}")
    x, y = p.input("x", (rows, n), rows, n), p.output("y", (rows, n), rows, n)
    # context: x; the differences of eight elements; mean in two pieces; four exchanges of two
    # words to send and eight to receive
    diff, pieces, sums = each, each + 8, each + 10
    context = sums + 4 * 10
    constant = 2 * each  # lanes behind gamma and beta
    send = [sums + 10 * k for k in range(4)]
    for pe in range(PES):
        p.block("load", 0, "x", pes=pe, to="cal.0", trips=each, relative=1, ram_stride=1,
                spm=x + pe * each, spm_stride=1, iteration_delta=n)
    first_sum(p, each, send[0])
    exchange_sum(p, 0, "row sum", send[0], shift=0, token="cal.3")
    p.body("row", *add_received(send[0] + 2), *store_pair(send[1]))
    p.block("cal", 3, "sum of the row", need=8, body="row", relative=0, to="flow.1")
    exchange_sum(p, 1, "column sum", send[1], shift=2, token="cal.4")
    squares(p, each, diff, pieces, send[1] + 2, constant, send[2])
    exchange_sum(p, 2, "row squares", send[2], shift=0, token="cal.7")
    p.body("row2", *add_received(send[2] + 2), *store_pair(send[3]))
    p.block("cal", 7, "squares of the row", need=8, body="row2", relative=0, to="flow.3")
    exchange_sum(p, 3, "column squares", send[3], shift=2, token="cal.8")
    normalise(p, each, pieces, send[3] + 2, constant)
    for pe in range(PES):
        p.block("store", 0, "y", pes=pe, need=1, trips=each, relative=1, ram_stride=1,
                spm=y + pe * each, spm_stride=1, iteration_delta=n)
    p.weights([layer_norm_lanes(pe, each, gamma, beta, n, eps) for pe in range(PES)])
    return p.text(window, context, rows // V)


def layer_norm_lanes(pe, each, gamma, beta, n, eps):
    """Four gammas, their betas, ...; then 2^-10, 2^10 / n in two pieces, eps."""
    lanes = []
    for k in range(pe * each, (pe + 1) * each, 4):
        lanes += [*gamma[k:k + 4], *beta[k:k + 4]]
    high = np.float16(1024 / n)
    low = np.float16(1024 / n - float(high))
    return lanes + [np.float16(2.0 ** -10), low, np.float16(eps), high]


def store_pair(word):
    return f"stlo r[{word}] <- a0", f"sthi r[{word + 1}] <- a0"


def add_received(first):
    """a0 = the four received sums, in the order of their senders."""
    return (*(f"ldlo a{k} <- r[{first + 2 * k}]" for k in range(4)),
            *(f"ldhi a{k} <- r[{first + 2 * k + 1}]" for k in range(4)),
            *(f"fma a0 <- a0 * 1 + a{k}" for k in range(1, 4)))


def exchange_sum(p, number, name, send, shift, token):
    """A pair to the four PEs of the row (shift 0) or column (2); destination_shift 10 keeps the
    source where it is, whoever receives."""
    p.block("flow", number, name, need=1, trips=(2, 4), source_relative=1, destination_relative=1,
            source=send, source_stride=(1, 0), destination=send + 2, destination_stride=(1, 0),
            shift=shift, width=2, destination_shift=10, self_shift=1, token=token)


def first_sum(p, each, send):
    p.body("sum0", *(f"fma a{k} <- r[{k}] * 1" for k in range(4)))
    p.body("sum", *(f"fma a{k} <- r[{k + 4}] * 1 + a{k}" for k in range(4)))
    p.body("sum4", "fma a0 <- a0 * 1 + a1", "fma a2 <- a2 * 1 + a3", "fma a0 <- a0 * 1 + a2",
           *store_pair(send))
    p.block("cal", 0, "sum, first", need=1, body="sum0", relative=0, chain=1)
    p.block("cal", 1, "sum", body="sum", relative=0, trips=each // 4 - 1, stride0=4, chain=1)
    p.block("cal", 2, "sum, of four", body="sum4", relative=0, to="flow.0")


def times_one_over_n(source, result, constant, plus):
    """result = source / n + plus: 2^-10 exactly, then 2^10 / n in two pieces."""
    scale, low, high = (f"l[{constant + k}].1" for k in (0, 1, 3))
    return (f"fma {source} <- {source} * {scale}", f"fma {result} <- {source} * {low}{plus}",
            f"fma {result} <- {source} * {high} + {result}")


def squares(p, each, diff, pieces, received, constant, send):
    """a1 = mean; then the sum of (x - mean)^2. The difference is rounded to fp16, as a multiplicand
    must be; its own error averages out."""
    p.body("mean", *add_received(received), *times_one_over_n("a0", "a1", constant, ""),
           f"fma r[{pieces}].2 <- a1 * 1", f"fma r[{pieces + 1}].2 <- a1 * 1 - r[{pieces}].2",
           *(f"fma a{k} <- a1 * 0" for k in range(4, 8)))
    p.body("squares", *(f"fma r[{diff + k}].2 <- r[{k}] * 1 - a1" for k in range(8)),
           *(f"fma a{4 + k % 4} <- r[{diff + k}].2 * r[{diff + k}].2 + a{4 + k % 4}"
             for k in range(8)))
    p.body("squares4", "fma a4 <- a4 * 1 + a5", "fma a6 <- a6 * 1 + a7", "fma a0 <- a4 * 1 + a6",
           *store_pair(send))
    p.block("cal", 4, "mean", need=8, body="mean", relative=(0, 2), weights=1, chain=1)
    p.block("cal", 5, "squares", body="squares", relative=(0, 2), trips=each // 8, stride0=8,
            chain=1)
    p.block("cal", 6, "squares, of four", body="squares4", relative=(0, 2), to="flow.2")


def normalise(p, each, pieces, received, constant):
    """a1 = 1 / sqrt(variance + eps), a0 = -mean a1; y = (x a1 + a0) gamma + beta, in place."""
    p.body("deviation", *add_received(received),
           *times_one_over_n("a0", "a1", constant, " + l+1"), "rsqrt a1 <- a1",
           f"fma a0 <- -a1 * r[{pieces + 1}]", f"fma a0 <- -a1 * r[{pieces}] + a0")
    p.body("normalise", *(f"fma a{2 + k} <- a1 * r[{k}] + a0" for k in range(4)),
           *(f"fma r[{k}] <- a{2 + k} * l[{k}].1 + l+4" for k in range(4)))
    p.block("cal", 8, "deviation", need=8, body="deviation", relative=0, weights=1, chain=1)
    p.block("cal", 9, "normalise", body="normalise", relative=0, weights=1, trips=each // 4,
            stride0=4, stride1=8, to="store.0")


# ---------------------------------------------------------------- what there is

def programs():
    """name -> (text, {case: x}, function of (precision, x) that computes y: test/reference)."""
    rng = np.random.default_rng(512)
    made = {}
    for bits in (6, 9):
        n = 1 << bits
        twiddle = half(bits, n // 2, 2, 2, rng=rng, std=0.5 ** 0.5)
        made[f"butterfly_{n}"] = (butterfly(bits, 256, twiddle, 4), {"normal": half(256, n, rng=rng)},
                                  lambda p, x, w=twiddle: op.butterfly(p, x, w[None, None]))
    weight, bias = half(64, 64, rng=rng, std=1 / 8), half(64, rng=rng, std=0.1)
    made["gemm_16x64x64"] = (gemm(16, 64, 64, weight, bias), {"normal": half(16, 64, rng=rng)},
                             lambda p, x: op.linear(p, x, weight.T, bias))
    made["fft_64"] = (fft(6, 128, 6), {"normal": half(2, 128, 64, rng=rng)},
                      lambda p, x: np.stack(op.fft(p, x[0], x[1], "half")[:2]))
    for n in (768, 1024):
        gamma, beta = half(n, rng=rng, mean=1, std=0.1), half(n, rng=rng, std=0.1)
        cases = {"mean120": half(64, n, rng=rng, mean=120, std=0.25),
                 "std1000": half(64, n, rng=rng, std=1000)}
        made[f"layer_norm_{n}"] = (layer_norm(64, n, gamma, beta, 1e-5, 4), cases,
                                   lambda p, x, g=gamma, b=beta: op.layer_norm(p, x, g, b))
    return made


def save(path, tensors):
    """A safetensors file of fp16 arrays."""
    header, data = {}, b""
    for name, array in tensors.items():
        raw = np.ascontiguousarray(array, np.float16).tobytes()
        header[name] = {"dtype": "F16", "shape": list(array.shape),
                        "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    head = json.dumps(header).encode()
    head += b" " * (-len(head) % 8)
    pathlib.Path(path).write_bytes(struct.pack("<Q", len(head)) + head + data)


def main():
    folder = pathlib.Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for name, (text, cases, _) in programs().items():
        (folder / f"{name}.bfs").write_text(text)
        for case, x in cases.items():
            save(folder / f"{name}.{case}.safetensors", {"x": x[None]})


if __name__ == "__main__":
    main()
