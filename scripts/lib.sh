# Shared by the scripts of this folder; sourced, never run.
# shellcheck shell=bash

# Where networks, ONNX Runtime, the sample corpus' packages and helper tools are kept between runs.
OMNI_STORE="${OMNI_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/omni}"

# Names the step and how long it usually takes, so that a silent minute is not taken for a hang.
step() { printf '\n==> %s\n' "$1"; if [ $# -gt 1 ]; then printf '    usually: %s\n' "$2"; fi; }

note() { printf '    %s\n' "$1"; }

# The one line a user needs: what is missing, and what to do about it.
fail() { printf '\nerror: %s\n' "$1" >&2; exit 1; }

have() { command -v "$1" >/dev/null 2>&1; }

# The built binary, wherever cargo was told to put it.
omni_binary() { printf '%s/debug/omni' "${CARGO_TARGET_DIR:-target}"; }

# A rustup installation that this shell has not been told about yet.
find_cargo() {
  if ! have cargo && [ -x "${CARGO_HOME:-$HOME/.cargo}/bin/cargo" ]; then
    PATH="${CARGO_HOME:-$HOME/.cargo}/bin:$PATH"
    export PATH
  fi
  have cargo || fail "no Rust toolchain: install it from https://rustup.rs (curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh), open a new shell, and run this again"
}

# npm as installed on the system, else the copy that scripts/setup keeps in the store.
find_npm() {
  if ! have npm && [ -x "$OMNI_STORE/tools/bin/npm" ]; then
    PATH="$OMNI_STORE/tools/bin:$PATH"
    export PATH
  fi
}

# Whether a Python is there and is of a version: python_fits PYTHON LOWEST [HIGHEST].
python_fits() {
  "$1" -c 'import sys
lowest, highest = (tuple(map(int, word.split("."))) for word in sys.argv[1:])
sys.exit(not lowest <= sys.version_info[:2] <= highest)' "$2" "${3:-3.99}" >/dev/null 2>&1
}

# Sets env_python to a Python with the packages of a list, in an environment of its own: python_env FOLDER LIST COST LOWEST [HIGHEST].
python_env() {
  local venv="$1" list="$2" cost="$3" versions=("${@:4}") needed="$4 or later"
  if [ $# -gt 4 ]; then needed="$4 to $5"; fi
  case "$venv" in /*) ;; *) venv="$PWD/$venv" ;; esac
  env_python="$venv/bin/python"
  step "Python packages of $list, in $venv" "nothing to do; else $cost"
  if cmp --silent "$list" "$venv/installed.txt" && python_fits "$env_python" "${versions[@]}"; then
    note "all there"
    return
  fi
  # One that was begun without python3-venv has a python and no pip.
  if ! python_fits "$env_python" "${versions[@]}" || ! "$env_python" -m pip --version >/dev/null 2>&1; then
    python_fits python3 "${versions[@]}" ||
      fail "the packages of $list need Python $needed; 'python3' is $(python3 --version 2>&1 || true)"
    [ -e "$venv/pyvenv.cfg" ] || [ ! -d "$venv" ] || rmdir "$venv" 2>/dev/null || fail "$venv holds something other than a Python environment: name another folder"
    python3 -m venv --clear "$venv" || fail "no environment in $venv: install python3-venv"
  fi
  # The list is closed: nothing else is asked for, so that no package brings what nobody needs.
  "$env_python" -m pip install --quiet --no-deps --no-cache-dir -r "$list" ||
    fail "the packages of $list could not be installed: connect this machine to its package index, or point pip at a folder that holds them"
  cp "$list" "$venv/installed.txt"
}

# Sets figures_python to a Python that has Matplotlib.
figures_python() {
  python_env "${OMNI_FIGURES_VENV:-$OMNI_STORE/tools/figures-venv}" scripts/figures/requirements.txt "half a minute, 30 MB to download" 3.11
  # shellcheck disable=SC2034 # read by the scripts that source this
  figures_python="$env_python"
}
