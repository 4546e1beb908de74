"""explained.py EXPLANATION STATISTICS: every bound that bfcc -explain gives is at most what the simulator
took, and where CAL binds and all PEs have the same, it is what each of them issued."""
import json
import re
import sys

kernels = {kernel["name"]: kernel for kernel in json.load(open(sys.argv[2]))["kernels"]}
text = open(sys.argv[1]).read()
launches = re.findall(r"^  k\S+: launch \d+ of code (\S+),.*?binds   (.*?), at least (\d+) cycles"
                      r"(.*?)(?=^  k|^k|\Z)", text, re.M | re.S)
exact = 0
for code, what, cycles, rest in launches:
    kernel = kernels[code]
    assert int(cycles) <= kernel["cycles"] / kernel["runs"], (code, cycles, kernel["cycles"])
    issued = kernel["CAL"]["issued"] / kernel["runs"] / 16
    if what == "CAL" and "busiest" not in rest and "compute" not in rest:
        assert issued <= int(cycles) <= 1.1 * issued, (code, cycles, issued)
        exact += int(cycles) == issued
print(len(launches) > 3, exact > 1)
