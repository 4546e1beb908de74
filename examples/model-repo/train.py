#!/usr/bin/env python3
"""Train iris.bfly on Fisher's 150 flowers and write iris.safetensors. Takes seconds.

  pip install torch scikit-learn safetensors
  python train.py
"""
import torch
from safetensors.torch import save_file
from sklearn.datasets import load_iris
from torch import nn
from torch.nn import functional as F


class Butterfly(nn.Module):
    """Of 16: stage s has a 2 x 2 matrix for each pair of elements whose numbers differ in bit s."""

    def __init__(self):
        super().__init__()
        angle = 6.2832 * torch.rand(1, 1, 4, 8)
        c, s = angle.cos(), angle.sin()
        self.twiddle = nn.Parameter(torch.stack([c, -s, s, c], -1).unflatten(-1, (2, 2)))
        self.bias = nn.Parameter(torch.zeros(16))

    def forward(self, x):
        for s in range(4):
            w = self.twiddle[0, 0, s].unflatten(0, (-1, 2 ** s))
            x = torch.einsum("bpij,tbjp->tbip", w, x.reshape(len(x), -1, 2, 2 ** s)).flatten(1)
        return x + self.bias


class Iris(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1, self.fc2, self.fc3 = nn.Linear(4, 16), Butterfly(), nn.Linear(16, 3)

    def forward(self, flower):
        return self.fc3(F.gelu(self.fc2(F.gelu(self.fc1(flower)))))


torch.manual_seed(1)
iris = load_iris()
flowers, kinds = torch.tensor(iris.data, dtype=torch.float32), torch.tensor(iris.target)
order = torch.randperm(150)
learn, test = order[:120], order[120:]
model = Iris()
optimizer = torch.optim.AdamW(model.parameters(), lr=0.01, weight_decay=0.02)
for step in range(600):
    loss = F.cross_entropy(model(flowers[learn]), kinds[learn], label_smoothing=0.02)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
right = (model(flowers[test]).argmax(1) == kinds[test]).sum().item()
print(f"loss {loss.item():.3f}, {right} of 30 test flowers right")
save_file({name: tensor.contiguous() for name, tensor in model.state_dict().items()},
          "iris.safetensors")
