"""The small run that the training tests share."""

from __future__ import annotations

from flashfftconv.train import TrainConfig

# 160 images left for training, 20 steps an epoch, 30 in all. Dropout makes results depend on the generator's state.
CONFIG = TrainConfig(
    d_model=6,
    n_layers=1,
    lam=0.0005,
    dropout=0.1,
    filter_dropout=0.1,
    norm="batch",
    epochs=1.5,
    batch_size=8,
    lr=0.01,
    validation=40,
    log_every=4,
    evaluations=3,
    checkpoint_every=5,
)
