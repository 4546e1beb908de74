"""Calls whose arguments the C compiler may evaluate in either order, with two or more among them that
add instructions to LLVM's builder: what bfcc writes would then depend on what compiled bfcc.

    check_sequence.py FOLDER     prints FILE:LINE: CALL for each, and fails if there is one

An initializer's list is a call here. A function adds instructions if it calls LLVMBuild..., or a
function of the folder that does; through a pointer to a function it does not see. LLVMBuildAlloca and
LLVMBuildPhi count too.
"""

import pathlib
import re
import sys

TOKEN = re.compile(r"""[A-Za-z_]\w*|"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])+'|[(){}\[\],;=]|\S""")
COMMENT = re.compile(r"/\*.*?\*/|//[^\n]*|^\s*#.*?(?<!\\)$", re.S | re.M)
NOT_CALLED = {"if", "for", "while", "switch", "return", "sizeof", "do", "else"}


def tokens_of(text):
    blank = COMMENT.sub(lambda match: re.sub(r"[^\n]", " ", match[0]), text)
    line, last = 1, 0
    for match in TOKEN.finditer(blank):
        line += blank.count("\n", last, match.start())
        last = match.start()
        yield match[0], line


def functions_of(tokens):
    """name -> tokens of its body, for each definition of a file."""
    depth, name, body, found = 0, None, [], {}
    for i, (token, line) in enumerate(tokens):
        if token == "}":
            depth -= 1
            if depth == 0 and name:
                found[name] = body
                name = None
        if depth > 0:
            body.append((token, line))
        elif token == "(" and name is None and i and tokens[i - 1][0].isidentifier():
            name = tokens[i - 1][0]
        elif token in ";=":
            name = None
        if token == "{":
            depth += 1
            if depth == 1:
                body = []
    return found


def called(body):
    return {
        name for (name, _), (token, _) in zip(body, body[1:]) if token == "(" and name.isidentifier()
    } - NOT_CALLED


def builders_of(files):
    """For each file, the names of functions that add instructions."""
    shared, own = set(), {path: set() for path in files}
    adds = lambda path, name: name.startswith("LLVMBuild") or name in own[path] | shared
    changed = True
    while changed:
        changed = False
        for path, functions in files.items():
            for name, body in functions.items():
                into = shared if name.startswith("bf_") else own[path]
                if name not in into and any(adds(path, other) for other in called(body)):
                    into.add(name)
                    changed = True
    return {path: names | shared for path, names in own.items()}


def unsequenced(body, builders):
    """(line, what) of each list of arguments in which two add instructions."""
    stack = []
    for i, (token, line) in enumerate(body):
        name = body[i - 1][0] if i else ""
        if token in "({[":
            what = name if token == "(" else "{}" if token == "{" and name == "=" or name == ")" else ""
            is_list = token == "(" and name.isidentifier() and name not in NOT_CALLED
            is_list |= token == "{" and name in ("=", ",", "{") or token == "{" and is_cast(body, i)
            stack.append([token, line, what or token, is_list, [False]])
            continue
        if token in ")}]" and stack:
            opened, at, what, is_list, arguments = stack.pop()
            if is_list and sum(arguments) > 1:
                yield at, what
            adds = any(arguments) or what in builders or what.startswith("LLVMBuild")
            if stack and adds:
                stack[-1][4][-1] = True
        elif token == "," and stack:
            stack[-1][4].append(False)


def is_cast(body, i):
    """Whether `{` at i begins a compound literal: (struct x){...}, not the block of an if or a loop."""
    if not i or body[i - 1][0] != ")":
        return False
    depth, at = 0, i
    while at > 0:
        at -= 1
        depth += {")": 1, "(": -1}.get(body[at][0], 0)
        if depth == 0:
            break
    return body[at + 1][0] == "struct" or body[i - 2][0] in ("*", "]")


def main():
    folder = pathlib.Path(sys.argv[1])
    files = {path: functions_of(list(tokens_of(path.read_text()))) for path in sorted(folder.glob("*.c"))}
    builders, bad = builders_of(files), 0
    for path, functions in files.items():
        for body in functions.values():
            for line, what in unsequenced(body, builders[path]):
                print(f"{path}:{line}: {what}: two arguments add instructions; give one a name first")
                bad += 1
    count = sum(len(functions) for functions in files.values())
    if not count or not any(builders.values()):
        sys.exit(f"{folder}: nothing to check")
    if bad:
        sys.exit(1)
    print(f"check_sequence: {count} functions, each adds its instructions in one order")


if __name__ == "__main__":
    main()
