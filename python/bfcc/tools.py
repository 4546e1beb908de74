"""Where bfcc is, and bfcc.compile."""
from __future__ import annotations

import functools
import os
import shutil
import subprocess
import warnings
from collections.abc import Sequence
from pathlib import Path

from torch import Tensor, nn

from .export import Exported, export

_TREE = Path(__file__).resolve().parents[2] / "build"


class CompileError(Exception):
    """What bfcc says is wrong, with places in the network's text."""


def _pkg_config(package: str, variable: str) -> list[Path]:
    try:
        done = subprocess.run(["pkg-config", f"--variable={variable}", package], text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    except OSError:
        return []
    return [Path(done.stdout.strip())] if done.returncode == 0 and done.stdout.strip() else []


def _prefixes() -> list[Path]:
    """Folders of BFCC_PATH and those above, where a prefix or a build folder may be."""
    folders = [Path(f) for f in os.environ.get("BFCC_PATH", "").split(os.pathsep) if f]
    return [g for f in folders for g in (f, *list(f.parents)[:3])]


@functools.cache
def program() -> Path:
    """The program bfcc: below a folder of BFCC_PATH, in PATH, by pkg-config, or in the build folder of
    the source tree that holds this package."""
    found = [f / name for f in _prefixes() for name in ("bfcc", "bin/bfcc")]
    which = shutil.which("bfcc")
    found += [Path(which)] if which else []
    found += [*_pkg_config("bfcc", "bfcc"), _TREE / "bfcc"]
    for path in found:
        if path.is_file() and os.access(path, os.X_OK):
            return path.resolve()
    raise FileNotFoundError("the program bfcc: install it, and have it in PATH, or its lib/pkgconfig in "
                            "PKG_CONFIG_PATH, or its prefix in BFCC_PATH")


@functools.cache
def library() -> Path:
    """libbfrt.so of the same place."""
    home = program().parent
    for folder in (home, home.parent / "lib", *_pkg_config("bfrt", "libdir")):
        if (folder / "libbfrt.so").exists():
            return folder / "libbfrt.so"
    raise FileNotFoundError(f"libbfrt.so, which belongs to {program()}")


def compile(network: str | os.PathLike[str] | Exported | nn.Module,
            output: str | os.PathLike[str] | None = None, *,
            example: Tensor | Sequence[Tensor] | None = None,
            weights: str | os.PathLike[str] | None = None, batch: int = 1,
            arch: str | os.PathLike[str] | None = None, embed_net: bool = True,
            emit: str = "bfx", options: Sequence[str] = ()) -> Path:
    """Calls bfcc and returns the path of what it made, by default NETWORK.bfx.

    `network` is a .bfly file, what `export` returned, or a module, which is exported with `example`.
    The weights are those beside a .bfly file of the same name unless given. `embed_net` keeps the
    network in the program, which the device "host" and comparisons need. `emit` and `options` are
    bfcc's own; emit "obj" and "header" give code for this computer.
    """
    if isinstance(network, nn.Module):
        if example is None:
            raise ValueError("a module is compiled with an example of its inputs")
        if output is None:
            raise ValueError("a module is compiled to an output, such as net.bfx")
        network = export(network, example, Path(output).with_suffix(".bfly"))
    if isinstance(network, Exported):
        weights = weights or network.weights
        network = network.bfly
    source = Path(network)
    if weights is None and source.with_suffix(".safetensors").exists():
        weights = source.with_suffix(".safetensors")
    suffix = {"obj": ".o", "header": ".h", "asm": ".bfs"}.get(emit, "." + emit)
    target = Path(output) if output is not None else source.with_suffix(suffix)
    command = [str(program()), str(source), "-o", str(target), "-emit", emit]
    command += ["-weights", str(weights)] if weights is not None else []
    command += ["-batch", str(batch)] if batch != 1 else []
    command += ["-arch", str(arch)] if arch is not None else []
    command += ["-embed-net"] if embed_net and emit == "bfx" else []
    done = subprocess.run([*command, *options], text=True, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if done.returncode:
        raise CompileError(done.stdout.strip())
    if done.stdout.strip():
        warnings.warn(done.stdout.strip(), stacklevel=2)
    return target


