"""The table of cases of short convolutions, `short_cases.txt`, which says what its columns mean.

`tests/cpp/short_cases.cpp` reads the same file by the same rules.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from .cases import DTYPES

COLUMNS = ("run", "B", "D", "L", "K", "padding", "layout", "with", "dtype", "weight", "strides")
EXTRAS = ("bias", "state", "packed", "silu", "gelu", "gate")
MOST_SEQUENCES = 12


@dataclass(frozen=True)
class ShortCase:
    """One problem; `padding` is "causal" or the zeros before and behind."""

    batch: int
    channels: int
    length: int
    taps: int
    padding: str | tuple[int, int]
    layout: str
    extras: tuple[str, ...]
    dtype: object
    weight_dtype: object
    strides: str

    @property
    def sides(self) -> tuple[int, int]:
        """Zeros before and behind."""
        return (self.taps - 1, 0) if self.padding == "causal" else self.padding

    @property
    def outputs(self) -> int:
        """Outputs a channel."""
        return self.length + sum(self.sides) - self.taps + 1

    @property
    def ends(self) -> list[int] | None:
        """Where packed sequences end, 0 in front: pieces of 1, 2, 0, 4 .. samples, and the rest."""
        if "packed" not in self.extras:
            return None
        ends = [0]
        for i in range(min(self.length, MOST_SEQUENCES) - 1):
            ends.append(min(self.length, ends[-1] + (0 if i % 3 == 2 else i + 1)))
        return [*ends, self.length]


@cache
def short_cases(run: str) -> tuple[ShortCase, ...]:
    """The cases that `run` runs, in the order of the table.

    Raises
    ------
    ValueError
        Naming the line that has another number of columns, or a word that the table does not know.
    """
    found = []
    text = Path(__file__).with_name("short_cases.txt").read_text(encoding="utf-8")
    for number, line in enumerate(text.splitlines(), 1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        if len(words) != len(COLUMNS):
            raise ValueError(f"short_cases.txt, line {number}: {len(words)} columns, not {len(COLUMNS)}")
        if run in words[0].split("+"):
            combinations = itertools.product(*(word.split(",") for word in words[1:]))
            found += [case for case in map(_case, combinations) if case.outputs >= 1]
    return tuple(found)


def _case(values: tuple[str, ...]) -> ShortCase:
    batch, channels, length, taps, padding, layout, extras, dtype, weight, strides = values
    given = tuple(extras.replace("-", "").split("+")) if extras != "-" else ()
    weight = ("f64" if dtype == "f64" else "f32") if weight == "-" else weight
    for word in given:
        if word not in EXTRAS:
            raise ValueError(f"short_cases.txt: {word!r} is none of {', '.join(EXTRAS)}")
    sides = padding if padding == "causal" else tuple(int(side) for side in (padding.split("/") * 2)[:2])
    sizes = (int(batch), int(channels), int(length), int(taps))
    return ShortCase(*sizes, sides, layout, given, DTYPES[dtype], DTYPES[weight], strides)
