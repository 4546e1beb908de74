#!/usr/bin/env python3
"""Runs tests and ends with `N passed, N failed`: check.py BUILD [unit] [lit] [python] [includes]

unit      the program made from each test/unit/test_*.c, and briefly from each test/fuzz/*.c (one
          a program)
lit       everything under test/lit and test/newcomer, with FileCheck (one a test)
python    each test/python/test_*.py, with unittest (one a test method)
includes  the rule who may include whom (one)

Exits 1 when something failed or nothing ran. Unit and Python tests run in the top folder, with
BF_BUILD naming the folder that holds bfcc and bfrun.
"""
import glob
import json
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
LIT = "/usr/lib/llvm-19/build/utils/lit/lit.py"
JOBS = len(os.sched_getaffinity(0))
TIME_LIMIT = 600  # seconds for one program


def run(command):
    """The exit status and everything printed."""
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, errors="replace",
                              timeout=TIME_LIMIT)
        return done.returncode, done.stdout
    except subprocess.TimeoutExpired as late:
        return 1, f"{late.output or ''}\nno end after {TIME_LIMIT} s\n"


def each(names, check):
    """Runs check(name) -> (passed, failed, output) side by side; prints what failed."""
    passed = failed = 0
    with ThreadPoolExecutor(JOBS) as pool:
        for name, (good, bad, output) in zip(names, pool.map(check, names)):
            passed, failed = passed + good, failed + bad
            if bad:
                print(f"FAIL: {name}\n{output}", flush=True)
    return passed, failed


def unit(build):
    def check(source):
        program = os.path.join(build, source[:-2])
        status, output = run([program, "2000"] if "fuzz" in source else [program])
        return int(status == 0), int(status != 0), f"{output}exit status {status}\n"
    return each(sorted(glob.glob("test/unit/test_*.c") + glob.glob("test/fuzz/*.c")), check)


def python(build):
    def check(file):
        module = os.path.basename(file)[:-3]
        status, output = run([sys.executable, "-m", "unittest", module])
        ran = re.search(r"^Ran (\d+) tests? in .*\n\n(.*)\n*\Z", output, re.M)
        if not ran:
            return 0, 1, output
        verdict = {name: int(n) for name, n in re.findall(r"([a-z][a-z ]*)=(\d+)", ran[2])}
        bad = sum(verdict.get(name, 0) for name in ("failures", "errors", "unexpected successes"))
        if int(ran[1]) == 0 or bool(status) != bool(bad):
            return 0, 1, output
        return max(0, int(ran[1]) - bad - verdict.get("skipped", 0)), bad, output
    return each(sorted(glob.glob("test/python/test_*.py")), check)


def lit(build):
    report = os.path.join(build, "lit.json")
    if os.path.exists(report):
        os.remove(report)
    command = [sys.executable, LIT, "-sv", f"-j{JOBS}", f"--param=build={build}", "-o", report,
               "test/lit", "test/newcomer"]
    if not any(name.endswith((".test", ".bfly", ".bfs"))
               for _, _, names in os.walk("test/lit") for name in names):
        return 0, 0
    status, output = run(command)
    try:
        with open(report) as file:
            codes = [test["code"] for test in json.load(file)["tests"]]
    except OSError:
        codes = ["UNRESOLVED"]
    bad = sum(code in ("FAIL", "XPASS", "TIMEOUT", "UNRESOLVED") for code in codes)
    if status or bad:
        print(output, flush=True)
    return sum(code in ("PASS", "XFAIL", "FLAKYPASS") for code in codes), bad or int(status != 0)


def includes(build):
    status, output = run([sys.executable, "test/check_includes.py"])
    if status:
        print(output, flush=True)
    return int(status == 0), int(status != 0)


def main():
    os.chdir(TOP)
    build = os.path.abspath(sys.argv[1])
    os.environ.update(BF_BUILD=build, PYTHONPATH=os.path.join(TOP, "test", "python"), PYTHONDONTWRITEBYTECODE="1",
                      NO_COLOR="1")
    kinds = {"unit": unit, "lit": lit, "python": python, "includes": includes}
    passed = failed = 0
    for kind in sys.argv[2:]:
        good, bad = kinds[kind](build)
        print(f"{kind}: {good} passed, {bad} failed", flush=True)
        passed, failed = passed + good, failed + bad
    print(f"{passed} passed, {failed} failed")
    return 0 if passed and not failed else 1


if __name__ == "__main__":
    sys.exit(main())
