"""Faults of the sources of the CPU: (file, text, replacement, what it breaks). The text occurs exactly once."""

SPECTRAL = "src/cpu/simd/spectral-inl.h"
DIRECT = "src/cpu/simd/direct-inl.h"
TRANSFORM = "src/cpu/simd/transform-inl.h"
VECTOR = "src/cpu/simd/vector-inl.h"
ROWS = "src/cpu/simd/rows-inl.h"
TAPS = "src/cpu/simd/taps-inl.h"
PLAN = "src/cpu/cpu_plan.cpp"
TABLES = "src/cpu/tables.cpp"
FOLD = "src/algo/fold.h"
CHECK = "src/algo/check.cpp"
POOL = "src/cpu/thread_pool.cpp"
SHORT = "src/cpu/simd/short-inl.h"
SHORT_ORDER = "src/cpu/simd/short_order-inl.h"
SHORT_PIECES = "src/cpu/short_kernels.h"
SHORT_PLAN = "src/cpu/short_plan.cpp"
SHORT_CHECK = "src/algo/short_check.cpp"
ACTIVATION = "src/cpu/simd/activation-inl.h"

RESULTS = [
    # results and gates
    (ROWS, "v = hn::MulAdd(skip, hn::Mul(part.load(d, f.x + i), up), v);", "v = v;", "skip is ignored"),
    (ROWS, "if constexpr (with_gate) v = hn::Mul(v, part.load(d, gate + i));", "", "the gate of the output is ignored"),
    (
        ROWS,
        "if constexpr (kGated) v = hn::Mul(v, part.load(D(), gate_ + i));",
        "",
        "the gate of an output written as it leaves the root is ignored",
    ),
    (
        ROWS,
        "    if (gate_) v = hn::Mul(v, part.load(D(), gate_ + i));\n    measure_.add(v);",
        "    measure_.add(v);",
        "the gate of an input read on its way into the root is ignored",
    ),
    (
        ROWS,
        "    if (gate) v = hn::Mul(v, part.load(d, gate + i));\n    measure.add(v);",
        "    measure.add(v);",
        "the gate of the input is ignored",
    ),
    (ROWS, "    part.store(d, v, out + i);", "    part.store(d, hn::Zero(d), out + i);", "every output is zero"),
    (
        ROWS,
        "if (i < length) piece(i, Part{length - i});",
        "if (i + 1 < length) piece(i, Part{length - i});",
        "a last single sample is not written",
    ),
    (
        ROWS,
        "else if (i < length_)\n      write(i, Part{length_ - i}, v);",
        "else if (i + 1 < length_)\n      write(i, Part{length_ - i}, v);",
        "a last single sample is not written as it leaves the root",
    ),
    # the filter
    (
        FOLD,
        "f.positive = std::min(p.filter, p.length);",
        "f.positive = std::min(p.filter, p.length) - (p.filter > 1);",
        "the last tap is dropped",
    ),
    (
        FOLD,
        "f.negative_hi = p.filter - 1 - p.fft_size;",
        "f.negative_hi = p.filter - 2 - p.fft_size;",
        "one wrapped tap is dropped",
    ),
    (SPECTRAL, "im[s.points + lag] = -tap;", "im[s.points + lag] = tap;", "the fold has the wrong sign"),
    (SPECTRAL, "re[0] += tap;", "re[0] = tap;", "H3's reverse tap at lag 0 replaces k[0]"),
    (
        SPECTRAL,
        "w * c.re[lag] : -w * c.im[s.points + lag]",
        "w * c.re[lag] : w * c.im[s.points + lag]",
        "the gradient of negative lags has the wrong sign",
    ),
    (TAPS, "(wraps ? negative(j) : T(0))", "T(0)", "the gradient forgets taps that wrap"),
    # the transform
    (
        TABLES,
        "const double c = std::cos(rest), s = std::sin(rest);",
        "const double c = std::cos(rest), s = -std::sin(rest);",
        "the sign of all twiddles' sines is flipped",
    ),
    (
        TABLES,
        "case 2: to[0] = static_cast<T>(-c), to[1] = static_cast<T>(-s); break;",
        "case 2: to[0] = static_cast<T>(-c), to[1] = static_cast<T>(s); break;",
        "a twiddle's sign is flipped in one quadrant",
    ),
    (VECTOR, "  split_turned(c, d, w1, two);", "  split(c, d, w1, two);", "a factor i is missing in a radix-4 node"),
    (
        SPECTRAL,
        "z[1] = multiply_conjugate(z[1], h);",
        "z[1] = multiply(z[1], h);",
        "conjugation is missing in the gradient of the row",
    ),
    (
        SPECTRAL,
        "multiply_conjugate(z[1], z[0])",
        "multiply(z[1], z[0])",
        "conjugation is missing in the gradient of the taps",
    ),
    (
        SPECTRAL,
        "static void zero_tail(const Shape<T>& s, T* x) { std::fill(x + s.problem.length, x + s.points, T(0)); }",
        "static void zero_tail(const Shape<T>&, T*) {}",
        "the row's tail is whatever the workspace held",
    ),
    # the direct sums
    (
        DIRECT,
        "sliding_sums(d, taps, 1, s.points, g.begin, length, out);",
        "sliding_sums(d, taps + s.points - 1, -1, s.points, g.begin, length, out);",
        "the adjoint runs over flipped taps",
    ),
    (
        DIRECT,
        "std::fill(buffer + before + s.problem.length, buffer + size, T(0));",
        "std::fill(buffer + before + s.problem.length, buffer + before + s.problem.length + 1, T(0));",
        "the margin of the direct sums is not cleared",
    ),
]

