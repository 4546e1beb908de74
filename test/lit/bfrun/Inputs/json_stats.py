"""json_stats.py SIM REF: the two reports agree in what both count and add up."""
import json
import sys

sim, ref = (json.load(open(path)) for path in sys.argv[1:])
kernel, counted = sim["kernels"][0], ref["kernels"][0]
pes = sim["machine"]["rows"] * sim["machine"]["cols"]
for unit in ("CAL", "LOAD", "FLOW", "STORE"):
    assert kernel[unit]["issued"] == counted[unit]["issued"], unit
    assert kernel[unit]["issued"] + sum(kernel[unit]["stalled"].values()) == kernel["cycles"] * pes
    assert "stalled" not in counted[unit]
for key in ("special", "infinities", "nans", "runs"):
    assert kernel[key] == counted[key], key
assert "cycles" not in ref and 0 < kernel["cycles"] <= sim["cycles"]
assert kernel["bound"] <= kernel["cycles"] and sim["bound"] <= sim["cycles"]
assert sim["samples"] == 6 and sim["groups"] == 2 and sim["batch"] == 4
assert sim["dram_written_bytes"] == 2 * 4 * 16 * 2
assert (kernel["file"], kernel["line"], kernel["column"]) == ("double.bfly", 2, 9)
