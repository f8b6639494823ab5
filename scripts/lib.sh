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

# Sets figures_python to a Python that has Matplotlib, in an environment of its own.
figures_python() {
  local venv="${OMNI_FIGURES_VENV:-$OMNI_STORE/tools/figures-venv}" list=scripts/figures/requirements.txt
  if ! cmp --silent "$list" "$venv/installed.txt"; then
    step "Python packages of the figures, in $venv" "half a minute, 30 MB to download"
    [ -x "$venv/bin/python" ] || python3 -m venv "$venv" || fail "no environment in $venv: install python3-venv"
    "$venv/bin/python" -m pip install --quiet --no-deps --no-cache-dir -r "$list" ||
      fail "the packages of $list could not be installed: connect this machine to its package index, or point pip at a folder that holds them"
    cp "$list" "$venv/installed.txt"
  fi
  figures_python="$venv/bin/python"
}
