"""What the commands have in common: where they print, and how mistakes end."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable
from typing import Any

import typer
from rich.console import Console
from rich.markup import escape

from flashfftconv.train import Diverged

# A file or pipe has no width to fit lines into; this is what the widest table needs.
PIPE_WIDTH = 160
console = Console(highlight=False, width=None if sys.stdout.isatty() else PIPE_WIDTH)
error_console = Console(stderr=True, highlight=False, soft_wrap=True)

FAILURE = 1
# What went wrong is the user's to mend; these carry a message that says how.
EXPECTED_ERRORS = (ValueError, TypeError, OSError, Diverged)
TRACEBACK_VARIABLE = "FLASHFFTCONV_TRACEBACK"


def fail(message: str, code: int = FAILURE) -> typer.Exit:
    """Print a message to standard error; raise what this returns."""
    error_console.print(f"[bold red]error:[/] {escape(message)}")
    return typer.Exit(code)


def clean_errors(command: Callable[..., Any]) -> Callable[..., Any]:
    """A command whose expected errors end in one line and a failing exit status, without a traceback."""

    @functools.wraps(command)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        try:
            return command(*args, **kwargs)
        except EXPECTED_ERRORS as error:
            if os.environ.get(TRACEBACK_VARIABLE):
                raise
            message = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            if isinstance(error, OSError) and error.filename is not None:
                message = f"{error.filename}: {message}"
            raise fail(message) from None

    return wrapped
