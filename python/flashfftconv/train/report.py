"""The report of the demo: one HTML file that needs nothing beside it, its figures as PNGs, and all numbers as JSON."""

from __future__ import annotations

import base64
import dataclasses
import json
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2
import torch
from torch import Tensor

from flashfftconv.data import CLASS_NAMES, ImageSet
from flashfftconv.nn import LongConvClassifier

from . import figures
from .conv_timing import ConvTiming
from .evaluation import Evaluation
from .files import write_atomically, write_text_atomically
from .machine import describe_machine
from .trainer import Trainer

EXAMPLES_OF_A_KIND = 8
FILTERS_OF_A_LAYER = 2
FILTER_IMAGES = 18


@dataclass(frozen=True)
class Run:
    """A finished training and its answers to the test images."""

    trainer: Trainer
    test: Evaluation


@dataclass(frozen=True)
class Bars:
    """What the demo promises: the model's least test accuracy, and its least lead over the control."""

    accuracy: float
    gap: float

    def failures(self, model: float, control: float) -> list[str]:
        """One line for each promise that was not kept."""
        lines = []
        if model < self.accuracy:
            lines.append(f"test accuracy is {100 * model:.2f} %, below the bar of {100 * self.accuracy:.2f} %")
        if model - control < self.gap:
            lines.append(
                f"the control without convolutions reaches {100 * control:.2f} %, only {100 * (model - control):.2f} "
                f"points below the model; the bar is {100 * self.gap:.2f}"
            )
        return lines


def write_report(folder: Path, model: Run, control: Run, timing: ConvTiming, bars: Bars, command: str) -> Path:
    """Write the PNGs, report.json and report.html into `folder`; the path of the HTML file.

    Raises
    ------
    WriteError
        If a file cannot be written.
    """
    content = collect(model, control, timing, bars, command)
    images = {name: figures.to_png(figure) for name, figure in draw(content, model, control, timing).items()}
    for name, image in images.items():
        write_atomically(folder / f"{name}.png", image)
    write_text_atomically(folder / "report.json", json.dumps(content, indent=1) + "\n")
    template = resources.files(__package__).joinpath("report.html.j2").read_text(encoding="utf-8")
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    inlined = {name: "data:image/png;base64," + base64.b64encode(image).decode() for name, image in images.items()}
    page = environment.from_string(template).render(content, images=inlined)
    path = folder / "report.html"
    write_text_atomically(path, page)
    return path


def collect(model: Run, control: Run, timing: ConvTiming, bars: Bars, command: str) -> dict[str, Any]:
    """Every number of the report, as plain values."""
    trainer = model.trainer
    layer = trainer.model.long_convs()[0]
    return {
        "command": command,
        "machine": describe_machine(),
        "data": trainer.fingerprint,
        "config": trainer.config.to_dict(),
        "runs": {"model": describe_run(model), "control": describe_run(control)},
        "bars": dataclasses.asdict(bars),
        "failures": bars.failures(model.test.accuracy, control.test.accuracy),
        "classes": list(CLASS_NAMES),
        "confusion": model.test.confusion.tolist(),
        "worst_pairs": worst_pairs(model.test.confusion),
        "examples": choose_examples(trainer.data, model.test),
        "filters": choose_filters(trainer.model),
        "filter_images": largest_filters(layer.filter.taps().detach()[0], FILTER_IMAGES).tolist(),
        "timing": timing.to_dict(),
        "step_ms": 1e3 * trainer.step_seconds / trainer.total_steps,
    }


def draw(content: dict[str, Any], model: Run, control: Run, timing: ConvTiming) -> dict[str, figures.Figure]:
    """All figures by file name."""
    histories = {"long convolutions": model.trainer.history, "control": control.trainer.history}
    examples, images = content["examples"], model.trainer.data.test_images
    drawn = {
        "loss": figures.draw_curves("loss", "cross-entropy", histories),
        "accuracy": figures.draw_curves("accuracy", "accuracy, %", histories, scale=100),
        "confusion": figures.draw_confusion(model.test.confusion),
        "filters": figures.draw_filters(content["filters"]),
        "filter_images": figures.draw_filter_images(torch.tensor(content["filter_images"])),
        "timing": figures.draw_timing(timing),
    }
    for kind in ("right", "wrong"):
        if examples[kind]:
            drawn[f"examples_{kind}"] = figures.draw_examples(images, examples[kind])
    return drawn


def describe_run(run: Run) -> dict[str, Any]:
    """A run in figures."""
    trainer = run.trainer
    return {
        **run.test.summary(),
        "parameters": sum(p.numel() for p in trainer.model.parameters()),
        "steps": trainer.total_steps,
        "samples": trainer.total_steps * trainer.config.batch_size,
        "seconds": trainer.seconds,
        "rows": trainer.history.rows,
    }


def choose_examples(data: ImageSet, test: Evaluation) -> dict[str, list[dict[str, Any]]]:
    """The first right answers and the first wrong ones: no picking by how they look."""
    right = test.predictions == data.test_labels
    return {
        kind: [
            {
                "index": index,
                "true": int(data.test_labels[index]),
                "predicted": int(test.predictions[index]),
                "confidence": float(test.confidences[index]),
            }
            for index in mask.nonzero().flatten()[:EXAMPLES_OF_A_KIND].tolist()
        ]
        for kind, mask in (("right", right), ("wrong", ~right))
    }


def choose_filters(model: LongConvClassifier) -> list[dict[str, Any]]:
    """The largest filters of each layer, before and after the squash."""
    chosen = []
    for number, layer in enumerate(model.long_convs(), start=1):
        before, after = layer.filter.smoothed().detach()[0], layer.filter.taps().detach()[0]
        for channel in after.norm(dim=-1).argsort(descending=True)[:FILTERS_OF_A_LAYER].tolist():
            chosen.append(
                {
                    "layer": number,
                    "channel": channel,
                    "before": before[channel].tolist(),
                    "after": after[channel].tolist(),
                    "zero_share": (after[channel] == 0).double().mean().item(),
                }
            )
    return chosen


def largest_filters(taps: Tensor, count: int) -> Tensor:
    """The `count` rows of the largest norm, largest first."""
    return taps[taps.norm(dim=-1).argsort(descending=True)[:count]]


def worst_pairs(confusion: Tensor, count: int = 3) -> list[dict[str, Any]]:
    """The most frequent mistakes, as class names and numbers of images."""
    mistakes = confusion.clone().fill_diagonal_(0).flatten()
    order = mistakes.argsort(descending=True)[:count].tolist()
    classes = len(CLASS_NAMES)
    return [
        {"true": CLASS_NAMES[i // classes], "predicted": CLASS_NAMES[i % classes], "images": int(mistakes[i])}
        for i in order
        if mistakes[i] > 0
    ]
