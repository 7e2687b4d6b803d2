"""Regularisers of a filter, written out as their definitions say."""

from __future__ import annotations

import torch


def direct_smooth_average(taps, width):
    out = torch.zeros_like(taps)
    for j in range(taps.shape[-1]):
        for i in range(j - width // 2, j + width // 2 + 1):
            if 0 <= i < taps.shape[-1]:
                out[..., j] += taps[..., i] / width
    return out


def direct_squash(taps, lam):
    return taps.sign() * (taps.abs() - lam).clamp_min(0)
