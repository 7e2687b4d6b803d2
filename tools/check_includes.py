"""Checks that includes point one way: public headers <- algo <- cpu | cuda <- backend <- torch.

`cpu` and `cuda` never see each other, public headers see only each other and the standard library, and nothing under
the torch binding includes torch. Prints each offending line; exits 1 if there is one.
"""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

# folder: the first components its quoted includes may have
ALLOWED = {
    "include/flashfftconv": {"flashfftconv"},
    "src/algo": {"flashfftconv", "algo"},
    "src/cpu": {"flashfftconv", "algo", "cpu", "backend", "hwy"},
    "src/cpu/reference": {"flashfftconv", "cpu"},
    "src/cuda": {"flashfftconv", "algo", "cuda", "backend"},
    "src/backend": {"flashfftconv", "algo", "cpu", "cuda", "backend"},
    "src/torch": {"flashfftconv", "torch", "cpu", "backend"},
}
# <...> includes of other projects, and the only folders that may have them
FOREIGN = {"torch": {"src/torch"}, "cuda": {"src/cuda", "src/torch"}, "Python": set(), "pybind11": set()}
INCLUDE = re.compile(r'^\s*#\s*include\s*(["<])([^">]+)[">]')


def offences(folder: str):
    allowed = ALLOWED[folder]
    nested = [f for f in ALLOWED if f != folder and f.startswith(folder + "/")]
    for path in sorted((ROOT / folder).rglob("*")):
        relative = path.relative_to(ROOT).as_posix()
        if path.suffix not in {".h", ".cpp", ".cu", ".cuh"} or any(relative.startswith(f + "/") for f in nested):
            continue
        for number, line in enumerate(path.read_text().splitlines(), 1):
            match = INCLUDE.match(line)
            if not match:
                continue
            quote, target = match.groups()
            first = re.split(r"[/._]", target)[0]
            bad = first not in allowed if quote == '"' else first in FOREIGN and folder not in FOREIGN[first]
            if bad:
                yield f"{relative}:{number}: {folder} must not include {target}"


def main() -> int:
    found = [text for folder in ALLOWED if (ROOT / folder).is_dir() for text in offences(folder)]
    print("\n".join(found) if found else "includes point one way")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
