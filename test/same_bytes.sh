#!/bin/sh
# Two builds of bfcc make the same files: same_bytes.sh BUILD OTHER. Also two runs of the same build, from
# another folder, under another name of the input, with another environment.
set -eu
one=$(cd "$1" && pwd)/bfcc
other=$(cd "$2" && pwd)/bfcc
top=$(cd "$(dirname "$0")/.." && pwd)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

count=0
for network in digits.bfly fabnet_2x64 hybrid_3x128; do
    case $network in
    digits.bfly) source=$top/examples/digits/digits.bfly ;;
    *) source=$top/test/reference/networks/net_$network.bfly ;;
    esac
    for level in bfx map; do
        "$one" "$source" -random-weights 7 -emit $level -o "$scratch/1"
        cp "$source" "$scratch/$(basename "$source")"
        (cd "$scratch" && env -i LC_ALL=C TZ=Asia/Tokyo "$other" "$(basename "$source")" \
            -random-weights 7 -emit $level -o 2)
        cmp "$scratch/1" "$scratch/2" || {
            echo "same_bytes: $network: $one and $other make different ${level} files" >&2
            exit 1
        }
        count=$((count + 1))
    done
    for cpu in x86-64-v3 x86-64-v4 armv8-a; do
        triple=x86_64-linux-gnu
        [ $cpu = armv8-a ] && triple=aarch64-linux-gnu
        for level in obj header; do
            number=1
            for bfcc in "$one" "$other"; do
                (cd "$scratch" && "$bfcc" "$(basename "$source")" -random-weights 7 -emit $level \
                    -target $triple -march=$cpu -o host.$number)
                number=2
            done
            cmp "$scratch/host.1" "$scratch/host.2" || {
                echo "same_bytes: $network: $one and $other make different ${level} files for $cpu" >&2
                exit 1
            }
            count=$((count + 1))
        done
    done
done
echo "same_bytes: $count files, the same from both"
