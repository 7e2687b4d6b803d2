"""Where plans are shown: with FFC_LOG=1, the logger `flashfftconv`, and stderr unless the program set up logging."""

from __future__ import annotations

import logging
import os

logger = logging.getLogger("flashfftconv")
if os.environ.get("FFC_LOG", "0") not in ("", "0"):
    logger.setLevel(logging.INFO)
    if not logging.root.handlers:
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("%(name)s: %(message)s"))
        logger.addHandler(handler)


def show(text: str) -> None:
    """The operator `log`, which the C++ kernels call for each plan they make while FFC_LOG is set."""
    logger.info(text.rstrip())
