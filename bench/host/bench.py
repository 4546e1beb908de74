#!/usr/bin/env python3
"""Measures host code against its peers: bench.py [options]; `make bench-host` prepares and runs it.

All variants of a case run in one process, in turn: a sample of ours, a sample of each peer, again
and again. One thread: medians of the processor's time; two threads: the 20th percentile of the
wall's, as other work on the machine only adds to it. Caches are warm unless a row says `cold`.
Outputs are compared (relative L2 1e-5).

Prints a table a case and writes an array of {case, peer, threads, ratio, gflops, ..} to -json.
ratio = time of the peer / time of bfcc's code; gflops = nominal work of the case / time of bfcc's.
Exits 1 when an output differs, or, on an AVX-512 Zen, when a ratio that is promised is missed.
"""
import argparse
import ctypes
import fnmatch
import json
import os
import pathlib
import statistics
import sys
import tempfile
import time
import traceback

HERE = pathlib.Path(__file__).resolve().parent
TOP = HERE.parent.parent
sys.path[:0] = [str(HERE), str(TOP / "test/reference")]

import numpy as np  # noqa: E402
import torch  # noqa: E402
from safetensors.numpy import save_file  # noqa: E402

import cases  # noqa: E402
import fftw  # noqa: E402
import hostcode  # noqa: E402
import report  # noqa: E402

SAMPLE = 0.01     # seconds a sample lasts at least
TOLERANCE = 1e-5  # relative L2
NEAR = 200e-9     # seconds there and back: two cores have one last-level cache


def load_runner(path):
    library = ctypes.CDLL(str(path))
    for name, result in [("fma_peak", ctypes.c_double), ("copy_rate", ctypes.c_double),
                         ("round_trip", ctypes.c_double),
                         ("time_network", ctypes.c_double), ("time_mixing", ctypes.c_double),
                         ("mixing_plan", ctypes.c_void_p),
                         ("mixing_result", ctypes.POINTER(ctypes.c_float)),
                         ("bf_pool_create", ctypes.c_void_p),
                         ("bf_pool_executor", ctypes.c_void_p)]:
        getattr(library, name).restype = result
    pointer, integer, size = ctypes.c_void_p, ctypes.c_int, ctypes.c_int64
    library.copy_rate.argtypes = [size]
    library.time_network.argtypes = [pointer] * 5 + [size, integer]
    library.time_mixing.argtypes = [pointer, integer, size, integer]
    library.mixing_plan.argtypes = [size, size, pointer, integer]
    library.mixing_result.argtypes = library.mixing_free.argtypes = [pointer]
    library.bf_pool_executor.argtypes = [pointer]
    return library


def machine(runner):
    text = pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8")
    words = {line.split(":")[0].strip(): line.split(":")[1].strip()
             for line in text.splitlines() if ":" in line}
    peak = max(runner.fma_peak() for _ in range(5))
    rate = {name: max(runner.copy_rate(size) for _ in range(3))
            for name, size in (("L2", 1 << 18), ("L3", 1 << 21), ("DRAM", 1 << 26))}
    vendor, flags = words.get("vendor_id", ""), words.get("flags", "").split()
    return {
        "cpu": f"{words.get('model name', 'unknown')}, family {words.get('cpu family', '?')} "
               f"model {words.get('model', '?')}",
        "promised": vendor == "AuthenticAMD" and "avx512f" in flags,
        "peak": peak, "copy": rate,
    }


# ---- what is timed ----

class Ours:
    """bfcc's object, on the caller's thread or on a pool."""

    def __init__(self, runner, network, x, threads, executor):
        self.runner, self.run = runner, network.function("run_on")
        size = network.function("workspace_size")
        size.restype = ctypes.c_int64
        self.workspace = hostcode.aligned(size(threads))
        (_, shape, kind), = network.ports(True)
        self.x, self.y = np.ascontiguousarray(x), hostcode.aligned(4 * int(np.prod(shape)))
        self.y = self.y.view(kind).reshape(shape)
        self.inputs = (ctypes.c_void_p * 1)(self.x.ctypes.data)
        self.outputs = (ctypes.c_void_p * 1)(self.y.ctypes.data)
        self.executor = executor if threads > 1 else None

    def time(self, runs, cpu):
        return self.runner.time_network(self.run, self.inputs, self.outputs,
                                        self.workspace.ctypes.data, self.executor, runs, cpu)

    def __call__(self):
        self.time(1, 1)
        return self.y


