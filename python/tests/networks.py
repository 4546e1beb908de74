"""Networks as people write them with torch, for the tests."""
import math

import torch
from torch import nn
from torch.nn import functional as F

import bfcc


class FNet(nn.Module):
    """Lee-Thorp et al., 2022, with the transforms as their code has them."""

    def __init__(self, vocab=50, seq=32, d=64, inner=128, layers=2, classes=5):
        super().__init__()
        self.embedding, self.position = nn.Embedding(vocab, d), nn.Embedding(seq, d)
        self.up = nn.ModuleList(nn.Linear(d, inner) for _ in range(layers))
        self.down = nn.ModuleList(nn.Linear(inner, d) for _ in range(layers))
        self.norms = nn.ModuleList(nn.LayerNorm(d) for _ in range(2 * layers))
        self.drop = nn.Dropout(0.1)
        self.head = nn.Linear(d, classes)

    def forward(self, ids):
        x = self.embedding(ids) + self.position(torch.arange(ids.shape[1]))
        for i, (up, down) in enumerate(zip(self.up, self.down)):
            x = self.norms[2 * i](x + torch.fft.fft(torch.fft.fft(x, dim=-1), dim=-2).real)
            x = self.norms[2 * i + 1](x + self.drop(down(F.gelu(up(x)))))
        return self.head(x.mean(1))


class ButterflyAttention(nn.Module):
    def __init__(self, d, heads):
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value, self.output = (bfcc.Butterfly(d, d, init="ortho")
                                                         for _ in range(4))

    def forward(self, x):
        q, k, v = (f(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)
                   for f in (self.query, self.key, self.value))
        return self.output(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


class FABNetBlock(nn.Module):
    def __init__(self, d, inner, heads=0):
        super().__init__()
        self.mix = ButterflyAttention(d, heads) if heads else bfcc.Fourier()
        self.norm1, self.norm2 = nn.LayerNorm(d), nn.LayerNorm(d)
        self.ffn = nn.Sequential(bfcc.Butterfly(d, inner, init="ortho"), nn.GELU(),
                                 bfcc.Butterfly(inner, d, init="ortho"))

    def forward(self, x):
        x = self.norm1(x + self.mix(x))
        return self.norm2(x + self.ffn(x))


def fabnet(d=64, inner=128):
    """Fan et al., 2022: two blocks with Fourier mixing, one with attention."""
    return nn.Sequential(FABNetBlock(d, inner), FABNetBlock(d, inner), FABNetBlock(d, inner, heads=4))


def encoder(d=64, heads=4, inner=128, layers=2, **settings):
    layer = nn.TransformerEncoderLayer(d, heads, inner, batch_first=True, **settings)
    return nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)


class RMSNorm(nn.Module):
    """As Llama's code has it."""

    def __init__(self, d, eps=1e-6):
        super().__init__()
        self.weight, self.eps = nn.Parameter(torch.ones(d) + 0.1 * torch.randn(d)), eps

    def forward(self, x):
        square = x.float().pow(2).mean(-1, keepdim=True)
        return self.weight * (x * torch.rsqrt(square + self.eps)).type_as(x)


