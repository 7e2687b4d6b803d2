"""Training of LongConv classifiers: configuration, loop, checkpoints, logs and the report of the demo."""

from .checkpoint import load_checkpoint, save_checkpoint
from .config import TrainConfig
from .evaluation import Evaluation, evaluate
from .files import WriteError, write_atomically
from .reporter import Reporter
from .trainer import Diverged, Interrupted, Trainer

__all__ = [
    "Diverged",
    "Evaluation",
    "Interrupted",
    "Reporter",
    "TrainConfig",
    "Trainer",
    "WriteError",
    "evaluate",
    "load_checkpoint",
    "save_checkpoint",
    "write_atomically",
]
