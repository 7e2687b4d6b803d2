"""The training loop: steps, rows of the log, checkpoints, and going on from one as if nothing had happened."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from flashfftconv.data import CLASS_NAMES, ImageSet, to_sequences
from flashfftconv.nn import parameter_groups

from .checkpoint import describe_mismatch, load_checkpoint, load_weights, save_checkpoint
from .config import TrainConfig
from .evaluation import Evaluation, evaluate
from .files import remove_stale_temporaries
from .history import History
from .reporter import Reporter, RunShape
from .schedule import cosine_with_warmup
from .signals import stop_on_signals

CHECKPOINT_NAME = "checkpoint.pt"
ADAM_BETAS = (0.9, 0.99)
# Odd 64-bit constant (the golden ratio) that spreads the seeds of successive epochs over the generator's range.
EPOCH_STRIDE = 0x9E3779B97F4A7C15


class Interrupted(Exception):
    """The run was asked to stop and saved itself; `checkpoint` is where."""

    def __init__(self, checkpoint: Path, step: int, signal_number: int):
        super().__init__(f"stopped after step {step}; saved in {checkpoint}")
        self.checkpoint, self.step, self.signal_number = checkpoint, step, signal_number


class Diverged(RuntimeError):
    """The loss is no longer a number."""


class Trainer:
    """Trains one classifier on images read as sequences of pixels.

    Parameters
    ----------
    config : TrainConfig
        What to compute.
    data : ImageSet
        Training and test images; the last `config.validation` training images are kept out of training.
    folder : path-like
        Where checkpoint.pt, log.csv and log.json go.
    label : str
        Name of the run in messages.
    reporter : Reporter or None
        Told about progress.

    Raises
    ------
    ValueError
        If the data is too small for the configuration.
    """

    def __init__(
        self,
        config: TrainConfig,
        data: ImageSet,
        folder: Path | str,
        label: str = "model",
        reporter: Reporter | None = None,
    ):
        self.config, self.data, self.folder, self.label = config, data, Path(folder), label
        self.reporter = reporter or Reporter()
        self.fingerprint = data.fingerprint()
        torch.manual_seed(config.seed)
        self.model = config.build_model(l_max=data.train_images.shape[1], n_classes=len(CLASS_NAMES))
        self.train_count = len(data.train_labels) - config.validation
        if self.train_count < config.batch_size:
            raise ValueError(
                f"batch_size is {config.batch_size}, but only {self.train_count} of {len(data.train_labels)} training "
                f"images are left after {config.validation} for validation"
            )
        self.steps_per_epoch = self.train_count // config.batch_size
        self.total_steps = max(1, round(config.epochs * self.steps_per_epoch))
        self.evaluation_steps = {
            round(self.total_steps * (i + 1) / config.evaluations) for i in range(config.evaluations)
        }
        groups = parameter_groups(self.model, config.lr, config.weight_decay)
        self.peak_rates = [group["lr"] for group in groups]
        self.optimizer = torch.optim.AdamW(groups, betas=ADAM_BETAS)
        self.history = History()
        self.step = 0
        self.seconds = 0.0
        self.step_seconds = 0.0
        self._order: tuple[int, Tensor] | None = None

    @property
    def checkpoint_path(self) -> Path:
        """Where this run saves itself."""
        return self.folder / CHECKPOINT_NAME

    def resume(self) -> None:
        """Go on from the checkpoint in the folder.

        Raises
        ------
        ValueError
            If there is none, it is damaged, or it is of another configuration, model or data set.
        """
        path = self.checkpoint_path
        state = load_checkpoint(path)
        lines = self.config.differences(state["config"])
        lines += [
            f"data {name} is {state['data'].get(name)} there and {value} here"
            for name, value in self.fingerprint.items()
            if state["data"].get(name) != value
        ]
        if lines:
            raise ValueError(describe_mismatch(path, lines))
        load_weights(self.model, state["model"], path)
        self.optimizer.load_state_dict(state["optimizer"])
        self.step = state["step"]
        self.seconds, self.step_seconds = state["seconds"], state["step_seconds"]
        self.history = History.from_state(state["history"])
        torch.set_rng_state(state["rng"])
        remove_stale_temporaries(path)

    def run(self) -> Evaluation:
        """Train to the end, then evaluate on the test images and write the logs.

        Raises
        ------
        Interrupted
            After Ctrl-C or SIGTERM; everything is saved.
        WriteError
            If a checkpoint or log cannot be written.
        Diverged
            If the loss becomes infinite or NaN.
        """
        self.reporter.start(
            RunShape(self.label, self.total_steps, self.step, self.steps_per_epoch, self.config.batch_size)
        )
        try:
            with stop_on_signals() as stop:
                while self.step < self.total_steps:
                    self._advance()
                    if stop:
                        self.save()
                        raise Interrupted(self.checkpoint_path, self.step, int(stop.signal))
                    if self.step % self.config.checkpoint_every == 0:
                        self.save()
                self.save()
        finally:
            self.reporter.finish()
        test = evaluate(self.model, self.data.test_images, self.data.test_labels, len(CLASS_NAMES))
        self._write_logs(test)
        return test

    def save(self) -> None:
        """Write the checkpoint and the logs so far."""
        state = {
            "config": self.config.to_dict(),
            "data": self.fingerprint,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
            "seconds": self.seconds,
            "step_seconds": self.step_seconds,
            "history": self.history.state(),
            "rng": torch.get_rng_state(),
        }
        save_checkpoint(self.checkpoint_path, state)
        self._write_logs(None)

    def _advance(self) -> None:
        """One step and whatever is due after it."""
        began = time.perf_counter()
        loss, correct = self._train_step()
        self.step += 1
        elapsed = time.perf_counter() - began
        self.seconds += elapsed
        self.step_seconds += elapsed
        self.history.running.add(loss, correct, self.config.batch_size)
        self.reporter.step(self.step, loss, correct / self.config.batch_size)
        if self.step % self.config.log_every == 0 or self.step == self.total_steps:
            self.history.close_interval(**self._position())
        if self.step in self.evaluation_steps and self.config.validation > 0:
            self._validate()

    def _train_step(self) -> tuple[float, int]:
        """Forward, backward and update on the next batch; its mean loss and number of right answers."""
        config = self.config
        factor = cosine_with_warmup(self.step, self.total_steps, config.warmup)
        for group, peak in zip(self.optimizer.param_groups, self.peak_rates, strict=True):
            group["lr"] = peak * factor
        chosen = self._batch_indices()
        labels = self.data.train_labels[chosen]
        self.model.train()
        logits = self.model(to_sequences(self.data.train_images[chosen]))
        loss = F.cross_entropy(logits, labels, label_smoothing=config.label_smoothing)
        value = loss.item()
        if not math.isfinite(value):
            raise Diverged(f"the loss is {value} at step {self.step + 1}; lower lr ({config.lr}) or filter_lr")
        self.optimizer.zero_grad()
        loss.backward()
        if config.clip > 0:
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), config.clip)
        self.optimizer.step()
        return value, int((logits.argmax(1) == labels).sum())

    def _batch_indices(self) -> Tensor:
        """Training images of the next batch. The order is a function of seed and epoch, so a resumed run shares it."""
        epoch, position = divmod(self.step, self.steps_per_epoch)
        if self._order is None or self._order[0] != epoch:
            generator = torch.Generator().manual_seed((self.config.seed + epoch * EPOCH_STRIDE) % 2**63)
            self._order = (epoch, torch.randperm(self.train_count, generator=generator))
        start = position * self.config.batch_size
        return self._order[1][start : start + self.config.batch_size]

    def _validate(self) -> None:
        began = time.perf_counter()
        kept_out = slice(self.train_count, None)
        seen = evaluate(
            self.model, self.data.train_images[kept_out], self.data.train_labels[kept_out], len(CLASS_NAMES)
        )
        self.seconds += time.perf_counter() - began
        row = {"kind": "validation", **self._position(), "loss": seen.loss, "accuracy": seen.accuracy}
        self.history.rows.append(row)
        self.reporter.note(
            f"{self.label}: step {self.step} of {self.total_steps}, validation loss {seen.loss:.3f}, "
            f"accuracy {100 * seen.accuracy:.1f} %"
        )

    def _position(self) -> dict[str, Any]:
        return {
            "epoch": self.step / self.steps_per_epoch,
            "step": self.step,
            "samples": self.step * self.config.batch_size,
            "lr": self.optimizer.param_groups[-1]["lr"],
            "seconds": self.seconds,
        }

    def _write_logs(self, test: Evaluation | None) -> None:
        header = {
            "label": self.label,
            "config": self.config.to_dict(),
            "data": self.fingerprint,
            "torch": torch.__version__,
            "threads": torch.get_num_threads(),
            "parameters": sum(p.numel() for p in self.model.parameters()),
            "steps": self.total_steps,
            "seconds": self.seconds,
        }
        self.history.write(self.folder, header, test.summary() if test else None)
