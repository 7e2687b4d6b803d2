"""Applies one fault at a time to a copy of the CUDA kernels, and runs their emulated tests.

All but the pristine copy must fail. --kernels long: those of long convolutions; streamed: of their longest rows; short:
of short depthwise ones.
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

TILE = "src/cuda/tile/tile.cuh"
RADIX = "src/cuda/tile/radix.cuh"
ROWS = "src/cuda/kernels/rows.cuh"
OUTER = "src/cuda/kernels/outer.cuh"
ARGUMENTS = "src/cuda/kernels/arguments.cuh"
WARP = "src/cuda/kernels/warp_transform.cuh"
SPECTRUM = "src/cuda/kernels/filter_spectrum.cuh"
GRADIENT = "src/cuda/kernels/filter_gradient.cuh"
REAL = "src/cuda/kernels/real_taps.cuh"

# (file, text that occurs exactly once, replacement, what it breaks)
LONG = [
    (
        TILE,
        "return {difference(z.re, p.c, z.im, p.s), sum(z.re, p.s, z.im, p.c)};",
        "return {sum(z.re, p.c, z.im, p.s), difference(z.im, p.c, z.re, p.s)};",
        "a turn's sign is flipped",
    ),
    (RADIX, "INVERSE ? T{negated(z.im), z.re}", "INVERSE ? T{z.im, negated(z.re)}", "a stage turns back"),
    (OUTER, "(last, x, y, re[e], re[e + 1]);", "(last, x, y, re[e], re[e]);", "half of the outputs are others"),
    (OUTER, "a.inverse.get(n4 + e + 1))", "a.inverse.get(n4 + e))", "every other tile turns back as the one before"),
    (
        ROWS,
        "gated ? Type::halves_of_product(x[i], pregate[i]) : Type::halves(x[i]);",
        "Type::halves(x[i]);",
        "the gate of the input is ignored",
    ),
    (ROWS, "        y[i] = mul(y[i], postgate[i]);\n", "", "the gate of the output is ignored"),
    (ROWS, "scales.exponent[r] = top[r] + (", "scales.exponent[r] = 0 * (", "rows are not scaled"),
    (ARGUMENTS, "if (skips == nullptr) return;", "return;", "skip is ignored"),
    (WARP, "(kRows * i + r < present);", "(kRows * i + r < 0);", "rows in hand are ordinary, whatever they are"),
    (WARP, "Access::below(rows, first, i)", "first", "a warp's rows are all the first one"),
    (
        ARGUMENTS,
        "sum.y += scale * (gi.x * xr.x - gr.x * xi.x);",
        "sum.y -= scale * (gi.x * xr.x - gr.x * xi.x);",
        "the filter's gradient lacks a conjugation, short rows",
    ),
    (
        ARGUMENTS,
        "return times_conjugate(g, {x.re, x.im});",
        "return times(g, {x.re, x.im});",
        "the filter's gradient lacks a conjugation, long rows",
    ),
    (
        "src/cuda/kernels/staged_backward.cuh",
        "g[e][k3] = times_conjugate(g[e][k3],",
        "g[e][k3] = times(g[e][k3],",
        "the input's gradient lacks a conjugation, long rows",
    ),
    (
        "src/cuda/kernels/warp_backward.cuh",
        "g[i][k3] = narrow(times_conjugate(G[e],",
        "g[i][k3] = narrow(times(G[e],",
        "the input's gradient lacks a conjugation, short rows",
    ),
    (
        SPECTRUM,
        "int positive = static_cast<int>(p.fold.positive) - first;",
        "int positive = static_cast<int>(p.fold.positive) - first - 1;",
        "the last tap is dropped",
    ),
    ("src/cuda/kernels/sums.cuh", "max(top_of(magnitude) - 11, -126)", "0", "sums are not scaled"),
    (
        "src/cuda/kernels/staged_backward.cuh",
        "t < Kernel::kTeams; ++t)",
        "t < 1; ++t)",
        "of a block's teams one has its sums stored",
    ),
    (SPECTRUM, "= warp_sum(sum);", "= sum;", "the scale is that of few taps"),
    (REAL, "(positive) - 2 * first;", "(positive) - 2 * first - 1;", "the last of real taps is dropped"),
    (REAL, "even{z.x + other.x, z.y - other.y}", "even{z.x + other.x, z.y + other.y}", "real taps lack a conjugation"),
    (
        "src/cuda/kernels/warp_forward.cuh",
        "stage_spectrum<Filter>(p.filter, h,",
        "stage_spectrum<Filter>(p.filter, 0,",
        "short rows have the first channel's spectrum",
    ),
    (GRADIENT, "if (split > 0) sum[0] = to[0]", "if (false) sum[0] = to[0]", "of the splits the last is left"),
    (GRADIENT, "if (second) sum -= points", "if (second) sum += points", "taps below lag 0 count negative"),
    (GRADIENT, "p.fold.base + M - first;", "p.fold.base + M - first - 1;", "reversed taps are off by one"),
    (ARGUMENTS, "ChannelScale(factors[h], skips", "ChannelScale(factors[0], skips", "channels have the first's scale"),
    (GRADIENT, "p.factors[of_split], other", "p.factors[split], other", "channels have one scale of sums"),
    (
        "src/cuda/kernels/staged_backward.cuh",
        "want_dx = p.du.data || p.dpregate.data,",
        "want_dx = p.du.data != nullptr,",
        "the pregate's gradient comes with the input's alone",
    ),
]

# Rows that stream through shared memory.
RING = "src/cuda/kernels/ring.cuh"
BACKWARD = "src/cuda/kernels/streamed_backward.cuh"
SUM = "src/cuda/kernels/running_sum.cuh"
STREAMED = [
    (BACKWARD, "pass == 0 ? 0x80008000u : 0", "0", "the input's gradient lacks a conjugation, longest rows"),
    (RING, "table(kAhead < Shape::kSteps ? 0 : 1)", "table(0)", "the ring brings the row in hand again"),
    (SUM, "times_conjugate(g[e], {x[e].re, x[e].im})", "times_conjugate(x[e], {g[e].re, g[e].im})",
     "the filter's gradient runs backwards, longest rows"),
    (SUM, "addition.first ? make_uint4(0, 0, 0, 0) : sums[i]", "make_uint4(0, 0, 0, 0)", "the last row is the sum"),
    (BACKWARD, "if (views.sums() && ring.item_ends())", "if (false)", "the sum stays with its block"),
    (OUTER, "re[0][q] = pack_low(even, odd), re[1]", "re[0][q] = 0, re[1]", "half of the outputs are zero"),
    (OUTER, "if (!(Tables::kFolded && n5 == kMiddle)) z[e] = times(z[e], a.forward.get(n5));", "",
     "columns are not turned"),
    (TILE, "return {transpose_8x8(opaque(p.c)), transpose_8x8(opaque(p.s))};", "return p;",
     "constants of the way back are those of the way there"),
    (REAL, "s.x + other.x, s.y - other.y", "s.x + other.x, s.y + other.y", "gradients of real taps lack a conjugation"),
    (GRADIENT, "take(a, {c.x, c.y});", "take(a, {c.x, c.x});", "of real taps, every second has the gradient before it"),
]  # fmt: skip

WANTED = [
    (BACKWARD, "where(sums() || c() || p.dpregate.data, p.u)", "where(sums() || c(), p.u)",
     "the pregate's gradient lacks its factor"),
    (BACKWARD, "if (!views.sums() && !views.c()) break;", "if (!views.c()) break;",
     "the filter's gradient comes with the postgate's alone"),
]  # fmt: skip

CLUSTERS = [
    (BACKWARD, "const KeptSum<ROW> other(p.kept, blockIdx.x ^ 1);", "const KeptSum<ROW> other(p.kept, blockIdx.x);",
     "a block of a cluster adds its own sum twice"),
]  # fmt: skip

# Rows of a pair whose scales do not agree.
SEPARATE = [
    (SUM, "0.5f * (first - second)", "0", "two rows of a pair have one scale in the filter's gradient"),
    (SUM, "image.y = -image.y;", "", "the mirror image of a spectrum is not conjugated"),
]

ANY = "src/cuda/short/any.cuh"
PARAMETERS = "src/cuda/short/parameters.cuh"
CHOICE = "src/cuda/short/choice.h"
LAUNCH = "src/cuda/short/launch.cu"
FIRST_FORWARD = "src/cuda/short/channels_first_forward.cuh"
FIRST_BACKWARD = "src/cuda/short/channels_first_backward.cuh"
LAST_FORWARD = "src/cuda/short/channels_last_forward.cuh"
LAST_BACKWARD = "src/cuda/short/channels_last_backward.cuh"
SHORT_TAPS = [
    (
        FIRST_FORWARD,
        "to[m] += w[j][0] * samples[m + j];",
        "if (j > 0) to[m] += w[j][0] * samples[m + j];",
        "the first tap is dropped",
    ),
    (FIRST_FORWARD, "words_of(kBefore ? W - kFirst : W)", "words_of(kBefore ? 1 : W)", "too few words beside a chunk"),
    (FIRST_BACKWARD, "window[o + TAPS - 1 - j]", "window[o + j]", "dx takes the taps forwards, bhl"),
    (
        LAST_FORWARD,
        "first >= 0 && first + kRead <= p.length",
        "first + kRead <= p.length",
        "what lies before a row is taken, blh",
    ),
    (
        LAST_FORWARD,
        "first >= 0 && first + kRead <= p.length",
        "first >= 0",
        "what lies after a row is taken, blh",
    ),
    (LAST_FORWARD, "if (i < outputs) rows", "rows", "a run writes past the row's end, blh"),
    (LAST_FORWARD, "at.d + group, w", "at.d, w", "a group has the weights of the first, blh"),
    (LAST_BACKWARD, "(i + kNewest - j) % TAPS", "(i + j) % TAPS", "dx takes the taps forwards, blh"),
    (LAST_BACKWARD, "        if (at.begin == 0) {", "        if (false) {", "dbias misses an edge, blh"),
    (
        PARAMETERS,
        "to[i % TAPS][i / TAPS]",
        "to[i / COUNT][i % COUNT]",
        "channels have each other's weights",
    ),
]
SHORT_SEGMENTS = [
    (
        FIRST_FORWARD,
        "static_cast<unsigned>(chunk + n - kBefore) >= static_cast<unsigned>(count)",
        "chunk + n - kBefore >= count",
        "what lies before a row is taken, short rows",
    ),
    (FIRST_FORWARD, "lane >= 32 - kBefore && first >= 32", "lane >= 32 - kBefore", "what lies before a row is taken"),
    (
        FIRST_FORWARD,
        "lane < kAfter && first + COUNT * 32 < p.x_chunks",
        "lane < kAfter",
        "what lies after a row is taken",
    ),
    (FIRST_FORWARD, "i > 0 ? own[i - 1] : before", "before", "the first lanes have what lies before the segment"),
    (FIRST_FORWARD, "lane < n ? next.words[k] : own[i].words[k]", "own[i].words[k]", "the last lanes have the first's"),
    (
        FIRST_FORWARD,
        "(kWords - k - 1) * kPerWord<Type> < reached",
        "(kWords - k) * kPerWord<Type> < reached",
        "a word less from the lane before",
    ),
    (PARAMETERS, "if (view.bias == nullptr) bias = 0;", "", "a warp without a bias adds a weight"),
    (FIRST_BACKWARD, "window[o + R::kReach]", "window[o]", "dbias misses an edge, bhl"),
]
SHORT_LONG_ROWS = [
    ("src/cuda/short/sums.cuh", "i < kSumRows", "i < 2", "splits are left out"),
]
SHORT_ACTIVATIONS = [
    ("src/cuda/short/samples.cuh", "return s * (1 + v * (1 - s));", "return s * (1 + v * s);", "the slope of silu"),
    (
        LAUNCH,
        "if (wants_sums(job)) sums_bytes = sums_size(splits, s.taps, s.channels)",
        "if (job.dweight.data) sums_bytes = sums_size(splits, s.taps, s.channels)",
        "dbias alone has no sums",
    ),
]
SHORT_STATES = [
    (ANY, "state + (p.taps - 1) + (j - begin)", "state + (p.taps - 2) + (j - begin)", "the state is off by one"),
    (
        ANY,
        "return {low, static_cast<int>(borders[low]), static_cast<int>(borders[high])};",
        "return {low, 0, length};",
        "sequences reach into each other",
    ),
    (LAUNCH, "p.edge_before = p.taps - 1 - p.left", "p.edge_before = 0", "outputs before a border reach over it"),
    (LAUNCH, "job.dinitial_state && s.taps > 1", "job.dinitial_state && job.dx.data", "dinitial only beside dx"),
]
SHORT_COUNTS = [
    (CHOICE, "units <= std::int64_t{1} << 31 && ", "", "more units than a Divisor takes"),
    (CHOICE, " && units << segments.lane_bits <= std::int64_t{1} << 32", "", "more threads than 32 bits count"),
    (CHOICE, "s.sequences * (s.taps - 1) <= INT32_MAX", "true", "more edges than an int counts"),
    (CHOICE, "return wants_sums(job) && ", "return false && ", "sums of any size"),
]
SHORT_GATE = [
    ("src/cuda/short/gate.cuh", "sum[1][o] *= sum[2][o];", "sum[1][o] += sum[2][o];", "the gate adds"),
    (
        "src/cuda/short/gate_backward.cuh",
        "w[2 - k], bias[2 - k][0], samples[1 - k]",
        "w[k + 1], bias[k + 1][0], samples[k]",
        "the gate's gradients are exchanged",
    ),
]

# kernels: (the test's source, definitions, {test cases that must notice: faults}); no other cases run
TESTS = {
    "long": ("tests/cuda/test_emulated.cpp", [], {"*": LONG}),
    "streamed": (
        "tests/cuda/test_emulated.cpp",
        ["-DFFC_EMULATED_LONGEST"],
        {
            "32768 points": STREAMED,
            "some gradients of 32768*": WANTED,
            "a row of zeros*": SEPARATE,
            "channels in turn*": CLUSTERS,
        },
    ),
    "short": (
        "tests/cuda/test_emulated_short.cpp",
        ["-DFFC_SHORT_TYPE=0"],
        {
            "every number of taps*": SHORT_TAPS,
            "every number of taps*,rows of whole segments": SHORT_SEGMENTS,
            "long rows*": SHORT_LONG_ROWS,
            "activations": SHORT_ACTIVATIONS,
            "states*": SHORT_STATES,
            "the front end of Hyena": SHORT_GATE,
            "counts*,gradients of short*": SHORT_COUNTS,
        },
    ),
}

# The runner of the tests, which no fault reaches. The tests ask for one of their own, but for doctest's guard of it.
RUNNER = """#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>
"""


def compile(arguments, source, to, options):
    command = [arguments.compiler, "-std=c++20", "-w", "-isystem", arguments.doctest, *options, "-c", str(source)]
    subprocess.run([*command, "-o", str(to)], check=True, capture_output=True, text=True)
    return to


def build_common(arguments, folder):
    (folder / "runner.cpp").write_text(RUNNER)
    device = Path(arguments.source) / "tests/cuda/emulated/device.cpp"
    sources = folder / "runner.cpp", device
    return [compile(arguments, source, folder / f"{source.stem}.o", ["-O1"]) for source in sources]


def build(arguments, common, folder, program):
    """Not optimised: to compile takes longer than to run."""
    emulated = folder / "tests/cuda/emulated"
    test, definitions, _ = TESTS[arguments.kernels]
    options = ["-O0", "-DFFC_EMULATED_QUICK", "-DDOCTEST_LIBRARY_IMPLEMENTATION", *definitions]
    options += [f"-I{emulated}", f"-I{folder}/src", f"-I{folder}/include"]
    objects = [compile(arguments, folder / test, folder / "test.o", options), *common]
    command = [arguments.compiler, *map(str, objects), "-o", str(program)]
    subprocess.run(command, check=True, capture_output=True, text=True)


def passes(program, cases):
    command = [str(program), "--abort-after=1", f"--test-case={cases}"]
    return subprocess.run(command, capture_output=True, timeout=240).returncode == 0


def try_fault(arguments, common, folder, cases, mutation):
    """(verdict, seconds)"""
    start = time.monotonic()
    copy = Path(tempfile.mkdtemp(dir=folder))
    for part in ("include", "src", "tests/cuda"):
        shutil.copytree(Path(arguments.source) / part, copy / part)
    if mutation:
        path = copy / mutation[0]
        before = path.read_text()
        if before.count(mutation[1]) != 1:
            return f"does not apply: its text occurs {before.count(mutation[1])} times", 0
        path.write_text(before.replace(mutation[1], mutation[2]))
    try:
        build(arguments, common, copy, copy / "program")
    except subprocess.CalledProcessError as error:
        return "does not build: " + error.stderr.strip().splitlines()[0], time.monotonic() - start
    verdict = "survived" if passes(copy / "program", cases) else "killed"
    return verdict, time.monotonic() - start


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--compiler", required=True)
    parser.add_argument("--source", required=True, help="folder of the repository")
    parser.add_argument("--doctest", required=True, help="folder that holds doctest/")
    parser.add_argument("--kernels", choices=TESTS, default="long")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, concurrent.futures.ThreadPoolExecutor(arguments.jobs) as pool:
        tests = TESTS[arguments.kernels][-1]
        faults = [(",".join(tests), None), *((cases, fault) for cases in tests for fault in tests[cases])]
        common = build_common(arguments, Path(name))
        verdicts = pool.map(lambda f: try_fault(arguments, common, Path(name), *f), faults)
        bad = 0
        for (_, fault), (verdict, seconds) in zip(faults, verdicts, strict=True):
            bad += verdict != ("killed" if fault else "survived")
            print(f"{seconds:5.1f} s  {fault[3] if fault else 'no fault':55} {verdict}", flush=True)
    print(f"{len(faults) - bad} of {len(faults)} were as they should be")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
