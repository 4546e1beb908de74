"""FFTW (through runner.c) and scipy as forms of Fourier mixing."""
import ctypes

import numpy as np
import scipy.fft

LIBRARY = None  # both are set by bench.py
undisturbed = None


class Mixing:
    """y = Re(FFT along both axes of x), or only the transform of real input."""

    def __init__(self, x, threads, whole):
        self.shape, self.whole = x.shape, whole
        with undisturbed():
            self.plan = LIBRARY.mixing_plan(*x.shape, x.ctypes.data_as(ctypes.c_void_p), threads)

    def __call__(self):
        result = LIBRARY.mixing_result(self.plan)
        return np.ctypeslib.as_array(result, self.shape)

    def time(self, runs, cpu):
        return LIBRARY.time_mixing(self.plan, self.whole, runs, cpu)

    def __del__(self):
        LIBRARY.mixing_free(self.plan)


class Scipy:
    def __init__(self, x, threads):
        self.x, self.threads = x, threads

    def __call__(self):
        return scipy.fft.fft2(self.x, workers=self.threads).real
