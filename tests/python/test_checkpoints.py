"""Resuming after any stop gives the bits of a run that never stopped, and nothing is ever half written."""

from __future__ import annotations

import dataclasses
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from synthetic import write_data
from training_setup import CONFIG

from flashfftconv.data import load_fashion_mnist
from flashfftconv.train import Interrupted, Reporter, Trainer, WriteError, load_checkpoint
from flashfftconv.train.files import write_atomically

CHILD = Path(__file__).with_name("training_child.py")


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


@pytest.fixture(scope="module")
def uninterrupted(folder, tmp_path_factory):
    """Final checkpoint of a run that was left alone."""
    out = tmp_path_factory.mktemp("uninterrupted")
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    Trainer(CONFIG, load_fashion_mnist(folder), out).run()
    torch.set_num_threads(before)
    return load_checkpoint(out / "checkpoint.pt")


def child(folder, out, action, step):
    command = [sys.executable, str(CHILD), str(folder), str(out), action, str(step)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    return subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment, check=False)


def without_times(rows):
    return [{key: value for key, value in row.items() if key != "seconds"} for row in rows]


def assert_same_result(checkpoint, other):
    assert checkpoint["step"] == other["step"]
    assert checkpoint["model"].keys() == other["model"].keys()
    for name, value in checkpoint["model"].items():
        assert torch.equal(value, other["model"][name]), name
    for index, state in checkpoint["optimizer"]["state"].items():
        for name, value in state.items():
            assert torch.equal(value, other["optimizer"]["state"][index][name]), (index, name)
    assert torch.equal(checkpoint["rng"], other["rng"])
    assert without_times(checkpoint["history"]["rows"]) == without_times(other["history"]["rows"])


def test_resuming_after_kills_gives_the_same_bits(folder, tmp_path, uninterrupted):
    # Step 7 lies between two checkpoints and inside a row of the log; step 20 ends an epoch.
    for action, step in (("kill", 7), ("kill-while-saving", 14), ("kill", 20)):
        stopped = child(folder, tmp_path, action, step)
        assert stopped.returncode == -signal.SIGKILL, stopped.stderr
    assert load_checkpoint(tmp_path / "checkpoint.pt")["step"] == 15
    finished = child(folder, tmp_path, "none", 0)
    assert finished.returncode == 0, finished.stderr
    assert_same_result(load_checkpoint(tmp_path / "checkpoint.pt"), uninterrupted)
    assert not list(tmp_path.glob(".*.tmp")), "what the killed save left is cleared away"


def test_the_seed_matters(data, tmp_path, uninterrupted):
    Trainer(dataclasses.replace(CONFIG, seed=1), data, tmp_path).run()
    other = load_checkpoint(tmp_path / "checkpoint.pt")
    assert not torch.equal(other["model"]["decoder.weight"], uninterrupted["model"]["decoder.weight"])


class SignalAt(Reporter):
    """Sends this process a signal after a step."""

    def __init__(self, step, number):
        self.at, self.number = step, number

    def step(self, step, loss, accuracy):
        if step == self.at:
            os.kill(os.getpid(), self.number)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_between_steps(data, tmp_path, uninterrupted, number):
    before = signal.getsignal(number)
    with pytest.raises(Interrupted, match="stopped after step 13") as caught:
        Trainer(CONFIG, data, tmp_path, reporter=SignalAt(13, number)).run()
    assert caught.value.signal_number == number
    assert signal.getsignal(number) is before
    assert load_checkpoint(caught.value.checkpoint)["step"] == 13
    again = Trainer(CONFIG, data, tmp_path)
    torch.manual_seed(99)
    again.resume()
    again.run()
    assert_same_result(load_checkpoint(tmp_path / "checkpoint.pt"), uninterrupted)


def test_resuming_a_finished_run_changes_nothing(data, tmp_path, uninterrupted):
    first = Trainer(CONFIG, data, tmp_path).run()
    again = Trainer(CONFIG, data, tmp_path)
    again.resume()
    second = again.run()
    assert torch.equal(first.predictions, second.predictions)
    assert_same_result(load_checkpoint(tmp_path / "checkpoint.pt"), uninterrupted)