class Peer:
    """A function of Python."""

    def __init__(self, function):
        self.function = function

    def __call__(self):
        return self.function()

    def time(self, runs, cpu):
        clock = time.process_time if cpu else time.perf_counter
        start = clock()
        for _ in range(runs):
            self.function()
        return (clock() - start) / runs


def timed(form):
    return form if hasattr(form, "time") else Peer(form)


def runs_of(form, cpu):
    """How many runs make a sample; the form is warm then."""
    once = min(form.time(1, cpu) for _ in range(2))
    return max(1, int(SAMPLE / max(once, 1e-7)))


def fastest(forms, cpu):
    if len(forms) == 1:
        return forms[0]
    times = [min(f.time(runs_of(f, cpu), cpu) for _ in range(2)) for f in forms]
    return forms[times.index(min(times))]


class Undisturbed:
    """On a machine with other work: real-time priority while samples are taken (-realtime)."""
    wanted = False

    def set(self, policy, priority):
        for thread in os.listdir("/proc/self/task") if self.wanted else []:
            os.sched_setscheduler(int(thread), policy, os.sched_param(priority))

    def __enter__(self):
        self.set(os.SCHED_FIFO, 1)

    def __exit__(self, *_):
        self.set(os.SCHED_OTHER, 0)


def sample(forms, cpu, seconds, before=None):
    """Times of each form, taken in turn."""
    with Undisturbed():
        return sample_now(forms, cpu, seconds, before)


def sample_now(forms, cpu, seconds, before):
    runs = [1 if before else runs_of(f, cpu) for f in forms]
    times = [[] for _ in forms]
    end = time.monotonic() + seconds * len(forms)
    while len(times[0]) < 5 or (time.monotonic() < end and len(times[0]) < 60):
        for form, count, results in zip(forms, runs, times):
            if not cpu:
                time.sleep(0.02)  # threads of others spin for a while before they sleep
            (before or form)()    # cold, or warm again
            results.append(form.time(count, cpu))
    if cpu:
        return [statistics.median(t) for t in times]
    return [float(np.percentile(t, 20)) for t in times]


# ---- a case ----

def relative_error(got, want):
    got, want = np.asarray(got, np.float64).ravel(), np.asarray(want, np.float64).ravel()
    return float(np.linalg.norm(got - want) / np.linalg.norm(want))


def compile_case(case, bfcc, folder):
    source = HERE.parent.parent / "examples/networks" / case.source
    if "\n" in case.source:
        source = folder / "case.bfly"
        source.write_text(case.source, encoding="utf-8")
    weights = case.weights()
    options = list(case.options)
    if weights:
        save_file(weights, str(folder / "weights.safetensors"))
        options += ["-weights", str(folder / "weights.safetensors")]
    case.weights = lambda: weights
    start = time.monotonic()
    network = hostcode.Network(bfcc, source, *options)
    return network, time.monotonic() - start


def make_peers(case, x, threads, y, log):
    """The fastest form of each peer that can be made; complains of outputs that differ."""
    torch.set_num_threads(threads)
    good, result = True, {}
    for name, makers in case.peers(case, x, threads).items():
        forms = []
        for make in makers:
            try:
                form, comparable = make()
                error = relative_error(form(), y) if comparable else 0
            except Exception as trouble:  # a peer that does not work here is no failure of ours
                log(f"  {name}: {type(trouble).__name__}: {str(trouble).splitlines()[0]}")
                if os.environ.get("BENCH_TRACE"):
                    traceback.print_exc()
                continue
            if not error < TOLERANCE:
                log(f"  {name}: OUTPUT DIFFERS, relative error {error:.2e}")
                good = False
            forms.append(timed(form))
        if forms:
            result[name] = fastest(forms, threads == 1)
    return good, result


