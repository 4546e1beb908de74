# How lit runs the tests of this folder. A test is a file with RUN: lines; bfcc, bfrun, bfas and
# bfdis come from the build folder, FileCheck and not from LLVM. %{build} and %{top} are the build
# folder and the checkout, %{python} is a Python with numpy and safetensors, %{cc} the C compiler of
# the build with the flags that linking with its libraries needs, %{march} a CPU for host code that
# valgrind knows. Folders named Inputs hold files that tests share.
import os
import shutil
import sys

import lit.formats

config.name = "bfcc"
config.test_format = lit.formats.ShTest(execute_external=False)
config.suffixes = [".test", ".bfly", ".bfs"]
config.excludes = ["Inputs"]

top = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
build = lit_config.params.get("build", os.path.join(top, "build"))
config.test_source_root = os.path.dirname(os.path.abspath(__file__))
config.test_exec_root = os.path.join(build, "test", "lit")

config.environment["PATH"] = os.pathsep.join(
    [build, "/usr/lib/llvm-19/bin", os.environ.get("PATH", "/usr/bin:/bin")])
for name in ("ASAN_OPTIONS", "UBSAN_OPTIONS", "CC"):
    if name in os.environ:
        config.environment[name] = os.environ[name]
config.environment["NO_COLOR"] = "1"
if shutil.which("gdb"):
    config.available_features.add("gdb")

config.substitutions += [("%{build}", build), ("%{top}", top), ("%{python}", sys.executable),
                         ("%{cc}", os.environ.get("BF_CC", "gcc")),
                         ("%{march}", "x86-64-v3" if os.uname().machine == "x86_64" else "native")]
