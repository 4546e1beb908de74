"""Layers that bfcc maps as a whole. Parameters have the names and layouts that bfcc binds, which for
Butterfly are those of the torch_butterfly package."""
from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from . import ops  # noqa: F401  registers torch.ops.bfcc


def _twiddle(shape: tuple[int, ...], init: str) -> nn.Parameter:
    """Matrices [*shape, 2, 2]: randn keeps the variance of what goes through, ortho is rotations."""
    if init == "randn":
        return nn.Parameter(torch.randn(*shape, 2, 2) / math.sqrt(2))
    if init == "ortho":
        angle = 2 * math.pi * torch.rand(shape)
        c, s = angle.cos(), angle.sin()
        return nn.Parameter(torch.stack((c, -s, s, c), -1).unflatten(-1, (2, 2)))
    if init == "identity":
        return nn.Parameter(torch.eye(2).expand(*shape, 2, 2).clone())
    raise ValueError(f"init is randn, ortho or identity, not {init!r}")


class _Map(nn.Module):
    """A linear map with a bias [out] or none."""
    in_features: int
    out_features: int
    bias: nn.Parameter | None

    def _sizes(self, in_features: int, out_features: int, bias: bool) -> None:
        if in_features < 1 or out_features < 1:
            raise ValueError("a map has at least one input and one output")
        self.in_features, self.out_features = in_features, out_features
        bound = 1 / math.sqrt(in_features)
        self.bias = nn.Parameter(torch.empty(out_features).uniform_(-bound, bound)) if bias else None

    def matrix(self) -> Tensor:
        """The same map as a dense matrix [out, in]."""
        weight = next(self.parameters())
        unit = torch.eye(self.in_features, dtype=weight.dtype, device=weight.device)
        y = self(unit)
        return (y if self.bias is None else y - self.bias).T

    @property
    def weight(self) -> Tensor:
        """`matrix()`, for modules around that read the weight of a linear layer."""
        return self.matrix()

    def flops(self) -> int:
        """Multiplications and additions of one row."""
        raise NotImplementedError

    def extra_repr(self) -> str:
        return f"{self.in_features}, {self.out_features}, bias={self.bias is not None}"


