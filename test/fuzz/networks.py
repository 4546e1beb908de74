#!/usr/bin/env python3
"""Random small networks, compiled, run on ref, sim and host, and compared with numpy in float64.

  python networks.py [COUNT] [-seed S] [-first N] [-keep]       hook of `make fuzz-networks`

A network passes if both devices write the same file and that is as near as an emulation in fp16 with
f32 sums (test/reference/operators.py): thrice its relative error and four times its largest one, as of
so many networks some are unlucky, and never less than two ulps of the largest value. A network that
bfcc refuses to map, in so many words, is counted as refused; anything else is a failure, and its files
stay in $BF_BUILD/fuzz/SEED.N. The same seed gives the same networks: `networks.py 1 -seed S -first N
-keep` makes one of them again.
"""
import argparse
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import numpy as np

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
import network_maker as maker  # noqa: E402  (also finds test/reference)
import operators as reference  # noqa: E402
import tensorfile  # noqa: E402

BUILD = pathlib.Path(os.environ.get("BF_BUILD", HERE.parent.parent / "build")).resolve()
JOBS = len(os.sched_getaffinity(0))
TIME_LIMIT = 120  # seconds for one program
DRAWS = 8         # samples that the emulation is measured on, at least
WORST = 0.005    # relative error of an emulation, at most: a sum that cancels leaves only noise
HOST_LIMIT = 3e-5  # relative error in the 2-norm; sums that cancel leave little of f32's 6e-8
CANNOT = re.compile(r"error: (cannot map .*|.* does not fit .*|.*needs .* words.*)")


