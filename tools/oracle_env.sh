#!/bin/sh
# Makes, or finds again, the pinned Python environment of the oracles; its interpreter's path is stdout's last line.
# Usage: tools/oracle_env.sh [--peer | --peer-avx2]; it lies outside the checkout, under TMODEL_ORACLE_ENVS or the user's cache.
# --peer makes llama-cpp-python's own environment instead, built from source for this machine; --peer-avx2 one that uses no
# more than AVX2, FMA, F16C and BMI2, for comparisons on machines that have more.
set -eu

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
name=oracle variant='' cache=''
packages='python3 python3-venv'
cmake_args='-DGGML_NATIVE=ON'
case ${1:-} in
  --peer) name=peer ;;
  --peer-avx2)
    name=peer variant=-avx2
    cmake_args='-DGGML_NATIVE=OFF -DGGML_SSE42=ON -DGGML_AVX=ON -DGGML_AVX2=ON -DGGML_FMA=ON -DGGML_F16C=ON -DGGML_BMI2=ON -DGGML_AVX512=OFF' ;;
esac
if [ "$name" = peer ]; then
  packages="$packages python3-dev build-essential cmake"
  cache=--no-cache-dir  # pip takes a package that it built once for one built with other options
fi
requirements=$here/${name}_requirements.txt
hash=$(sha256sum "$requirements" | cut -c1-12)
envs=${TMODEL_ORACLE_ENVS:-${XDG_CACHE_HOME:-$HOME/.cache}/tmodel}
env=$envs/$name$variant-$hash

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
    CMAKE_ARGS="${CMAKE_ARGS:-$cmake_args -DLLAVA_BUILD=OFF}" "$env/bin/python" -m pip install --no-input $cache \
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
