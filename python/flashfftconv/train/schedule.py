"""The learning rate over a run, as a function of the step alone, so that nothing about it needs saving."""

from __future__ import annotations

import math


def cosine_with_warmup(step: int, total: int, warmup: float) -> float:
    """Factor on the peak learning rate at `step` of `total` (counted from 0).

    It rises linearly over the first ``warmup * total`` steps, then falls along half a cosine towards 0.
    """
    rising = round(warmup * total)
    if step < rising:
        return (step + 1) / (rising + 1)
    return 0.5 * (1 + math.cos(math.pi * (step - rising) / max(1, total - rising)))
