"""Every dump of a compilation leads to the same bytes: resume_all.py DUMPS WEIGHTS BFX"""
import filecmp
import os
import subprocess
import sys

dumps, weights, expected = sys.argv[1:]
for name in sorted(os.listdir(dumps)):
    options = [] if name.endswith(".bfs") else ["-weights", weights]
    made = expected + ".again"
    subprocess.run(["bfcc", os.path.join(dumps, name), *options, "-o", made], check=True)
    print(name, "same" if filecmp.cmp(made, expected, shallow=False) else "differs")
