"""What this build is and what it runs on."""

from __future__ import annotations

from importlib import metadata

import torch

from . import ops  # noqa: F401  (registers the operators)

try:
    __version__ = metadata.version("flashfftconv")
except metadata.PackageNotFoundError:  # used from a source tree
    __version__ = "0+unknown"


def backend_info() -> dict[str, object]:
    """Version, backends in their order of preference, the CPU engine's instruction set, and threads."""
    cuda = "torch.fft on CUDA tensors" if torch.cuda.is_available() else "no CUDA device"
    return {
        "version": __version__,
        "torch": torch.__version__,
        "backends": ["cpu", cuda],
        "cpu_target": torch.ops.flashfftconv.cpu_target(),
        "threads": torch.get_num_threads(),
    }
