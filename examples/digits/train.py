#!/usr/bin/env python3
"""Train the network of digits.bfly and write its weights.

  pip install torch scikit-learn safetensors
  python train.py [-epochs N] [-seed S] [-o FILE]

The data are the 1,797 handwritten digits of 8 x 8 pixels that come with scikit-learn (UCI "Optical
Recognition of Handwritten Digits"). Five of six train the network, the rest only says how good it
became. Two minutes bring about 96 %; `bfcc digits.bfly -weights FILE` binds what is written.

Modules have the names of the labels in digits.bfly, so the keys of the state_dict are the parameters
of the network. Nothing but the layout of the butterfly's twiddle has to be known for that.
"""
import argparse
import math

import torch
from safetensors.torch import save_file
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F

PATCHES, PIXELS, HIDDEN, INNER, HEADS, CLASSES = 16, 4, 64, 128, 4, 10


class Butterfly(nn.Module):
    """x [.., in] -> [.., out] through log2 n stages of 2 x 2 matrices, n the power of two from `in`
    on. Stage s pairs the elements whose numbers differ in bit s. twiddle [stacks, 1, m, n/2, 2, 2] is
    indexed by stack, block, stage and pair, pairs in the order of their lower element."""

    def __init__(self, width, out):
        super().__init__()
        self.width, self.out = width, out
        self.m = max(1, math.ceil(math.log2(width)))
        self.n = 2 ** self.m
        stacks = -(-out // self.n)
        # A rotation in each pair: the whole is orthogonal, so that nothing explodes or vanishes.
        angle = 2 * math.pi * torch.rand(stacks, 1, self.m, self.n // 2)
        c, s = angle.cos(), angle.sin()
        self.twiddle = nn.Parameter(torch.stack([c, -s, s, c], -1).unflatten(-1, (2, 2)))
        self.bias = nn.Parameter(torch.zeros(out))

    def matrix(self):
        """[out, in], as the stages make it of unit vectors: for maps as small as these, that is
        faster to train than stages on every token."""
        x = torch.eye(self.n)[:self.width].unsqueeze(1).expand(-1, len(self.twiddle), -1)
        for s in range(self.m):
            # n = blocks x bit s x offsets; pair number = block * offsets + offset
            x = x.unflatten(-1, (-1, 2, 2 ** s))
            w = self.twiddle[:, 0, s].unflatten(1, (-1, 2 ** s))
            x = torch.einsum("kbpij,tkbjp->tkbip", w, x).flatten(2)
        return x.flatten(1)[:, :self.out].T

    def forward(self, x):
        return F.linear(x, self.matrix(), self.bias)


class SelfAttention(nn.Module):
    def __init__(self):
        super().__init__()
        for name in ("query", "key", "value", "output"):
            self.add_module(name, Butterfly(HIDDEN, HIDDEN))

    def forward(self, x):
        q, k, v = (f(x).unflatten(-1, (HEADS, -1)).transpose(1, 2)
                   for f in (self.query, self.key, self.value))
        return self.output(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


class FeedForward(nn.Module):
    def __init__(self):
        super().__init__()
        self.up, self.down = Butterfly(HIDDEN, INNER), Butterfly(INNER, HIDDEN)

    def forward(self, x):
        return self.down(F.gelu(self.up(x)))


class Block(nn.Module):
    """FBfly, or ABfly with attention."""

    def __init__(self, attention):
        super().__init__()
        self.attention = SelfAttention() if attention else None
        self.mixing_norm, self.ffn_norm = nn.LayerNorm(HIDDEN), nn.LayerNorm(HIDDEN)
        self.ffn = FeedForward()

    def forward(self, x):
        mixed = self.attention(x) if self.attention else torch.fft.fft2(x).real
        x = self.mixing_norm(x + mixed)
        return self.ffn_norm(x + self.ffn(x))


class Digits(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Linear(PIXELS, HIDDEN)
        self.position = nn.Embedding(PATCHES, HIDDEN)
        self.blocks = nn.ModuleList([Block(False), Block(False), Block(True)])
        self.classifier = nn.Linear(HIDDEN, CLASSES)

    def forward(self, image):
        x = self.embedding(image) + self.position.weight
        for block in self.blocks:
            x = block(x)
        return self.classifier(x.mean(1))


def patches(images):
    """[N, 8, 8] -> [N, 16, 4]: 2 x 2 pixels each, row by row."""
    return images.unflatten(1, (4, 2)).unflatten(3, (4, 2)).transpose(2, 3).reshape(-1, 16, 4)


def moved(images):
    """Each image moved by up to a pixel, so that the network can't learn places by heart."""
    wide = F.pad(images, (1, 1, 1, 1)).unfold(1, 8, 1).unfold(2, 8, 1)  # [N, 3, 3, 8, 8]
    return wide[torch.arange(len(images)), *torch.randint(0, 3, (2, len(images)))]


def data(seed):
    """(images, labels) to learn from and (images, labels) to be tested with; greys are 0 to 1."""
    digits = load_digits()
    images = torch.tensor(digits.images, dtype=torch.float32) / 16
    labels = torch.tensor(digits.target)
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(seed))
    learn, test = order[len(order) // 6:], order[:len(order) // 6]
    return (images[learn], labels[learn]), (images[test], labels[test])


def train(model, images, labels, epochs):
    steps = epochs * -(-len(images) // 64)
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=4e-3, total_steps=steps)
    for epoch in range(epochs):
        total = 0.0
        for pick in torch.randperm(len(images)).split(64):
            scores = model(patches(moved(images[pick])))
            loss = F.cross_entropy(scores, labels[pick], label_smoothing=0.05)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            total += loss.item() * len(pick)
        if epoch % 5 == 4 or epoch + 1 == epochs:
            print(f"epoch {epoch + 1:3}  loss {total / len(images):.3f}", flush=True)


def main():
    cli = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    cli.add_argument("-epochs", type=int, default=100)
    cli.add_argument("-seed", type=int, default=1)
    cli.add_argument("-o", default="trained.safetensors", help="where the weights go")
    args = cli.parse_args()
    torch.manual_seed(args.seed)
    learn, (images, labels) = data(args.seed)
    model = Digits()
    train(model, *learn, args.epochs)
    with torch.no_grad():
        right = (model(patches(images)).argmax(1) == labels).sum().item()
    print(f"{right} of {len(labels)} test images right ({100 * right / len(labels):.1f} %)")
    weights = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    save_file(weights, args.o)
    print(f"wrote {len(weights)} tensors to {args.o}")


if __name__ == "__main__":
    main()
