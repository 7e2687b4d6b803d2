"""What a measurement ran on."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Any

import torch

import flashfftconv


def describe_machine() -> dict[str, Any]:
    """Processor, threads and versions, as plain values."""
    return {
        "processor": processor_name(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "flashfftconv": flashfftconv.__version__,
        "cpu_target": str(flashfftconv.backend_info().get("cpu_target", "unknown")),
        "system": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
    }


def processor_name() -> str:
    """The processor's name, as far as the system tells."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
