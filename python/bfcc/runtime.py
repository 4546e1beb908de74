"""bfcc.Model: runs programs and networks by libbfrt."""
from __future__ import annotations

import functools
import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cffi
import numpy as np
import numpy.typing as npt

from . import tools

# Declarations of bfrt.h, word for word; a test compares them.
DECLARATIONS = """
struct bfrt_error {
    int code;
    char text[1024];
};
const char *bfrt_version(void);
struct bfrt_model;
struct bfrt_model *bfrt_load(const char *path, struct bfrt_error *error);
struct bfrt_model *bfrt_load_network(const char *path, const char *const *options,
                                     struct bfrt_error *error);
void bfrt_model_free(struct bfrt_model *model);
enum bfrt_type { BFRT_F16, BFRT_BF16, BFRT_F32, BFRT_F64, BFRT_I32, BFRT_I64, BFRT_U8, BFRT_BOOL };
enum { BFRT_MAX_RANK = 4 };
struct bfrt_tensor {
    const char *name;
    enum bfrt_type type;
    unsigned rank;
    uint64_t dims[BFRT_MAX_RANK];
};
size_t bfrt_input_count(const struct bfrt_model *model);
size_t bfrt_output_count(const struct bfrt_model *model);
const struct bfrt_tensor *bfrt_input(const struct bfrt_model *model, size_t index);
const struct bfrt_tensor *bfrt_output(const struct bfrt_model *model, size_t index);
struct bfrt_info {
    const char *network;
    const char *machine;
    uint64_t machine_hash;
    unsigned rows, cols;
    unsigned lanes;
    unsigned clock_mhz;
    unsigned batch;
    unsigned optimize;
    bool resident;
    uint64_t weights_hash;
    uint64_t rodata_bytes;
    uint64_t dram_bytes;
    size_t kernel_count, launch_count, dma_count;
};
const struct bfrt_info *bfrt_info(const struct bfrt_model *model);
struct bfrt_place {
    const char *file;
    unsigned line, column;
};
struct bfrt_kernel {
    const char *name;
    const char *what;
    struct bfrt_place place;
    size_t blocks;
    size_t cal_words;
    size_t launches;
};
const struct bfrt_kernel *bfrt_kernel(const struct bfrt_model *model, size_t index);
struct bfrt_options {
    FILE *trace;
    uint64_t cycle_limit;
    bool exact;
    void (*progress)(void *user, double done);
    void *user;
};
struct bfrt_session;
struct bfrt_session *bfrt_session_create(const struct bfrt_model *model, const char *device,
                                         const struct bfrt_options *options,
                                         struct bfrt_error *error);
void bfrt_session_free(struct bfrt_session *session);
bool bfrt_bind(struct bfrt_session *session, const char *input, enum bfrt_type type, unsigned rank,
               const uint64_t *dims, const void *data, struct bfrt_error *error);
bool bfrt_run(struct bfrt_session *session, struct bfrt_error *error);
unsigned bfrt_output_shape(const struct bfrt_session *session, size_t index,
                           uint64_t dims[BFRT_MAX_RANK + 1]);
bool bfrt_fetch(const struct bfrt_session *session, const char *output, enum bfrt_type type,
                void *data, size_t count, struct bfrt_error *error);
enum bfrt_unit { BFRT_CAL, BFRT_LOAD, BFRT_FLOW, BFRT_STORE, BFRT_UNITS };
enum bfrt_stall {
    BFRT_STALL_NONE,
    BFRT_STALL_IDLE,
    BFRT_STALL_TOKEN,
    BFRT_STALL_WEIGHTS,
    BFRT_STALL_HAZARD,
    BFRT_STALL_BANK,
    BFRT_STALL_SPECIAL,
    BFRT_STALL_QUEUE,
    BFRT_STALL_PORT,
    BFRT_STALLS
};
struct bfrt_kernel_stats {
    uint64_t runs;
    uint64_t cycles;
    uint64_t issued[BFRT_UNITS];
    uint64_t stalled[BFRT_UNITS][BFRT_STALLS];
    uint64_t special;
    uint64_t ram_words, hops, scratchpad_words;
    uint64_t infinities, nans;
    uint64_t bound;
    const char *bound_by;
};
struct bfrt_stats {
    bool timed;
    uint64_t samples, groups;
    uint64_t cycles;
    uint64_t measured;
    uint64_t dram_read, dram_written, dram_measured;
    uint64_t dma_wait;
    uint64_t skipped;
    uint64_t bound;
    const char *bound_by;
    double energy;
    uint64_t infinities, nans;
    size_t kernel_count;
    const struct bfrt_kernel_stats *kernels;
};
const struct bfrt_stats *bfrt_stats(const struct bfrt_session *session);
"""