def test_a_full_disk_leaves_the_old_checkpoint(folder, tmp_path):
    failed = child(folder, tmp_path, "full-disk", 8)
    assert failed.returncode == 1
    assert "WriteError: cannot write" in failed.stderr
    assert "the old file is unchanged" in failed.stderr
    assert "Traceback" not in failed.stderr
    assert load_checkpoint(tmp_path / "checkpoint.pt")["step"] == 5
    assert not list(tmp_path.glob(".*.tmp"))
    finished = child(folder, tmp_path, "none", 0)
    assert finished.returncode == 0, finished.stderr


def test_atomic_write_replaces_or_keeps(tmp_path, monkeypatch):
    path = tmp_path / "deep" / "file"
    write_atomically(path, b"old")
    assert stat.S_IMODE(path.stat().st_mode) & 0o400
    write_atomically(path, b"new")
    assert path.read_bytes() == b"new"

    def refuse(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("flashfftconv.train.files.os.fsync", refuse)
    with pytest.raises(
        WriteError, match=r"cannot write .*file \(5 bytes\): No space left.*old file is unchanged"
    ) as caught:
        write_atomically(path, b"newer")
    assert isinstance(caught.value, ValueError)
    assert caught.value.errno == 28
    assert path.read_bytes() == b"new"
    assert [entry.name for entry in path.parent.iterdir()] == ["file"]


def test_writing_where_a_file_bars_the_way(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(WriteError, match="no file was made"):
        write_atomically(tmp_path / "file" / "checkpoint.pt", b"x")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"d_model": 8}, "d_model is 6 there and 8 here"),
        ({"lr": 0.02}, "lr is 0.01 there and 0.02 here"),
        ({"control": True}, "control is False there and True here"),
        ({"heads": 2, "seed": 3}, "heads is 1 there and 2 here; seed is 2222 there and 3 here"),
    ],
)
def test_a_checkpoint_of_another_run_is_refused(data, tmp_path, change, message):
    Trainer(CONFIG, data, tmp_path).save()
    with pytest.raises(ValueError, match=message):
        Trainer(dataclasses.replace(CONFIG, **change), data, tmp_path).resume()


def test_how_often_to_save_may_change(data, tmp_path):
    Trainer(CONFIG, data, tmp_path).save()
    Trainer(dataclasses.replace(CONFIG, checkpoint_every=99), data, tmp_path).resume()


def test_a_checkpoint_of_other_data_is_refused(data, tmp_path):
    Trainer(CONFIG, data, tmp_path).save()
    other = dataclasses.replace(data, test_images=data.test_images.flip(0))
    with pytest.raises(ValueError, match="data crc32 is"):
        Trainer(CONFIG, other, tmp_path).resume()


def test_a_checkpoint_of_another_model_is_refused(data, tmp_path):
    trainer = Trainer(CONFIG, data, tmp_path)
    trainer.save()
    trainer.model.decoder = torch.nn.Linear(6, 11)
    with pytest.raises(ValueError, match=r"decoder\.weight is \(10, 6\) there and \(11, 6\) here"):
        trainer.resume()


def test_no_checkpoint(data, tmp_path):
    with pytest.raises(ValueError, match="there is no checkpoint"):
        Trainer(CONFIG, data, tmp_path).resume()


@pytest.mark.parametrize("keep", [0, 10, 1000, -1])
def test_a_damaged_checkpoint(data, tmp_path, keep):
    trainer = Trainer(CONFIG, data, tmp_path)
    trainer.save()
    trainer.checkpoint_path.write_bytes(trainer.checkpoint_path.read_bytes()[:keep])
    with pytest.raises(ValueError, match="is damaged or no checkpoint"):
        trainer.resume()


def test_something_else_that_torch_can_read(data, tmp_path):
    torch.save({"weights": torch.zeros(3)}, tmp_path / "checkpoint.pt")
    with pytest.raises(ValueError, match="no checkpoint of this trainer: it lacks format"):
        Trainer(CONFIG, data, tmp_path).resume()
