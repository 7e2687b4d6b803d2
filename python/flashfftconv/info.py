"""What this build is and what it runs on."""

from __future__ import annotations

from importlib import metadata

import torch

from . import ops  # noqa: F401  (registers the operators)
from .problem import DTYPES, MODES

_ops = torch.ops.flashfftconv

try:
    __version__ = metadata.version("flashfftconv")
except metadata.PackageNotFoundError:  # used from a source tree
    __version__ = "0+unknown"


def backend_info() -> dict[str, object]:
    """Version, backends, the CPU engine's instruction set, what there is of CUDA (engine, GPU, driver), and threads."""
    device, backend = 0, "no CUDA device"
    engine = _ops.cuda_engine(device)
    if torch.cuda.is_available():
        device = torch.cuda.current_device()
        sample = (1, 1, 64, 1, 0, MODES["causal"], 0, 1, DTYPES[torch.float16], DTYPES[torch.float32])
        backend = "torch.fft on CUDA tensors" if _ops.why_not(*sample, device) else "cuda"
        engine = f"{_ops.cuda_engine(device)}; {torch.cuda.get_device_name(device)}"
    elif torch.version.cuda is None:
        engine += "; this torch has no CUDA"
    return {
        "version": __version__,
        "torch": torch.__version__,
        "backends": ["cpu", backend],
        "cpu_target": _ops.cpu_target(),
        "cuda_engine": engine,
        "threads": torch.get_num_threads(),
    }
