#!/usr/bin/env python3
"""The report page in headless Chromium: check.py [BUILD [IMAGES]]; ends with `N passed, N failed`.

Two reports are made: the digits network of the examples, with -compare, and FABNet-base. Each must be
silent, legible and without overflow on a desk and a phone in both themes; its figures must be those of
`bfrun -stats json`; its parts must follow each other. IMAGES: a folder for screenshots.
"""
import json
import os
import subprocess
import sys
import tempfile
import traceback

from devtools import Browser

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
HERE = os.path.dirname(os.path.abspath(__file__))
SIZES = {"desk": (1280, 800), "phone": (390, 844)}
LOOK = open(os.path.join(HERE, "look.js"), encoding="utf-8").read()


def tool(*command):
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, cwd=TOP).stdout


def make_reports(build, folder):
    """name -> (url, statistics, layers)"""
    bfcc, bfrun = os.path.join(build, "bfcc"), os.path.join(build, "bfrun")
    digits, fabnet = os.path.join(folder, "digits"), os.path.join(folder, "fabnet")
    tool(bfcc, "examples/digits/digits.bfly", "-weights", "examples/digits/digits.safetensors",
         "-embed-net", "-batch", "2", "-o", digits + ".bfx")
    tool(bfcc, "examples/networks/fabnet.bfly", "-random-weights", "1", "-o", fabnet + ".bfx")
    tool(bfrun, digits + ".bfx", "-random-inputs", "1", "-compare", "-q", "-source", "examples/digits",
         "-report", digits + ".html")
    tool(bfrun, fabnet + ".bfx", "-random-inputs", "1", "-source", "examples/networks", "-report", fabnet + ".html",
         "-trace", fabnet + ".json")
    reports = {}
    for name in (digits, fabnet):
        stats = json.loads(tool(bfrun, name + ".bfx", "-random-inputs", "1", "-q", "-exact", "-stats", "json"))
        layers = None
        if name == digits:
            layers = json.loads(tool(bfrun, name + ".bfx", "-random-inputs", "1", "-q", "-compare", "-stats", "json"))["layers"]
        reports[os.path.basename(name)] = (f"file://{name}.html", stats, layers)
    return reports


# ---- helpers: what the page shows ----

def values(page, selector):
    return page.run(f"[...document.querySelectorAll({json.dumps(selector)})].map(n => n.dataset.value)")


def texts(page, selector):
    return page.run(f"[...document.querySelectorAll({json.dumps(selector)})].map(n => n.textContent)")


def chips(page):
    return dict(zip(texts(page, ".chip i"), texts(page, ".chip b")))


def count(page, selector):
    return page.run(f"document.querySelectorAll({json.dumps(selector)}).length")


def near(a, b):
    return abs(float(a) - float(b)) <= 1e-6 * max(abs(float(a)), abs(float(b)), 1e-300)


def table(page, name):
    """Rows of a table as lists of raw values."""
    return page.run(f"[...document.querySelectorAll('#{name} tbody tr')].map(r => [...r.cells].map(c => c.dataset.value))")


# ---- looks ----

def check_looks(page, *_):
    page.run("scrollTo(0, 0)")
    got = page.run(LOOK)
    assert got["texts"] > 100, got["texts"]
    for what in ("overflow", "contrast", "targets", "names"):
        assert not got[what], f"{what}: " + "; ".join(got[what][:8])
    assert not page.messages, page.messages


def check_zoomed_looks(page, *_):
    """The same with blocks in the timeline and a selection in every part."""
    page.click("#zoom-launch")
    page.click("#grid button")
    page.click("#block-table tbody tr .name")
    check_looks(page)


def check_accessible(page, *_):
    """What a screen reader is told: names for all that acts, headings, a live region."""
    page.call("Accessibility.enable")
    nodes = page.call("Accessibility.getFullAXTree")["nodes"]
    roles = {}
    for node in nodes:
        if node.get("ignored"):
            continue
        role = node.get("role", {}).get("value")
        roles.setdefault(role, []).append(node.get("name", {}).get("value", "").strip())
    assert all(roles["button"]), "a button has no name"
    assert all(roles.get("table", [])) and len(roles["table"]) >= 4
    assert {"main", "banner", "navigation", "heading", "status"} <= set(roles), sorted(map(str, roles))
    headings = set(roles["heading"])
    assert headings >= {"Source", "Timeline", "Kernels", "Array", "Roofline", "Blocks", "Scratchpad", "Energy", "Accuracy",
                        *texts(page, "h3")}, headings


# ---- figures ----

