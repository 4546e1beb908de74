"""The tables of docs/isa.md say what ir/isa/*.def say, and docs/format.md what the bits are."""
import pathlib
import re
import subprocess
import sys
import unittest

TOP = pathlib.Path(__file__).resolve().parents[2]


class IsaDocs(unittest.TestCase):
    def test_tables_are_up_to_date(self):
        made = subprocess.run([sys.executable, TOP / "docs" / "isa_tables.py"], check=True,
                              capture_output=True, text=True).stdout
        self.assertEqual(made, (TOP / "docs" / "isa.md").read_text(),
                         "run docs/isa_tables.py --write")

    def test_every_operation_and_number_is_there(self):
        page = (TOP / "docs" / "isa.md").read_text()
        opcodes = (TOP / "ir" / "isa" / "opcodes.def").read_text()
        names = re.findall(r'^BF_(?:CAL|SEQ)\(\w+,\s*\d+,\s*"(\w+)"', opcodes, re.M)
        self.assertGreater(len(names), 15)
        for name in names:
            self.assertIn(f"| `{name}` |", page)
        machine = (TOP / "ir" / "isa" / "machine.def").read_text()
        numbers = re.findall(r"^BF_NUMBER\((\w+), \w+, (\w+),", machine, re.M)
        self.assertGreater(len(numbers), 25)
        for group, key in numbers:
            self.assertIn(f"| `{group}.{key}` |", page)

    def test_descriptor_fields_follow_without_gaps(self):
        """In format.md each table of fields starts where it should, and adds up."""
        page = (TOP / "docs" / "format.md").read_text()
        ends = {}
        for unit in ("All units", "CAL", "LOAD and STORE", "FLOW"):
            part = re.search(rf"^### {unit}\n(.*?)(?=^#|\Z)", page, re.M | re.S)[1]
            rows = re.findall(r"^\| (\d+) \.\. (\d+)|^\| (\d+) \|", part, re.M)
            self.assertTrue(rows)
            at = 0 if unit == "All units" else ends["All units"]
            for low, high, single in rows:
                low, high = (int(low), int(high)) if low else (int(single), int(single))
                self.assertEqual(low, at, unit)
                at = high + 1
            ends[unit] = at
        self.assertEqual(ends["All units"], 79)
        self.assertEqual({ends[u] for u in ("CAL", "LOAD and STORE", "FLOW")}, {256})
        # The first bits that test/unit/test_isa.c counts.
        for bits, field in (("32 .. 41", "need"), ("86 .. 95", "ram"), ("229 .. 232", "swap"),
                            ("177 .. 183", "token")):
            self.assertRegex(page, rf"(?m)^\| {re.escape(bits)} \|[^|]*\| `{field}`")


if __name__ == "__main__":
    unittest.main()