class Butterfly(_Map):
    """Butterfly-factorised linear map (Dao et al., 2019), as torch_butterfly.Butterfly.

    The input is padded to n = 2^m; ceil(out / n) stacks of nblocks butterflies of log2 n stages give n
    results each, of which the first `out` are kept. Directions of the blocks alternate.
    twiddle [stacks, nblocks, m, n/2, 2, 2]; bias [out].
    """

    def __init__(self, in_size: int, out_size: int, bias: bool = True, increasing_stride: bool = True,
                 init: str = "randn", nblocks: int = 1) -> None:
        super().__init__()
        self._sizes(in_size, out_size, bias)
        self.increasing_stride, self.nblocks = increasing_stride, nblocks
        self.m = max(1, math.ceil(math.log2(in_size)))
        self.n = 1 << self.m
        self.nstacks = -(-out_size // self.n)
        self.twiddle = _twiddle((self.nstacks, nblocks, self.m, self.n // 2), init)

    def forward(self, x: Tensor) -> Tensor:
        return torch.ops.bfcc.butterfly(x, self.twiddle, self.bias, self.out_features,
                                        self.increasing_stride)

    def flops(self) -> int:
        return (self.nstacks * self.nblocks * self.m * 3 * self.n
                + (self.out_features if self.bias is not None else 0))

    def extra_repr(self) -> str:
        return (f"{super().extra_repr()}, increasing_stride={self.increasing_stride}, "
                f"nblocks={self.nblocks}")


class BlockButterfly(_Map):
    """A matrix in tile x tile blocks, each a butterfly. tile is a power of two that divides both widths.
    twiddle [out/tile, in/tile, 1, m, tile/2, 2, 2]; bias [out]."""

    def __init__(self, in_size: int, out_size: int, tile: int = 32, bias: bool = True,
                 increasing_stride: bool = True, init: str = "randn") -> None:
        super().__init__()
        self._sizes(in_size, out_size, bias)
        if tile < 2 or tile & (tile - 1) or in_size % tile or out_size % tile:
            raise ValueError(f"tile {tile} is no power of two that divides {in_size} and {out_size}")
        self.tile, self.m, self.increasing_stride = tile, tile.bit_length() - 1, increasing_stride
        self.rows, self.cols = out_size // tile, in_size // tile
        self.twiddle = _twiddle((self.rows, self.cols, 1, self.m, tile // 2), init)
        if init == "randn":  # the blocks of a row are summed
            with torch.no_grad():
                self.twiddle[:, :, :, -1] /= math.sqrt(self.cols)

    def forward(self, x: Tensor) -> Tensor:
        return torch.ops.bfcc.block_butterfly(x, self.twiddle, self.bias, self.increasing_stride)

    def flops(self) -> int:
        sums = (self.cols - 1) * self.out_features
        return (self.rows * self.cols * self.m * 3 * self.tile + sums
                + (self.out_features if self.bias is not None else 0))

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, tile={self.tile}"


class Monarch(_Map):
    """Monarch matrix P L P^T R (Dao et al., 2022) of a square width r * r:
    y[k r + j] = sum_b L[j, k, b] sum_i R[b, j, i] x[b r + i].
    blkdiag1 (R) and blkdiag2 (L) [r, r, r]: block, out, in; bias [width]."""

    def __init__(self, width: int, bias: bool = True) -> None:
        super().__init__()
        self._sizes(width, width, bias)
        self.r = math.isqrt(width)
        if self.r * self.r != width:
            raise ValueError(f"the width of a Monarch is a square, {width} is not")
        self.blkdiag1 = nn.Parameter(torch.randn(self.r, self.r, self.r) / math.sqrt(self.r))
        self.blkdiag2 = nn.Parameter(torch.randn(self.r, self.r, self.r) / math.sqrt(self.r))

    def forward(self, x: Tensor) -> Tensor:
        return torch.ops.bfcc.monarch(x, self.blkdiag1, self.blkdiag2, self.bias)

    def flops(self) -> int:
        return 4 * self.r ** 3 + (self.out_features if self.bias is not None else 0)


class MonarchStack(_Map):
    """Monarchs for any widths: the input is padded to a square n, ceil(out / n) of them stand side by
    side, and the first `out` results are kept. stack.0 ..; bias [out]."""

    def __init__(self, in_size: int, out_size: int, bias: bool = True) -> None:
        super().__init__()
        self._sizes(in_size, out_size, bias)
        self.n = math.isqrt(in_size - 1) + 1
        self.n *= self.n
        self.stack = nn.ModuleList(Monarch(self.n, bias=False) for _ in range(-(-out_size // self.n)))

    def forward(self, x: Tensor) -> Tensor:
        if self.n > self.in_features:
            x = nn.functional.pad(x, (0, self.n - self.in_features))
        parts = [monarch(x) for monarch in self.stack]
        x = (torch.cat(parts, -1) if len(parts) > 1 else parts[0])[..., :self.out_features]
        return x if self.bias is None else x + self.bias

    def flops(self) -> int:
        return (sum(monarch.flops() for monarch in self.stack)  # type: ignore[operator, misc]
                + (self.out_features if self.bias is not None else 0))


class Fourier(nn.Module):
    """Fourier mixing of FNet (Lee-Thorp et al., 2022): the real part of the unnormalised transform of
    x [.., seq, hidden] along its last two axes."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.ops.bfcc.fourier(x)


class FFTCompress(nn.Module):
    """Shortens a sequence [.., seq, hidden]: of each chunk the low frequencies are kept and become
    `keep` tokens. mode: lowpass (bins |f| < keep/2 and the real part of bin keep/2) or leading."""

    def __init__(self, chunk: int, keep: int, mode: str = "lowpass") -> None:
        super().__init__()
        if mode not in ("lowpass", "leading"):
            raise ValueError(f"mode is lowpass or leading, not {mode!r}")
        if not 0 < keep <= chunk or (mode == "lowpass" and keep % 2):
            raise ValueError("keep is at most chunk, and even for lowpass")
        self.chunk, self.keep, self.mode = chunk, keep, mode

    def forward(self, x: Tensor) -> Tensor:
        return torch.ops.bfcc.fft_compress(x, self.chunk, self.keep, self.mode)

    def extra_repr(self) -> str:
        return f"chunk={self.chunk}, keep={self.keep}, mode={self.mode!r}"
