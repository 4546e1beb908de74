#!/usr/bin/env python3
"""Writes the tables of docs/isa.md from ir/isa/opcodes.def and ir/isa/machine.def:
isa_tables.py prints the page as it should be, isa_tables.py --write changes it."""
import pathlib
import re
import sys

TOP = pathlib.Path(__file__).resolve().parents[1]
PAGE = TOP / "docs" / "isa.md"


def entries(file, macro):
    """The argument lists of one-line uses of a macro, strings without quotes."""
    for line in (TOP / "ir" / "isa" / file).read_text().splitlines():
        match = re.match(rf"{macro}\((.*)\)$", line)
        if match:
            words = re.findall(r'"((?:[^"\\]|\\.)*)"|([^,"]+)', match[1])
            words = [quoted or plain.strip() for quoted, plain in words]
            yield [w for w in words if w]


def table(head, rows):
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def cal_table():
    results = {"ANY": "accumulator, RAM or both", "ACC": "accumulator", "RAM": "RAM word"}
    return table(["code", "operation", "reads", "result to", "meaning"],
                 [[code, f"`{text}`", operands.replace("|", ", "), results[result], what]
                  for _, code, text, operands, result, what in entries("opcodes.def", "BF_CAL")])


def seq_table():
    return table(["code", "instruction", "meaning"],
                 [[code, f"`{text}`", what] for _, code, text, what in
                  entries("opcodes.def", "BF_SEQ")])


def machine_table():
    rows = []
    for line in (TOP / "ir" / "isa" / "machine.def").read_text().splitlines():
        match = re.match(r'BF_NUMBER\((\w+), \w+, (\w+), (\d+), (\d+), (\d+), (\w+), "(.*?)", '
                         r'"(.*)"\)$', line)
        if match:
            group, key, value, low, high, kind, unit, what = match.groups()
            kinds = " (power of two)" if kind == "POW2" else ""
            rows.append([f"`{group}.{key}`", value, f"{low} .. {high}{kinds}", unit, what])
    return table(["number", "default", "range", "unit", "meaning"], rows)


def page():
    text = PAGE.read_text()
    for name, make in (("cal", cal_table), ("seq", seq_table), ("machine", machine_table)):
        begin, end = f"<!-- table {name} -->\n", "<!-- end -->"
        before, rest = text.split(begin, 1)
        text = before + begin + make() + "\n" + end + rest.split(end, 1)[1]
    return text


if __name__ == "__main__":
    if sys.argv[1:] == ["--write"]:
        PAGE.write_text(page())
    else:
        sys.stdout.write(page())
