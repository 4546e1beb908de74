#!/usr/bin/env python3
"""Objects for other processors, under qemu-user: hook of `make check-host-targets`.

  python check_targets.py [CASE ...]

Reference cases become objects for x86-64-v3 and for AArch64, are linked with run_network.c, run by
qemu's emulation of such a processor, and must be as near the reference as code for this one. Ends
with `N passed, N failed`. Needs the packages qemu-user, gcc-aarch64-linux-gnu and
libc6-dev-arm64-cross.
"""
import json
import os
import pathlib
import subprocess
import sys
import tempfile

import numpy as np

HERE = pathlib.Path(__file__).resolve().parent
REFERENCE = HERE.parent / "reference"
sys.path.insert(0, str(REFERENCE))
import tensorfile  # noqa: E402

BUILD = pathlib.Path(os.environ.get("BF_BUILD", HERE.parent.parent / "build")).resolve()
LIMIT = 1e-5
CASES = ("butterfly_512_inc", "butterfly_768_3072", "fourier_128x768", "monarch_256",
         "block_butterfly_256_b32", "attention_gqa", "attention_padding", "fft_compress_64_s50",
         "layer_norm_hard", "gelu_erf", "softmax_64x64", "embedding_position", "mean_pool_masked",
         "net_hybrid_3x128", "net_dense_pre_norm", "net_fabnet_2x64")
TARGETS = {
    "x86-64-v3": (["-march=x86-64-v3"], "gcc", ["qemu-x86_64", "-cpu", "Haswell-v4"]),
    "x86-64": (["-march=x86-64"], "gcc", ["qemu-x86_64", "-cpu", "qemu64"]),
    "aarch64": (["-target", "aarch64-linux-gnu", "-march=armv8-a"], "aarch64-linux-gnu-gcc",
                ["qemu-aarch64", "-L", "/usr/aarch64-linux-gnu"]),
}


def run(*command):
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{command[0]} exits with {done.returncode}: {done.stderr.strip()}")


def build(case, target, folder):
    """The program that runs the case."""
    options, cc, _ = TARGETS[target]
    batch = case["attributes"].get("batch")
    source = [REFERENCE / "networks" / (case["name"] + ".bfly"), "-weights",
              REFERENCE / case["file"], *options, *(["-batch", batch] if batch else [])]
    run(BUILD / "bfcc", *source, "-emit", "obj", "-o", folder / "net.o")
    run(BUILD / "bfcc", *source, "-emit", "header", "-o", folder / "net.h")
    name = next(line.split()[1][:-3] for line in (folder / "net.h").read_text().splitlines()
                if line.startswith("struct ") and line.endswith("_in {"))
    run(cc, "-std=c17", "-Wall", "-Wextra", "-Werror", f"-DNETWORK={name}", "-include",
        folder / "net.h", HERE / "run_network.c", folder / "net.o", "-lm", "-o", folder / "net")
    return folder / "net"


def largest_error(case, target, folder):
    program = build(case, target, folder)
    tensors, _ = tensorfile.load(REFERENCE / case["file"])
    kinds = {"int32": np.int32, "uint8": np.uint8}
    inputs = [np.ascontiguousarray(tensors[name], kinds.get(info["dtype"], np.float32))
              for name, info in case["inputs"].items()]
    (folder / "in").write_bytes(b"".join(a.tobytes() for a in inputs))
    run(*TARGETS[target][2], program, folder / "in", folder / "out")
    got = np.frombuffer((folder / "out").read_bytes(), np.float32)
    want = np.concatenate([tensors[name].astype(np.float64).ravel() for name in case["outputs"]])
    return np.linalg.norm(got - want) / np.linalg.norm(want)


def main():
    cases = {c["name"]: c for c in json.loads((REFERENCE / "cases.json").read_text())["cases"]}
    passed = failed = 0
    for name in sys.argv[1:] or CASES:
        for target in TARGETS:
            with tempfile.TemporaryDirectory() as folder:
                try:
                    error = largest_error(cases[name], target, pathlib.Path(folder))
                    good, said = error <= LIMIT, f"rel L2 {error:.3g} (limit {LIMIT})"
                except (OSError, RuntimeError) as wrong:
                    good, said = False, str(wrong)
            passed, failed = passed + good, failed + (not good)
            print(f"{'pass' if good else 'FAIL'}  {name:<24} {target:<10} {said}", flush=True)
    print(f"{passed} passed, {failed} failed")
    return 0 if passed and not failed else 1


if __name__ == "__main__":
    sys.exit(main())
