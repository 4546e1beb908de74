"""What sim skips - steady states, launches that repeat - changes no output and hardly any number."""
import json
import os
import pathlib
import re
import subprocess
import tempfile
import unittest

HERE = pathlib.Path(__file__).resolve().parent
BUILD = pathlib.Path(os.environ.get("BF_BUILD", HERE.parent.parent / "build")).resolve()

# name: declarations and result, further options of bfcc, must it skip?
KERNELS = {
    "butterfly, big batch": ("input x: f16[2048, 512]; output y = butterfly(x, 512);", (), True),
    "butterfly, one tile": ("input x: f16[16, 512]; output y = butterfly(x, 512);", (), False),
    "butterfly in passes": ("input x: f16[96, 4096]; output y = butterfly(x, 4096);", (), False),
    "rectangular butterfly": ("input x: f16[2048, 192]; output y = butterfly(x, 384);", (), True),
    "fft": ("input x: f16[1024, 256]; output y = fourier(x);", (), False),
    "fft, batch": ("input x: f16[64, 64]; output y = fourier(x);", ("-batch", "16"), False),
    "dense, several sets": ("input x: f16[1024, 256]; output y = linear(x, 256);", (), True),
    "dense, uneven": ("input x: f16[77, 200]; output y = linear(x, 330);", (), False),
    "attention": ("input x: f16[256, 64]; output y = attention(x, x, x, heads = 2);", (), False),
    "attention, long": ("input x: f16[512, 256]; output y = attention(x, x, x, heads = 4);",
                        (), False),
    "causal attention": ("input x: f16[128, 64]; output y = attention(x, x, x, heads = 2, causal);",
                         ("-batch", "4"), False),
    "rows": ("input x: f16[16384, 64]; output y = gelu(layernorm(x));", (), False),
    "rows with a constant": ("input x: f16[1024, 96]; output y = rmsnorm(x) + x;", (), False),
    "block dense": ("input x: f16[512, 256]; output y = monarch(x);", (), False),
    "block butterfly": ("input x: f16[512, 256]; output y = block_butterfly(x, 256, tile = 32);",
                        (), False),
    "small machine": ("input x: f16[512, 128]; output y = butterfly(x, 128);",
                      ("-arch", "mlx-reduced"), False),
}
LIMIT = 0.005


class SteadyState(unittest.TestCase):
    def run_both(self, body, options):
        with tempfile.TemporaryDirectory() as name:
            folder = pathlib.Path(name)

            def call(program, *words):
                return subprocess.run([BUILD / program, *words], cwd=folder, check=True, text=True,
                                      stdout=subprocess.PIPE).stdout
            (folder / "n.bfly").write_text(f"network n() {{ {body} }}\n")
            call("bfcc", "n.bfly", "-random-weights", "3", *options, "-o", "n.bfx")
            results = []
            for how in ((), ("-exact",), ("-device", "ref")):
                stats = call("bfrun", "n.bfx", "-random-inputs", "1", "-out", "y", "-stats",
                             "json", *how)
                results.append((json.loads(stats), (folder / "y").read_bytes()))
            return results

    def check(self, body, options, must_skip):
        (fast, output), (exact, wanted), (ref, of_ref) = self.run_both(body, options)
        self.assertEqual(output, wanted)
        self.assertEqual(of_ref, wanted)
        self.assertEqual(exact["skipped_cycles"], 0)
        if must_skip: # of the cycles of kernels; DMA that runs beside them keeps them from it
            self.assertGreater(fast["skipped_cycles"], sum(k["cycles"] for k in exact["kernels"]) / 20)
        for key in ("cycles", "joules"):
            self.assertLess(abs(fast[key] / exact[key] - 1), LIMIT, key)
        for key in ("dram_read_bytes", "dram_written_bytes", "infinities", "nans"):
            self.assertEqual(fast[key], exact[key], key)
        for k, kernel in enumerate(exact["kernels"]):
            self.check_kernel(fast["kernels"][k], kernel, ref["kernels"][k])

    def check_kernel(self, fast, exact, ref):
        slots = 16 * exact["cycles"]
        self.assertEqual(fast["runs"], exact["runs"])
        self.assertLess(abs(fast["cycles"] - exact["cycles"]), LIMIT * exact["cycles"] + 1)
        for key in ("special", "ram_words", "hops"):
            self.assertEqual(fast[key], exact[key], key)
            self.assertEqual(ref[key], exact[key], key)
        self.assertLess(abs(fast["scratchpad_words"] - exact["scratchpad_words"]),
                        0.01 * exact["scratchpad_words"] + 1)
        for unit in ("CAL", "LOAD", "FLOW", "STORE"):
            self.assertEqual(fast[unit]["issued"], exact[unit]["issued"], unit)
            self.assertEqual(ref[unit]["issued"], exact[unit]["issued"], unit)
            for cause, cycles in exact[unit]["stalled"].items():
                self.assertLess(abs(fast[unit]["stalled"][cause] - cycles), 0.03 * slots + 1,
                                f"{unit} {cause}")
            total = fast[unit]["issued"] + sum(fast[unit]["stalled"].values())
            self.assertLess(abs(total - 16 * fast["cycles"]), 0.005 * slots + 64, unit)

    def fails(self, change, says):
        """A butterfly whose program is changed fails on every device, skipping or not."""
        with tempfile.TemporaryDirectory() as name:
            folder = pathlib.Path(name)

            def call(program, *words):
                return subprocess.run([BUILD / program, *words], cwd=folder, text=True,
                                      capture_output=True)
            (folder / "n.bfly").write_text(
                "network n() { input x: f16[1024, 512]; output y = butterfly(x, 512); }\n")
            call("bfcc", "n.bfly", "-random-weights", "3", "-o", "n.bfx")
            text = call("bfdis", "n.bfx").stdout
            changed = change(text)
            self.assertNotEqual(changed, text)
            (folder / "n.bfs").write_text(changed)
            done = call("bfas", "n.bfs", "-o", "n.bfx")
            self.assertEqual(done.returncode, 0, done.stderr)
            for how in ((), ("-exact",), ("-device", "ref")):
                done = call("bfrun", "n.bfx", "-random-inputs", "1", *how)
                self.assertEqual(done.returncode, 1, how)
                self.assertRegex(done.stderr, says)

    def test_a_trap_in_an_iteration_that_is_skipped(self):
        # y's last tiles come to lie beyond the scratchpad's 131072 words.
        self.fails(lambda text: re.sub(r"( base=\d+,\d+,)\d+", rf"\g<1>{131072 - 32768 + 7000}",
                                       text), r"scratchpad word 131\d+")

    def test_deadlock(self):
        self.fails(lambda text: re.sub(r"(\.block store\.0 pes=5 .*need=)1", r"\g<1>2", text),
                   "deadlock")

    def test_layers_repeat(self):
        body = ("input x: f16[64, 128]; for (l in 0 .. 6) x = norm[l]: layernorm(x + "
                "gelu(fc[l]: butterfly(x, 128))); output y = x;")
        self.check(body, (), True)


for name, case in KERNELS.items():
    setattr(SteadyState, "test_" + name.replace(" ", "_").replace(",", ""),
            lambda self, case=case: self.check(*case))

if __name__ == "__main__":
    unittest.main()
