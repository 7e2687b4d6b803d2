"""A residual sequence classifier built from LongConv layers, and its control without convolutions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn

from .long_conv import LongConv
from .pointwise import PointwiseMixer, pointwise_linear

Norm = Literal["layer", "sequence", "batch", "none"]

# Options of LongConv that belong to its pointwise part, hence also to the control.
MIXER_OPTIONS = ("dropout", "tied_dropout", "activation", "post_act", "weight_norm")


class ChannelNorm(nn.LayerNorm):
    """Layer normalisation over the channels of each position of (B, H, L)."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.transpose(1, 2)).transpose(1, 2)


NORMS = {
    "layer": ChannelNorm,
    "sequence": lambda channels: nn.GroupNorm(1, channels),
    "batch": nn.BatchNorm1d,
    "none": lambda channels: nn.Identity(),
}


class PointwiseControl(nn.Module):
    """A LongConv layer without its convolution: only the skip term and the pointwise part, ``mixer(D * u)``."""

    def __init__(self, channels: int, heads: int = 1, **mixer: Any):
        super().__init__()
        self.heads = heads
        self.skip = nn.Parameter(torch.randn(heads, channels))
        self.mixer = PointwiseMixer(heads * channels, channels, **mixer)

    def forward(self, u: Tensor) -> Tensor:
        """Map (B, H, L) to (B, H, L), each position by itself."""
        return self.mixer(u.repeat(1, self.heads, 1) * self.skip.flatten()[:, None])


class ResidualBlock(nn.Module):
    """``x + layer(norm(x))`` (pre-norm) or ``norm(x + layer(x))`` (post-norm) on (B, H, L)."""

    def __init__(self, layer: nn.Module, norm: nn.Module, prenorm: bool):
        super().__init__()
        self.layer, self.norm, self.prenorm = layer, norm, prenorm

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layer(self.norm(x)) if self.prenorm else self.norm(x + self.layer(x))


class LongConvClassifier(nn.Module):
    """Sequence to class: Linear encoder, residual LongConv blocks, global average, Linear decoder.

    Everything but the long convolutions and the average treats all positions alike and one by one, so what the model
    knows of order and distance it knows through the convolutions.

    Parameters
    ----------
    d_input, d_model, n_layers, n_classes : int
        Values per position, channels inside, residual blocks, and classes.
    l_max : int
        Longest sequence seen in training.
    prenorm : bool
        Norm before each layer (and once before the average) or after each sum.
    norm : {"layer", "sequence", "batch", "none"}
        Over the channels of a position; over all channels and positions of a sequence; over batch and positions of a
        channel; or none.
    control : bool
        The same model with every convolution left out: what is left is pointwise, so it sees the sequence as a bag.
    layer : mapping
        Further options of `LongConv`.

    Raises
    ------
    ValueError
        If an option is out of its range or unknown.
    """

    def __init__(
        self,
        d_input: int = 1,
        d_model: int = 64,
        n_layers: int = 2,
        n_classes: int = 10,
        l_max: int = 784,
        prenorm: bool = True,
        norm: Norm = "none",
        control: bool = False,
        layer: Mapping[str, Any] | None = None,
    ):
        super().__init__()
        for name, value in (("d_input", d_input), ("d_model", d_model), ("n_layers", n_layers)):
            if value < 1:
                raise ValueError(f"{name} is {value}; it must be at least 1")
        if n_classes < 2:
            raise ValueError(f"n_classes is {n_classes}; it must be at least 2")
        if norm not in NORMS:
            raise ValueError(f"norm is {norm!r}; allowed: {', '.join(NORMS)}")
        options = dict(layer or {})
        if not options.get("transposed", True):
            raise ValueError("layer option transposed is False; the classifier works on (B, H, L) and allows only True")

        def make_layer() -> nn.Module:
            if not control:
                return LongConv(d_model, l_max, **options)
            pointwise = {name: value for name, value in options.items() if name in MIXER_OPTIONS}
            return PointwiseControl(d_model, options.get("heads", 1), **pointwise)

        self.control = control
        self.encoder = nn.Linear(d_input, d_model)
        self.blocks = nn.ModuleList(ResidualBlock(make_layer(), NORMS[norm](d_model), prenorm) for _ in range(n_layers))
        self.final_norm = NORMS[norm](d_model) if prenorm else nn.Identity()
        self.decoder = nn.Linear(d_model, n_classes)

    def forward(self, sequence: Tensor) -> Tensor:
        """Logits (B, n_classes) of sequences (B, L, d_input)."""
        if sequence.dim() != 3 or sequence.shape[-1] != self.encoder.in_features:
            raise ValueError(f"sequence has shape {tuple(sequence.shape)}; allowed: (B, L, {self.encoder.in_features})")
        x = pointwise_linear(sequence.transpose(1, 2), self.encoder.weight, self.encoder.bias)
        for block in self.blocks:
            x = block(x)
        return self.decoder(self.final_norm(x).mean(dim=-1))

    def long_convs(self) -> list[LongConv]:
        """The LongConv layers, first to last; none in the control."""
        return [block.layer for block in self.blocks if isinstance(block.layer, LongConv)]
