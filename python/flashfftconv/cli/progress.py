"""Progress of a training run: a live line on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import time

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.table import Column

from flashfftconv.train.reporter import Reporter, RunShape

# Seconds between lines where there is no terminal to redraw.
LINE_INTERVAL = 10.0
# Weight of a new batch in the running means shown: about the last 50 count.
NEW_WEIGHT = 0.02


class ConsoleReporter(Reporter):
    """Shows epoch, step, loss, accuracy, samples per second and time left."""

    def __init__(self, console: Console):
        self.console = console
        self.shape: RunShape | None = None
        self.bar: Progress | None = None
        self.task: TaskID | None = None

    def start(self, shape: RunShape) -> None:
        """Begin a bar, or say in a line what begins."""
        self.shape = shape
        self.loss = self.accuracy = float("nan")
        self.began = self.last_line = time.monotonic()
        verb = f"going on after step {shape.steps_done}" if shape.steps_done else "training"
        self.console.print(f"{shape.label}: {verb}, {shape.steps} steps of {shape.batch_size} sequences")
        if self.console.is_terminal:
            name = TextColumn("[bold]{task.description}", table_column=Column(no_wrap=True, min_width=7))
            # On a narrow terminal the numbers go on in a second line rather than lose their end.
            numbers = TextColumn("{task.fields[text]}", table_column=Column(ratio=1))
            columns = (name, BarColumn(bar_width=16), numbers)
            self.bar = Progress(*columns, console=self.console, expand=True, transient=True)
            self.task = self.bar.add_task(shape.label, total=shape.steps, completed=shape.steps_done, text="")
            self.bar.start()

    def step(self, step: int, loss: float, accuracy: float) -> None:
        """Fold a batch into the running means and show them."""
        first = self.loss != self.loss
        weight = 1.0 if first else NEW_WEIGHT
        self.loss = loss if first else self.loss + weight * (loss - self.loss)
        self.accuracy = accuracy if first else self.accuracy + weight * (accuracy - self.accuracy)
        if self.bar is not None:
            self.bar.update(self.task, completed=step, text=self.describe(step))
        elif time.monotonic() - self.last_line >= LINE_INTERVAL:
            self.last_line = time.monotonic()
            self.console.print(f"{self.shape.label}: {self.describe(step)}")

    def describe(self, step: int) -> str:
        """One line about the run at `step`."""
        shape = self.shape
        rate = (step - shape.steps_done) / max(1e-9, time.monotonic() - self.began)
        epochs = shape.steps / shape.steps_per_epoch
        left = (shape.steps - step) / max(1e-9, rate)
        return (
            f"epoch {step / shape.steps_per_epoch:.2f}/{epochs:.2f}  step {step}/{shape.steps}  "
            f"loss {self.loss:.3f}  accuracy {100 * self.accuracy:.1f} %  "
            f"{rate * shape.batch_size:.0f} samples/s  {int(left) // 60}:{int(left) % 60:02d} left"
        )

    def note(self, text: str) -> None:
        """Print a line that stays."""
        self.console.print(text)

    def finish(self) -> None:
        """Take the bar away."""
        if self.bar is not None:
            self.bar.stop()
            self.bar = None
