"""A training run in a process of its own, for tests that kill it or take its disk space away.

    python training_child.py DATA OUT ACTION STEP

ACTION at STEP: "kill" (SIGKILL), "kill-while-saving" (SIGKILL with the temporary file written and not yet renamed),
"full-disk" (no file may grow past 10 kB from then on), or "none". Goes on from a checkpoint if there is one.
"""

from __future__ import annotations

import os
import resource
import signal
import sys

import torch
from training_setup import CONFIG

from flashfftconv.data import load_fashion_mnist
from flashfftconv.train import Reporter, Trainer, files


class Saboteur(Reporter):
    """Does the action once the step is done, before anything else that is due then."""

    def __init__(self, action: str, step: int):
        self.action, self.at = action, step

    def step(self, step: int, loss: float, accuracy: float) -> None:
        if step != self.at:
            return
        if self.action == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        elif self.action == "kill-while-saving":
            files.os.replace = lambda source, target: os.kill(os.getpid(), signal.SIGKILL)
        elif self.action == "full-disk":
            resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))


def main() -> None:
    data, out, action, step = sys.argv[1:]
    torch.set_num_threads(1)
    trainer = Trainer(CONFIG, load_fashion_mnist(data), out, reporter=Saboteur(action, int(step)))
    if trainer.checkpoint_path.exists():
        trainer.resume()
    try:
        trainer.run()
    except files.WriteError as error:
        sys.exit(f"WriteError: {error.strerror}")


if __name__ == "__main__":
    main()
