"""What a LongConv layer does at each position on its own: activation, dropout, mixing of channels, gate."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

ACTIVATIONS = {
    "gelu": F.gelu,
    "relu": F.relu,
    "silu": F.silu,
    "tanh": torch.tanh,
    "identity": lambda x: x,
}


def pointwise_linear(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """A linear map over channels at each position: x (B, H, L), weight (O, H), bias (O,) to (B, O, L).

    One matrix product per sequence keeps the layout of the convolution: no transposed copy on either side.
    """
    weight, bias = weight.to(x.dtype), bias.to(x.dtype)
    return torch.baddbmm(bias[:, None], weight.expand(x.shape[0], -1, -1), x)


class PointwiseMixer(nn.Module):
    """``post_act(Linear(dropout(activation(y))))`` at every position.

    Parameters
    ----------
    channels_in, channels_out : int
        Of the mapping; before a GLU the Linear makes ``2 * channels_out``.
    dropout : float
        In [0, 1).
    tied_dropout : bool
        Drops a channel at all positions of a sequence together.
    activation : {"gelu", "relu", "silu", "tanh", "identity"}
        Before the Linear.
    post_act : {"glu", ...} or None
        After the Linear: "glu", any `activation`, or nothing.
    weight_norm : bool
        Weight normalisation of the Linear.
    """

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        *,
        dropout: float = 0.0,
        tied_dropout: bool = False,
        activation: str = "gelu",
        post_act: str | None = "glu",
        weight_norm: bool = False,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ):
        super().__init__()
        if not 0.0 <= dropout < 1.0:
            raise ValueError(f"dropout is {dropout}; it must lie in [0, 1)")
        if activation not in ACTIVATIONS:
            raise ValueError(f"activation is {activation!r}; allowed: {', '.join(ACTIVATIONS)}")
        if post_act not in (None, "glu", *ACTIVATIONS):
            raise ValueError(f"post_act is {post_act!r}; allowed: None, glu, {', '.join(ACTIVATIONS)}")
        self.dropout, self.tied_dropout = dropout, tied_dropout
        self.activation, self.post_act = activation, post_act
        widened = channels_out * (2 if post_act == "glu" else 1)
        self.linear = nn.Linear(channels_in, widened, device=device, dtype=dtype)
        if weight_norm:
            nn.utils.parametrizations.weight_norm(self.linear)

    def forward(self, y: Tensor) -> Tensor:
        """Map (B, channels_in, L) to (B, channels_out, L)."""
        y = self._drop(ACTIVATIONS[self.activation](y))
        y = pointwise_linear(y, self.linear.weight, self.linear.bias)
        if self.post_act is None:
            return y
        return F.glu(y, dim=1) if self.post_act == "glu" else ACTIVATIONS[self.post_act](y)

    def _drop(self, y: Tensor) -> Tensor:
        if not self.training or self.dropout == 0.0:
            return y
        if self.tied_dropout:
            return y * F.dropout(y.new_ones(y.shape[0], y.shape[1], 1), self.dropout)
        return F.dropout(y, self.dropout)

    def extra_repr(self) -> str:
        return (
            f"dropout={self.dropout}, tied_dropout={self.tied_dropout}, activation={self.activation}, "
            f"post_act={self.post_act}"
        )