# rounding
ROUNDING = [
    (ROWS, "hn::Set(du, 0x7fffu))));", "hn::Set(du, 0x8000u))));", "bfloat16 ties do not go to even"),
    (
        ROWS,
        "hn::Set(du, (112u << 23) - 0xfffu)), odd)",
        "hn::Set(du, (112u << 23) - 0x1000u)), hn::Zero(du))",
        "float16 ties go away from zero",
    ),
    (
        ROWS,
        "return hn::IfThenElse(hn::RebindMask(du, hn::IsNaN(v)), quiet, rounded);",
        "return rounded;",
        "a bfloat16 NaN overflows to zero",
    ),
]

# NaN, magnitude
NOT_FINITE = [
    (
        SPECTRAL,
        "if (s.algorithm == Algorithm::pairs && !x.finite[i]) std::fill(",
        "if (s.algorithm == Algorithm::direct && !x.finite[i]) std::fill(",
        "a row that is not finite spoils its partner",
    ),
    (
        SPECTRAL,
        "!(x.all_finite() && g.all_finite())",
        "!(x.all_finite() || g.all_finite())",
        "the gradient of the taps hides a NaN",
    ),
    (
        SPECTRAL,
        "x.exponents[i] = exponent_of(size, pairs);",
        "x.exponents[i] = exponent_of(size, false);",
        "rows of a pair keep their sizes",
    ),
    (
        SPECTRAL,
        "return exponent_of(size, false) == 0;",
        "return size.largest >= 0;",
        "a row read on its way into the root is never scaled",
    ),
]

# threads, slices, memory, checks
THREADS = [
    (
        SPECTRAL,
        "for (std::int64_t slice = 1; slice < slices; ++slice) {",
        "for (std::int64_t slice = 2; slice < slices; ++slice) {",
        "a slice is left out of the sums",
    ),
    (
        PLAN,
        "worker * at.per_worker;\n      const T* spectrum = spectrum_of(ready, a, h, scratch, at);\n      T* sums",
        "0 * at.per_worker;\n      const T* spectrum = spectrum_of(ready, a, h, scratch, at);\n      T* sums",
        "workers share their scratch",
    ),
    (
        PLAN,
        "std::min(begin + backward_slice_, p.batch), spectrum, sums, scratch);",
        "begin + backward_slice_, spectrum, sums, scratch);",
        "the last slice runs past the batch",
    ),
    (POOL, "      body(argument, number);", "      body(argument, 0);", "all threads believe to be worker 0"),
    (CHECK, "if (w.bytes < needed)", "if (w.bytes + 1 < needed)", "a workspace one byte too small is accepted"),
    (CHECK, "a.reverse_lag == b.reverse_lag &&", "", "a filter of the other convention of lags is accepted"),
]

