#!/bin/sh
# Makes, or finds again, the pinned Python environment of the oracles; its interpreter's path is stdout's last line.
# Usage: tools/oracle_env.sh [--peer]; it lies outside the checkout, under TMODEL_ORACLE_ENVS or the user's cache.
# --peer makes llama-cpp-python's own environment instead, built from source for this machine.
set -eu

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
name=oracle
packages='python3 python3-venv'
if [ "${1:-}" = --peer ]; then
  name=peer
  packages="$packages python3-dev build-essential cmake"
fi
requirements=$here/${name}_requirements.txt
hash=$(sha256sum "$requirements" | cut -c1-12)
envs=${TMODEL_ORACLE_ENVS:-${XDG_CACHE_HOME:-$HOME/.cache}/tmodel}
env=$envs/$name-$hash

present() {
  python3 -c 'import ensurepip, venv' 2>/dev/null || return 1
  [ "$name" = oracle ] || { command -v cmake && command -v c++; } >/dev/null
}

make_env() {
  if ! present; then
    sudo=
    [ "$(id -u)" -eq 0 ] || sudo=sudo
    $sudo apt-get update
    # shellcheck disable=SC2086  # a list of packages
    $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $packages
  fi
  python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
    echo 'error: the oracles need Python 3.11 or newer'
    return 1
  }
  # The stamp tells a finished environment from one whose making was cut short.
  python3 -m venv --clear "$env" &&
    CMAKE_ARGS="${CMAKE_ARGS:--DGGML_NATIVE=ON -DLLAVA_BUILD=OFF}" "$env/bin/python" -m pip install --no-input \
      --disable-pip-version-check -r "$requirements" &&
    touch "$env/complete"
}

if [ ! -f "$env/complete" ]; then
  mkdir -p "$envs"
  exec 9>"$env.lock"
  flock 9  # a second start waits for the first
  [ -f "$env/complete" ] || make_env >&2
fi
echo "$env/bin/python"
