"""timeline.py TRACE.json TEXT [FROM TO]: the slices of a timeline are the blocks of the cycle trace,
each from the cycle after it was chosen to its last issue; DMA jobs and launches likewise."""
import json
import re
import sys

timeline = json.load(open(sys.argv[1]))["traceEvents"]
low, high = (int(x) for x in sys.argv[3:5]) if len(sys.argv) > 3 else (0, 1 << 60)
UNITS = {"cal": 1, "load": 2, "flow": 3, "store": 4}

want, chosen, last, job, launched = {}, {}, {}, None, None
network = []
for line in open(sys.argv[2]):
    cycle, pe, unit, event, *rest = line.split()
    cycle, values = int(cycle), dict(item.split("=") for item in rest if "=" in item)
    if event == "choose":
        chosen[pe, unit, values["block"]] = cycle + 1
    elif event == "issue":
        last[pe, unit, values["block"]] = cycle
    elif (unit, event) == ("dma", "take"):
        job = cycle
    elif (unit, event) == ("dma", "done"):
        network.append((2, job, cycle + 1))
    elif (unit, event) == ("array", "launch"):
        launched = cycle
    elif (unit, event) == ("array", "idle"):
        network.append((1, launched, cycle))
blocks = sorted((int(pe) + 10, UNITS[unit], begin, last[pe, unit, name] + 1)
                for (pe, unit, name), begin in chosen.items())

def kept(begin, end):
    return begin < high and end > low

def cycles(x):
    return round(x * 1000)

waits = [e for e in timeline if e["name"].startswith("wait: ")]
timeline = [e for e in timeline if e not in waits]
shown = [(e["pid"], e["tid"], cycles(e["ts"]), cycles(e["ts"]) + cycles(e["dur"]))
         for e in timeline if e["ph"] == "X"]
assert blocks and network
assert sorted(s for s in shown if s[0] >= 10) == [b for b in blocks if kept(b[2], b[3])]
assert sorted(s[1:] for s in shown if s[0] == 1) == sorted(n for n in network if kept(*n[1:]))
names = {e["name"] for e in timeline if e["ph"] == "X" and e["pid"] >= 10}
assert "fetch double.bfly:2" in names, names
tracks = {(e["pid"], e["args"]["name"]) for e in timeline if e["ph"] == "M"}
assert {(1, "DMA"), (10, "PE (0,0)"), (10, "CAL"), (13, "STORE")} <= tracks
counters = {e["name"] for e in timeline if e["ph"] == "C"}
assert low or {"CAL busy %", "DRAM read B/cycle", "mesh hops/cycle"} <= counters
assert all(re.fullmatch(r"[ -~]+", name) for name in names)

# A unit waits exactly where it has no block while a kernel runs, and the text names the same causes.
NAMES = {"drain": "idle", "tokens": "token", "weights": "weights"}
texts = {(int(pe) + 10, UNITS[unit], int(cycle), cause) for cycle, pe, unit, event, cause, *_ in
         (line.split() + [""] for line in open(sys.argv[2])) if event == "wait"}
for e in waits:
    begin, end = cycles(e["ts"]), cycles(e["ts"]) + cycles(e["dur"])
    assert not [b for b in blocks if b[:2] == (e["pid"], e["tid"]) and b[2] < end and begin < b[3]]
    starts = {t[2] for t in texts if t[:2] == (e["pid"], e["tid"]) and t[3] == NAMES[e["name"][6:]]}
    assert end - begin <= 2 or starts & {begin, begin + 1}, e
assert low or len(waits) > 10
