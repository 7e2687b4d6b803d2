"""The table of cases, `cases.txt`: the tests' and the benchmark's. The file says what its columns mean.

`tests/cpp/case_table.cpp` reads the same file by the same rules.
"""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch

COLUMNS = ("run", "mode", "B", "H", "L", "Lk", "Lr", "lag", "N", "with", "dtype", "filter", "strides")
DTYPES = {"f32": torch.float32, "f64": torch.float64, "f16": torch.float16, "bf16": torch.bfloat16}
STRIDES = ("dense", "spaced", "transposed", "shared")
CHOICES = tuple("+".join(name for bit, name in ((1, "pre"), (2, "post"), (4, "skip")) if i & bit) for i in range(8))
_SIZES = ("L", "Lk", "Lr", "N")


@dataclass(frozen=True)
class Case:
    """One problem: sizes as in `long_conv`, and what is beside the filter."""

    mode: str
    batch: int
    channels: int
    length: int
    taps: int
    taps_reverse: int = 0
    fft_size: int | None = None
    k_rev_lag: int = 1
    gates: str = ""  # any of "pre", "post", "pre post"
    skip: bool = False
    dtype: torch.dtype = torch.float32
    filter_dtype: torch.dtype = torch.float32
    strides: str = "dense"


@dataclass(frozen=True)
class Line:
    """A line of the table, its lists taken apart."""

    columns: dict[str, tuple[str, ...]]

    def combinations(self):
        """Every combination of the columns' values, the last column's changing fastest."""
        for values in itertools.product(*(self.columns[name] for name in COLUMNS[1:])):
            yield dict(zip(COLUMNS[1:], values, strict=True))

    def at(self, n: int) -> dict[str, int]:
        """The sizes of a benchmark's line where N is `n`."""
        return _sizes({**next(iter(self.combinations())), "N": str(n)})


@cache
def lines() -> tuple[Line, ...]:
    """The lines of the table.

    Raises
    ------
    ValueError
        Naming the line that has another number of columns, or a word that the table does not know.
    """
    lists: dict[str, tuple[str, ...]] = {}
    found = []
    for number, text in enumerate(Path(__file__).with_name("cases.txt").read_text(encoding="utf-8").splitlines(), 1):
        words = text.partition("#")[0].split()
        if words[:1] == ["list"] and len(words) == 3:
            lists["@" + words[1]] = tuple(words[2].split(","))
        elif words:
            if len(words) != len(COLUMNS):
                raise ValueError(f"cases.txt, line {number}: {len(words)} columns, not {len(COLUMNS)}")
            columns = {name: lists.get(word, tuple(word.split(","))) for name, word in zip(COLUMNS, words, strict=True)}
            columns["run"] = tuple(words[0].split("+"))
            if columns["with"] == ("each",):
                columns["with"] = tuple(choice or "-" for choice in CHOICES)
            found.append(Line(columns))
    return tuple(found)


@cache
def cases(run: str) -> tuple[Case, ...]:
    """The cases that `run` runs, in the order of the table."""
    found, turn = [], 0
    for line in lines():
        if line.columns["run"][0].startswith("bench:"):
            continue  # for which any size may be asked
        for values in line.combinations():
            size = _sizes(values)
            if values["mode"] == "circular" and size["N"] < size["L"]:
                continue
            extras = values["with"]
            if extras == "any":
                extras, turn = CHOICES[turn % len(CHOICES)], turn + 1
            if run in line.columns["run"]:
                found.append(_case(values, size, extras))
    return tuple(found)


@cache
def benchmarks() -> dict[str, Line]:
    """The lines that `flashfftconv bench` runs, by the names of their modes."""
    prefix = "bench:"
    names = ((line.columns["run"][0], line) for line in lines())
    return {name[len(prefix) :].replace("_", " "): line for name, line in names if name.startswith(prefix)}


def _case(values: dict[str, str], size: dict[str, int], extras: str) -> Case:
    given = extras.replace("-", "").split("+")
    default = "f64" if values["dtype"] == "f64" else "f32"
    filter_dtype = default if values["filter"] == "-" else values["filter"]
    for word, allowed in (
        (values["strides"], STRIDES),
        (values["dtype"], DTYPES),
        (filter_dtype, DTYPES),
        ("+".join(given), CHOICES),
    ):
        if word not in allowed:
            raise ValueError(f"cases.txt: {word!r} is none of {', '.join(map(repr, allowed))}")
    return Case(
        mode=values["mode"],
        batch=int(values["B"]),
        channels=int(values["H"]),
        length=size["L"],
        taps=size["Lk"],
        taps_reverse=size["Lr"],
        fft_size=size["N"] or None,
        k_rev_lag=int(values["lag"]),
        gates=" ".join(name for name in given if name in ("pre", "post")),
        skip="skip" in given,
        dtype=DTYPES[values["dtype"]],
        filter_dtype=DTYPES[filter_dtype],
        strides=values["strides"],
    )


def _sizes(values: dict[str, str]) -> dict[str, int]:
    """L, Lk, Lr and N, 0 for a dash. L may depend on N, or N on L."""
    known: dict[str, int] = {}
    for name in ("N", "L", "Lk", "Lr") if "N" in values["L"] else _SIZES:
        known[name] = 0 if values[name] == "-" else max(1, _sum(values[name], known))
    if values["mode"] == "circular":
        known["Lk"] = min(known["Lk"], known["N"])
    return known


def _sum(text: str, known: dict[str, int]) -> int:
    """The value of a sum of terms: a number, or a variable with a factor before it or a divisor behind."""
    term = r"(\d*)([LKN]?)(?:/(\d+))?"
    if not re.fullmatch(rf"(?=[\dLKN]){term}([+-](?=[\dLKN]){term})*", text):
        raise ValueError(f"cases.txt: {text!r} is not a size")
    total = 0
    for sign, factor, variable, divisor in re.findall(rf"([+-]?)(?=[\dLKN]){term}", text):
        value = int(factor or 1) * (known["Lk" if variable == "K" else variable] if variable else 1)
        total += (-1 if sign == "-" else 1) * (value // int(divisor or 1))
    return total