def check_summary(page, stats, _):
    shown = page.run("Object.fromEntries([...document.querySelectorAll('#summary dd')].map(n => [n.dataset.key, n.dataset.value]))")
    for key in ("cycles", "seconds", "joules", "bound"):
        assert near(shown[key], stats[key]), (key, shown[key], stats[key])
    assert float(shown["dram"]) == stats["dram_read_bytes"] + stats["dram_written_bytes"]
    text = texts(page, "#summary dd")[0]
    assert text.replace("\u202f", "") == str(stats["cycles"]), text


def check_kernels(page, stats, _):
    pes = stats["machine"]["rows"] * stats["machine"]["cols"]
    rows = {(r[0], int(r[2])): r for r in table(page, "kernel-table")}
    assert len(rows) == len(stats["kernels"])
    for k in stats["kernels"]:
        row = rows[k["what"], k["cycles"]]
        assert int(row[1]) == k["runs"]
        assert near(row[3], k["cycles"] / stats["cycles"])
        assert near(row[4], k["bound"] / k["cycles"])
        assert near(row[5], k["CAL"]["issued"] / (k["cycles"] * pes))


def check_lines(page, stats, _):
    """Lines cost what kernels take, less what has no place."""
    cycles = sum(map(float, values(page, ".code .share[data-value]")))
    assert near(cycles, sum(k["cycles"] for k in stats["kernels"] if k.get("line"))), cycles


def check_energy(page, stats, _):
    rows = table(page, "energy-table")
    outside, whole = page.run("[...document.querySelectorAll('#energy-table tfoot tr')].map(r => [...r.cells].map(c => c.dataset.value))")
    assert near(sum(float(r[7]) for r in rows) + float(outside[7]), stats["joules"])
    assert near(whole[7], stats["joules"])
    assert near(sum(map(float, whole[1:7])), stats["joules"])


def check_array(page, stats, _):
    """The mean over the PEs is the kernel's; each PE's units are accounted for to the cycle."""
    pes = stats["machine"]["rows"] * stats["machine"]["cols"]
    costly = max(stats["kernels"], key=lambda k: k["cycles"])
    for m, unit in enumerate(("CAL", "LOAD", "FLOW", "STORE")):
        page.click(f"#metrics button:nth-child({m + 1})")
        shares = [float(v) for v in values(page, "#grid button")]
        assert len(shares) == pes
        assert near(sum(shares) / pes, costly[unit]["issued"] / (costly["cycles"] * pes)), unit
    page.click("#metrics button:nth-child(5)")
    assert set(texts(page, "#grid small")) <= {"drain", "tokens", "weights", "hazards", "banks", "special", "queues", "ports"}


def check_layers(page, _, layers):
    if layers is None:
        assert "-compare" in page.run("document.getElementById('layer-table').textContent")
        return
    rows = table(page, "layer-table")
    assert [(r[0], r[1]) for r in rows] == [(l["label"], l["kind"]) for l in layers]
    for row, layer in zip(rows, layers):
        assert near(row[4], layer.get("max_error") or 0) and near(row[5], layer.get("relative_l2") or 0)


# ---- links between parts ----

def check_line_link(page, *_):
    page.click("#hottest button:nth-child(2)")
    line = page.run("document.querySelector('#hottest [aria-pressed=true]').dataset.line")
    assert texts(page, ".code li.on .number") == [line.split(":")[1]]
    assert chips(page)["line"].endswith(":" + line.split(":")[1])
    kernel = texts(page, "#kernel-table tr.on .name")
    assert len(kernel) == 1 and chips(page)["kernel"].startswith(kernel[0].rsplit(" ", 1)[0])
    assert kernel[0].rsplit(" ", 1)[0] in page.run("document.getElementById('array-kernel').textContent")
    assert count(page, "#timeline [data-launch].faded") and count(page, "#timeline [data-launch]:not(.faded)")
    page.click(".code li.on")  # a click on the line itself selects it again
    assert texts(page, ".code li.on .number") == [line.split(":")[1]]


def check_kernel_links(page, *_):
    for row in (3, 1, 2):
        page.click(f"#kernel-table tbody tr:nth-child({row}) .name")
        name = texts(page, "#kernel-table tr.on .name")[0]
        what = name.rsplit(" ", 1)[0]
        for place in ("#array-kernel", "#blocks-kernel", "#roof-note"):
            assert what in texts(page, place)[0], (place, what, texts(page, place))
        assert count(page, ".code li.touched") >= 1
        assert count(page, "#roofline .point.chosen") <= 1


def check_pe_links(page, *_):
    page.click("#grid button:nth-child(2)")
    assert chips(page)["PE"] == "(0,1)"
    assert texts(page, "#pe thead th")[0] == "PE (0,1)"
    dim = page.run("""[...document.querySelectorAll('#block-table tbody tr')].map(r =>
        [r.className.includes('dim'), r.cells[2].dataset.value])""")
    for faded, pes in dim:
        if pes == "all" or pes.startswith("("):
            assert faded == (pes != "all" and "(0,1)" not in pes), (faded, pes)
    page.click("#zoom-launch")
    assert "PE (0,1)" in texts(page, "#time-note")[0]
    page.click("#grid button:nth-child(2)")
    assert "PE" not in chips(page)


