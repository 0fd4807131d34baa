#!/bin/sh
# What pip can't bring: a C++ compiler and Python's venv. Installs Debian's packages where they are missing.
# Usage: system_packages.sh PYTHON
set -eu
python=${1:-python3}
missing=""
command -v c++ >/dev/null 2>&1 || missing="$missing g++"
command -v "$python" >/dev/null 2>&1 || missing="$missing python3 python3-dev"
"$python" -c "import ensurepip, venv" >/dev/null 2>&1 || missing="$missing python3-venv"
"$python" - <<'PY' >/dev/null 2>&1 || missing="$missing python3-dev"
import pathlib, sysconfig, sys
sys.exit(not pathlib.Path(sysconfig.get_paths()["include"], "Python.h").exists())
PY
[ -z "$missing" ] && exit 0
if ! command -v apt-get >/dev/null 2>&1; then
  echo "missing:$missing; no apt-get here: install them with this system's package manager, then run make again" >&2
  exit 1
fi
sudo=""
if [ "$(id -u)" -ne 0 ]; then
  sudo=$(command -v sudo) || { echo "missing:$missing; run as root: apt-get install$missing" >&2; exit 1; }
fi
$sudo apt-get update -qq
# shellcheck disable=SC2086 # a list of packages
$sudo apt-get install -y -qq --no-install-recommends $missing
