"""Random networks (test/fuzz/networks.py), a few of them; and that their judge can say no."""
import os
import sys
import unittest

import numpy as np

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(TOP, "test", "fuzz"))
import network_maker  # noqa: E402
import networks  # noqa: E402

COUNT = 100
SEED = 20


class RandomNetworks(unittest.TestCase):
    def test_networks(self):
        verdicts, failures, reasons = networks.run_many(SEED, range(COUNT))
        self.assertFalse(failures, "\n".join(failures))
        self.assertGreaterEqual(verdicts["passed"], 0.7 * COUNT, dict(reasons))


class Judge(unittest.TestCase):
    """The judge has to accept what numpy rounds at the end, and to notice small mistakes."""

    def outputs(self, case, weights):
        net = case.network
        results = [network_maker.evaluate(net.body, [s[n] for n in net.body.inputs], "", weights)
                   for s in case.samples]
        arrays = {name: np.stack([r[i] for r in results]).astype(np.float16)
                  for i, name in enumerate(net.outputs)}
        return arrays if case.count else {n: a[0] for n, a in arrays.items()}

    def test_right_results_are_accepted(self):
        for number in range(30):
            case = networks.Case(SEED, number)
            self.assertIsNone(case.judge(self.outputs(case, case.network.weights)))

    def test_wrong_weights_are_noticed(self):
        """One parameter, all of it reversed. A bias before a layernorm or softmax may not matter."""
        noticed = tried = 0
        for number in range(30):
            case = networks.Case(SEED, number)
            for name, tensor in case.network.weights.items():
                if tensor.ndim < 2 or tensor.size < 4:
                    continue
                weights = dict(case.network.weights)
                weights[name] = tensor.ravel()[::-1].reshape(tensor.shape)
                tried += 1
                noticed += case.judge(self.outputs(case, weights)) is not None
        self.assertGreater(tried, 50)
        self.assertGreaterEqual(noticed, 0.9 * tried)


if __name__ == "__main__":
    unittest.main()
