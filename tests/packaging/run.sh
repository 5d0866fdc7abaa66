#!/usr/bin/env bash
# Builds and runs a consumer in one way: run.sh SOURCE WORK find_package|add_subdirectory|FetchContent|pkg-config
set -euo pipefail
source=$1 work=$2/$3 how=$3
rm -rf "$work"
mkdir -p "$work"
consumer=$source/tests/packaging/consumer

if [[ $how == find_package || $how == pkg-config ]]; then  # an installed prefix that was moved afterwards
  cmake -S "$source" -B "$work/tmodel" -G Ninja -DCMAKE_INSTALL_PREFIX="$work/before" -DTMODEL_BUILD_TESTS=OFF \
        -DTMODEL_BUILD_EXAMPLES=OFF -DTMODEL_BUILD_BENCH=OFF > "$work/log"
  cmake --install "$work/tmodel" >> "$work/log"
  mv "$work/before" "$work/after"
  rm -rf "$work/tmodel"
  ! grep -r "$work/before" "$work/after" || { echo "the installed package names its old place"; exit 1; }
fi
if [[ $how == pkg-config ]]; then
  pc=$(dirname "$(find "$work/after" -name tmodel.pc)")
  flags=$(PKG_CONFIG_PATH=$pc pkg-config --cflags --libs tmodel)
  ${CXX:-g++} -std=c++20 "$consumer/main.cpp" "$consumer/other.cpp" -o "$work/consumer" $flags
  "$work/consumer"
else
  cmake -S "$consumer" -B "$work/build" -G Ninja -DHOW="$how" -DTMODEL_SOURCE="$source" -DCMAKE_PREFIX_PATH="$work/after" > "$work/log2"
  cmake --build "$work/build"
  "$work/build/consumer"
fi
