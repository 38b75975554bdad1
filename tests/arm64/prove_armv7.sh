#!/bin/sh
# prove_armv7.sh PYTHON: the bundled model on 32 bit ARM, which has tflite-runtime 2.14 and nothing else. PYTHON has pip.
# Debian's armhf packages are unpacked, not installed: its numpy is below 2, its Pillow (9.4) is too old for cxrs-edge,
# and PyPI has no newer one for armv7l. So this infers the self-test's prepared pixels, and reads no X-ray.
set -eu
repository=$(cd "$(dirname "$0")/../.." && pwd)
root=${CXRS_ARM64_ROOT:-$HOME/.cache/cxrs-edge}/armv7-bookworm

[ "$(id -u)" -eq 0 ] || {
    echo "prove_armv7.sh: run as uid $(id -u); debootstrap needs root: sudo make test-armv7" >&2
    exit 1
}
command -v qemu-arm-static >/dev/null && command -v debootstrap >/dev/null || {
    echo "prove_armv7.sh: install qemu-user-static and debootstrap first" >&2
    exit 1
}
# Renamed when complete, so that an interrupted download is never taken for a root.
[ -d "$root" ] || {
    rm -rf "$root.partial"
    mkdir -p "$(dirname "$root")"
    debootstrap --foreign --arch=armhf --variant=minbase --include=python3,python3-numpy,python3-pil \
        bookworm "$root.partial" >&2
    for package in "$root.partial"/var/cache/apt/archives/*.deb; do dpkg-deb -x "$package" "$root.partial"; done
    "$1" -m pip install --quiet --target "$root.partial/opt" --no-deps --only-binary=:all: --implementation cp \
        --python-version 3.11 --platform manylinux_2_34_armv7l tflite-runtime==2.14.0
    mv "$root.partial" "$root"
}
libraries=$root/usr/lib/arm-linux-gnueabihf
exec qemu-arm-static -cpu cortex-a7 -L "$root" \
    -E PYTHONHOME="$root/usr" -E PYTHONDONTWRITEBYTECODE=1 \
    -E PYTHONPATH="$root/opt:$root/usr/lib/python3/dist-packages:$repository" \
    -E LD_LIBRARY_PATH="$libraries:$libraries/blas:$libraries/lapack" \
    "$root/usr/bin/python3.11" "$repository/tests/arm64/armv7_check.py"
