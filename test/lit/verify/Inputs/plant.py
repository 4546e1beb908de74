"""Plants one fault in the map text of butterfly.bfly: plant.py FAULT < map > map

Each function edits lines of the program; an edit that finds nothing to edit is an error, so that a
test can't pass because the text has changed.
"""
import re
import sys

text = sys.stdin.read()


def edit(pattern, replacement, count=1):
    global text
    text, found = re.subn(pattern, replacement, text, flags=re.M)
    if found != count:
        sys.exit(f"plant: {pattern!r} was found {found} times, not {count}")


def block(name):
    found = re.search(rf"^\.block {re.escape(name)} .*$", text, flags=re.M)
    if not found:
        sys.exit(f"plant: there is no block {name}")
    return found.group(0)


def replace(old, new):
    global text
    if text.count(old) != 1:
        sys.exit(f"plant: {old!r} is there {text.count(old)} times")
    text = text.replace(old, new)


def dropped_exchange():
    """The words stay where they are: the stage before gives its tokens to the stage behind."""
    edit(r"^\.block flow\.0 .*\n", "")
    edit(r"to=flow\.0 ", "to=cal.4 ")
    edit(r"^(\.block cal\.4 .*) need=\d+ ", r"\1 need=1 ")


def dropped_exchange_and_note():
    dropped_exchange()
    edit(r"^  does block=48 .*\n", "")


def swapped_stages():
    """Block cal.0 computes what cal.1 should, and the other way round."""
    lines = [block("cal.0"), block("cal.1")]
    does = r" (?:body|trips|length|delta\d)=\S+"
    work = ["".join(re.findall(does, line)) for line in lines]
    rest = [re.sub(does, "", line) for line in lines]
    for line, own, other in zip(lines, rest, reversed(work)):
        name, attributes = re.match(r"(\.block \S+)(.*)", own).groups()
        replace(line, name + other + attributes)


def exchanged_words():
    """The first body leaves its two results in each other's place."""
    edit(r"^(\.body b0\n(?:.*\n)*?)(  fma   r\[0\]\S*) <- (.*)\n(  fma   r\[1\]\S*) <- (.*)\n",
         r"\1\2 <- \5\n\4 <- \3\n")


def reused_buffer():
    """Words are received in the region that they are still to be sent from."""
    edit(r'^  region "x1" at=\d+ ', '  region "x1" at=0 ')
    edit(r" destination=8 ", " ")
    edit(r" ram=8 ", " ", count=16)
    head, code = text.split(".body b24\n")
    code = re.sub(r"r\[(\d+)\]", lambda r: f"r[{int(r.group(1)) - 8}]", code)
    globals()["text"] = head + ".body b24\n" + code


def dropped_token():
    """Nothing says when a word has come."""
    edit(r"^(\.block flow\.0 .*) token=cal\.3 ", r"\1 ")


def early_start():
    """The stage behind the exchange starts when all words but one have come."""
    edit(r"^(\.block cal\.3 .*) need=8 ", r"\1 need=7 ")


def swapped_store():
    """Two PEs store each other's results."""
    a = re.search(r"^\.block store\.0 pes=1 .*$", text, flags=re.M).group(0)
    b = re.search(r"^\.block store\.0 pes=2 .*$", text, flags=re.M).group(0)
    spm = [re.search(r" spm=(\d+)", line).group(1) for line in (a, b)]
    replace(a, a.replace(f" spm={spm[0]} ", f" spm={spm[1]} "))
    replace(b, b.replace(f" spm={spm[1]} ", f" spm={spm[0]} "))


def wrong_lane():
    """A result takes the weight of the butterfly beside its own."""
    edit(r"^(\.body b0\n  fma   a0 <- r\[\d+\] \* l\[\d+):0\]", r"\1:4]")


globals()[sys.argv[1]]()
sys.stdout.write(text)
