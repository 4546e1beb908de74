#!/usr/bin/env python3
"""A dense transformer that reads handwritten digits; typed as a command, it trains and writes its
weights: `python digits.py` takes a few minutes and writes dense.safetensors.

It is the dense twin of the network in examples/digits: the same 16 patches of 2 x 2 pixels, widths and
depth, with attention in all three blocks and torch.nn.Linear everywhere. The data are the 1,797 images
that come with scikit-learn; the last third of a fixed permutation is never trained with.
"""
import pathlib
import sys

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional as F

PATCHES, PIXELS, HIDDEN, INNER, HEADS, CLASSES, BLOCKS = 16, 4, 64, 128, 4, 10, 3
WEIGHTS = pathlib.Path(__file__).resolve().parent / "dense.safetensors"


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.query, self.key = nn.Linear(HIDDEN, HIDDEN), nn.Linear(HIDDEN, HIDDEN)
        self.value, self.output = nn.Linear(HIDDEN, HIDDEN), nn.Linear(HIDDEN, HIDDEN)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (f(x).unflatten(-1, (HEADS, -1)).transpose(1, 2)
                   for f in (self.query, self.key, self.value))
        return self.output(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


class FeedForward(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.up, self.down = nn.Linear(HIDDEN, INNER), nn.Linear(INNER, HIDDEN)

    def forward(self, x: Tensor) -> Tensor:
        return self.down(F.gelu(self.up(x)))


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attention, self.ffn = Attention(), FeedForward()
        self.mixing_norm, self.ffn_norm = nn.LayerNorm(HIDDEN), nn.LayerNorm(HIDDEN)

    def forward(self, x: Tensor) -> Tensor:
        x = self.mixing_norm(x + self.attention(x))
        return self.ffn_norm(x + self.ffn(x))


class Digits(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Linear(PIXELS, HIDDEN)
        self.position = nn.Embedding(PATCHES, HIDDEN)
        nn.init.normal_(self.position.weight, std=0.02)
        self.blocks = nn.ModuleList(Block() for _ in range(BLOCKS))
        self.classifier = nn.Linear(HIDDEN, CLASSES)

    def forward(self, image: Tensor) -> Tensor:
        x = self.embedding(image) + self.position.weight
        for block in self.blocks:
            x = block(x)
        return self.classifier(x.mean(1))


def patches(images: Tensor) -> Tensor:
    """[n, 8, 8] -> [n, 16, 4]: 2 x 2 pixels each, row by row."""
    return images.unflatten(1, (4, 2)).unflatten(3, (4, 2)).transpose(2, 3).reshape(-1, PATCHES, PIXELS)


def data() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Images [n, 8, 8] of 0 to 1 and labels to learn from, and to be tested with."""
    digits = load_digits()
    order = np.random.default_rng(20241101).permutation(len(digits.target))
    images = torch.tensor(digits.images[order] / 16, dtype=torch.float32)
    labels = torch.tensor(digits.target[order])
    cut = len(order) - len(order) // 3
    return images[:cut], labels[:cut], images[cut:], labels[cut:]


def moved(images: Tensor) -> Tensor:
    """Each image moved by up to a pixel."""
    wide = F.pad(images, (1, 1, 1, 1)).unfold(1, 8, 1).unfold(2, 8, 1)
    return wide[torch.arange(len(images)), *torch.randint(0, 3, (2, len(images)))]


def train(model: nn.Module, images: Tensor, labels: Tensor, epochs: int, rate: float) -> None:
    steps = epochs * -(-len(images) // 64)
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps)
    model.train()
    for _ in range(epochs):
        for pick in torch.randperm(len(images)).split(64):
            loss = F.cross_entropy(model(patches(moved(images[pick]))), labels[pick],
                                   label_smoothing=0.05)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
    model.eval()


@torch.no_grad()
def accuracy(model: nn.Module, images: Tensor, labels: Tensor) -> float:
    return (model(patches(images)).argmax(1) == labels).double().mean().item()


def trained() -> Digits:
    model = Digits()
    model.load_state_dict(load_file(WEIGHTS))
    return model.eval()


if __name__ == "__main__":
    torch.manual_seed(1)
    learn_images, learn_labels, test_images, test_labels = data()
    model = Digits()
    train(model, learn_images, learn_labels, int(sys.argv[1]) if sys.argv[1:] else 150, 4e-3)
    print(f"accuracy {accuracy(model, test_images, test_labels):.4f}")
    save_file(model.state_dict(), WEIGHTS)
