"""Formula slots: how many CAL slots of V lanes a kernel needs at least, by its arithmetic alone.

Fixed beforehand and independent of what bfcc emits. A slot is one instruction of one PE on a vector
of V lanes. "vectors" below are how many such vectors there are: ceil(rows / V) for maps along the
columns, ceil(cols / V) for transforms along the rows.
"""
import math


def vectors(rows, lanes):
    return -(-rows // lanes)


# ---- butterflies ----

def butterfly(n, two_slot_stages=None):
    """Slots a vector of one square butterfly: two an output and stage (None), or the scaled form,
    one an output, with the last stage and `two_slot_stages` more in two."""
    m = n.bit_length() - 1
    if two_slot_stages is None:
        return 2 * m * n
    return (m + 1 + two_slot_stages) * n


def pruned_butterfly(inputs, outputs, scaled, increasing=True):
    """Slots a vector of a rectangular butterfly after pruning: an output that nobody needs costs
    nothing, one whose other operand is padding costs one product (none in the scaled form, where it
    is a copy) but in the last stage, where the scaled form has its scale."""
    m = max(1, math.ceil(math.log2(inputs)))
    n = 1 << m
    stacks = -(-outputs // n)
    total = 0
    for stack in range(stacks):
        live = [i < inputs for i in range(n)]
        lives = [live]
        bits = list(range(m)) if increasing else list(range(m - 1, -1, -1))
        for bit in bits:
            live = [live[i] or live[i ^ (1 << bit)] for i in range(n)]
            lives.append(live)
        needed = [stack * n + i < outputs for i in range(n)]
        for number in range(m - 1, -1, -1):
            bit, last = 1 << bits[number], number == m - 1
            for i in range(n):
                operands = lives[number][i] + lives[number][i ^ bit]
                if needed[i] and operands:
                    if scaled and not last:
                        total += operands - 1
                    else:
                        total += operands
            needed = [needed[i] or needed[i ^ bit] for i in range(n)]
    return total


# ---- transforms ----

def fft(n):
    """Complex, a vector of lanes: six slots a pair, four in the two trivial stages."""
    if n <= 1:
        return 0
    return max(2 * n, 3 * n * math.log2(n) - 2 * n)


def real_fft(n):
    """A real vector of length n, two of them sharing a complex transform, and n slots to split."""
    return fft(n) / 2 + n


# ---- the rest ----

def gemm(k, n):
    return k * n


def attention(keys, width):
    """A vector of queries of one head: scores, weighted sum, and the softmax of each score."""
    return keys * (2 * width + 8)


LAYER_NORM = 5            # an element
LAYER_NORM_RESIDUAL = 7   # on a sum with its residual that is not stored
LAYER_NORM_ROW = 66       # a vector and PE, where the row lies across PEs
GELU_TANH = 8
GELU_ERF = 16
ELEMENTWISE = 1


def layer_norm(width, pes, residual=False):
    return width * (LAYER_NORM_RESIDUAL if residual else LAYER_NORM) + LAYER_NORM_ROW * pes
