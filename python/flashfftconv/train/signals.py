"""Turns Ctrl-C and SIGTERM into a flag, so that a run stops between two steps, saved."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator


class StopRequest:
    """Set once a signal asked the run to stop."""

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None

    def __bool__(self) -> bool:
        return self.signal is not None


@contextlib.contextmanager
def stop_on_signals() -> Iterator[StopRequest]:
    """While active, the first SIGINT or SIGTERM sets the flag; a second one acts as if this were not there."""
    request = StopRequest()
    # Python runs signal handlers in the main thread only and lets no other thread install them.
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def ask_to_stop(number: int, frame: object) -> None:
        request.signal = signal.Signals(number)
        restore()

    for number in before:
        signal.signal(number, ask_to_stop)
    try:
        yield request
    finally:
        restore()
