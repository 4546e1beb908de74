"""Host code: functions against float64, pieces of work against the whole, as a shared object."""
import ctypes
import math
import os
import pathlib
import sys
import tempfile
import unittest

import numpy as np

TOP = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(TOP / "test" / "reference"))
import hostcode  # noqa: E402
import tensorfile  # noqa: E402

BFCC = pathlib.Path(os.environ.get("BF_BUILD", "build")).resolve() / "bfcc"
COLUMNS = 1037  # vectors and a tail

erf = np.vectorize(math.erf)


def gelu(x):
    return 0.5 * x * (1 + erf(x / math.sqrt(2)))


def gelu_tanh(x):
    return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x ** 3)))


# Expression, function, largest error; relative, or for `scaled` relative to the argument.
FUNCTIONS = {
    "tanh": ("tanh(x)", np.tanh, 4e-7, False),
    "sigmoid": ("sigmoid(x)", lambda x: 1 / (1 + np.exp(-x)), 3e-6, False),
    "silu": ("silu(x)", lambda x: x / (1 + np.exp(-x)), 2.5e-7, True),
    "gelu": ("gelu(x)", gelu, 2e-7, True),
    "gelu_tanh": ("gelu(x, approximate = tanh)", gelu_tanh, 4e-7, True),
    "relu": ("relu(x)", lambda x: np.maximum(x, 0), 0, False),
    "quotient": ("x / (x * x + 2)", lambda x: x / (x * x + 2), 3e-7, False),
}


def network(text, *options):
    with tempfile.TemporaryDirectory() as folder:
        source = pathlib.Path(folder) / "net.bfly"
        source.write_text(text)
        return hostcode.Network(BFCC, source, *options)


class Functions(unittest.TestCase):
    def arguments(self):
        rng = np.random.default_rng(5)
        small = rng.standard_normal(4 * COLUMNS) * 10.0 ** rng.uniform(-12, 0, 4 * COLUMNS)
        wide = rng.uniform(-30, 30, 4 * COLUMNS)
        return np.concatenate([small, wide]).astype(np.float32).reshape(8, COLUMNS)

    def test_errors_are_below_what_is_stated(self):
        x = self.arguments()
        for name, (expression, function, limit, scaled) in FUNCTIONS.items():
            net = network(f"network f_{name}() {{ input x: f32[8, {COLUMNS}]; "
                          f"output y = {expression}; }}\n")
            y = net.run({"x": x})["y"].astype(np.float64)
            exact = function(x.astype(np.float64))
            size = np.abs(x if scaled else exact)
            error = (np.abs(y - exact) / np.maximum(size, 1e-37)).max()
            self.assertLessEqual(error, limit, name)
            self.assertGreater(np.abs(y).max(), 0.3, name)

    def test_large_arguments_and_nans(self):
        x = np.zeros((8, COLUMNS), np.float32)
        x[0, :6] = [np.inf, -np.inf, 3e38, -3e38, 100, -100]
        x[1, :20] = np.nan
        wanted = {"tanh": [1, -1] * 3, "sigmoid": [1, 0] * 3, "relu": [np.inf, 0, 3e38, 0, 100, 0]}
        for name, values in wanted.items():
            net = network(f"network f_{name}() {{ input x: f32[8, {COLUMNS}]; "
                          f"output y = {FUNCTIONS[name][0]}; }}\n")
            y = net.run({"x": x})["y"]
            np.testing.assert_allclose(y[0, :6], np.float32(values), rtol=1e-6, atol=1e-37)
            if name != "relu":
                self.assertTrue(np.isnan(y[1, :20]).all(), name)

    def test_softmax_and_variance_of_hard_rows(self):
        """Rows far from 0 and of large spread: a variance from squares would cancel."""
        rng = np.random.default_rng(6)
        x = (rng.standard_normal((40, 77)) * 0.5 + 1000).astype(np.float32)
        net = network("network hard() { input x: f32[40, 77]; output n = layernorm(x, affine = "
                      "false); output s = softmax(x); }\n")
        out = net.run({"x": x})
        d = x.astype(np.float64)
        d -= d.mean(1, keepdims=True)
        n = d / np.sqrt((d * d).mean(1, keepdims=True) + 1e-5)
        e = np.exp(x.astype(np.float64) - x.max(1, keepdims=True))
        self.assertLess(np.abs(out["n"] - n).max(), 4e-4)  # ulps of x and of the mean are 6e-5
        np.testing.assert_allclose(out["s"], e / e.sum(1, keepdims=True), rtol=2e-6)


