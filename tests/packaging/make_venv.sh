#!/bin/sh
# make_venv.sh PYTHON FOLDER: a virtual environment, with Debian's python3-venv installed first if it is missing.
set -eu
python=$1
folder=$2
if ! command -v "$python" >/dev/null || ! "$python" -c 'import ensurepip' 2>/dev/null; then
    sudo=
    [ "$(id -u)" -eq 0 ] || sudo=sudo
    echo "installing Debian's python3-venv" >&2
    $sudo apt-get update -qq
    DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -qq python3 python3-venv >/dev/null
fi
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
    echo "$python is older than 3.11; name a newer one: make PYTHON=python3.12" >&2
    exit 1
}
[ -x "$folder/bin/pip" ] || "$python" -m venv "$folder"
"$folder/bin/pip" install --quiet --upgrade pip
