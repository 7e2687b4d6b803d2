"""Faults that the C++ tests must notice: (file, text, replacement, what it breaks). The text occurs exactly once."""

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

MUTATIONS = [
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
    # rounding, NaN, magnitude
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
    # threads, slices, memory, checks
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