def measure(case, network, runner, threads, executor, options, log):
    """Rows of one case and number of threads."""
    x = cases.random(*case.shape)
    ours = Ours(runner, network, x, threads, executor)
    good, peers = make_peers(case, x, threads, ours().copy(), log)
    forms, cpu = [ours, *peers.values()], threads == 1
    times = sample(forms, cpu, options.seconds)
    rows = [{"case": case.name, "peer": name, "threads": threads, "ratio": t / times[0],
             "gflops": case.flops / times[0] / 1e9, "us": times[0] * 1e6, "peer_us": t * 1e6,
             "needs": case.needs.get(name) if cpu else None}
            for name, t in zip(peers, times[1:])]
    if rows and "best" in case.needs:
        best = min(rows, key=lambda row: row["ratio"])
        best["needs"] = case.needs["best"] if cpu else None
    if case.cold and cpu:
        cold = [f for n, f in peers.items() if n.startswith("FFTW")]
        cold_times = sample([ours, *cold], cpu, options.seconds, runner.go_cold)
        rows += [{"case": case.name, "peer": f"{name}, cold", "threads": 1,
                  "ratio": t / cold_times[0], "gflops": case.flops / cold_times[0] / 1e9,
                  "us": cold_times[0] * 1e6, "peer_us": t * 1e6, "needs": None}
                 for name, t in zip([n for n in peers if n.startswith("FFTW")], cold_times[1:])]
    return good, rows


def scaling(case, network, runner, executor, options):
    """One thread against two, both by the wall."""
    x = cases.random(*case.shape)
    forms = [Ours(runner, network, x, threads, executor) for threads in (2, 1)]
    with Undisturbed():
        trip = runner.round_trip()
    two, one = sample(forms, False, options.seconds)
    with Undisturbed():
        trip = max(trip, runner.round_trip())
    near = case.in_cache and trip < NEAR
    return {"case": case.name, "peer": f"bfcc, 1 thread; cores {trip * 1e9:.0f} ns apart",
            "threads": 2, "ratio": one / two, "gflops": case.flops / two / 1e9, "us": two * 1e6,
            "peer_us": one * 1e6, "needs": 1.8 if near else None}


def run_case(case, runner, executor, options, log):
    with tempfile.TemporaryDirectory() as folder:
        network, seconds = compile_case(case, options.bfcc, pathlib.Path(folder))
    log(f"{case.name}: compiled in {seconds:.1f} s")
    good, rows = True, []
    for threads in options.threads:
        fine, more = measure(case, network, runner, threads, executor, options, log)
        good, rows = good and fine, rows + more
    if 2 in options.threads:
        rows.append(scaling(case, network, runner, executor, options))
    return good, rows


def arguments():
    parser = argparse.ArgumentParser(prog="bench.py", description=__doc__.splitlines()[0])
    parser.add_argument("-only", default="*", help="cases whose name has this pattern")
    parser.add_argument("-bfcc", default=TOP / "build/bfcc")
    parser.add_argument("-runner", default=TOP / "build/bench/runner.so")
    parser.add_argument("-json", default=TOP / "build/bench-host.json")
    parser.add_argument("-docs", help="write the page of results there")
    parser.add_argument("-seconds", type=float, default=1, help="for each variant of a case")
    parser.add_argument("-threads", type=lambda t: [int(i) for i in t.split(",")], default=[1, 2])
    parser.add_argument("-realtime", action="store_true",
                        help="samples are taken with real-time priority: for busy machines")
    return parser.parse_args()


def write(rows, host, options):
    """After each case, so that a run that is stopped leaves what it has."""
    pathlib.Path(options.json).write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    if options.docs:
        pathlib.Path(options.docs).write_text(report.page(rows, host), encoding="utf-8")


def main():
    options = arguments()
    Undisturbed.wanted = options.realtime
    runner = load_runner(options.runner)
    fftw.LIBRARY, fftw.undisturbed = runner, Undisturbed
    host = machine(runner) | {"realtime": options.realtime}
    print(report.machine_text(host), flush=True)
    executor = runner.bf_pool_executor(runner.bf_pool_create(2))
    rows, good, missed = [], True, []

    def log(line):
        print(line, flush=True)
    for case in cases.CASES:
        if not fnmatch.fnmatch(case.name.lower(), f"*{options.only.lower()}*"):
            continue
        try:
            fine, more = run_case(case, runner, executor, options, log)
        except hostcode.Failed as trouble:
            fine, more = False, []
            log(f"{case.name}: {trouble}")
        good, rows = good and fine, rows + more
        missed += report.missed(case, more, host)
        log(report.case_text(more, host))
        write(rows, host, options)
    for line in missed:
        print(f"missed: {line}")
    return 1 if not good or not rows or (missed and host["promised"]) else 0


if __name__ == "__main__":
    sys.exit(main())
