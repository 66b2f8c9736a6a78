#!/usr/bin/env bash
# Makes the Python environment ready and prints the path of its python, the only line on standard output.
#
#   bash setup_env.sh             what train.py and infer_image.py need       (requirements.txt)
#   bash setup_env.sh --app       also what app.py needs                      (requirements-app.txt)
#   bash setup_env.sh --metrics   also pyiqa, for LPIPS and its like          (requirements-metrics.txt)
#   bash setup_env.sh --dev       also pyiqa and what tests and linters need  (requirements-dev.txt)
#
# An active virtual or conda environment is used and gets only what it lacks; otherwise .venv in this folder is made once
# and reused. PYTHON=python3.12 makes .venv with that interpreter; HVR_SKIP_SETUP=1 (set in the docker image) takes the
# python on PATH as it is, makes nothing and installs nothing.
set -euo pipefail

readonly OLDEST="3.10"
project=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
venv="$project/.venv"

say() { printf 'set-up: %s\n' "$*" >&2; }
fail() {
  printf 'set-up: error: %s\n' "$1" >&2
  shift
  [[ $# -eq 0 ]] || printf '        %s\n' "$@" >&2
  exit 2
}

python_of() {  # folder of an environment -> its python: bin on Linux and macOS, Scripts on Windows, the folder itself in conda there
  local candidate
  for candidate in "$1/bin/python" "$1/Scripts/python.exe" "$1/python.exe"; do
    if [[ -x "$candidate" ]]; then printf '%s\n' "$candidate"; return; fi
  done
  printf '%s\n' "$1/bin/python"
}

is_new_enough() {  # does this python start, and is it OLDEST or newer?
  "$1" -c "import sys; sys.exit(sys.version_info < tuple(map(int, '$OLDEST'.split('.'))))" 2>/dev/null
}

find_interpreter() {  # a python to make .venv with
  local name
  if [[ -n "${PYTHON:-}" ]]; then
    is_new_enough "$PYTHON" || fail "PYTHON=$PYTHON does not start or is older than Python $OLDEST."
    command -v "$PYTHON"
    return
  fi
  for name in python3 python python3.14 python3.13 python3.12 python3.11 python3.10; do
    if command -v "$name" >/dev/null && is_new_enough "$name"; then command -v "$name"; return; fi
  done
  fail "Python $OLDEST or newer is needed; found: $(python3 --version 2>&1 || true)" \
    "Install one (Debian and Ubuntu: sudo apt install python3 python3-venv) and run this again." \
    "If it is there under another name: PYTHON=/path/to/python bash setup_env.sh"
}

make_venv() {
  local interpreter
  if [[ -e "$venv" ]]; then
    is_new_enough "$(python_of "$venv")" && return
    say ".venv does not start or is older than Python $OLDEST: making it anew"
  fi
  interpreter=$(find_interpreter)
  say "making $venv with $("$interpreter" --version 2>&1)"
  if command -v uv >/dev/null; then
    uv venv --quiet --clear --python "$interpreter" "$venv" >&2 || fail "uv could not make $venv; its message stands above."
  else
    "$interpreter" -m venv --clear "$venv" >&2 || fail "$interpreter could not make $venv; its message stands above." \
      "Debian and Ubuntu keep this part of Python in a package of its own: sudo apt install python3-venv" \
      "Then run this again."
  fi
}

unmet() {  # python, requirement files -> the requirements that its environment does not meet, a line each
  local python=$1
  shift
  "$python" - "$@" <<'PY'
import sys
from importlib.metadata import PackageNotFoundError, version

try:
    from packaging.requirements import Requirement
except ImportError:
    try:
        from pip._vendor.packaging.requirements import Requirement
    except ImportError:
        Requirement = None  # a bare environment: everything is still to be installed


def is_met(line):
    requirement = Requirement(line)
    if requirement.marker and not requirement.marker.evaluate():
        return True
    try:
        return requirement.specifier.contains(version(requirement.name), prereleases=True)
    except PackageNotFoundError:
        return False


for path in sys.argv[1:]:
    with open(path, encoding="utf-8") as lines:
        for line in (line.split("#")[0].strip() for line in lines):
            if line and not line.startswith("-") and not (Requirement and is_met(line)):
                print(line)
PY
}

pip_install() {  # python, arguments of pip install
  local python=$1
  shift
  if command -v uv >/dev/null; then
    UV_EXTRA_INDEX_URL="${UV_EXTRA_INDEX_URL:-${PIP_EXTRA_INDEX_URL:-}}" uv pip install --python "$python" "$@" >&2
    return
  fi
  "$python" -m pip --version >/dev/null 2>&1 || "$python" -m ensurepip --upgrade >&2 || fail "there is no pip in $python." \
    "Install it (Debian and Ubuntu: sudo apt install python3-pip) or uv, and run this again."
  "$python" -m pip install --disable-pip-version-check "$@" >&2
}

install_missing() {  # python; fills the environment up to what is asked for
  local python=$1 half_made lacking
  # Stands while packages are being installed: after an interruption the installer goes over everything again, since
  # packages that stand in no requirements file may be missing then.
  half_made="$("$python" -c 'import sys; print(sys.prefix)')/.hvr-ssle-half-made"
  lacking=$(unmet "$python" "${files[@]}")
  [[ -z "$lacking" && ! -e "$half_made" ]] && return
  say "installing into ${half_made%/*}: ${lacking//$'\n'/ }"
  say "(PyTorch for NVIDIA cards is several GB; the README names the line for machines without one)"
  touch "$half_made"
  {
    pip_install "$python" "${wanted[@]}" &&
    { [[ -z "$metrics" ]] || pip_install "$python" --no-deps -r "$metrics"; }
  } || fail "packages could not be installed; the installer's message stands above." \
    "Without an internet connection the packages named above must be brought here by hand (pip download, then pip install)." \
    "Run this again once it is mended: it goes on where it stopped."
  lacking=$(unmet "$python" "${files[@]}")
  [[ -z "$lacking" ]] || fail "still missing after the installation: ${lacking//$'\n'/ }"
  "$python" -c 'import torch, torchvision, cv2' || fail "the packages do not load; the reason stands above." \
    "Torch and torchvision from different sources do not go together, nor does opencv-python beside opencv-python-headless." \
    "Remove .venv and run this again, or mend the active environment with: pip install --force-reinstall -r requirements.txt"
  rm -f "$half_made"
  say "ready"
}

case "${1-}" in
  "") files=(requirements.txt); wanted=(-r "$project/requirements.txt"); metrics="" ;;
  --metrics) files=(requirements.txt requirements-metrics.txt); wanted=(-r "$project/requirements.txt")
    metrics="$project/requirements-metrics.txt" ;;
  --app) files=(requirements.txt requirements-app.txt); metrics=""
    wanted=(-r "$project/requirements.txt" -r "$project/requirements-app.txt") ;;
  --dev) files=(requirements.txt requirements-metrics.txt requirements-dev.txt); wanted=(-r "$project/requirements-dev.txt")
    metrics="$project/requirements-metrics.txt" ;;
  *) fail "unknown argument $1; there are --app, --metrics and --dev." ;;
esac
files=("${files[@]/#/$project/}")

if [[ "${HVR_SKIP_SETUP:-}" == 1 ]]; then
  command -v python || command -v python3 || fail "HVR_SKIP_SETUP=1, and there is no python on PATH."
  exit
fi
active="${VIRTUAL_ENV:-${CONDA_PREFIX:-}}"
if [[ -n "$active" ]]; then
  python=$(python_of "$active")
  is_new_enough "$python" || fail "the active environment $active does not start or is older than Python $OLDEST." \
    "Activate another one, or none (deactivate, conda deactivate): then .venv is made here."
else
  make_venv
  python=$(python_of "$venv")
fi
install_missing "$python"
printf '%s\n' "$python"
