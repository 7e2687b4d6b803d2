"""Checkpoints: everything a run needs to go on as if it had never stopped."""

from __future__ import annotations

import io
import pickle
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from .files import write_atomically

FORMAT = 1
REQUIRED = ("format", "config", "data", "model", "optimizer", "step", "seconds", "step_seconds", "history", "rng")


def save_checkpoint(path: Path | str, state: dict[str, Any]) -> None:
    """Write `state` to `path`, all or nothing.

    Raises
    ------
    WriteError
        If it cannot be written; the old checkpoint survives.
    """
    buffer = io.BytesIO()
    torch.save({"format": FORMAT, **state}, buffer)
    write_atomically(path, buffer.getvalue())


def load_checkpoint(path: Path | str) -> dict[str, Any]:
    """Read a checkpoint; only tensors and plain values are unpickled.

    Raises
    ------
    ValueError
        If there is none, or it is damaged or not a checkpoint of this trainer.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"there is no checkpoint {path}; start without --resume, or name the --out of the first run")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError, zipfile.BadZipFile) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ValueError(
            f"checkpoint {path} ({path.stat().st_size} bytes) is damaged or no checkpoint: {reason}"
        ) from error
    missing = [key for key in REQUIRED if key not in state] if isinstance(state, dict) else list(REQUIRED)
    if missing:
        raise ValueError(f"{path} is no checkpoint of this trainer: it lacks {', '.join(missing)}")
    if state["format"] != FORMAT:
        raise ValueError(f"checkpoint {path} has format {state['format']}; this version reads format {FORMAT}")
    return state


def load_weights(model: nn.Module, weights: dict[str, Tensor], source: Path | str) -> None:
    """Load weights into a model of exactly that shape.

    Raises
    ------
    ValueError
        Naming the parameters that are missing, unexpected or of another shape; the model is then unchanged.
    """
    own = model.state_dict()
    lines = [f"{name} is missing there" for name in own.keys() - weights.keys()]
    lines += [f"{name} is unknown here" for name in weights.keys() - own.keys()]
    lines += [
        f"{name} is {tuple(weights[name].shape)} there and {tuple(own[name].shape)} here"
        for name in own.keys() & weights.keys()
        if weights[name].shape != own[name].shape
    ]
    if lines:
        raise ValueError(describe_mismatch(source, sorted(lines)))
    model.load_state_dict(weights)


def describe_mismatch(source: Path | str, lines: list[str]) -> str:
    """The message about a checkpoint that belongs to another run."""
    shown = "; ".join(lines[:6]) + (f"; and {len(lines) - 6} more" if len(lines) > 6 else "")
    return f"checkpoint {source} is of another run: {shown}"
