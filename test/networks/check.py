#!/usr/bin/env python3
"""Whole networks on the array against float64: `make check-networks`.

  python check.py [-small] [-no-exact] [-list] [CASE ...]

Each is compiled with random weights and run on ref and on sim, which must write the same bytes;
its error may be twice that of the worse of two emulations of fp16 (relative L2). One line a
network: error, limit, then seconds of CPU time to compile it, on ref, on sim, on sim -exact, the
cycles, how much skipping errs in them, and the share of CAL slots used. -small: the same networks,
small ones. -no-exact leaves out sim -exact, which takes longest (and alone computes the values
independently of ref). BF_BUILD: the build folder.
"""
import argparse
import json
import math
import os
import pathlib
import re
import resource
import subprocess
import sys

import numpy as np

HERE = pathlib.Path(__file__).resolve().parent
TOP = HERE.parent.parent
sys.path.insert(0, str(HERE.parent / "reference"))
import models  # noqa: E402
import operators as op  # noqa: E402
import tensorfile  # noqa: E402

BUILD = pathlib.Path(os.environ.get("BF_BUILD", TOP / "build")).resolve()
FACTOR = 2.0

LARGE = {
    "fabnet-base": ("fabnet", {}),
    "fabnet-base-1024": ("fabnet", {"seq": 1024}),
    "fabnet-base-hybrid": ("fabnet", {"dense": 2}),
    "fabnet-large": ("fabnet", {"hidden": 1024, "layers": 24, "heads": 16}),
    "fnet-base": ("fnet", {}),
    "bert-base": ("bert", {}),
    "llama": ("llama", {}),
    "llama-block-butterfly": ("llama", {"tile": 32}),
    "compressed": ("compressed", {}),
    "vit-s": ("vit", {}),
    "butterfly-16384": ("butterfly", {}),
    "fft-8192": ("fft", {}),
}
SMALL = {
    "fabnet": ("fabnet", {"seq": 40, "hidden": 96, "layers": 2, "heads": 3, "dense": 1}),
    "fnet": ("fnet", {"seq": 48, "hidden": 96, "layers": 2}),
    "bert": ("bert", {"seq": 32, "hidden": 128, "layers": 2, "heads": 2}),
    "llama": ("llama", {"seq": 32, "hidden": 256, "inner": 352, "heads": 4, "kv_heads": 2}),
    "llama-block-butterfly": ("llama", {"seq": 32, "hidden": 256, "inner": 352, "heads": 4,
                                        "kv_heads": 4, "tile": 32}),
    "compressed": ("compressed", {"seq": 128, "hidden": 128, "heads": 2, "chunk": 64, "keep": 32}),
    "vit": ("vit", {"patches": 20, "pixels": 48, "hidden": 96, "layers": 2, "heads": 3,
                    "classes": 10}),
    "butterfly": ("butterfly", {"tokens": 16, "features": 2048, "out": 2048}),
    "fft": ("fft", {"rows": 16, "points": 1024}),
}


def sizes_of(network, changes):
    """The parameters of a network: the defaults in its source, and what is changed."""
    text = (TOP / "examples" / "networks" / f"{network}.bfly").read_text()
    header = re.search(r"^network \w+\(([^)]*)\)", text, re.M)[1]
    sizes = {n: int(v) for n, v in re.findall(r"(\w+) = (\d+)", header)}
    return {**sizes, **changes}


def call(folder, program, *words):
    """Seconds of CPU time, and standard output."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([BUILD / program, *words], cwd=folder, text=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise RuntimeError(f"{program}: {done.stderr.strip()}")
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, done.stdout


def relative_l2(got, want):
    if not np.isfinite(got).all():
        return float("inf")
    return float(np.linalg.norm(got - want) / np.linalg.norm(want))


def expected(network, weights, x, sizes):
    """(values in float64, how far the result may be from them)"""
    run = models.NETWORKS[network][1]
    want = run(op.EXACT, weights, x, sizes)
    with np.errstate(all="ignore"):
        errors = [relative_l2(run(p, weights, x, sizes).astype(np.float64), want)
                  for p in op.EMULATIONS]
    return want, FACTOR * max(errors)


def check(name, network, changes, exact=True):
    """(passed, line)"""
    sizes = sizes_of(network, changes)
    folder = BUILD / "networks" / name
    folder.mkdir(parents=True, exist_ok=True)
    draw = models.Draw(name)
    x = models.NETWORKS[network][0](draw, sizes)
    tensorfile.save(folder / "x.safetensors", {"x": x})
    tensorfile.save(folder / "w.safetensors", draw.weights)
    options = ["-weights", "w.safetensors"] if draw.weights else []
    options += [f"-D{n}={v}" for n, v in changes.items()]
    source = TOP / "examples" / "networks" / f"{network}.bfly"
    try:
        compiled, _ = call(folder, "bfcc", source, *options, "-o", "n.bfx")
        runs = []
        hows = [("-device", "ref"), ("-device", "sim"), ("-device", "sim", "-exact")]
        for how in hows if exact else hows[:2]:
            seconds, stats = call(folder, "bfrun", "n.bfx", "-in", "x.safetensors", "-out",
                                  f"y{len(runs)}.safetensors", "-stats", "json", *how)
            runs.append((seconds, json.loads(stats), folder / f"y{len(runs)}.safetensors"))
    except RuntimeError as error:
        return False, str(error)
    want, limit = expected(network, draw.weights, x, sizes)
    got = tensorfile.load(runs[0][2])[0]["y"].astype(np.float64)
    return judge(relative_l2(got, want), limit, compiled, runs)


def judge(error, limit, compiled, runs):
    (ref, _, _), (sim, fast, _) = runs[:2]
    exact, stats, _ = runs[-1]
    pes = stats["machine"]["rows"] * stats["machine"]["cols"]
    cal = sum(k["CAL"]["issued"] for k in stats["kernels"]) / (stats["cycles"] * pes)
    skipping = fast["cycles"] / stats["cycles"] - 1 if runs[2:] else math.nan
    line = (f"error {error:.2e}  limit {limit:.2e}  compile {compiled:5.1f} s  ref {ref:5.1f} s  "
            f"sim {sim:5.1f} s  exact {exact if runs[2:] else math.nan:5.1f} s  {stats['cycles']:>11,d} cycles "
            f"{100 * skipping:+.3f} %  CAL {100 * cal:.1f} %")
    if len({path.read_bytes() for _, _, path in runs}) > 1:
        return False, line + "; ref and sim differ"
    if abs(skipping) > 0.005:
        return False, line + "; cycles are not extrapolated well"
    return error <= limit, line


def main():
    cli = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    cli.add_argument("-small", action="store_true", help="small ones")
    cli.add_argument("-no-exact", action="store_true", help="do not run sim -exact")
    cli.add_argument("-list", action="store_true", help="print the names")
    cli.add_argument("cases", nargs="*", metavar="CASE")
    args = cli.parse_args()
    table = SMALL if args.small else LARGE
    unknown = set(args.cases) - set(table)
    if unknown:
        cli.error("no network " + ", ".join(sorted(unknown)))
    if args.list:
        print("\n".join(table))
        return 0
    failed = 0
    names = args.cases or list(table)
    for name in names:
        good, line = check("small-" * args.small + name, *table[name],
                           exact=not args.no_exact)
        failed += not good
        print(f"{'pass' if good else 'FAIL'}  {name:<22} {line}", flush=True)
    print(f"{len(names) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
