#!/usr/bin/env python3
"""Makes a trained dense transformer (digits.py) butterfly, block-butterfly or Monarch, and compares.

  pip install ../../python scikit-learn
  python factorize.py [-epochs N] [-refine STEPS] [-images N] [-seed S]

All linear maps of the blocks are replaced by layers fitted to them, then the whole is trained for two
more epochs. Accuracies are over the 599 test images; flops are of one image, without LayerNorm,
softmax and GELU; cycles are of one image on the simulated array, in a batch.
"""
import argparse
import copy
import pathlib
import tempfile

import digits
import torch
from torch import nn

import bfcc


def flops(model: nn.Module) -> int:
    """Of one image: every map but the last has a row a patch."""
    total = digits.BLOCKS * 4 * digits.PATCHES ** 2 * digits.HIDDEN  # scores and their sums
    for path, layer in model.named_modules():
        tokens = 1 if path == "classifier" else digits.PATCHES
        if isinstance(layer, nn.Linear):
            total += tokens * (2 * layer.in_features + 1) * layer.out_features
        elif isinstance(layer, (bfcc.Butterfly, bfcc.BlockButterfly, bfcc.Monarch, bfcc.MonarchStack)):
            if not path.rpartition(".")[0].endswith(".stack"):
                total += tokens * layer.flops()
    return total


def on_array(model: nn.Module, images: torch.Tensor, folder: str) -> tuple[float, list[int]]:
    """Cycles of an image, and what the array reads in each."""
    program = bfcc.compile(model, pathlib.Path(folder, "digits.bfx"), example=images[:1],
                           batch=len(images))
    array = bfcc.Model(program)
    scores = array.run({"image": images.numpy()}, device="sim")["y"]
    assert array.stats is not None
    return array.stats.cycles_per_sample, scores.argmax(1).tolist()


def main() -> None:
    cli = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    cli.add_argument("-epochs", type=int, default=2)
    cli.add_argument("-refine", type=int, default=300, help="steps of Adam on each layer's fit")
    cli.add_argument("-images", type=int, default=32, help="test images on the array")
    cli.add_argument("-seed", type=int, default=1)
    args = cli.parse_args()
    learn_images, learn_labels, test_images, test_labels = digits.data()
    few = digits.patches(test_images[:args.images])

    def line(name: str, *accuracies: float, model: nn.Module) -> None:
        with tempfile.TemporaryDirectory() as folder, torch.no_grad():
            cycles, read = on_array(model, few, folder)
            same = sum(a == b for a, b in zip(read, model(few).argmax(1).tolist()))
        shown = "".join(f"{100 * a:8.1f} %" for a in accuracies).rjust(30)
        parameters = sum(p.numel() for p in model.parameters())
        print(f"{name:16}{shown}{parameters:12,}{flops(model):12,}{cycles:10,.0f}"
              f"{same:8} of {len(few)}", flush=True)

    dense = digits.trained()
    samples = digits.patches(digits.moved(learn_images))
    print(f"{'':16}{'fitted':>10}{'refined':>10}{f'{args.epochs} epochs':>10}{'parameters':>12}"
          f"{'flops':>12}{'cycles':>10}{'array = torch':>14}")
    line("dense", digits.accuracy(dense, test_images, test_labels), model=dense)
    for method in ("butterfly", "block_butterfly", "monarch"):
        torch.manual_seed(args.seed)
        options = {"select": "blocks.*", "method": method, "samples": samples, "tile": 16}
        closed = bfcc.factorize(dense, **options)
        refined = bfcc.factorize(dense, **options, refine_steps=args.refine)
        tuned = copy.deepcopy(refined.model)
        digits.train(tuned, learn_images, learn_labels, args.epochs, 3e-3)
        line(method, *(digits.accuracy(m, test_images, test_labels)
                       for m in (closed.model, refined.model, tuned)), model=tuned)
        errors = [x.error for x in closed.layers], [x.output_error for x in closed.layers], \
            [x.output_error for x in refined.layers]
        print("    mean error of a layer: of the matrix {:.2f}, on samples {:.2f}, refined {:.2f}"
              .format(*(sum(e) / len(e) for e in errors)), flush=True)


if __name__ == "__main__":
    main()
