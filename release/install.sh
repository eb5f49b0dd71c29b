#!/bin/sh
# Installs avpenet from this folder into a new virtual environment, without a network: sh install.sh DIR
# PYTHON=/path/to/python@PYTHON@ names the interpreter.
set -eu

fail() {
    echo "install.sh: $1" >&2
    exit 1
}

[ "$#" -eq 1 ] || fail "name the folder to install into, which must not exist yet: sh install.sh DIR"
case "$1" in
    /*) target=$1 ;;
    *) target=$(pwd)/$1 ;;
esac
here=$(cd -- "$(dirname -- "$0")" && pwd)
[ ! -e "$target" ] || fail "$target exists; name a new folder, or remove it first"

echo "checking the files of the bundle"
(cd -- "$here" && sha256sum --check --strict --quiet SHA256SUMS) ||
    fail "a file of the bundle is damaged or missing; copy the bundle again and check its .sha256 file"

[ "$(uname -s) $(uname -m)" = "Linux @MACHINE@" ] ||
    fail "this bundle is for Linux on @MACHINE@; get the bundle for this machine"
suits() { "$1" -c 'import ensurepip, sys, venv; sys.exit("%d.%d" % sys.version_info[:2] != "@PYTHON@")' 2>/dev/null; }
python=
for candidate in "${PYTHON:-python@PYTHON@}" "${PYTHON:-python3}"; do
    if suits "$candidate"; then
        python=$candidate
        break
    fi
done
[ -n "$python" ] ||
    fail "Python @PYTHON@ with venv is missing; install it (Debian: apt-get install python@PYTHON@-venv), or name it with PYTHON=..."
for tool in ffmpeg ffprobe; do
    command -v "$tool" >/dev/null 2>&1 ||
        fail "$tool is missing; install it (Debian: apt-get install ffmpeg) and run this again"
done

echo "installing into $target"
finished=
trap '[ -n "$finished" ] || rm -rf -- "$target"' EXIT
trap 'exit 130' HUP INT TERM
unset PYTHONPATH PYTHONHOME
"$python" -m venv -- "$target"
PIP_CONFIG_FILE=/dev/null "$target/bin/python" -m pip install --quiet --isolated --disable-pip-version-check \
    --no-input --no-cache-dir --no-deps --no-index --find-links "$here/wheels" --only-binary :all: --require-hashes \
    --requirement "$here/requirements.lock" ||
    fail "pip could not install the wheels; nothing was left behind"
finished=yes

"$target/bin/avpenet" doctor --folder "$target" ||
    fail "installed, but avpenet doctor found something missing; do what it says, then run $target/bin/avpenet doctor"
echo "installed: $target/bin/avpenet"
