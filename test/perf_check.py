#!/usr/bin/env python3
"""Compile times and memory of whole networks against their limits: perf_check.py BUILD [RUNS]

Each network is compiled RUNS times (5); the median of the CPU seconds counts, and the largest peak
memory. The pass verify must take less than half of the time. Exits 1 when a limit is exceeded. Wants a machine with nothing else to do.
"""
import os
import re
import statistics
import subprocess
import sys
import tempfile

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
NETWORKS = (  # name, options, seconds at most
    ("fabnet", (), 3),
    ("bert", (), 10),
    ("fabnet", ("-Dhidden=1024", "-Dlayers=24", "-Dheads=16"), 5),
)
MEGABYTES = 1000
LINE = re.compile(r"^(.+?) +([\d.]+) +[\d.]+ %(?: +peak memory (\d+) MB)?$", re.M)


def compile_once(bfcc, name, options, folder):
    """({step: seconds}, peak memory in MB)"""
    source = os.path.join(TOP, "examples", "networks", name + ".bfly")
    done = subprocess.run([bfcc, source, *options, "-random-weights", "1", "-time-passes", "-o",
                           os.path.join(folder, "out.bfx")], check=True, capture_output=True,
                          text=True)
    found = LINE.findall(done.stderr)
    return {step: float(seconds) for step, seconds, _ in found}, int(found[-1][2])


def main():
    bfcc = os.path.join(os.path.abspath(sys.argv[1]), "bfcc")
    runs = int(sys.argv[2]) if len(sys.argv) > 2 else 5
    good = True
    print(f"{'network':<40} {'seconds':>8} {'limit':>6} {'verify':>7} {'MB':>5}")
    with tempfile.TemporaryDirectory() as folder:
        for name, options, limit in NETWORKS:
            results = [compile_once(bfcc, name, options, folder) for _ in range(runs)]
            seconds = statistics.median(times["all"] for times, _ in results)
            verify = statistics.median(times["verify"] / times["all"] for times, _ in results)
            memory = max(memory for _, memory in results)
            right = seconds < limit and verify < 0.5 and memory < MEGABYTES
            good = good and right
            print(f"{' '.join((name,) + options):<40} {seconds:8.2f} {limit:6} {100 * verify:5.0f} %"
                  f" {memory:5}{'' if right else '   exceeded'}", flush=True)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
