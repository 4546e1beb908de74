#!/usr/bin/env python3
"""Checks the rule who may include whom. Prints each breach and what the folder may include."""
import glob
import os
import re
import sys

# Folder -> folders of ours, and libraries besides libc, that its files may include. A file is
# bound by the longest folder that holds it, and may include files of the longest folder likewise.
RULE = {
    "ir/isa": ([], []),
    "ir": (["ir/isa"], ["isl", "libcyaml"]),
    "frontend": (["ir", "ir/isa"], []),
    "passes": (["ir", "ir/isa"], ["isl"]),
    "backend": (["ir", "ir/isa"], []),
    "backend/host": (["backend", "ir", "ir/isa"], ["isl", "LLVM"]),
    "runtime": (["ir/isa"], ["jansson", "libelf"]),
    "frontend/driver": (["frontend", "ir", "ir/isa", "passes", "backend", "backend/host",
                         "runtime"], ["isl", "libcyaml", "jansson", "libelf", "LLVM"]),
}
LIBRARIES = {  # what an include of it looks like; anything else in <> is taken for libc
    "isl": r"isl/", "libcyaml": r"cyaml/", "libyaml": r"yaml\.h", "jansson": r"jansson\.h",
    "libelf": r"libelf\.h|gelf\.h", "LLVM": r"llvm", "cmocka": r"cmocka",
}
INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*([<"])([^>"]+)[>"]', re.M)


def folder_of(path):
    folder = os.path.dirname(path)
    while folder and folder not in RULE:
        folder = os.path.dirname(folder)
    return folder


def library_of(header):
    for name, pattern in LIBRARIES.items():
        if re.match(pattern, header):
            return name
    return None


def fault(folder, bracket, header):
    """What is wrong with this include in a file of `folder`; None if nothing is."""
    ours, libraries = RULE[folder]
    if bracket == "<":
        library = library_of(header)
        if library and library not in libraries:
            return f"{folder} may not use {library}"
        return None
    target = folder_of(header)
    if not target:
        return "an include of ours is written from the top folder"
    if target != folder and target not in ours:
        return f"{folder} may not include {target}"
    return None


def main():
    os.chdir(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    bad = files = 0
    for top in ("ir", "frontend", "passes", "backend", "runtime"):
        for path in sorted(glob.glob(f"{top}/**/*.[chly]", recursive=True)
                           + glob.glob(f"{top}/**/*.def", recursive=True)):
            files += 1
            with open(path, encoding="utf-8") as file:
                text = file.read()
            for match in INCLUDE.finditer(text):
                folder = folder_of(path)
                reason = fault(folder, *match.groups())
                if reason:
                    line = text.count("\n", 0, match.start()) + 1
                    may = ", ".join(["itself"] + RULE[folder][0] + ["libc"] + RULE[folder][1])
                    print(f"{path}:{line}: error: {match[0].strip()}: {reason}\n"
                          f"{path}:{line}: note: {folder} may include {may}")
                    bad += 1
    if not files:
        print("no files to check")
    return 1 if bad or not files else 0


if __name__ == "__main__":
    sys.exit(main())
