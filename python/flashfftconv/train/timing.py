"""Timing that is fair on a busy machine: candidates take turns, and medians come with their spread."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Spread:
    """Median and quartiles of a sample."""

    median: float
    lower: float
    upper: float

    @classmethod
    def of(cls, sample: Sequence[float]) -> Spread:
        """Of a sample that is not empty; each figure is one of its values."""
        ordered = sorted(sample)
        count = len(ordered)
        return cls(ordered[count // 2], ordered[count // 4], ordered[3 * count // 4])


def alternate(calls: Sequence[Callable[[], object]], repetitions: int, device: str = "cpu") -> list[list[float]]:
    """Run the calls in turn and time each.

    Parameters
    ----------
    calls : sequence of callables
        What to time. Two more rounds before the timed ones warm caches and allocators up.
    repetitions : int
        Timed rounds, at least 1.
    device : str
        "cpu", or "cuda" to wait for the device around every call.

    Returns
    -------
    list of list of float
        Milliseconds of each round, for each call.
    """
    wait = torch.cuda.synchronize if device.startswith("cuda") else lambda: None
    times: list[list[float]] = [[] for _ in calls]
    for round_number in range(-2, repetitions):
        for call, sample in zip(calls, times, strict=True):
            wait()
            began = time.perf_counter()
            call()
            wait()
            if round_number >= 0:
                sample.append(1e3 * (time.perf_counter() - began))
    return times
