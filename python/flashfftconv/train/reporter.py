"""How a run tells what it is doing. The base class says nothing; the command line has one that draws progress."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class RunShape:
    """What a reporter needs to know at the start of a run."""

    label: str
    steps: int
    steps_done: int
    steps_per_epoch: int
    batch_size: int


class Reporter:
    """Receives the events of a run; every method may be left as it is."""

    def start(self, shape: RunShape) -> None:
        """A run begins, or goes on after `shape.steps_done` steps."""

    def step(self, step: int, loss: float, accuracy: float) -> None:
        """Step `step` (from 1) is done; loss and accuracy of its batch."""

    def note(self, text: str) -> None:
        """One line worth keeping."""

    def finish(self) -> None:
        """The run is over, for whatever reason."""
