"""Kernels that are alike are proved once; that a later one is like the first is proved, not assumed:
a later layer whose launch, plan or place differs from what it should be is refused."""
import os
import re
import subprocess
import tempfile
import unittest
from concurrent.futures import ThreadPoolExecutor

BFCC = os.path.abspath(os.path.join(os.environ.get("BF_BUILD", "build"), "bfcc"))
NETWORK = """network n() {
    input x: f16[32, 64];
    for (l in 0 .. 3)
        x = x + %s;
    output y = x;
}
"""
LAYERS = {
    "butterfly": "f[l]: butterfly(layernorm(x, affine = false), 64)",
    "dense": "f[l]: linear(layernorm(x, affine = false), 64)",
    "attention": "attention(x, x, layernorm(x, affine = false), heads = 2)",
}
EVERY = 7  # of the faults


def faults_of_launch(line):
    """The launch with one base register pointing elsewhere."""
    head, bases = re.fullmatch(r"(.* base=)([\d,]+)", line).groups()
    bases = bases.split(",")
    for at, base in enumerate(bases):
        others = {other for other in bases if other not in ("0", base)}
        for other in sorted(others | {str(int(base) + 16), str(int(base) + 1)}):
            if base != "0":
                yield head + ",".join(bases[:at] + [other] + bases[at + 1:])


def faults_of_plan(line):
    for name in ("window", "base", "context", "weights", "code"):
        field = re.search(rf" {name}=(\d+)", line)
        if field:
            yield line[:field.start(1)] + str(int(field[1]) + 1) + line[field.end(1):]


class MapLikes(unittest.TestCase):
    def refused(self, text):
        done = subprocess.run([BFCC, "-", "-emit", "map"], input=text, capture_output=True, text=True)
        return done.returncode == 1 and "error: " in done.stderr

    def check(self, name):
        with tempfile.TemporaryDirectory() as folder:
            source = os.path.join(folder, "n.bfly")
            with open(source, "w", encoding="utf-8") as file:
                file.write(NETWORK % LAYERS[name])
            text = subprocess.run([BFCC, source, "-emit", "map"], check=True, capture_output=True,
                                  text=True).stdout
        self.assertFalse(self.refused(text))
        lines = text.split("\n")
        launches = [at for at, line in enumerate(lines) if line.startswith(".launch ")]
        plans = [at for at, line in enumerate(lines) if line.startswith("plan ")]
        mutants = [(at, fault) for at in launches[len(launches) // 3:]
                   for fault in faults_of_launch(lines[at])]
        mutants += [(at, fault) for at in plans[len(plans) // 3:] for fault in faults_of_plan(lines[at])]
        mutants = mutants[::EVERY]
        self.assertGreater(len(mutants), 10)
        texts = ["\n".join(lines[:at] + [fault] + lines[at + 1:]) for at, fault in mutants]
        with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
            for (at, fault), refused in zip(mutants, pool.map(self.refused, texts)):
                self.assertTrue(refused, f"{name}: '{lines[at]}' became '{fault}'")

    def test_butterfly(self):
        self.check("butterfly")

    def test_dense(self):
        self.check("dense")

    def test_attention(self):
        self.check("attention")


if __name__ == "__main__":
    unittest.main()
