"""Training: what it learns, logs, and refuses. Stopping and going on is in test_checkpoints.py."""

from __future__ import annotations

import csv
import dataclasses
import json

import pytest
import torch
from synthetic import write_data
from training_setup import CONFIG

from flashfftconv.data import load_fashion_mnist
from flashfftconv.train import Diverged, TrainConfig, Trainer
from flashfftconv.train.evaluation import evaluate
from flashfftconv.train.schedule import cosine_with_warmup


@pytest.fixture(autouse=True)
def _one_thread():
    """The bits of sums may depend on the number of threads; the child processes use one too."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_data(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def data(folder):
    return load_fashion_mnist(folder)


def test_the_log_has_every_figure(data, tmp_path):
    test = Trainer(CONFIG, data, tmp_path).run()
    document = json.loads((tmp_path / "log.json").read_text())
    with (tmp_path / "log.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(document["rows"])
    train = [row for row in rows if row["kind"] == "train"]
    assert [int(row["step"]) for row in train] == [4, 8, 12, 16, 20, 24, 28, 30]
    assert [int(row["step"]) for row in rows if row["kind"] == "validation"] == [10, 20, 30]
    assert float(train[4]["epoch"]) == 1.0
    for row, logged in zip(rows, document["rows"], strict=True):
        assert float(row["loss"]) == logged["loss"]
    assert document["result"]["accuracy"] == test.accuracy
    assert sum(map(sum, document["result"]["confusion"])) == 60


def test_evaluation_counts_right(data):
    class Oracle(torch.nn.Module):
        """Right on all images but those of class 3, which it takes for class 5."""

        def forward(self, x):
            first = (x[:, :, 0] > 0).float()
            match = (first[:, None] == known[None]).all(-1).float()
            return match @ torch.nn.functional.one_hot(answers, 10).float() * 20

    images, labels = data.test_images[:50], data.test_labels[:50]
    from flashfftconv.data import to_sequences

    known = (to_sequences(images)[:, :, 0] > 0).float()
    answers = torch.where(labels == 3, 5, labels)
    seen = evaluate(Oracle(), images, labels, 10)
    assert seen.accuracy == pytest.approx(0.9)
    assert seen.confusion[3, 5] == 5
    assert seen.confusion[3, 3] == 0
    assert seen.confusion.diagonal().sum() == 45


def test_training_learns(data, tmp_path):
    config = dataclasses.replace(CONFIG, epochs=12, d_model=16, dropout=0.0, filter_dropout=0.0, norm="none", lr=0.02)
    trainer = Trainer(config, data, tmp_path)
    assert trainer.run().accuracy > 0.5, "chance is 0.1"


def test_order_of_the_data_is_a_new_permutation_each_epoch(data, tmp_path):
    trainer = Trainer(CONFIG, data, tmp_path)
    epochs = []
    for epoch in range(2):
        seen = []
        for position in range(trainer.steps_per_epoch):
            trainer.step = epoch * trainer.steps_per_epoch + position
            seen += trainer._batch_indices().tolist()
        epochs.append(seen)
        assert sorted(seen) == list(range(160)), "each image once, validation images never"
    assert epochs[0] != epochs[1]


def test_learning_rate_rises_and_falls():
    factors = [cosine_with_warmup(step, 100, 0.1) for step in range(100)]
    assert factors[:10] == sorted(factors[:10])
    assert 0 < factors[0] < 0.1
    assert max(factors) == factors[10] == 1.0
    assert factors[10:] == sorted(factors[10:], reverse=True)
    assert factors[-1] < 0.001
    assert cosine_with_warmup(0, 1, 0.0) == 1.0


def test_divergence_is_said(data, tmp_path):
    trainer = Trainer(CONFIG, data, tmp_path)
    with torch.no_grad():
        trainer.model.decoder.weight.fill_(float("nan"))
    with pytest.raises(Diverged, match="the loss is nan at step 1; lower lr"):
        trainer.run()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"epochs": 0.0}, "epochs is 0.0; it must be positive"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"warmup": 1.0}, "warmup is 1.0"),
        ({"lr": float("inf")}, "lr is inf"),
        ({"seed": -1}, "seed is -1"),
        ({"validation": -1}, "validation is -1"),
    ],
)
def test_bad_settings_are_named(change, message):
    with pytest.raises(ValueError, match=message):
        TrainConfig(**change)


def test_too_little_data(data, tmp_path):
    with pytest.raises(ValueError, match="batch_size is 8, but only 0 of 200 training images are left after 200"):
        Trainer(dataclasses.replace(CONFIG, validation=200), data, tmp_path)
