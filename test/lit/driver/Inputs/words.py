"""words.py FILE.bfx: every word of .bf.code by -word, against the section's bytes as objdump's user would
read them (docs/format.md), and against what -line lists."""
import re
import struct
import subprocess
import sys


def section(path, wanted):
    data = open(path, "rb").read()
    table, = struct.unpack_from("<Q", data, 40)
    size, count, names = struct.unpack_from("<HHH", data, 58)
    heads = [struct.unpack_from("<IIQQQQ", data, table + i * size) for i in range(count)]
    start = heads[names][4]
    for name, _, _, _, offset, length in heads:
        if data[start + name:data.index(b"\0", start + name)].decode() == wanted:
            return data[offset:offset + length]


def bfdis(*arguments):
    return subprocess.run(["bfdis", *arguments], check=True, capture_output=True, text=True).stdout


file = sys.argv[1]
code = section(file, ".bf.code")
text = [line for line in bfdis(file).split("\n.seq\n")[0].splitlines() if line.startswith("  ")]
at, words, blocks = 8, [], []
for _ in range(struct.unpack_from("<Q", code)[0]):
    segments, count = struct.unpack_from("<II", code, at)
    at += 8
    for _ in range(segments):
        _, _, length, _ = struct.unpack_from("<QHHI", code, at)
        words += range(at + 16, at + 16 + 8 * length, 8)
        at += 16 + 8 * length
    blocks += range(at, at + 48 * count, 48)
    at += 48 * count
assert at == len(code) and len(words) == len(text) > 20
places = set()
for address, instruction in list(zip(words, text))[::len(words) // 20]:
    answer = bfdis("-word", hex(address + 3), file)
    assert instruction.strip() in answer, (hex(address), answer)
    place = re.search(r"^    (\S+?:\d+):\d+: ", answer, re.M)
    assert place, answer
    places.add(place[1])
    listed = bfdis("-line", place[1], file)
    assert f"0x{address:04x}  {instruction.strip()}" in listed, (hex(address), listed)
for address in blocks[::len(blocks) // 5]:
    assert "descriptor of block " in bfdis("-word", str(address), file)
print(len(words), "words", sorted(places))
