"""The networks of test/reference/networks take and give the tensors of their reference cases: the
same parameters by name and shape, the same inputs and outputs."""
import json
import os
import re
import struct
import subprocess
import unittest

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BFCC = os.path.join(os.environ.get("BF_BUILD", "build"), "bfcc")
CASES = os.path.join(TOP, "test", "reference")
NETWORKS = os.path.join(CASES, "networks")
LINE = re.compile(r"^(input|param|output) %?(\S+?)(?: = %\S+)?\s+(\w+)\[([\d,]*)\]", re.M)
NOT_YET = {"block_butterfly_256_b32", "monarch_256", "attention_causal", "attention_gqa",
           "attention_window", "attention_window_causal", "fft_compress_64_s50",
           "fft_compress_64_s50_leading", "rms_norm", "silu"}


def tensors_of_case(name):
    """{"param": {name: shape}, "input": .., "output": ..} from the header of the file."""
    with open(os.path.join(CASES, name + ".safetensors"), "rb") as file:
        size, = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(size))
    attributes = json.loads(header.pop("__metadata__")["attributes"])
    found = {"param": {}, "input": {}, "output": {}}
    for key, tensor in header.items():
        kind, _, rest = key.partition(".")
        shape = tensor["shape"]
        if kind in ("input", "output"):
            # A case of several samples has them as its first axis; a network is for one.
            found[kind][rest] = shape[1:] if "batch" in attributes else shape
        elif key != "label":
            found["param"][key] = shape
    return found


def tensors_of_network(name):
    text = subprocess.run([BFCC, "-emit", "net", "-o", "-", os.path.join(NETWORKS, name + ".bfly")],
                          check=True, capture_output=True, text=True).stdout
    found = {"param": {}, "input": {}, "output": {}}
    for kind, key, _, dims in LINE.findall(text):
        found[kind][key] = [int(d) for d in dims.split(",") if d]
    return found


class ReferenceNetworks(unittest.TestCase):
    def test_every_case_has_its_network(self):
        with open(os.path.join(CASES, "cases.json")) as file:
            cases = {case["name"] for case in json.load(file)["cases"]}
        networks = {name[:-5] for name in os.listdir(NETWORKS) if name.endswith(".bfly")}
        self.assertLessEqual(cases - NOT_YET, networks)
        self.assertLessEqual(networks, cases)

    def test_tensors(self):
        for file in sorted(os.listdir(NETWORKS)):
            name = file[:-5]
            with self.subTest(name):
                self.assertEqual(tensors_of_network(name), tensors_of_case(name))


if __name__ == "__main__":
    unittest.main()
