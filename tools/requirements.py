"""Prints the requirements of an extra of pyproject.toml, one a line, our extras followed: `requirements.py test`."""

import re
import sys
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent / "pyproject.toml"


def extras() -> dict[str, list[str]]:
    """The table of optional dependencies. (Python 3.10 has no TOML reader; the table is plain enough for this one.)"""
    table = PROJECT.read_text().split("[project.optional-dependencies]")[1].split("\n[")[0]
    return {name: re.findall(r'"([^"]+)"', items) for name, items in re.findall(r"^(\w+) = \[(.*)\]$", table, re.M)}


def requirements(extra: str) -> list[str]:
    found = []
    for item in extras()[extra]:
        own = re.fullmatch(r"flashfftconv\[(\w+)\]", item)
        found += requirements(own.group(1)) if own else [item]
    return found


if __name__ == "__main__":
    print("\n".join(requirements(sys.argv[1])))
