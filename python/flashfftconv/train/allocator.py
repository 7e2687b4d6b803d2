"""Tells the C library to keep freed memory for the next step."""

from __future__ import annotations

import ctypes
import sys

# Parameter numbers of glibc's mallopt, from its malloc.h.
M_TRIM_THRESHOLD = -1
M_TOP_PAD = -2
M_MMAP_THRESHOLD = -3

# The largest mmap threshold that glibc takes on 64-bit systems.
LARGEST_MMAP_THRESHOLD = 32 << 20


def keep_freed_memory() -> bool:
    """Stop glibc from returning freed memory to the system; True if it agreed.

    A training step allocates and frees the same megabytes again and again. By default each round trip goes to the
    kernel, which hands out zeroed pages one fault at a time: a quarter of a step's time on the recipe's model.
    The memory stays with the process until it ends.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    settings = ((M_MMAP_THRESHOLD, LARGEST_MMAP_THRESHOLD), (M_TRIM_THRESHOLD, 1 << 30), (M_TOP_PAD, 64 << 20))
    return all(mallopt(parameter, value) == 1 for parameter, value in settings)
