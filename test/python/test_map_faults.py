"""No instruction of a butterfly or an FFT can be changed without verify seeing it: maps in which one
operand of one instruction is another word, lane, or sign, are all refused."""
import os
import re
import subprocess
import tempfile
import unittest
from concurrent.futures import ThreadPoolExecutor

BFCC = os.path.abspath(os.path.join(os.environ.get("BF_BUILD", "build"), "bfcc"))
NETWORKS = {
    "butterfly": "network n() { input x: f16[16, 16]; output y = b: butterfly(x, 16); }",
    "fft": "network n() { input x: f16[16, 16]; output y = fourier(x, axes = [-1]); }",
    "mixed": "network n() { input x: f16[16, 24]; output y = fourier(x, axes = [-1]); }",
}
EVERY = 3  # of the faults


def faults(line):
    """The line with one operand changed, in each way."""
    for address in re.finditer(r"\br\[(\d+)\]", line):
        yield line[:address.start(1)] + str(int(address[1]) ^ 1) + line[address.end(1):]
    for lane in re.finditer(r"l\[(\d+):(\d+)\]", line):
        yield line[:lane.start(2)] + str(int(lane[2]) ^ 1) + line[lane.end(2):]
    if "<- -" in line:
        yield line.replace("<- -", "<- ")
    else:
        yield line.replace("<- ", "<- -")


class MapFaults(unittest.TestCase):
    def refused(self, text):
        done = subprocess.run([BFCC, "-", "-emit", "map"], input=text, capture_output=True, text=True)
        return done.returncode == 1 and "error: " in done.stderr

    def check(self, name):
        with tempfile.TemporaryDirectory() as folder:
            source = os.path.join(folder, "n.bfly")
            with open(source, "w", encoding="utf-8") as file:
                file.write(NETWORKS[name])
            text = subprocess.run([BFCC, source, "-emit", "map"], check=True, capture_output=True,
                                  text=True).stdout
        self.assertFalse(self.refused(text))
        lines = text.split("\n")
        mutants = [(line, "\n".join(lines[:at] + [fault] + lines[at + 1:]), fault)
                   for at, line in enumerate(lines) if line.startswith("  fma ")
                   for fault in faults(line)][::EVERY]
        self.assertGreater(len(mutants), 20)
        with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
            for (line, _, fault), refused in zip(mutants, pool.map(lambda m: self.refused(m[1]), mutants)):
                self.assertTrue(refused, f"{name}: '{line}' became '{fault}'")

    def test_butterfly(self):
        self.check("butterfly")

    def test_fft(self):
        self.check("fft")

    def test_mixed_radix(self):
        self.check("mixed")


if __name__ == "__main__":
    unittest.main()
