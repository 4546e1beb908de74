#!/usr/bin/env python3
"""Compile and run the reference cases; hook of `make check-reference`.

  python check.py [-device ref|sim|host] [CASE ...]

For each case networks/CASE.bfly is compiled with the case's weights and run with its inputs. What
comes out must be within the case's tolerance (compare.py) on every device, the file that sim writes
must be the one that ref wrote, and on host, which computes in f32, the relative error of an output
must be below 1e-5. One line a case and device; the last is `N passed, N failed`.
BF_BUILD names the folder of bfcc and bfrun; products stay in $BF_BUILD/reference.
"""
import argparse
import json
import os
import pathlib
import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np

import tensorfile

HERE = pathlib.Path(__file__).resolve().parent
BUILD = pathlib.Path(os.environ.get("BF_BUILD", HERE.parent.parent / "build")).resolve()
DEVICES = ("ref", "sim", "host")
HOST_LIMIT = 1e-5
JOBS = 2
TIME_LIMIT = 300  # seconds for one program
SAMPLES = 25      # in a run, where a case has many


def run(*command):
    """(exit status, what it printed, seconds)."""
    start = time.monotonic()
    try:
        done = subprocess.run([str(c) for c in command], stdin=subprocess.DEVNULL, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, errors="replace",
                              timeout=TIME_LIMIT, cwd=HERE)
    except subprocess.TimeoutExpired:
        return 1, f"no end after {TIME_LIMIT} s", TIME_LIMIT
    except OSError as error:
        return 1, str(error), 0.0
    return done.returncode, done.stdout.strip(), time.monotonic() - start


def errors(report):
    """What matters of compare.py's report, in one line."""
    found = re.findall(r"^  (max abs|rel L2|1 - row cosine|max error in ulps)(?: error)?\s+(\S+)"
                       r"\s+\(limit (\S+)\)", report, re.M)
    return "  ".join(f"{name} {value} (limit {limit})" for name, value, limit in found)


def compile_case(case, image):
    tensors, metadata = tensorfile.load(HERE / case["file"])
    batch = json.loads(metadata["attributes"]).get("batch")
    options = ["-batch", min(batch, SAMPLES)] if batch else []
    # Labels of test images are in the file and are no weights.
    options += ["-allow-unused"] if "label" in tensors else []
    return run(BUILD / "bfcc", HERE / "networks" / (case["name"] + ".bfly"), "-weights",
               HERE / case["file"], "-embed-net", "-o", image, *options)


def host_error(case, out):
    """(largest relative error of an output in the 2-norm, what to say)"""
    wanted, _ = tensorfile.load(HERE / case["file"])
    got, _ = tensorfile.load(out)
    worst = 0.0
    for name, values in got.items():
        want = wanted["output." + name].astype(np.float64)[:len(values)]
        worst = max(worst, np.linalg.norm(values - want) / np.linalg.norm(want))
    return worst, f"rel L2 {worst:.3g} (limit {HOST_LIMIT})"


def run_case(case, image, device):
    """(passed, what to say)."""
    out = image.with_suffix(f".{device}.safetensors")
    out.unlink(missing_ok=True)
    status, text, seconds = run(BUILD / "bfrun", image, "-in", HERE / case["file"], "-out", out,
                                "-device", device, "-exact")
    if status:
        return False, f"bfrun exits with {status}: {text}"
    status, report, _ = run(sys.executable, HERE / "compare.py", HERE / case["file"], out)
    said = f"{errors(report) or report}  {seconds:.1f} s"
    if device == "host":
        worst, said = host_error(case, out)
        if not worst <= HOST_LIMIT:
            return False, said
    if status:
        return False, said if report.endswith("not finite\nFAIL") else f"{said}\n{report}"
    return True, said


def check(case, devices):
    """[(device, passed, what to say)]"""
    image = BUILD / "reference" / (case["name"] + ".bfx")
    image.unlink(missing_ok=True)
    status, text, _ = compile_case(case, image)
    if status:
        return [(device, False, f"bfcc exits with {status}: {text}") for device in devices]
    lines = []
    for device in devices:
        passed, said = run_case(case, image, device)
        if device == "sim" and "ref" in devices:
            first, this = (image.with_suffix(f".{d}.safetensors") for d in ("ref", device))
            if passed and (not first.exists() or first.read_bytes() != this.read_bytes()):
                passed, said = False, f"differs from what ref wrote; {said}"
        lines.append((device, passed, said))
    return lines


def choose(names):
    cases = {c["name"]: c for c in json.loads((HERE / "cases.json").read_text())["cases"]}
    unknown = [n for n in names if n not in cases]
    if unknown:
        sys.exit(f"check.py: no case {', '.join(unknown)}; there are {', '.join(cases)}")
    return [cases[n] for n in names or cases]


def main():
    cli = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    cli.add_argument("-device", choices=DEVICES, help="one device alone")
    cli.add_argument("case", nargs="*")
    args = cli.parse_args()
    cases = choose(args.case)
    devices = (args.device,) if args.device else DEVICES
    (BUILD / "reference").mkdir(parents=True, exist_ok=True)
    passed = failed = 0
    with ThreadPoolExecutor(JOBS) as pool:
        for case, lines in zip(cases, pool.map(lambda c: check(c, devices), cases)):
            for device, good, said in lines:
                passed, failed = passed + good, failed + (not good)
                print(f"{'pass' if good else 'FAIL'}  {case['name']:<24} {device}  {said}",
                      flush=True)
    print(f"{passed} passed, {failed} failed")
    return 0 if passed and not failed else 1


if __name__ == "__main__":
    sys.exit(main())
