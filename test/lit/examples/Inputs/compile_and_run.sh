# PYTHON NAME OPTIONS: compiles NAME.bfly with random weights; runs it on sim and on ref, which must
# agree, and on host, which computes in f32 and must be near.
set -e
python=$1 name=$2; shift 2
here=$(dirname "$0")
bfcc "$name.bfly" "$@" -random-weights 1 -embed-net -o "$name.bfx"
for device in sim ref host; do
    bfrun "$name.bfx" -random-inputs 1 -device $device -out "$name.$device.safetensors"
done
cmp "$name.sim.safetensors" "$name.ref.safetensors"
"$python" "$here/near.py" "$name.ref.safetensors" "$name.host.safetensors" 0.01
