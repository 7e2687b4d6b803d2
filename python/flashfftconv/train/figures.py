"""The figures of the report, one PNG each. Every number drawn comes in as an argument and is in the JSON log too."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor

from flashfftconv.data import CLASS_NAMES
from flashfftconv.data.fashion_mnist import SIDE

from .conv_timing import ConvTiming
from .history import History

INK, MUTED, GRID, PAPER = "#1f2937", "#6b7280", "#e5e7eb", "#ffffff"
MODEL_COLOUR, CONTROL_COLOUR, WRONG_COLOUR = "#2563eb", "#9a6b1f", "#c2410c"
# Wide enough for a desktop column, and still legible when a phone shows it at a third of that.
WIDTH, HEIGHT, DPI = 6.0, 3.9, 160


def new_figure(width: float = WIDTH, height: float = HEIGHT) -> Figure:
    """An empty figure that belongs to no global state."""
    figure = Figure(figsize=(width, height), dpi=DPI, facecolor=PAPER, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def to_png(figure: Figure) -> bytes:
    """The figure as a PNG file."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", facecolor=PAPER)
    return buffer.getvalue()


def style_axes(axes: Any, grid: str = "y") -> None:
    """Thin grey axes, no box, a light grid behind the data."""
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(GRID)
    axes.tick_params(colors=MUTED, length=0, labelsize=10)
    axes.set_axisbelow(True)
    if grid:
        axes.grid(axis=grid, color=GRID, linewidth=0.8)


def smoothed(values: Sequence[float], width: int = 5) -> list[float]:
    """Running mean over up to `width` values up to each one: single batches are noisy."""
    return [sum(values[max(0, i - width + 1) : i + 1]) / min(width, i + 1) for i in range(len(values))]


def draw_curves(quantity: str, label: str, histories: dict[str, History], scale: float = 1.0) -> Figure:
    """One quantity over the epochs: a line for training (running mean) and dots for the validation images."""
    figure = new_figure()
    axes = figure.subplots()
    style_axes(axes)
    for (name, history), colour in zip(histories.items(), (MODEL_COLOUR, CONTROL_COLOUR), strict=False):
        rows = history.of_kind("train")
        values = smoothed([scale * row[quantity] for row in rows])
        axes.plot([row["epoch"] for row in rows], values, color=colour, linewidth=1.8, label=f"{name}, training")
        checks = history.of_kind("validation")
        axes.plot(
            [row["epoch"] for row in checks],
            [scale * row[quantity] for row in checks],
            "o",
            color=colour,
            markerfacecolor=PAPER,
            markersize=6,
            label=f"{name}, validation",
        )
    axes.set_xlabel("epoch", color=MUTED, fontsize=11)
    axes.set_ylabel(label, color=MUTED, fontsize=11)
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False, fontsize=10, labelcolor=INK)
    return figure


def draw_confusion(confusion: Tensor) -> Figure:
    """Shares of each true class (rows) by predicted class (columns), in percent; zeros are left blank."""
    figure = new_figure(6.4, 5.8)
    axes = figure.subplots()
    shares = 100 * confusion.double() / confusion.sum(1, keepdim=True).clamp_min(1)
    axes.imshow(shares.numpy(), cmap="Blues", vmin=0, vmax=100)
    for row in range(len(shares)):
        for column in range(len(shares)):
            value = shares[row, column].item()
            if value >= 0.5:
                colour = PAPER if value > 55 else INK
                axes.text(column, row, f"{value:.0f}", ha="center", va="center", color=colour, fontsize=9.5)
    axes.set_xticks(range(len(CLASS_NAMES)), CLASS_NAMES, rotation=45, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(CLASS_NAMES)), CLASS_NAMES)
    style_axes(axes, grid="")
    axes.tick_params(colors=INK, labelsize=10)
    for side in axes.spines.values():
        side.set_visible(False)
    axes.set_xlabel("predicted", color=MUTED, fontsize=11)
    axes.set_ylabel("true", color=MUTED, fontsize=11)
    return figure


