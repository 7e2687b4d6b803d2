"""The commands of ``flashfftconv``."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from rich.table import Table

import flashfftconv
from flashfftconv.data import load_fashion_mnist
from flashfftconv.train import Interrupted, Trainer, load_checkpoint
from flashfftconv.train.allocator import keep_freed_memory
from flashfftconv.train.trainer import CHECKPOINT_NAME

from .bench import bench
from .bench_short import bench_short
from .console import clean_errors, console, error_console, fail
from .options import make_config, with_config_options
from .progress import ConsoleReporter

app = typer.Typer(
    help="Long convolutions: train models on them, measure them, and see what runs them here.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
benchmarks = typer.Typer(invoke_without_command=True)
benchmarks.callback()(clean_errors(bench))
benchmarks.command("short")(clean_errors(bench_short))
app.add_typer(benchmarks, name="bench")

Data = Annotated[Path, typer.Option(help="Folder with the four files of Fashion-MNIST.")]
Out = Annotated[Path, typer.Option(help="Folder for checkpoints, logs and report; made if missing.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on from the checkpoint in --out, with its settings.")]
LeastAccuracy = Annotated[float, typer.Option(min=0, max=1, help="Test accuracy below which this fails.")]
LeastGap = Annotated[float, typer.Option(min=-1, max=1, help="Lead over the control below which this fails.")]
Threads = Annotated[int, typer.Option(min=0, help="CPU threads; 0 leaves it to torch.")]


@app.command()
@clean_errors
@with_config_options()
def train(
    data: Data,
    out: Out,
    given: dict[str, Any],
    resume: Resume = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Start anew over an old checkpoint.")] = False,
    threads: Threads = 0,
) -> None:
    """Train a classifier of Fashion-MNIST images read as sequences of 784 pixels."""
    prepare(threads)
    checkpoint = out / CHECKPOINT_NAME
    if checkpoint.exists() and not (resume or overwrite):
        raise ValueError(f"--out {out} already holds a checkpoint; give --resume, --overwrite or another folder")
    saved = load_checkpoint(checkpoint)["config"] if resume else None
    trainer = Trainer(make_config(given, saved), load_fashion_mnist(data), out, reporter=ConsoleReporter(console))
    if resume:
        trainer.resume()
    try:
        test = trainer.run()
    except Interrupted as stop:
        raise stopped(stop) from None
    console.print(f"test accuracy {100 * test.accuracy:.2f} %, loss {test.loss:.4f}; logs and checkpoint in {out}")


@app.command()
@clean_errors
@with_config_options("control")
def demo(
    data: Data,
    out: Out,
    given: dict[str, Any],
    resume: Resume = False,
    threads: Threads = 0,
    least_accuracy: LeastAccuracy = 0.84,
    least_gap: LeastGap = 0.10,
) -> None:
    """Train the classifier, then the same model without convolutions, and write a report in HTML."""
    # Drawing needs libraries that no other command does; they load here, before minutes of training depend on them.
    from flashfftconv.train.demo import MODEL_FOLDER, has_checkpoint, run_demo
    from flashfftconv.train.report import Bars

    prepare(threads)
    saved = load_checkpoint(out / MODEL_FOLDER / CHECKPOINT_NAME)["config"] if resume and has_checkpoint(out) else None
    config = make_config(given, saved)
    images = load_fashion_mnist(data)
    reporter = ConsoleReporter(console)
    try:
        page, failures = run_demo(images, out, config, Bars(least_accuracy, least_gap), own_command(), resume, reporter)
    except Interrupted as stop:
        raise stopped(stop) from None
    console.print(f"report: {page}")
    if failures:
        raise fail("; ".join(failures))


@app.command()
@clean_errors
def info() -> None:
    """Print versions, the backends, the CPU's instruction set, what there is of CUDA, and the threads."""
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    facts = {"version": flashfftconv.__version__, "torch": torch.__version__, **flashfftconv.backend_info()}
    for name, value in facts.items():
        shown = ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
        table.add_row(str(name).replace("_", " "), shown)
    console.print(table)


def prepare(threads: int) -> None:
    """Settings of the process that all training shares."""
    if threads:
        torch.set_num_threads(threads)
    keep_freed_memory()


def stopped(stop: Interrupted) -> typer.Exit:
    """Say how to go on; the exit status follows the shells' rule for a signal."""
    arguments = sys.argv[1:]
    again = arguments if "--resume" in arguments else [*arguments, "--resume"]
    again = [argument for argument in again if argument != "--overwrite"]
    error_console.print(f"{stop}\ngo on with: flashfftconv {shlex.join(again)}", markup=False)
    return typer.Exit(128 + stop.signal_number)


def own_command() -> str:
    """This invocation, as one would type it, without what makes it a continuation."""
    return "flashfftconv " + shlex.join(argument for argument in sys.argv[1:] if argument != "--resume")
