#!/usr/bin/env bash
# Installs the wheel in folder $1 into a clean environment with torch ($2) alone, and convolves once.
set -euo pipefail
wheel=$(ls "$1"/flashfftconv-*-py3-none-*.whl)
clean=$(mktemp -d)
trap 'rm -rf "$clean"' EXIT
python3 -m venv "$clean/venv"
"$clean/venv/bin/python" -m pip install -q "$2"
"$clean/venv/bin/python" -m pip install -q --no-deps "$wheel"
cd "$clean"
"$clean/venv/bin/python" - <<'PROGRAM'
import torch
from flashfftconv import FlashFFTConv, long_conv

u, k = torch.randn(2, 3, 100), torch.randn(3, 100)
torch.testing.assert_close(long_conv(u, k), FlashFFTConv(200, dtype=torch.float32)(u, k))
print("the wheel works in a clean environment")
PROGRAM
