#!/bin/sh
# make_root.sh RELEASE FOLDER: an arm64 Debian with Python, run through qemu; reused when it is there. Needs root.
set -eu
release=$1
folder=$2
binfmt=/proc/sys/fs/binfmt_misc

[ "$(id -u)" -eq 0 ] || {
    echo "make_root.sh: run as uid $(id -u); debootstrap and chroot need root: sudo make test-arm64" >&2
    exit 1
}
command -v qemu-aarch64-static >/dev/null && command -v debootstrap >/dev/null || {
    command -v apt-get >/dev/null || {
        echo "make_root.sh: qemu-aarch64-static and debootstrap are needed; install them with this system's packages" >&2
        exit 1
    }
    echo "installing Debian's qemu-user-static and debootstrap" >&2
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends qemu-user-static debootstrap >/dev/null
}

[ -e $binfmt/register ] || mount -t binfmt_misc binfmt_misc $binfmt || {
    echo "make_root.sh: this kernel has no binfmt_misc, so it can't start arm64 programs; use another machine" >&2
    exit 1
}
# F: the kernel keeps the interpreter open, so that it is found inside of a chroot that doesn't have it.
# The magic and mask are an ELF header's: 64 bit, little endian, executable or shared, machine 0xb7 (AArch64).
grep -qs '^flags:.*F' $binfmt/qemu-aarch64 || {
    [ ! -e $binfmt/qemu-aarch64 ] || echo -1 >$binfmt/qemu-aarch64
    magic='\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00'
    mask='\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff'
    printf '%s' ":qemu-aarch64:M::$magic:$mask:$(command -v qemu-aarch64-static):F" >$binfmt/register
}

# Renamed when complete, so that an interrupted debootstrap is never taken for a root.
[ -d "$folder" ] || {
    echo "making an arm64 Debian $release in $folder: some minutes, once" >&2
    mkdir -p "$(dirname "$folder")"
    rm -rf "$folder.partial"
    debootstrap --arch=arm64 --variant=minbase --include=python3 "$release" "$folder.partial" >&2
    rm -rf "$folder.partial/var/cache/apt/archives/"*.deb
    mv "$folder.partial" "$folder"
}
[ "$(chroot "$folder" uname -m)" = aarch64 ] || {
    echo "make_root.sh: $folder isn't an arm64 Debian; move it away and run this again" >&2
    exit 1
}