def rotated(x, base):
    """Rotary positions of x [batch, heads, seq, d]."""
    seq, d = x.shape[-2:]
    frequency = base ** (-torch.arange(0, d, 2).float() / d)
    angle = torch.arange(seq).float()[:, None] * frequency
    cos, sin = torch.cat([angle.cos()] * 2, -1), torch.cat([angle.sin()] * 2, -1)
    half = torch.cat([-x[..., d // 2:], x[..., :d // 2]], -1)
    return x * cos + half * sin


class LlamaBlock(nn.Module):
    """RMSNorm, rotary positions, grouped queries, SwiGLU; everything written in torch."""

    def __init__(self, d=64, heads=4, kv_heads=2, inner=128, base=10000.0, repeat=True):
        super().__init__()
        self.heads, self.kv_heads, self.base, self.repeat = heads, kv_heads, base, repeat
        kv = d // heads * kv_heads
        self.input_layernorm, self.post_attention_layernorm = RMSNorm(d), nn.RMSNorm(d, eps=1e-6)
        self.q_proj, self.o_proj = nn.Linear(d, d, bias=False), nn.Linear(d, d, bias=False)
        self.k_proj, self.v_proj = nn.Linear(d, kv, bias=False), nn.Linear(d, kv, bias=False)
        self.gate_proj, self.up_proj = (nn.Linear(d, inner, bias=False) for _ in range(2))
        self.down_proj = nn.Linear(inner, d, bias=False)

    def attention(self, x):
        batch, seq, d = x.shape
        q, k, v = (f(x).view(batch, seq, heads, -1).transpose(1, 2) for f, heads in (
            (self.q_proj, self.heads), (self.k_proj, self.kv_heads), (self.v_proj, self.kv_heads)))
        q, k = rotated(q, self.base), rotated(k, self.base)
        if self.repeat:
            k, v = (t[:, :, None].expand(-1, -1, self.heads // self.kv_heads, -1, -1)
                    .reshape(batch, self.heads, seq, -1) for t in (k, v))
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=not self.repeat)
        return self.o_proj(y.transpose(1, 2).reshape(batch, seq, d))

    def forward(self, x):
        x = x + self.attention(self.input_layernorm(x))
        h = self.post_attention_layernorm(x)
        return x + self.down_proj(F.silu(self.gate_proj(h)) * self.up_proj(h))


class GPTBlock(nn.Module):
    """Packed projections, attention by hand with a causal mask in a buffer (as in minGPT)."""

    def __init__(self, d=64, heads=4, seq=32):
        super().__init__()
        self.heads = heads
        self.ln_1, self.ln_2 = nn.LayerNorm(d), nn.LayerNorm(d)
        self.c_attn, self.c_proj = nn.Linear(d, 3 * d), nn.Linear(d, d)
        self.mlp = nn.Sequential(nn.Linear(d, 2 * d), nn.GELU(approximate="tanh"), nn.Linear(2 * d, d))
        self.register_buffer("mask", torch.ones(seq, seq).tril().view(1, 1, seq, seq))

    def attention(self, x):
        b, t, c = x.size()
        q, k, v = self.c_attn(x).split(c, dim=2)
        q, k, v = (z.view(b, t, self.heads, c // self.heads).transpose(1, 2) for z in (q, k, v))
        scores = (q @ k.transpose(-2, -1)) * (1.0 / math.sqrt(k.size(-1)))
        scores = scores.masked_fill(self.mask[:, :, :t, :t] == 0, float("-inf"))
        y = (F.softmax(scores, dim=-1) @ v).transpose(1, 2).contiguous().view(b, t, c)
        return self.c_proj(y)

    def forward(self, x):
        x = x + self.attention(self.ln_1(x))
        return x + self.mlp(self.ln_2(x))


class Everything(nn.Module):
    """One of each of the package's layers, and elementwise code around them."""

    def __init__(self):
        super().__init__()
        self.monarch, self.blocks = bfcc.Monarch(64), bfcc.BlockButterfly(64, 96, tile=32)
        self.stack = bfcc.MonarchStack(96, 64)
        self.two = bfcc.Butterfly(64, 48, increasing_stride=False, nblocks=2, init="ortho")
        self.compress = bfcc.FFTCompress(16, 8)

    def forward(self, x):
        x = self.stack(self.blocks(self.monarch(x / 2 + 1)))
        x = self.compress(x) * torch.tanh(x[:, :16]) - F.relu(x[:, 16:]).sum(1, keepdim=True) / 8
        return self.two(x)


class Tied(nn.Module):
    """One table for both ends, one layer twice."""

    def __init__(self, vocab=48, d=32):
        super().__init__()
        self.embedding, self.layer = nn.Embedding(vocab, d), nn.Linear(d, d)
        self.cls = nn.Parameter(torch.randn(1, 1, d))
        self.head = nn.Linear(d, vocab, bias=False)
        self.head.weight = self.embedding.weight

    def forward(self, ids):
        x = torch.cat([self.cls.expand(len(ids), -1, -1), self.embedding(ids)], 1)
        x = torch.sigmoid(self.layer(self.layer(x)))
        return {"first": x[:, 0], "scores": self.head(x[:, 1:])}


class Interleaved(nn.Module):
    """Axes in unusual orders: channels first, pairs, a mean over two axes."""

    def forward(self, x):  # [batch, 12, 8, 16]
        even, odd = x[..., ::2], x[..., 1::2]
        y = torch.stack([even * 2 - odd, odd + even], -1).flatten(-2)
        z = y.permute(0, 3, 1, 2).softmax(1)
        return z + y.mean((1, 3))[:, None, None, :], F.silu(y).amax(2)
