"""Loads the operators (`_C.so`), once, when the package is imported."""

from pathlib import Path

import torch


def load() -> None:
    """Registers `torch.ops.flashfftconv.*`.

    Raises
    ------
    ImportError
        If the library is missing (the package was not built) or does not fit this torch.
    """
    path = Path(__file__).with_name("_C.so")
    if not path.exists():
        raise ImportError(
            f"flashfftconv is not built: {path.name} is missing beside its Python files; run `pip install .`"
        )
    try:
        torch.ops.load_library(path)
    except OSError as error:
        raise ImportError(
            f"flashfftconv's operators need torch >= 2.10; this is torch {torch.__version__}: {error}"
        ) from error


load()