_TYPES = {"f16": np.float16, "f32": np.float32, "i32": np.int32, "u8": np.uint8}
_NAMES = ("f16", "bf16", "f32", "f64", "i32", "i64", "u8", "bool")
_NUMPY = {np.dtype(np.float16): 0, np.dtype(np.float32): 2, np.dtype(np.float64): 3,
          np.dtype(np.int32): 4, np.dtype(np.int64): 5, np.dtype(np.uint8): 6, np.dtype(np.bool_): 7}
_DEVICES = ("ref", "sim", "host")


class RunError(Exception):
    """What libbfrt says is wrong."""


@dataclass(frozen=True)
class TensorInfo:
    """An input or output of one sample: f16, f32, i32 or u8."""
    name: str
    type: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class KernelStats:
    """A kernel in the last run, over all samples."""
    name: str
    what: str
    line: int
    runs: int
    cycles: int
    bound: int
    bound_by: str


@dataclass(frozen=True)
class Stats:
    """The last run. Cycles, bounds and energy (joules) are 0 unless the device is "sim"."""
    samples: int
    groups: int
    cycles: int
    bound: int
    bound_by: str
    dram_read: int
    dram_written: int
    energy: float
    infinities: int
    nans: int
    kernels: tuple[KernelStats, ...]

    @property
    def cycles_per_sample(self) -> float:
        return self.cycles / self.samples


@functools.cache
def _library() -> tuple[Any, Any]:
    ffi = cffi.FFI()
    ffi.cdef(DECLARATIONS)
    path = tools.library()
    library = ffi.dlopen(str(path))
    from . import __version__
    version = ffi.string(library.bfrt_version()).decode()
    if version.split(".")[:2] != __version__.split(".")[:2]:
        raise RunError(f"{path} is of version {version}, this package of {__version__}")
    return ffi, library