def draw_examples(images: Tensor, examples: Sequence[dict[str, Any]]) -> Figure:
    """Test images with the model's answer, its probability, and the truth where the answer is wrong."""
    columns = 4
    rows = max(1, -(-len(examples) // columns))
    figure = new_figure(6.4, 2.15 * rows)
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    for axes, example in zip(grid.flat, examples, strict=False):
        axes.imshow(images[example["index"]].reshape(SIDE, SIDE).numpy(), cmap="gray_r", vmin=0, vmax=255)
        answer = f"{CLASS_NAMES[example['predicted']]} {100 * example['confidence']:.0f} %"
        right = example["predicted"] == example["true"]
        truth = "" if right else f"\nis: {CLASS_NAMES[example['true']]}"
        axes.set_title(answer + truth, fontsize=10, color=INK if right else WRONG_COLOUR)
    return figure


def draw_filters(filters: Sequence[dict[str, Any]]) -> Figure:
    """Learned filters tap by tap: before the squash on the left, after it on the right, same scale."""
    figure = new_figure(6.4, 1.55 * len(filters) + 0.4)
    grid = figure.subplots(len(filters), 2, squeeze=False, sharex=True, sharey="row")
    for (before, after), filter_ in zip(grid, filters, strict=True):
        for axes, key, colour in ((before, "before", MUTED), (after, "after", MODEL_COLOUR)):
            style_axes(axes)
            axes.plot(filter_[key], color=colour, linewidth=0.8)
            axes.tick_params(labelsize=9)
            axes.locator_params(axis="y", nbins=4)
        before.set_ylabel(f"layer {filter_['layer']}\nchannel {filter_['channel']}", color=INK, fontsize=10)
        zeros = 100 * filter_["zero_share"]
        after.set_title(f"{zeros:.0f} % of taps are zero", fontsize=9.5, color=MUTED, loc="right")
    grid[0][0].set_title("before squash", fontsize=11, color=INK, loc="left")
    grid[0][1].set_title("after squash", fontsize=11, color=INK, loc="left")
    for axes in grid[-1]:
        axes.set_xlabel("lag in pixels", color=MUTED, fontsize=10)
        axes.set_xticks(range(0, len(filters[0]["after"]), 7 * SIDE))
    return figure


def draw_filter_images(taps: Tensor) -> Figure:
    """First-layer filters (n, 784) wrapped at the width of the image: which pixels before it a position looks at."""
    columns = 6
    rows = -(-len(taps) // columns)
    figure = new_figure(6.4, 1.12 * rows + 0.1)
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    for axes, row in zip(grid.flat, taps, strict=False):
        # Time runs backwards in a filter: flipped, the tap for the pixel itself comes last, as that pixel does.
        picture = row.flip(-1).reshape(SIDE, SIDE)
        limit = picture.abs().max().item() or 1.0
        axes.imshow(picture.numpy(), cmap="RdBu_r", vmin=-limit, vmax=limit)
    return figure


def draw_timing(timing: ConvTiming) -> Figure:
    """Milliseconds per training step spent in convolutions, ours and torch.fft's: medians, whiskers are quartiles."""
    figure = new_figure(6.0, 2.1)
    axes = figure.subplots()
    style_axes(axes, grid="x")
    names, spreads, colours = ("flashfftconv", "torch.fft"), (timing.ours, timing.torch_fft), (MODEL_COLOUR, "#9ca3af")
    for position, (spread, colour) in enumerate(zip(spreads, colours, strict=True)):
        whiskers = [[spread.median - spread.lower], [spread.upper - spread.median]]
        axes.barh(position, spread.median, xerr=whiskers, color=colour, height=0.56, ecolor=INK, capsize=3)
        axes.text(spread.upper, position, f"   {spread.median:.1f} ms", va="center", color=INK, fontsize=11)
    axes.set_yticks(range(2), names)
    axes.tick_params(axis="y", colors=INK, labelsize=11)
    axes.invert_yaxis()
    axes.set_xlim(0, 1.2 * max(spread.upper for spread in spreads))
    axes.set_xlabel("milliseconds per training step in convolutions", color=MUTED, fontsize=11)
    return figure
