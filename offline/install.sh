#!/bin/sh
# install.sh [FOLDER]: cxrs-edge from the wheels beside this script, without a network. FOLDER: ~/cxrs-edge if not given.
# PYTHON=... names the Python to use. It needs neither pip nor Debian's python3-venv: pip comes as a wheel.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
folder=${1:-$HOME/cxrs-edge}

fail() {
    echo "install.sh: $*" >&2
    exit 1
}

cd "$here"
[ -f SHA256SUMS ] || fail "SHA256SUMS is missing in $here; unpack the whole archive again"
damaged=$(sha256sum -c SHA256SUMS 2>/dev/null | sed -n '/: OK$/!s/: FAILED.*//p')
[ -z "$damaged" ] || fail "damaged or missing:" $damaged "(checksums differ); copy and unpack the archive again"

# machine, python_version and bits: what the wheels are for.
. ./target
[ "$(uname -m)" = "$machine" ] ||
    fail "this computer is $(uname -m), the wheels are for $machine; make a bundle with PLATFORM=linux_$(uname -m)"
python=${PYTHON:-python$python_version}
command -v "$python" >/dev/null || python=python3
found=$("$python" -c 'import struct, sys; print("%d.%d" % sys.version_info[:2], 8 * struct.calcsize("P"))') ||
    fail "$python doesn't start; install Python $python_version, or name it: PYTHON=/path/to/python sh install.sh"
[ "${found% *}" = "$python_version" ] ||
    fail "$python is Python ${found% *}, the wheels are for $python_version; make a bundle with PYTHON_VERSION=${found% *}"
[ "${found#* }" = "$bits" ] ||
    fail "$python is a ${found#* } bit program, the wheels are for $bits bit; use a $bits bit operating system"
[ ! -e "$folder" ] || [ -f "$folder/pyvenv.cfg" ] ||
    fail "$folder is there and isn't a virtual environment; name another folder: sh install.sh FOLDER"

echo "installing into $folder"
"$python" -m venv --without-pip "$folder"
# pip runs from its wheel. No setting of this machine may send it to an index. Reinstalled, because a newer bundle can have the same version.
pip=$(echo wheels/pip-*.whl)/pip
PIP_CONFIG_FILE=/dev/null "$folder/bin/python" "$pip" --isolated install --quiet --no-index \
    --find-links wheels --force-reinstall --disable-pip-version-check --root-user-action ignore \
    --requirement requirements.txt
"$folder/bin/cxrs-edge" info
echo
echo "Installed. Grade the drawn phantom, then your own images:"
echo "    $folder/bin/cxrs-edge predict $here/phantom.png"