class Model:
    """A .bfx program for the array, or a .bfly network for the device "host" only.

    `options` are bfcc's for a network, such as ["-batch", "8"]; its weights are those beside it unless
    they name others. A model is run by one thread at a time.
    """

    def __init__(self, path: str | os.PathLike[str], options: Sequence[str] = ()) -> None:
        self._ffi, self._lib = _library()
        self.path = Path(path)
        error = self._ffi.new("struct bfrt_error *")
        if self.path.suffix == ".bfx":
            if options:
                raise ValueError("a program takes no options, they were bfcc's")
            model = self._lib.bfrt_load(str(path).encode(), error)
        else:
            beside = self.path.with_suffix(".safetensors")
            if not any(o in ("-weights", "-random-weights") for o in options) and beside.exists():
                options = ["-weights", str(beside), *options]
            words = [self._ffi.new("char[]", o.encode()) for o in options]
            model = self._lib.bfrt_load_network(
                str(path).encode(), self._ffi.new("const char *[]", [*words, self._ffi.NULL]), error)
        if model == self._ffi.NULL:
            raise RunError(self._text(error.text))
        self._model = self._ffi.gc(model, self._lib.bfrt_model_free)
        self._sessions: dict[Any, Any] = {}
        self.inputs = self._tensors("input")
        self.outputs = self._tensors("output")
        info = self._lib.bfrt_info(self._model)
        self.network, self.machine = self._text(info.network), self._text(info.machine)
        self.batch = int(info.batch)
        self.stats: Stats | None = None

    def __repr__(self) -> str:
        def show(tensors: tuple[TensorInfo, ...]) -> str:
            return ", ".join(f"{t.name}: {t.type}{list(t.shape)}" for t in tensors)
        return f"Model({str(self.path)!r}: {show(self.inputs)} -> {show(self.outputs)})"

    def _text(self, chars: Any) -> str:
        return self._ffi.string(chars).decode(errors="replace") if chars != self._ffi.NULL else ""

    def _tensors(self, what: str) -> tuple[TensorInfo, ...]:
        count = getattr(self._lib, f"bfrt_{what}_count")(self._model)
        tensors = [getattr(self._lib, f"bfrt_{what}")(self._model, i) for i in range(count)]
        return tuple(TensorInfo(self._text(t.name), _NAMES[t.type], tuple(t.dims[0:t.rank]))
                     for t in tensors)

    def _session(self, device: str, exact: bool, cycle_limit: int) -> Any:
        if device not in _DEVICES:
            raise ValueError(f"device is one of {', '.join(_DEVICES)}, not {device!r}")
        key = (device, exact, cycle_limit)
        if key not in self._sessions:
            options = self._ffi.new("struct bfrt_options *", {"exact": exact,
                                                              "cycle_limit": cycle_limit})
            error = self._ffi.new("struct bfrt_error *")
            session = self._lib.bfrt_session_create(self._model, device.encode(), options, error)
            if session == self._ffi.NULL:
                raise RunError(self._text(error.text))
            free, model = self._lib.bfrt_session_free, self._model  # the model outlives it
            self._sessions[key] = self._ffi.gc(session, lambda s, _=model: free(s))
        return self._sessions[key]

    def run(self, inputs: Mapping[str, npt.ArrayLike], device: str = "ref", *, exact: bool = False,
            cycle_limit: int = 0) -> dict[str, np.ndarray]:
        """Values of all inputs, by name -> those of all outputs.

        Arrays have the shape of one sample, or one more axis in front: any number of samples. "ref" is
        the functional device, "sim" moves the array cycle by cycle, "host" is code for this computer.
        Outputs are float32, or int32 where the network says i32. `stats` has what the run cost.
        """
        missing = [t.name for t in self.inputs if t.name not in inputs]
        surplus = [name for name in inputs if name not in {t.name for t in self.inputs}]
        if missing or surplus:
            raise RunError("; ".join([f"no value for input {n!r}" for n in missing]
                                     + [f"no input is called {n!r}" for n in surplus]))
        session = self._session(device, exact, cycle_limit)
        error = self._ffi.new("struct bfrt_error *")
        for name, value in inputs.items():
            array = np.ascontiguousarray(value)
            if array.dtype not in _NUMPY:
                raise RunError(f"input {name!r} is of type {array.dtype}; it can be "
                               + ", ".join(t.name for t in _NUMPY))
            shape = np.shape(value)
            ok = self._lib.bfrt_bind(session, name.encode(), _NUMPY[array.dtype], len(shape),
                                     self._ffi.new("uint64_t[]", list(shape) or 1),
                                     self._ffi.from_buffer("char[]", array.reshape(-1).view(np.uint8)),
                                     error)
            self._raise(ok, error)
        self._raise(self._lib.bfrt_run(session, error), error)
        self.stats = self._read_stats(session)
        if self.stats.infinities or self.stats.nans:
            warnings.warn(f"{self.path}: {self.stats.infinities} infinities and {self.stats.nans} NaNs "
                          "were stored", RuntimeWarning, stacklevel=2)
        return {t.name: self._fetch(session, i, t) for i, t in enumerate(self.outputs)}

    def _raise(self, ok: bool, error: Any) -> None:
        if not ok:
            raise RunError(self._text(error.text))

    def _fetch(self, session: Any, index: int, tensor: TensorInfo) -> np.ndarray:
        dims = self._ffi.new("uint64_t[5]")
        rank = self._lib.bfrt_output_shape(session, index, dims)
        kind = np.int32 if tensor.type == "i32" else np.float32
        array = np.empty(tuple(dims[0:rank]), kind)
        error = self._ffi.new("struct bfrt_error *")
        data = self._ffi.from_buffer("char[]", array.reshape(-1).view(np.uint8))
        self._raise(self._lib.bfrt_fetch(session, tensor.name.encode(), _NUMPY[array.dtype], data,
                                         array.size, error), error)
        return array

    def _read_stats(self, session: Any) -> Stats:
        s = self._lib.bfrt_stats(session)
        kernels = []
        for i in range(s.kernel_count if s.timed else 0):
            kernel, cost = self._lib.bfrt_kernel(self._model, i), s.kernels[i]
            kernels.append(KernelStats(self._text(kernel.name), self._text(kernel.what),
                                       kernel.place.line, cost.runs, cost.cycles, cost.bound,
                                       self._text(cost.bound_by)))
        return Stats(s.samples, s.groups, s.cycles, s.bound, self._text(s.bound_by), s.dram_read,
                     s.dram_written, s.energy, s.infinities, s.nans, tuple(kernels))
