"""Applies one fault at a time to a copy of the sources, and runs C++ tests of it: all but the pristine copy must fail.

A mutant is built quickly: one instruction set, little optimisation, and few objects.
"""

import argparse
import concurrent.futures
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from mutations import MUTATIONS

LIBRARY = {
    "check": "src/algo/check.cpp",
    "short_check": "src/algo/short_check.cpp",
    "sizes": "src/algo/sizes.cpp",
    "backends": "src/backend/backends.cpp",
    "short_backends": "src/backend/short_backends.cpp",
    "cpu_plan": "src/cpu/cpu_plan.cpp",
    "short_plan": "src/cpu/short_plan.cpp",
    "kernels_double": "src/cpu/simd/kernels_double.cpp",
    "kernels_float": "src/cpu/simd/kernels_float.cpp",
    "short_double": "src/cpu/simd/short_double.cpp",
    "short_float": "src/cpu/simd/short_float.cpp",
    "tables": "src/cpu/tables.cpp",
    "thread_pool": "src/cpu/thread_pool.cpp",
}
# Objects that a changed header reaches; a .cpp reaches its own. One by one they get the fault until a test notices: the
# first ones compile quickly, and a fault in some types alone is the harder to notice.
KERNELS = ["kernels_float", "kernels_double"]
SHORT_KERNELS = ["short_double", "short_float"]
REACHES = {
    "src/algo/fold.h": ["cpu_plan"],
    "src/cpu/short_kernels.h": ["short_plan", *SHORT_KERNELS],
    "src/cpu/simd/activation-inl.h": SHORT_KERNELS,
    "src/cpu/simd/short-inl.h": SHORT_KERNELS,
    "src/cpu/simd/short_order-inl.h": SHORT_KERNELS,
}
TEST_SECONDS = 240  # a mutant that hangs has been noticed too


class Workshop:
    def __init__(self, arguments, folder):
        self.arguments = arguments
        self.folder = folder
        self.pristine = {}

    def compile(self, name, sources, to):
        a = self.arguments
        command = [a.compiler, "-std=c++20", "-O1", "-march=native", "-ffp-contract=off", "-w"]
        command += [f"-D{definition}" for definition in (*a.define, "HWY_COMPILE_ONLY_STATIC")]
        command += ["-isystem", a.highway, f"-I{sources}/include", f"-I{sources}/src", "-c"]
        command += [str(sources / LIBRARY[name]), "-o", str(to)]
        subprocess.run(command, check=True, capture_output=True, text=True)
        return to

    def link(self, objects, to):
        command = [self.arguments.compiler, "-o", str(to), *self.arguments.objects, *map(str, objects), "-lpthread"]
        subprocess.run(command, check=True, capture_output=True, text=True)

    def test(self, program, tests):
        """The first check of `tests` that failed; None if all passed."""
        environment = {**os.environ, "FFC_TEST_QUICK": "1"}
        environment.pop("FFC_CPU_TARGET", None)
        command = [str(program), "--abort-after=1", "--no-version", "--test-case-exclude=*long*"]
        command += ["--source-file=" + ",".join(f"*test_{name}.cpp" for name in tests.split())]
        try:
            done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=TEST_SECONDS)
        except subprocess.TimeoutExpired:
            return "hangs"
        if done.returncode == 0:
            return None
        if done.returncode < 0:
            return f"signal {-done.returncode}"
        lines = done.stdout.splitlines()
        names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("TEST CASE:")]
        return names[-1] if names else f"exit status {done.returncode}"

    def try_pristine(self):
        """What failed, None if nothing did, in any of the tests that mutants run."""
        source = Path(self.arguments.source)
        with concurrent.futures.ThreadPoolExecutor(self.arguments.jobs) as pool:
            made = pool.map(lambda name: self.compile(name, source, self.folder / f"{name}.o"), LIBRARY)
            self.pristine = dict(zip(LIBRARY, made, strict=True))
        program = self.folder / "pristine"
        self.link(self.pristine.values(), program)
        return self.test(program, " ".join(MUTATIONS))

    def try_mutant(self, number, tests, mutation):
        """(verdict, what noticed it, seconds)"""
        file, text, replacement, _ = mutation
        start = time.monotonic()
        folder = self.folder / f"mutant{number}"
        for part in ("include", "src"):
            shutil.copytree(Path(self.arguments.source) / part, folder / part)
        path = folder / file
        before = path.read_text()
        if before.count(text) != 1:
            return "does not apply", f"its text occurs {before.count(text)} times in {file}", 0
        path.write_text(before.replace(text, replacement))
        names = REACHES.get(file, KERNELS if file.endswith(".h") else [Path(file).stem])
        changed = {}
        for name in names:
            try:
                changed[name] = self.compile(name, folder, folder / f"{name}.o")
                # Objects share instantiations, of which the linker keeps the first: those with the fault go ahead.
                self.link({**changed, **self.pristine, **changed}.values(), folder / "tests")
            except subprocess.CalledProcessError as error:
                return "does not build", error.stderr.strip().splitlines()[0], time.monotonic() - start
            if noticed := self.test(folder / "tests", tests):
                break
        shutil.rmtree(folder)
        return "killed" if noticed else "SURVIVED", noticed or "", time.monotonic() - start


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--compiler", required=True)
    parser.add_argument("--source", required=True, help="folder of the repository")
    parser.add_argument("--highway", required=True, help="folder that holds hwy/")
    parser.add_argument("--objects", nargs="+", required=True, help="objects and libraries of the tests and the oracle")
    parser.add_argument("--define", action="append", default=[], help="definitions that the library is built with")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--only", default="", help="mutants whose file or description contains this")
    arguments = parser.parse_args()

    chosen = [(tests, m) for tests, faults in MUTATIONS.items() for m in faults if arguments.only in m[0] + m[3]]
    with tempfile.TemporaryDirectory() as folder:
        workshop = Workshop(arguments, Path(folder))
        failed = workshop.try_pristine()
        if failed:
            sys.exit(f"the sources fail without any fault: {failed}")
        bad = 0
        with concurrent.futures.ThreadPoolExecutor(arguments.jobs) as pool:
            verdicts = pool.map(workshop.try_mutant, range(len(chosen)), *zip(*chosen, strict=True))
            for (_, (file, _, _, what)), (verdict, detail, seconds) in zip(chosen, verdicts, strict=True):
                bad += verdict != "killed"
                print(f"{verdict:14} {seconds:5.1f} s  {Path(file).name:17} {what:55} {detail}", flush=True)
    print(f"{len(chosen) - bad} of {len(chosen)} mutants were noticed")
    return 1 if bad or not chosen else 0


if __name__ == "__main__":
    sys.exit(main())