def check_block_links(page, *_):
    page.click("#block-table tbody tr:nth-child(2) .name")
    name, unit, pes = page.run("[...document.querySelector('#block-table tr.on').cells].slice(0, 3).map(c => c.dataset.value)")
    assert chips(page)["block"] == name
    assert count(page, ".code li.on") == 1
    out = count(page, "#grid button.out")
    total = count(page, "#grid button")
    assert out == {"all": 0}.get(pes, total - (pes.count("(") or int(pes.split()[0]) if pes != "all" else 0)), (pes, out)
    page.click("#zoom-launch")
    assert count(page, "#timeline [data-block]") > 0
    # and from the timeline
    page.click("#timeline .slice.faded[data-block]")
    chosen = page.run("document.querySelector('#block-table tr.on').cells[0].dataset.value")
    assert chips(page)["block"] == chosen


def check_timeline_links(page, *_):
    page.click("#timeline [data-launch='1']")
    assert chips(page)["launch"] == "1"
    first = chips(page)["kernel"]
    page.run("document.getElementById('timeline').focus()")
    page.key("ArrowRight")
    assert chips(page)["launch"] == "2"
    assert page.run("document.getElementById('said').textContent").find("launch 2") >= 0
    page.key("ArrowLeft")
    assert chips(page)["launch"] == "1" and chips(page)["kernel"] == first


def check_other_links(page, _, layers):
    page.click("#roofline circle:last-of-type")
    kernel = chips(page)["kernel"]
    assert count(page, "#roofline .point.chosen") == 1
    page.run("document.querySelector('#roofline circle').focus()")
    page.key("Enter", "\r")
    assert chips(page)["kernel"]
    page.click("#scratchpad .buffer:not([style*=drain])")
    assert "launch" in chips(page), kernel
    page.click("#energy-table tbody tr:nth-child(2) .name")
    assert texts(page, "#energy-table tr.on .name") == texts(page, "#kernel-table tr.on .name")
    if layers:
        page.click("#layer-table tbody tr:nth-child(3) .name")
        assert "line" in chips(page) and count(page, "#layer-table tr.on") >= 1
    page.click(".chip button")
    assert set(chips(page)) == {"kernel"}, chips(page)


# ---- tools ----

def check_zoom(page, *_):
    said = lambda: texts(page, "#time-range")[0]
    whole = said()
    page.click("#zoom-in")
    assert said() != whole
    page.click("#zoom-out")
    assert said() == whole and page.run("document.getElementById('zoom-all').disabled")
    page.run("document.getElementById('timeline').focus()")
    page.key("+", "+")
    assert said() != whole
    page.key("0", "0")
    assert said() == whole
    page.click("#zoom-launch")
    launch = said()
    assert launch != whole and count(page, "#timeline [data-block]") > 0
    x, y = page.run("(() => { const b = document.getElementById('timeline').getBoundingClientRect(); return [b.left + b.width / 2, b.top + b.height - 60]; })()")
    page.call("Input.dispatchMouseEvent", type="mousePressed", x=x, y=y, button="left", buttons=1, clickCount=1)
    page.call("Input.dispatchMouseEvent", type="mouseMoved", x=x - 60, y=y, button="left", buttons=1)
    page.call("Input.dispatchMouseEvent", type="mouseReleased", x=x - 60, y=y, button="left", buttons=0, clickCount=1)
    page.settle()
    assert said() != launch  # dragged
    page.click("#zoom-all")
    assert said() == whole


def check_sorting(page, *_):
    for name, column, text in (("kernel-table", 6, False), ("kernel-table", 1, True), ("block-table", 5, False), ("energy-table", 2, False)):
        head = f"#{name} th:nth-child({column}) button"
        for direction in (("ascending", "descending") if text else ("descending", "ascending")):
            page.click(head)
            assert page.run(f"document.querySelector('#{name} th:nth-child({column})').getAttribute('aria-sort')") == direction
            got = [r[column - 1] for r in table(page, name)]
            got = got if text else [float(v) for v in got]
            if not text:
                assert got == sorted(got, reverse=direction == "descending"), (name, got)
            else:
                assert page.run(f"{json.dumps(got)}.every((v, i, a) => !i || a[i - 1].localeCompare(v) * {1 if direction == 'ascending' else -1} <= 0)")
    page.run("document.querySelector('#kernel-table th button').focus()")
    page.key("Enter", "\r")
    assert page.run("document.querySelector('#kernel-table th').getAttribute('aria-sort')") != "none"


