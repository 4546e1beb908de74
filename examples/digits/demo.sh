#!/bin/sh
# Compiles the digits network and runs 200 test images on the cycle simulator: `make demo`.
# BUILD names the folder of bfcc and libbfrt.a; what is made goes to $BUILD/demo.
set -eu
here=$(dirname "$0")
top=$here/../..
build=${BUILD:-build}
out=$build/demo
mkdir -p "$out"

"$build/bfcc" "$here/digits.bfly" -weights "$here/digits.safetensors" -batch 100 -o "$out/digits.bfx"
${CC:-cc} -O2 -I "$top/runtime" "$here/demo.c" "$build/libbfrt.a" -ljansson -lelf -lm -o "$out/demo"
exec "$out/demo" "$out/digits.bfx" "$here/test.safetensors"
