#!/bin/sh
# FFTW 3 in single precision, with threads and AVX-512, from Debian's source: fftw.sh FOLDER
# leaves FOLDER/lib/libfftw3f.a and libfftw3f_threads.a. Lists and archives stay in FOLDER.
set -eu
mkdir -p "$1/lists" "$1/cache"
cd "$1"
here=$(pwd)
[ -e lib/libfftw3f_threads.a ] && exit 0

cat > debian.sources <<END
Types: deb-src
URIs: http://deb.debian.org/debian
Suites: bookworm
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg
END
apt() {
    apt-get -q -o Dir::Etc::sourcelist="$here/debian.sources" -o Dir::Etc::sourceparts=/dev/null \
        -o Dir::State::lists="$here/lists" -o Dir::Cache="$here/cache" "$@"
}
apt -o APT::Sandbox::User="$(id -un)" update
apt -o APT::Sandbox::User="$(id -un)" source --download-only fftw3
rm -rf source && mkdir source
tar -xf fftw3_*.orig.tar.gz -C source --strip-components=1
cd source
case $(uname -m) in
x86_64) simd="--enable-sse2 --enable-avx --enable-avx2 --enable-fma --enable-avx512" ;;
*) simd="--enable-neon" ;;
esac
# shellcheck disable=SC2086
./configure -q --prefix="$here" --enable-float --enable-threads --with-pic --disable-fortran $simd \
    CFLAGS="-O3 -fomit-frame-pointer -fstrict-aliasing -ffast-math"
make -s -j"$(nproc)" && make -s install
