"""What follows the sums of a short convolution, in torch's operations: the epilogue, its gradient and its tangent.

Tensors are [B, D, L] or [B, L, D] by `layout`. Computed in float32 (float64 for float64), returned in their own type.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from .problem import compute_dtype
from .short_problem import ACTIVATIONS, GATE, LAYOUTS

SILU = ACTIVATIONS["silu"]


def channel_dim(layout: int) -> int:
    """Where the channels lie."""
    return 1 if layout == LAYOUTS["bhl"] else 2


def _slope(z: Tensor, epilogue: int) -> Tensor:
    """The derivative of an activation at z."""
    if epilogue == SILU:
        s = torch.sigmoid(z)
        return s * (1 + z * (1 - s))
    return 0.5 * (1 + torch.erf(z * math.sqrt(0.5))) + z * torch.exp(-0.5 * z * z) / math.sqrt(2 * math.pi)


def epilogue_value(z: Tensor, epilogue: int, layout: int) -> Tensor:
    """y of the sums z, which are in the type they were formed in."""
    if epilogue == GATE:
        z0, z1, z2 = z.chunk(3, channel_dim(layout))
        return torch.cat([z0, z1 * z2], channel_dim(layout))
    if epilogue:
        return F.silu(z) if epilogue == SILU else F.gelu(z)
    return z


def epilogue_gradient(z: Tensor, dy: Tensor, epilogue: int, layout: int) -> Tensor:
    """The gradient of z, from that of the epilogue's value."""
    wide = compute_dtype(z.dtype)
    z_, dy_, dim = z.to(wide), dy.to(wide), channel_dim(layout)
    if epilogue == GATE:
        (_, z1, z2), (dy0, dy1) = z_.chunk(3, dim), dy_.chunk(2, dim)
        return torch.cat([dy0, dy1 * z2, dy1 * z1], dim).to(z.dtype)
    return (dy_ * _slope(z_, epilogue)).to(z.dtype)


def epilogue_tangent(z: Tensor, tangent: Tensor, epilogue: int, layout: int) -> Tensor:
    """The tangent of the epilogue's value, from that of z."""
    wide = compute_dtype(z.dtype)
    z_, t_, dim = z.to(wide), tangent.to(wide), channel_dim(layout)
    if epilogue == GATE:
        (_, z1, z2), (t0, t1, t2) = z_.chunk(3, dim), t_.chunk(3, dim)
        return torch.cat([t0, t1 * z2 + z1 * t2], dim).to(z.dtype)
    return (t_ * _slope(z_, epilogue)).to(z.dtype)
