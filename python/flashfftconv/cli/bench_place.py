"""What the benchmarks have in common: checks of options, the machine, and rows in files."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import torch

from flashfftconv.train.machine import processor_name

from .bench_cases import DTYPES


def check_place(dtype: str, device: str) -> None:
    """Raises ValueError for a type or device that there is not."""
    if dtype not in DTYPES:
        raise ValueError(f"--dtype is {dtype!r}; allowed: {', '.join(DTYPES)}")
    if device.split(":")[0] not in ("cpu", "cuda"):
        raise ValueError(f"--device is {device!r}; allowed: cpu, cuda")
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise ValueError(f"--device is {device!r}, but torch {torch.__version__} finds no CUDA device")


def whole_numbers(option: str, text: str, least: int) -> list[int]:
    """The numbers of an option; ValueError names it."""
    try:
        numbers = [int(number) for number in text.split(",")]
    except ValueError:
        raise ValueError(f"{option} is {text!r}; allowed: integers with commas between") from None
    if min(numbers) < least:
        raise ValueError(f"{option} has {min(numbers)}; allowed: integers of at least {least}")
    return numbers


def describe_place(device: str) -> dict[str, str]:
    """Machine, torch and commit: what a measured row must carry."""
    commit = subprocess.run(
        ["git", "-C", str(Path(__file__).parent), "rev-parse", "--short", "HEAD"],
        capture_output=True,
        text=True,
        check=False,
    ).stdout.strip()
    if device.startswith("cuda"):
        machine = torch.cuda.get_device_name(device)
    else:
        machine = f"{processor_name()}, {torch.get_num_threads()} threads"
    return {"machine": machine, "torch": torch.__version__, "commit": commit}


def append_rows(path: Path, rows: list[dict[str, Any]]) -> None:
    """Append JSON lines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)
