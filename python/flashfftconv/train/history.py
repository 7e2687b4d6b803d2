"""What a run measured, step by step, and its CSV and JSON files."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from .files import write_text_atomically

COLUMNS = ("kind", "epoch", "step", "samples", "loss", "accuracy", "lr", "seconds")


@dataclass
class Running:
    """Sums since the last row of the log; part of a checkpoint, so that rows come out the same after a resume."""

    loss: float = 0.0
    correct: int = 0
    samples: int = 0

    def add(self, loss: float, correct: int, samples: int) -> None:
        """Count one batch with mean loss `loss`."""
        self.loss += loss * samples
        self.correct += correct
        self.samples += samples


@dataclass
class History:
    """Rows of the log; `kind` is "train" (means since the row before) or "validation"."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    running: Running = field(default_factory=Running)

    def of_kind(self, kind: str) -> list[dict[str, Any]]:
        """The rows of one kind, in order."""
        return [row for row in self.rows if row["kind"] == kind]

    def close_interval(self, **where: Any) -> None:
        """Turn the running sums into a row and start new ones."""
        sums = self.running
        means = {"loss": sums.loss / sums.samples, "accuracy": sums.correct / sums.samples}
        self.rows.append({"kind": "train", **where, **means})
        self.running = Running()

    def state(self) -> dict[str, Any]:
        """Plain values for a checkpoint."""
        return {"rows": self.rows, "running": asdict(self.running)}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> History:
        """The inverse of `state`."""
        return cls(rows=list(state["rows"]), running=Running(**state["running"]))

    def write(self, folder: Path, header: dict[str, Any], result: dict[str, Any] | None) -> None:
        """Write log.csv (the rows) and log.json (the rows with `header` and, at the end, `result`)."""
        table = io.StringIO()
        writer = csv.DictWriter(table, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows)
        write_text_atomically(folder / "log.csv", table.getvalue())
        document = {**header, "rows": self.rows, "result": result}
        write_text_atomically(folder / "log.json", json.dumps(document, indent=1) + "\n")
