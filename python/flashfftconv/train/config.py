"""Everything that decides what a training run computes, in one place."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field, fields
from typing import Any

from flashfftconv.nn import LongConvClassifier


def _option(default: Any, text: str, *, affects_result: bool = True) -> Any:
    return field(default=default, metadata={"help": text, "affects_result": affects_result})


@dataclass(frozen=True)
class TrainConfig:
    """A training run. The defaults are the Fashion-MNIST recipe of docs/recipes-fashion-mnist.md.

    Raises
    ------
    ValueError
        If a value is out of its range; the message names it.
    """

    # The model
    d_model: int = _option(32, "channels inside the model")
    n_layers: int = _option(2, "residual LongConv layers")
    heads: int = _option(1, "filters per channel")
    bidirectional: bool = _option(False, "a second filter over the future")
    init: str = _option("geometric", "initial filter: random or geometric")
    lam: float = _option(0.001, "squash threshold of the filter")
    smooth: str | None = _option(None, "smoothing of the filter: average or gaussian")
    smooth_width: int = _option(7, "taps of the smoothing, odd")
    filter_dropout: float = _option(0.0, "dropout of filter taps")
    dropout: float = _option(0.0, "dropout after the activation")
    tied_dropout: bool = _option(False, "drop a channel at all positions together")
    activation: str = _option("gelu", "after the convolution")
    post_act: str | None = _option("glu", "after the Linear")
    weight_norm: bool = _option(False, "weight normalisation of the Linear")
    prenorm: bool = _option(True, "norm before each layer rather than after")
    norm: str = _option("none", "layer, sequence, batch or none")
    control: bool = _option(False, "leave every convolution out")

    # The training
    epochs: float = _option(2.5, "passes over the training images, fractions allowed")
    batch_size: int = _option(32, "sequences per step")
    lr: float = _option(0.02, "peak learning rate")
    filter_lr: float = _option(0.004, "peak learning rate of the filters")
    weight_decay: float = _option(0.02, "of matrices other than the filters")
    warmup: float = _option(0.05, "share of the steps with a rising learning rate")
    label_smoothing: float = _option(0.0, "of the cross-entropy")
    clip: float = _option(1.0, "largest norm of the gradient; 0 turns clipping off")
    validation: int = _option(2000, "training images kept out to watch the accuracy")
    seed: int = _option(2222, "of the initial weights, the order of the data and dropout")

    # How it is watched and saved; none of it changes what is learned
    log_every: int = _option(25, "steps between rows of the log")
    evaluations: int = _option(8, "accuracy checks on the validation images in the run")
    checkpoint_every: int = _option(250, "steps between checkpoints", affects_result=False)

    def __post_init__(self) -> None:
        for name in ("d_model", "n_layers", "heads", "batch_size", "log_every", "checkpoint_every"):
            self._require(name, getattr(self, name) >= 1, "at least 1")
        for name in ("epochs", "lr", "filter_lr"):
            self._require(name, 0 < getattr(self, name) < math.inf, "positive and finite")
        for name in ("weight_decay", "clip", "validation", "evaluations"):
            self._require(name, getattr(self, name) >= 0, "at least 0")
        for name in ("warmup", "label_smoothing"):
            self._require(name, 0 <= getattr(self, name) < 1, "in [0, 1)")
        self._require("seed", 0 <= self.seed < 2**63, "in [0, 2^63)")

    def _require(self, name: str, holds: bool, allowed: str) -> None:
        if not holds:
            raise ValueError(f"{name} is {getattr(self, name)}; it must be {allowed}")

    def build_model(self, l_max: int, n_classes: int) -> LongConvClassifier:
        """The model, with weights drawn from torch's global generator."""
        layer = {
            name: getattr(self, name)
            for name in (
                "heads",
                "bidirectional",
                "init",
                "lam",
                "smooth",
                "smooth_width",
                "filter_dropout",
                "dropout",
                "tied_dropout",
                "activation",
                "post_act",
                "weight_norm",
                "filter_lr",
            )
        }
        return LongConvClassifier(
            d_input=1,
            d_model=self.d_model,
            n_layers=self.n_layers,
            n_classes=n_classes,
            l_max=l_max,
            prenorm=self.prenorm,
            norm=self.norm,
            control=self.control,
            layer=layer,
        )

    def as_control(self) -> TrainConfig:
        """The same run without convolutions."""
        return dataclasses.replace(self, control=True)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for logs and checkpoints."""
        return dataclasses.asdict(self)

    def differences(self, saved: dict[str, Any]) -> list[str]:
        """What in `saved`, the `to_dict` of another run, would make its results differ from this run's."""
        mine = {f.name: getattr(self, f.name) for f in fields(self) if f.metadata["affects_result"]}
        lines = [
            f"{name} is {saved.get(name, 'absent')!r} there and {value!r} here"
            for name, value in mine.items()
            if name not in saved or saved[name] != value
        ]
        known = {f.name for f in fields(self)}
        return lines + [f"{name} is {saved[name]!r} there and unknown here" for name in sorted(saved.keys() - known)]
