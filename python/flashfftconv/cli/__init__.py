"""The command line: ``flashfftconv train | bench | info | demo``.

It needs the extra "train" of the package; `import flashfftconv` alone does not.
"""

from __future__ import annotations

import sys


def main() -> None:
    """Entry point of the command ``flashfftconv``."""
    try:
        from .app import app
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] == "flashfftconv":
            raise
        sys.exit(f"error: the command line needs {error.name}; install it with: pip install 'flashfftconv[train]'")
    app()


def __getattr__(name: str) -> object:
    """`flashfftconv.cli.app`, imported when asked for."""
    if name == "app":
        from .app import app

        return app
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = ["main"]