TASK = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int64)
RUN = ctypes.CFUNCTYPE(None, ctypes.c_void_p, TASK, ctypes.c_void_p, ctypes.c_int64)


class Executor(ctypes.Structure):
    _fields_ = [("self", ctypes.c_void_p), ("threads", ctypes.c_uint), ("run", RUN)]


class Pieces(unittest.TestCase):
    """However the work is cut, and in whatever order it is done, the same bits come out."""

    def outputs(self, net, inputs, threads):
        counts = []

        def run(_, task, argument, count):
            counts.append(count)
            for i in reversed(range(count)):
                task(argument, i % threads, i)

        executor = Executor(None, threads, RUN(run))
        size = net.function("workspace_size")
        size.restype = ctypes.c_int64
        workspace = hostcode.aligned(size(threads), 0xFF)
        results = [np.zeros(shape, kind) for _, shape, kind in net.ports(True)]
        status = net.function("run_on")(
            (ctypes.c_void_p * len(inputs))(*[a.ctypes.data for a in inputs]),
            (ctypes.c_void_p * len(results))(*[a.ctypes.data for a in results]),
            ctypes.c_void_p(workspace.ctypes.data), ctypes.byref(executor) if threads else None)
        self.assertEqual(0, status)
        return results, counts

    def test_pieces_are_the_whole(self):
        case = TOP / "test" / "reference"
        for name in ("net_hybrid_3x128", "net_fabnet_2x64", "net_dense_pre_norm"):
            file = case / f"{name}.safetensors"
            net = hostcode.Network(BFCC, case / "networks" / f"{name}.bfly", "-weights", file,
                                   "-batch", 3)
            tensors, _ = tensorfile.load(file)
            inputs = [np.ascontiguousarray(
                np.broadcast_to(tensors["input." + n], shape), kind)
                for n, shape, kind in net.ports(False)]
            whole, _ = self.outputs(net, inputs, 1)
            for threads in (2, 5):
                cut, counts = self.outputs(net, inputs, threads)
                self.assertGreater(max(counts), 1)
                for a, b in zip(whole, cut):
                    self.assertEqual(a.tobytes(), b.tobytes(), f"{name} on {threads}")


class Errors(unittest.TestCase):
    def test_ids_outside_of_the_table(self):
        net = network("network look() { input ids: i32[4]; output y = embedding(ids, num = 10, "
                      "dim = 3); }\n", "-random-weights", 1)
        net.run({"ids": np.arange(4)})
        for wrong in (10, -1):
            with self.assertRaisesRegex(hostcode.Failed, "look_run returns 3"):
                net.run({"ids": np.array([0, wrong, 2, 3])})

    def test_pointers(self):
        net = network("network one() { input x: f32[4]; output y = relu(x); }\n")
        run, null = net.function("run"), (ctypes.c_void_p * 1)(None)
        space = hostcode.aligned(256)
        fine = (ctypes.c_void_p * 1)(space.ctypes.data + 64)
        self.assertEqual(1, run(None, fine, ctypes.c_void_p(space.ctypes.data)))
        self.assertEqual(1, run(null, fine, ctypes.c_void_p(space.ctypes.data)))
        self.assertEqual(2, run(fine, fine, ctypes.c_void_p(space.ctypes.data + 4)))


if __name__ == "__main__":
    unittest.main()
