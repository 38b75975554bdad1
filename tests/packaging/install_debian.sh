#!/bin/sh
# install_debian.sh: what the tests use of Debian: dcmtk, whose rendering those of DICOM compare with, and Chromium,
# which those of the page drive. They skip without it, so that a machine without apt, rights or network still tests
# the rest.
set -u
missing=
command -v dcmj2pnm >/dev/null || missing=dcmtk
command -v chromium >/dev/null || missing="$missing chromium"
[ -n "$missing" ] || exit 0
sudo=
[ "$(id -u)" -eq 0 ] || sudo='sudo -n'
echo "installing Debian's $missing" >&2
export DEBIAN_FRONTEND=noninteractive
# Not quoted: two words are two packages.
if command -v apt-get >/dev/null && { $sudo apt-get update -qq; } &&
    $sudo apt-get -o DPkg::Lock::Timeout=300 install -y -qq --no-install-recommends $missing >/dev/null; then
    exit 0
fi
echo "$missing can't be installed here; the tests that need it are skipped" >&2
