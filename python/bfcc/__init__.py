"""Butterfly, Fourier and attention networks: layers for torch, and the way to bfcc's array and host code.

    model = MyModel(...)                                   # torch.nn and bfcc's modules
    bfcc.export(model, torch.zeros(1, 128, 256), "net.bfly")
    program = bfcc.compile("net.bfly")                     # net.bfx
    y = bfcc.Model(program).run({"x": x}, device="sim")["y"]
"""
from .export import Exported, ExportError, export
from .factorize import Factorized, Layer, factorize
from .modules import BlockButterfly, Butterfly, FFTCompress, Fourier, Monarch, MonarchStack
from .runtime import KernelStats, Model, RunError, Stats, TensorInfo
from .tools import CompileError, compile

__version__ = "0.1.0"
__all__ = ["BlockButterfly", "Butterfly", "CompileError", "ExportError", "Exported", "FFTCompress",
           "Factorized", "Fourier", "KernelStats", "Layer", "Model", "Monarch", "MonarchStack",
           "RunError", "Stats", "TensorInfo", "compile", "export", "factorize"]
