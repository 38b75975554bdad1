#!/bin/sh
# install_dcmtk.sh: Debian's dcmtk, whose rendering the DICOM tests compare with. They skip without it, so that a
# machine without apt, rights or network still tests the rest.
set -u
command -v dcmj2pnm >/dev/null && exit 0
sudo=
[ "$(id -u)" -eq 0 ] || sudo='sudo -n'
echo "installing Debian's dcmtk" >&2
export DEBIAN_FRONTEND=noninteractive
if command -v apt-get >/dev/null && { $sudo apt-get update -qq; } &&
    $sudo apt-get -o DPkg::Lock::Timeout=300 install -y -qq --no-install-recommends dcmtk >/dev/null; then
    exit 0
fi
echo "dcmtk can't be installed here; the tests that compare with it are skipped" >&2