class Case:
    """A network with everything to run it: samples of its inputs, what must come out, how close."""

    def __init__(self, seed, number):
        self.seed, self.number = seed, number
        for attempt in range(20):
            try:
                self.make([seed, number, attempt])
                return
            except maker.Unsuitable:
                continue
        raise RuntimeError(f"nothing suitable for seed {seed}, number {number}")

    def make(self, seed):
        self.network = maker.Network(seed)
        rng = np.random.default_rng([*seed, 1])
        self.machine = maker.random_machine(rng)
        self.batch = int(rng.choice([1, 1, 1, 2, 3, 4, 5]))
        # One sample without an axis for it, or some, not always a multiple of the batch.
        self.count = int(rng.integers(1, 2 * self.batch + 1)) if self.batch > 1 else None
        self.options = [str(rng.choice(["-O0", "-O1", "-O1", "-O1", "-O2"]))]
        self.samples = [self.network.draw() for _ in range(self.count or 1)]
        self.expect()

    def expect(self):
        """Exact outputs of the samples, and tolerances from emulations of these and more."""
        net = self.network
        more = [net.draw() for _ in range(max(0, DRAWS - len(self.samples)))]
        errors = [[] for _ in net.outputs]
        self.wanted = [[] for _ in net.outputs]
        for i, sample in enumerate(self.samples + more):
            tensors = [sample[n] for n in net.body.inputs]
            exact = maker.evaluate(net.body, tensors, "", net.weights)
            for p in reference.EMULATIONS:
                rounded = maker.evaluate(net.body, tensors, "", net.weights, p)
                for error, want, got in zip(errors, exact, rounded):
                    error.append(self.error(got, want))
            if i < len(self.samples):
                for wanted, value in zip(self.wanted, exact):
                    wanted.append(value)
            if not all(np.isfinite(v).all() and np.abs(v).max() < 30000 for v in exact):
                raise maker.Unsuitable
        worst = [np.max(error, axis=0) for error in errors]
        if any(not np.isfinite(w).all() or w[1] > WORST for w in worst):
            raise maker.Unsuitable
        self.limits = [(max(4 * largest, 2.0 ** -9), max(3 * relative, 2.0 ** -10))
                       for largest, relative in worst]

    @staticmethod
    def error(got, want):
        """(largest error over the largest value, relative error in the 2-norm)"""
        distance = np.asarray(got, np.float64) - want
        scale = max(np.abs(want).max(), 2.0 ** -14)  # smaller numbers are subnormal
        norm = max(np.linalg.norm(want), 2.0 ** -14)
        return np.abs(distance).max() / scale, np.linalg.norm(distance) / norm

    def judge(self, outputs, host=False):
        """What is wrong with outputs, a dictionary; None if nothing."""
        for name, wanted, limits in zip(self.network.outputs, self.wanted, self.limits):
            limits = (1, HOST_LIMIT) if host else limits
            wanted = np.stack(wanted) if self.count else wanted[0]
            got = outputs.get(name)
            if got is None:
                return f"no output {name}"
            if got.shape != wanted.shape:
                return f"{name} has shape {list(got.shape)}, expected {list(wanted.shape)}"
            if not np.isfinite(got).all():
                return f"{name} has {np.count_nonzero(~np.isfinite(got))} values that are not finite"
            # Tolerances are for a sample: each is judged on its own.
            for i in range(self.count or 1):
                pair = (got[i], wanted[i]) if self.count else (got, wanted)
                errors = self.error(*pair)
                if errors[0] > limits[0] or errors[1] > limits[1]:
                    return (f"{name}: max error {errors[0]:.3g} (limit {limits[0]:.3g}), relative "
                            f"{errors[1]:.3g} (limit {limits[1]:.3g})")
        return None

    def write(self, folder):
        """Files of the case; returns the arguments of bfcc."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "net.bfly").write_text(self.network.text)
        tensorfile.save(folder / "weights.safetensors", self.network.weights)
        inputs = {}
        for name, (kind, _) in self.network.inputs.items():
            dtype = {"f16": "f2", "f32": "f4", "i32": "i4", "u8": "u1"}[kind]
            values = np.stack([s[name] for s in self.samples]).astype(dtype)
            inputs[name] = values if self.count else values[0]
        tensorfile.save(folder / "in.safetensors", inputs)
        machine = self.machine
        if "\n" in machine:
            (folder / "random.arch").write_text(machine)
            machine = "random.arch"
        command = ["net.bfly", "-embed-net", "-o", "net.bfx", "-arch", machine, "-batch", str(self.batch),
                   *self.options]
        return command + (["-weights", "weights.safetensors"] if self.network.weights else [])


def run(folder, *command):
    """(exit status, what it printed); negative for a signal."""
    with open(folder / "commands", "a") as log:
        log.write(" ".join(command) + "\n")
    try:
        done = subprocess.run([str(BUILD / command[0]), *command[1:]], cwd=folder, text=True,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, errors="replace", timeout=TIME_LIMIT,
                              env=dict(os.environ, NO_COLOR="1"))
        return done.returncode, done.stdout.strip()
    except subprocess.TimeoutExpired:
        return 124, f"no end after {TIME_LIMIT} s"


def skips_wrongly(folder):
    """What a sim that skips what repeats tells otherwise than an exact one; "" if nothing."""
    found = []
    for how in ((), ("-exact",)):
        out = folder / f"skip{len(found)}.safetensors"
        status, text = run(folder, "bfrun", "net.bfx", "-in", "in.safetensors", "-out", out.name,
                           "-q", "-stats", "json", *how)
        if status:
            return f"bfrun {' '.join(how)} exits with {status}: {text}"
        found.append((json.loads(text), out.read_bytes()))
    (fast, output), (exact, wanted) = found
    if output != wanted:
        return "skipping changes the outputs"
    for key in ("dram_read_bytes", "dram_written_bytes", "infinities", "nans"):
        if fast[key] != exact[key]:
            return f"skipping makes {key} {fast[key]}, not {exact[key]}"
    if abs(fast["cycles"] - exact["cycles"]) > 0.005 * exact["cycles"]:
        return f"skipping makes {fast['cycles']} cycles of {exact['cycles']}"
    return ""


def check(case, folder):
    """("passed" | "refused" | "failed", message)"""
    status, text = run(folder, "bfcc", *case.write(folder))
    refusal = CANNOT.search(text)
    if status == 1 and refusal:
        return "refused", refusal[1]
    if status:
        return "failed", f"bfcc exits with {status}: {text}"
    for device in ("ref", "sim", "host"):
        status, text = run(folder, "bfrun", "net.bfx", "-in", "in.safetensors", "-out",
                           f"{device}.safetensors", "-device", device, "-exact")
        if status:
            return "failed", f"bfrun -device {device} exits with {status}: {text}"
    ref, sim = ((folder / f"{device}.safetensors").read_bytes() for device in ("ref", "sim"))
    outputs, _ = tensorfile.load(folder / "ref.safetensors")
    wrong = case.judge(outputs)
    if ref != sim:
        wrong = f"ref and sim differ; ref: {wrong or 'is right'}"
    if not wrong:
        outputs, _ = tensorfile.load(folder / "host.safetensors")
        wrong = case.judge(outputs, host=True)
        wrong = wrong and f"host: {wrong}"
    wrong = wrong or skips_wrongly(folder)
    return ("failed", wrong) if wrong else ("passed", "")


def run_one(seed, number, keep=False):
    """(verdict, message, folder)"""
    folder = BUILD / "fuzz" / f"{seed}.{number}"
    (folder / "commands").unlink(missing_ok=True)
    verdict, message = check(Case(seed, number), folder)
    if verdict == "failed" or keep:
        return verdict, message, folder
    shutil.rmtree(folder)
    return verdict, message, folder


def run_many(seed, numbers, keep=False, report=None):
    """(Counter of verdicts, failures as texts, Counter of reasons for refusing)"""
    verdicts, failures, reasons = Counter(), [], Counter()
    with ThreadPoolExecutor(JOBS) as pool:
        for number, (verdict, message, folder) in zip(
                numbers, pool.map(lambda n: run_one(seed, n, keep), numbers)):
            verdicts[verdict] += 1
            if verdict == "failed":
                failures.append(f"{folder}: {message}")
            if verdict == "refused":
                reasons[re.sub(r"\d+", "N", message)] += 1
            if report:
                report(number, verdict, message, folder)
    return verdicts, failures, reasons


def main():
    cli = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    cli.add_argument("count", nargs="?", type=int, default=1000)
    cli.add_argument("-seed", type=int, default=1)
    cli.add_argument("-first", type=int, default=0, help="number of the first network")
    cli.add_argument("-keep", action="store_true", help="keep the files of all")
    args = cli.parse_args()
    start = time.monotonic()

    def report(number, verdict, message, folder):
        if verdict == "failed":
            print(f"FAIL  {folder}: {message}", flush=True)
        elif args.keep:
            print(f"{verdict}  {folder}{': ' if message else ''}{message}", flush=True)
        done = number - args.first + 1
        if done % 100 == 0:
            print(f"{done} networks, {time.monotonic() - start:.0f} s", flush=True)

    verdicts, failures, reasons = run_many(
        args.seed, range(args.first, args.first + args.count), args.keep, report)
    for reason, times in reasons.most_common():
        print(f"refused {times} times: {reason}")
    print(f"{verdicts['passed']} passed, {verdicts['refused']} refused, {len(failures)} failed")
    return 1 if failures or not verdicts["passed"] else 0


if __name__ == "__main__":
    sys.exit(main())
