#!/usr/bin/env bash
# Pins every dependency with hashes; no lock names a registry host. Run after pyproject.toml changed.
set -eu
cd "$(dirname "$0")/.."
pin() { uv pip compile -q pyproject.toml --universal --generate-hashes --no-emit-index-url --no-emit-find-links \
  --no-annotate --no-header --python-version 3.11 "$@"; }
pin --extra examples --extra server --group dev -o locks/dev.txt
pin --extra examples --group build -c locks/dev.txt -o locks/base.txt
pin --extra server --group build -c locks/dev.txt -o locks/server.txt
