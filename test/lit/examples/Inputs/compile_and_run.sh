# NAME OPTIONS: compiles NAME.bfly with random weights; runs it on sim and on ref, which must agree.
set -e
name=$1; shift
bfcc "$name.bfly" "$@" -random-weights 1 -o "$name.bfx"
for device in sim ref; do
    bfrun "$name.bfx" -random-inputs 1 -device $device -out "$name.$device.safetensors"
done
cmp "$name.sim.safetensors" "$name.ref.safetensors"