# short convolutions
SHORTS = [
    # samples, sums and their ends
    (
        SHORT_ORDER,
        "std::fill(to + (end - first) * width, to + (last - first) * width, T(0));",
        "",
        "what lies behind a row is whatever the workspace held",
    ),
    (SHORT_ORDER, "  if (from.state)\n", "  if (false)\n", "the initial state is ignored"),
    (
        SHORT_ORDER,
        "part[v] = first == 0 ? sum[v] : hn::Zero(d);",
        "part[v] = hn::Zero(d);",
        "the bias is ignored",
    ),
    (
        SHORT_ORDER,
        "sum[v] = first == 0 ? part[v] : hn::Add(sum[v], part[v]);",
        "sum[v] = part[v];",
        "of many taps the last chain alone counts",
    ),
    (
        SHORT_ORDER,
        "for (; i + 4 * kLanes <= lines; i += 4 * kLanes)",
        "for (; i + 3 * kLanes <= lines; i += 4 * kLanes)",
        "a group of vectors runs past the row",
    ),
    (
        SHORT_ORDER,
        "for (; line < lines; ++line) sums_of<1>",
        "for (; line + 1 < lines; ++line) sums_of<1>",
        "the last sample of blh is not written",
    ),
    (
        SHORT_ORDER,
        "for (; j < taps; ++j) products_of<1>",
        "for (; j + 1 < taps; ++j) products_of<1>",
        "a tap's gradient",
    ),
    (SHORT_ORDER, "total[taps] += sum_in_double(g, lines);", "", "the gradient of the bias is zero in bhl"),
    # their passes
    (
        SHORT,
        "{memory + group * s.weights_size + (s.problem.taps - 1) * s.width, -s.width, s.problem.taps}",
        "{memory + group * s.weights_size, s.width, s.problem.taps}",
        "the adjoint runs over the taps in their order",
    ),
    (
        SHORT,
        "static_cast<const W*>(bias) + h);",
        "static_cast<const W*>(bias) + first + c);",
        "the gate's thirds share a bias",
    ),
    (
        SHORT,
        "recompute(k, range, 1, x1, g, times);",
        "recompute(k, range, 2, x2, g, times);",
        "the gate's factors are mistaken for each other",
    ),
    (
        SHORT,
        "own_lines(std::min(end - begin, last_line))",
        "own_lines(last_line)",
        "outputs between two pieces count twice in the gradient of the weights",
    ),
    (
        SHORT,
        "for (std::int64_t slice = 1; slice < slices; ++slice)",
        "for (std::int64_t slice = 2; slice < slices; ++slice)",
        "a slice is left out of the sums of the weights",
    ),
    (ACTIVATION, "hn::Mul(s, hn::MulAdd(z, hn::Sub(one, s), one))", "s", "the slope of silu lacks a term"),
    (ACTIVATION, "T(0.39894228040143267794)", "T(0.3989)", "a constant of gelu's slope is short"),
    (SHORT_PIECES, "if (piece.begin == 0) piece.begin = first;", "", "a packed sequence's state has no gradient"),
    (
        SHORT_PIECES,
        "if (piece.end == length) piece.end = last_output(p, length);",
        "",
        "outputs at the end of a packed sequence are not written",
    ),
    (
        SHORT_PLAN,
        "memory + worker * per_worker(Pass::backward));",
        "memory + 0 * worker * per_worker(Pass::backward));",
        "workers of a short convolution share their scratch",
    ),
    (
        SHORT_PLAN,
        "if (a.dinitial_state && p.sequences > 0) forget_empty_sequences(a);",
        "",
        "the gradient of an empty sequence's state is not written",
    ),
    (SHORT_PLAN, "else if (before)", "else if (false)", "the state behind forgets the state before"),
    (SHORT_CHECK, "if (ends[s + 1] < ends[s])", "if (ends[s + 1] < 0)", "packed sequences may overlap"),
    (SHORT_CHECK, "if (ends[p.sequences] != p.length)", "if (ends[p.sequences] > p.length)", "samples are left over"),
]

# The tests that must notice them, names of tests/cpp/test_*.cpp: no others run.
MUTATIONS = {
    "algebra correctness": RESULTS,
    "rounding": ROUNDING,
    "nonfinite": NOT_FINITE,
    "algebra errors filter threads": THREADS,
    "short": SHORTS,
}