def check_copy(page, stats, _):
    page.run("window.copied = ''; navigator.clipboard.writeText = text => { window.copied = text; return Promise.resolve(); }; 0")
    page.click("[data-table=kernel-table]")
    rows = [line.split("\t") for line in page.run("window.copied").splitlines()]
    assert rows[0][:3] == ["Kernel", "Launches", "Cycles"]
    assert sorted(int(r[2]) for r in rows[1:]) == sorted(k["cycles"] for k in stats["kernels"])
    assert page.run("document.querySelector('[data-table=kernel-table]').textContent") == "Copied"
    # without permission, through a selection
    page.run("document.execCommand = () => { window.copied = document.activeElement.value; return true; }; navigator.clipboard.writeText = () => Promise.reject(); 0")
    page.click("[data-table=energy-table]")
    assert page.run("window.copied").splitlines()[-1].startswith("Network\t")


def check_theme(page, *_):
    theme = lambda: page.run("document.documentElement.dataset.theme")
    before = theme()
    page.click("#theme")
    assert theme() != before
    page.click("#theme")
    assert theme() == before
    page.run("localStorage.removeItem('bfcc-theme')")
    page.theme(True)
    page.settle()
    assert theme() == "dark"
    page.theme(False)
    page.settle()
    assert theme() == "light"


def check_trace(page, stats, _):
    """The trace of a whole network stays under 50 MB and has all launches, and blocks of each kernel."""
    path = page.url.removeprefix("file://").replace(".html", ".json")
    if not os.path.exists(path):
        return
    assert 1e6 < os.path.getsize(path) < 50e6, os.path.getsize(path)
    with open(path, encoding="utf-8") as file:
        events = json.load(file)["traceEvents"]
    launches = [e for e in events if e["ph"] == "X" and (e["pid"], e["tid"]) == (1, 1)]
    assert len(launches) == sum(k["runs"] for k in stats["kernels"])
    assert sum(e["args"]["blocks shown"] == e["args"]["of"] for e in launches) >= len(stats["kernels"])


LOOKS = [check_looks, check_zoomed_looks]
REST = [check_accessible, check_summary, check_kernels, check_lines, check_energy, check_array, check_layers,
        check_line_link, check_kernel_links, check_pe_links, check_block_links, check_timeline_links,
        check_other_links, check_zoom, check_sorting, check_copy, check_theme, check_trace]


def shoot(browser, reports, folder):
    os.makedirs(folder, exist_ok=True)
    url = reports["fabnet"][0]
    for name, dark, prepare in (("report", False, ("#kernel-table tbody tr:nth-child(6) .name", "#zoom-launch", "#grid button:nth-child(6)")),
                                ("report-dark", True, ())):
        page = browser.open(url, *SIZES["desk"], dark)
        for selector in prepare:
            page.click(selector)
        page.call("Input.dispatchMouseEvent", type="mouseMoved", x=2, y=2)
        page.run("scrollTo(0, 0)")
        page.settle()
        page.screenshot(os.path.join(folder, name + ".png"))
    page = browser.open(url, *SIZES["phone"], True)
    page.run("document.getElementById('array').scrollIntoView(); scrollBy(0, -60)")
    page.settle()
    page.screenshot(os.path.join(folder, "report-phone.png"))


def main():
    build = os.path.abspath(sys.argv[1] if len(sys.argv) > 1 else os.path.join(TOP, "build"))
    passed = failed = 0

    def attempt(name, check, page, *data):
        nonlocal passed, failed
        try:
            page.messages.clear()
            check(page, *data)
            assert not page.messages, page.messages
            passed += 1
        except Exception:  # whatever goes wrong in one check is that check's failure
            failed += 1
            print(f"FAIL: {name}\n{traceback.format_exc(limit=-2)}", flush=True)

    with tempfile.TemporaryDirectory() as folder, Browser() as browser:
        reports = make_reports(build, folder)
        for report, (url, stats, layers) in reports.items():
            for size, (width, height) in SIZES.items():
                for dark in (False, True):
                    page = browser.open(url, width, height, dark)
                    for check in LOOKS:
                        attempt(f"{report}, {size}, {'dark' if dark else 'light'}: {check.__name__}", check, page, stats, layers)
            for check in REST:
                page = browser.open(url, *SIZES["desk"], False)
                attempt(f"{report}: {check.__name__}", check, page, stats, layers)
        if len(sys.argv) > 2:
            shoot(browser, reports, sys.argv[2])
    print(f"{passed} passed, {failed} failed")
    return 0 if passed and not failed else 1


if __name__ == "__main__":
    sys.exit(main())
