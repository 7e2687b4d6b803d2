"""The main job: train the classifier, train the same model without convolutions, and write the report."""

from __future__ import annotations

from pathlib import Path

from flashfftconv.data import ImageSet

from .config import TrainConfig
from .conv_timing import time_convolutions
from .report import Bars, Run, write_report
from .reporter import Reporter
from .trainer import CHECKPOINT_NAME, Trainer

MODEL_FOLDER, CONTROL_FOLDER = "model", "control"


def run_demo(
    data: ImageSet, folder: Path, config: TrainConfig, bars: Bars, command: str, resume: bool, reporter: Reporter
) -> tuple[Path, list[str]]:
    """Train both models and write the report.

    Parameters
    ----------
    data, config
        As for `Trainer`; `config.control` is set for the second run.
    folder : Path
        Gets the report, and a folder with checkpoint and logs for each run.
    bars : Bars
        What the result is held against.
    command : str
        How to repeat this, printed in the report.
    resume : bool
        Go on from the checkpoints in `folder`, as far as they got.
    reporter : Reporter
        Told about progress.

    Returns
    -------
    Path, list of str
        The HTML file, and a line for each bar that was missed.
    """
    runs = {}
    for name, run_config in ((MODEL_FOLDER, config), (CONTROL_FOLDER, config.as_control())):
        trainer = Trainer(run_config, data, folder / name, label=name, reporter=reporter)
        if resume and trainer.checkpoint_path.exists():
            trainer.resume()
        runs[name] = Run(trainer, trainer.run())
        reporter.note(f"{name}: test accuracy {100 * runs[name].test.accuracy:.2f} %")
    model, control = runs[MODEL_FOLDER], runs[CONTROL_FOLDER]
    reporter.note("timing this model's convolutions against torch.fft")
    timing = time_convolutions(model.trainer.model, config.batch_size, data.train_images.shape[1])
    path = write_report(folder, model, control, timing, bars, command)
    return path, bars.failures(model.test.accuracy, control.test.accuracy)


def has_checkpoint(folder: Path) -> bool:
    """Whether a demo was begun in `folder`."""
    return (folder / MODEL_FOLDER / CHECKPOINT_NAME).exists()
