"""Compiles each public header alone, as the first line of a program, without warnings. Exits 1 if one fails."""

import os
import subprocess
import sys
from pathlib import Path

INCLUDE = Path(__file__).resolve().parent.parent / "include"
FLAGS = ["-std=c++20", "-Wall", "-Wextra", "-Werror", "-fsyntax-only", "-x", "c++", "-"]


def main() -> int:
    compiler = os.environ.get("CXX", "c++")
    failed = 0
    headers = sorted(INCLUDE.rglob("*.h"))
    for header in headers:
        source = f"#include <{header.relative_to(INCLUDE).as_posix()}>\nint main() {{}}\n"
        run = subprocess.run([compiler, f"-I{INCLUDE}", *FLAGS], input=source, text=True, capture_output=True)
        if run.returncode:
            failed += 1
            print(f"{header.name} does not compile alone:\n{run.stderr}")
    print(f"{len(headers) - failed} of {len(headers)} public headers compile alone")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
