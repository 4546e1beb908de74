"""profile.py PROFILE.json STATS.json MODEL.bfx: see profile.test."""
import json
import sys

p, s = (json.load(open(name)) for name in sys.argv[1:3])
UNITS = ["CAL", "LOAD", "FLOW", "STORE"]
pes = p["machine"]["rows"] * p["machine"]["cols"]
energy = p["description"]["energy"]


def close(a, b):
    assert abs(a - b) <= 1e-6 * max(abs(a), abs(b)), (a, b)


for key in s:
    if key != "kernels":
        assert p[key] == s[key], key
assert p["profile"] == 1 and len(p["kernels"]) == len(s["kernels"])
lines, total = {}, p["energy"]["dram"] + p["energy"]["static"]
for k, stats in zip(p["kernels"], s["kernels"]):
    assert {key: k[key] for key in stats} == stats
    assert len(k["pes"]) == pes
    for u, unit in enumerate(UNITS):
        assert sum(pe[u][0] for pe in k["pes"]) == k[unit]["issued"]
        for c, cause in enumerate(p["causes"]):
            assert sum(pe[u][1 + c] for pe in k["pes"]) == k[unit]["stalled"][cause]
        blocks = [b for b in k["blocks"] if b["unit"] == unit]
        assert sum(b["issued"] for b in blocks) == k[unit]["issued"]
        # A block's stay is its instructions and its stalls; a unit without a block waits.
        held = sum(b["held"] for b in blocks)
        waits = sum(k[unit]["stalled"][c] for c in ("drain", "tokens", "weights"))
        assert k[unit]["issued"] <= held
        assert held + waits == k[unit]["issued"] + sum(k[unit]["stalled"].values())
    for b in k["blocks"]:
        assert b["pes"] and max(b["pes"]) < pes and b["issued"] <= b["held"]
    assert sum(line[2] for line in k["lines"]) == k["cycles"] * pes
    for file, line, cycles in k["lines"]:
        lines[file, line] = lines.get((file, line), 0) + cycles
    e = k["energy"]
    close(e["cal"], k["CAL"]["issued"] * p["machine"]["lanes"] * energy["cal_lane_op"] / 1e15)
    close(e["static"], k["cycles"] * energy["static_cycle"] / 1e15)
    total += e["cal"] + e["ram"] + e["hops"] + e["scratchpad"]
close(total, p["joules"])
assert lines == {(file, line): cycles for file, line, cycles in p["lines"]}

# the first group of samples
groups = p["groups"]
assert p["timeline_cycles"] * groups == p["cycles"]  # timing does not depend on data
first = [0] * len(p["kernels"])
for kernel, begin, end in p["launches"]:
    assert begin < end <= p["timeline_cycles"]
    first[kernel] += end - begin
assert [f * groups for f in first] == [k["cycles"] for k in p["kernels"]]
series = p["series"]
assert len(series["CAL"]) * series["interval"] >= p["timeline_cycles"]
for unit in UNITS:
    assert sum(series[unit]) * groups == sum(k[unit]["issued"] for k in p["kernels"])
assert sum(series["hops"]) * groups == sum(k["hops"] for k in p["kernels"])
assert sum(series["scratchpad_words"]) * groups == sum(k["scratchpad_words"] for k in p["kernels"])
assert sum(series["dram_read"]) * groups == p["dram_read_bytes"]
assert sum(series["dram_written"]) * groups == p["dram_written_bytes"]
assert sum(job[3] for job in p["jobs"]) * groups == p["dram_read_bytes"] + p["dram_written_bytes"]
for kind, begin, end, size, what in p["jobs"]:
    assert begin < end <= p["timeline_cycles"]

# slices of a unit follow each other and stay inside their launch
for k in p["kernels"]:
    detail = k["detail"]
    kernel, begin, end = p["launches"][detail["launch"]]
    flat = detail["slices"]
    stays = {}
    for pe, block, start, length, iteration in zip(*(flat[i::5] for i in range(5))):
        b = k["blocks"][block]
        assert pe in b["pes"] and begin + start + length <= end
        stays.setdefault((pe, b["unit"]), []).append((start, start + length))
    waited = {}
    for pe, unit, cause, start, length in zip(*(detail["waits"][i::5] for i in range(5))):
        stays.setdefault((pe, UNITS[unit]), []).append((start, start + length))
        waited[pe, unit, cause] = waited.get((pe, unit, cause), 0) + length
    if k["runs"] == 1 and len(detail["waits"]) < 2 * len(detail["slices"]):  # all of them
        for (pe, unit, cause), length in waited.items():
            assert k["pes"][pe][unit][cause] == length
    for spans in stays.values():
        spans.sort()
        assert all(a[1] <= b[0] for a, b in zip(spans, spans[1:]))
    assert detail["complete"] and len(flat) // 5 * k["runs"] == sum(b["runs"] for b in k["blocks"])

# no word has two values at a time, and outputs are read last by a store
words = p["description"]["scratchpad"]["words"]
def times(event):
    return p["launches"][event][1:] if event >= 0 else p["jobs"][-2 - event][1:3]
live = []
for word, count, writer, reader in p["buffers"]:
    assert 0 <= word and word + count <= words
    end = times(writer if reader == -1 else reader)[1]
    live.append((word, word + count, times(writer)[0], end))
assert live
if sys.argv[3].endswith("m.bfx"):
    assert [f["name"] for f in p["files"]] == ["mixer.bfly", "<transformer.bfly>"]
    for f in p["files"]:
        assert f["text"], f["name"]
    text = p["files"][0]["text"].split("\n")
    assert any("layernorm" in text[line - 1] for file, line in lines if file == 0)
