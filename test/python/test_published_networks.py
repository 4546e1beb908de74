"""Small versions of the networks of examples/networks against float64 (test/networks)."""
import math
import pathlib
import sys
import unittest

import numpy as np

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "networks"))
import check  # noqa: E402
import models  # noqa: E402
import operators as op  # noqa: E402


class PublishedNetworks(unittest.TestCase):
    def test_all_have_a_model(self):
        folder = check.TOP / "examples" / "networks"
        names = {path.stem for path in folder.glob("*.bfly")}
        self.assertEqual(names, set(models.NETWORKS))
        for table in (check.SMALL, check.LARGE):
            self.assertEqual(names, {network for network, _ in table.values()})

    def test_erf(self):
        x = np.concatenate((np.linspace(-7, 7, 5001), [0, 1e-9, -3e-4]))
        want = [math.erf(v) for v in x]
        np.testing.assert_allclose(models.erf(x), want, rtol=1e-13, atol=1e-16)

    def test_block_butterfly(self):
        rng = np.random.default_rng(1)
        twiddle = rng.normal(size=(3, 2, 1, 3, 4, 2, 2)).astype(np.float16)
        x = rng.normal(size=(5, 16)).astype(np.float16)
        for p, tolerance in ((op.EXACT, 1e-12), (op.HALF_FUSED, 1e-3), (op.HALF_STAGE, 1e-3)):
            np.testing.assert_allclose(models.block_butterfly(p, x, twiddle),
                                       op.block_butterfly(p, x, twiddle), tolerance, tolerance)

    def test_a_wrong_result_fails(self):
        sizes = check.sizes_of("butterfly", {"features": 64, "out": 64})
        draw = models.Draw("wrong")
        x = models.draw_butterfly(draw, sizes)
        want, limit = check.expected("butterfly", draw.weights, x, sizes)
        other = dict(draw.weights, twiddle=np.swapaxes(draw.weights["twiddle"], -1, -2))
        got = models.run_butterfly(op.HALF_STAGE, other, x, sizes).astype(np.float64)
        self.assertGreater(check.relative_l2(got, want), 10 * limit)
        self.assertEqual(check.relative_l2(got * np.inf, want), float("inf"))

    def check(self, name):
        good, line = check.check("small-" + name, *check.SMALL[name])
        self.assertTrue(good, line)


for case in check.SMALL:
    setattr(PublishedNetworks, "test_" + case.replace("-", "_"),
            lambda self, case=case: self.check(case))

if __name__ == "__main__":
    unittest.main()
