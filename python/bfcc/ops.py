"""The operators of bfcc as operators of torch: torch.ops.bfcc.butterfly and so on.

Each is defined by others of torch, so that it differentiates and batches like them, and torch.export
keeps it as one node. Rows are tokens; axes in front of those that are named are batches.
"""
from __future__ import annotations

import torch
from torch import Tensor
from torch.library import Library, impl

_library = Library("bfcc", "DEF")
_library.define("butterfly(Tensor x, Tensor twiddle, Tensor? bias, int out, bool increasing) -> Tensor")
_library.define("block_butterfly(Tensor x, Tensor twiddle, Tensor? bias, bool increasing) -> Tensor")
_library.define("monarch(Tensor x, Tensor blkdiag1, Tensor blkdiag2, Tensor? bias) -> Tensor")
_library.define("fourier(Tensor x) -> Tensor")
_library.define("fft_compress(Tensor x, int chunk, int keep, str mode) -> Tensor")
# torch.nn.MultiheadAttention with batches in front, which export puts in its place.
_library.define("multihead_attention(Tensor query, Tensor key, Tensor value, Tensor[] projections,"
                " Tensor?[] biases, Tensor out_weight, Tensor? out_bias, int heads, Tensor? mask,"
                " bool causal) -> Tensor")


def _composite(function):
    return impl(_library, function.__name__, "CompositeImplicitAutograd")(function)


def stages(x: Tensor, twiddle: Tensor, increasing: bool) -> Tensor:
    """x [.., *lead, n] through the stages of twiddle [*lead, m, n/2, 2, 2], in the order applied.

    Stage t has stride 2^t, or 2^(m-1-t) if not increasing. Its pair q is block q // stride and offset
    q % stride, and acts on the elements i = 2 stride block + offset and i + stride.
    """
    m, n = twiddle.shape[-4], x.shape[-1]
    for t in range(m):
        stride = 1 << (t if increasing else m - 1 - t)
        w = twiddle[..., t, :, :, :].unflatten(-3, (n // (2 * stride), stride))
        pairs = x.unflatten(-1, (n // (2 * stride), 2, stride))
        low, high = pairs.select(-2, 0), pairs.select(-2, 1)
        x = torch.stack((w[..., 0, 0] * low + w[..., 0, 1] * high,
                         w[..., 1, 0] * low + w[..., 1, 1] * high), -2).flatten(-3)
    return x


@_composite
def butterfly(x: Tensor, twiddle: Tensor, bias: Tensor | None, out: int, increasing: bool) -> Tensor:
    """twiddle [stacks, nblocks, m, n/2, 2, 2], as torch_butterfly has it."""
    n = 2 * twiddle.shape[3]
    x = torch.nn.functional.pad(x, (0, n - x.shape[-1])).unsqueeze(-2)
    for block in range(twiddle.shape[1]):
        x = stages(x, twiddle[:, block], increasing != (block % 2 == 1))
    x = x.flatten(-2)[..., :out]
    return x if bias is None else x + bias


@_composite
def block_butterfly(x: Tensor, twiddle: Tensor, bias: Tensor | None, increasing: bool) -> Tensor:
    """twiddle [rows, cols, 1, m, tile/2, 2, 2]: the tiles of a row are summed."""
    tile = 2 * twiddle.shape[4]
    x = x.unflatten(-1, (1, -1, tile))
    x = stages(x, twiddle[:, :, 0], increasing).sum(-2).flatten(-2)
    return x if bias is None else x + bias


@_composite
def monarch(x: Tensor, blkdiag1: Tensor, blkdiag2: Tensor, bias: Tensor | None) -> Tensor:
    """y[k r + j] = sum_b blkdiag2[j, k, b] sum_i blkdiag1[b, j, i] x[b r + i]."""
    r = blkdiag1.shape[0]
    middle = torch.einsum("bji,...bi->...jb", blkdiag1, x.unflatten(-1, (r, r)))
    y = torch.einsum("jkb,...jb->...kj", blkdiag2, middle).flatten(-2)
    return y if bias is None else y + bias


@_composite
def fourier(x: Tensor) -> Tensor:
    return torch.fft.fft2(x).real


@_composite
def fft_compress(x: Tensor, chunk: int, keep: int, mode: str) -> Tensor:
    """x [.., seq, hidden] -> [.., seq keep / chunk, hidden]; a constant stays what it is."""
    chunks = x.unflatten(-2, (-1, chunk))
    if mode == "lowpass":
        y = torch.fft.irfft(torch.fft.rfft(chunks, dim=-2)[..., :keep // 2 + 1, :], keep, dim=-2)
    else:
        y = torch.fft.ifft(torch.fft.fft(chunks, dim=-2)[..., :keep, :], dim=-2).real
    return (y * (keep / chunk)).flatten(-3, -2)


@_composite
def multihead_attention(query: Tensor, key: Tensor, value: Tensor, projections: list[Tensor],
                        biases: list[Tensor | None], out_weight: Tensor, out_bias: Tensor | None,
                        heads: int, mask: Tensor | None, causal: bool) -> Tensor:
    linear = torch.nn.functional.linear
    q, k, v = (linear(x, w, b).unflatten(-1, (heads, -1)).transpose(-3, -2)
               for x, w, b in zip((query, key, value), projections, biases))
    y = torch.nn.functional.scaled_dot_product_attention(q, k, v, mask, is_causal=causal)
    return linear(y.transpose(-3, -2).flatten(-2), out_weight, out_bias)
