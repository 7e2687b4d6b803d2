// The kernels of the CUDA engine on an emulated block of threads (emulated/device.h), against direct sums in float64:
// every size, right-angle and pairs, both types of rows, aligned rows and any.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <complex>
#include <random>
#include <vector>

#include "cuda/kernels/filter_gradient.cuh"
#include "cuda/kernels/filter_spectrum.cuh"
#include "cuda/kernels/staged_backward.cuh"
#include "cuda/kernels/staged_forward.cuh"
#include "cuda/kernels/streamed_backward.cuh"
#include "cuda/kernels/streamed_forward.cuh"
#include "cuda/kernels/warp_backward.cuh"
#include "cuda/kernels/warp_forward.cuh"

namespace ffc::cuda {
namespace {

using Row = std::vector<double>;
constexpr double kBoundHalf = 1.2e-3, kBoundGradient = 2.5e-3;

template <class Type>
std::uint16_t narrow(double value) {
  return static_cast<std::uint16_t>(Type::narrow(static_cast<float>(value), 0));
}
template <class Type>
double wide(std::uint16_t bits) {
  return Type::wide(bits).x;
}

// [batch, length] of one channel, in the type of the rows, 16 bytes before and after poisoned.
template <class Type>
struct Tensor {
  int batch, length;
  std::vector<std::uint16_t> memory;

  Tensor(int b, int l) : batch(b), length(l), memory(static_cast<std::size_t>(b) * l + 16, 0x7e01) {}
  std::uint16_t* data() { return memory.data() + 8; }
  double at(int b, int i) const { return wide<Type>(memory[8 + static_cast<std::size_t>(b) * length + i]); }
  void fill(std::mt19937& random, double scale) {
    std::normal_distribution<double> normal;
    for (int b = 0; b < batch; ++b)
      for (int i = 0; i < length; ++i)
        data()[static_cast<std::size_t>(b) * length + i] = narrow<Type>(scale * normal(random));
  }
  RowsView view() { return {data(), length, length, length / 8, length / 8}; }
  bool margins_untouched() const {
    for (int i = 0; i < 8; ++i)
      if (memory[i] != 0x7e01 || memory[memory.size() - 1 - i] != 0x7e01) return false;
    return true;
  }
};

struct Case {
  int batch, length, taps;
  bool pregate, postgate;
  float skip;
  double louder = 1;  // each row of u than the one before it
};

// Everything of one channel: causal (right-angle) or circular of M points (pairs).
template <int ROW, bool PAIRS, class Type, class Access>
struct Problem {
  static constexpr int M = kSizes[ROW].points;
  int splits = 2;  // at most
  Case c;
  Tensor<Type> u, pregate, postgate, dy, y, du, dpregate, dpostgate;
  std::vector<float> taps, dk;
  std::vector<u32> spectrum = std::vector<u32>(M);
  std::vector<u32> sums = std::vector<u32>(2 * M, 0x7e017e01);
  std::vector<float> sum_factors = std::vector<float>(2);
  std::vector<uint4> kept = std::vector<uint4>(M / 2);
  float factor = 0, skip, dskip = 0;

  explicit Problem(const Case& given)
      : c(given),
        u(c.batch, c.length),
        pregate(u),
        postgate(u),
        dy(u),
        y(u),
        du(u),
        dpregate(u),
        dpostgate(u),
        taps(c.taps),
        dk(c.taps),
        skip(c.skip) {
    std::mt19937 random(17 * ROW + PAIRS);
    for (Tensor<Type>* t : {&u, &pregate, &postgate, &dy}) t->fill(random, 1);
    if (c.louder != 1)
      for (int b = 0; b < c.batch; ++b)
        for (int i = 0; i < c.length; ++i)
          u.data()[static_cast<std::size_t>(b) * c.length + i] = narrow<Type>(u.at(b, i) * std::pow(c.louder, b));
    std::normal_distribution<float> normal;
    for (int j = 0; j < c.taps; ++j) taps[j] = normal(random) * std::exp(-4.f * j / c.taps) / std::sqrt(float(c.taps));
  }

  FoldView fold() const {
    return {c.taps, PAIRS ? -(c.length - 1) : 0, PAIRS ? c.taps - 1 - M : -1, PAIRS ? M : 0, PAIRS ? 1 : 0, false};
  }
  // No split is without rows.
  Work work() const { return {c.batch, 1, std::min(splits, (c.batch + PAIRS) / (1 + PAIRS))}; }

  void run_spectrum() {
    using F = typename FilterSpectrum<ROW>::F;
    const SpectrumParameters p{{taps.data(), c.taps, 2}, {}, fold(), PAIRS, spectrum.data(), &factor};
    emulated::launch(F::kParts, F::kThreads, [&] { filter_spectrum<ROW>(p); });
  }
  void run_forward() { c.pregate || c.postgate ? run_forward<true>() : run_forward<false>(); }
  template <bool GATED>
  void run_forward() {
    const ForwardParameters p{u.view(),
                              c.pregate ? pregate.view() : RowsView{},
                              c.postgate ? postgate.view() : RowsView{},
                              y.view(),
                              spectrum.data(),
                              &factor,
                              c.skip != 0 ? &skip : nullptr,
                              work(),
                              c.length};
    if constexpr (kSizes[ROW].outer == 1)
      emulated::launch(1, WarpForward<ROW, PAIRS>::kThreads, [&] { warp_forward<ROW, PAIRS, GATED, Type, Access>(p); });
    else if constexpr (streams(kSizes[ROW], PAIRS, GATED))
      emulated::launch(1, StreamedForward<ROW, PAIRS, GATED, Type, Access>::kThreads,
                       [&] { streamed_forward<ROW, PAIRS, GATED, Type, Access>(p); });
    else
      emulated::launch(1, StagedForward<ROW, PAIRS, GATED, Type, Access>::kThreads,
                       [&] { staged_forward<ROW, PAIRS, GATED, Type, Access>(p); });
  }
  BackwardParameters backward_parameters() {
    return {dy.view(),
            u.view(),
            c.pregate ? pregate.view() : RowsView{},
            c.postgate ? postgate.view() : RowsView{},
            du.view(),
            c.pregate ? dpregate.view() : RowsView{},
            c.postgate ? dpostgate.view() : RowsView{},
            spectrum.data(),
            &factor,
            c.skip != 0 ? &skip : nullptr,
            sums.data(),
            sum_factors.data(),
            kept.data(),
            work(),
            c.length};
  }
  void run_backward() {
    const BackwardParameters p = backward_parameters();
    if constexpr (kSizes[ROW].outer == 1)
      emulated::launch(1, WarpBackward<ROW, PAIRS>::kThreads, [&] { warp_backward<ROW, PAIRS, Type, Access>(p); });
    else if constexpr (M <= kLargestStagedBackward)
      emulated::launch(1, StagedBackward<ROW, PAIRS, Type, Access>::kThreads,
                       [&] { staged_backward<ROW, PAIRS, Type, Access>(p); });
    else
      run_streamed(p);
    using F = typename FilterGradient<ROW>::F;
    const GradientParameters g{
        sums.data(), sum_factors.data(), work().splits, 1, {dk.data(), c.taps, 2}, {}, fold(), c.taps, 0, PAIRS,
        &dskip};
    emulated::launch(1, F::kThreads, [&] { filter_gradient<ROW>(g); });
  }
  void run_streamed(const BackwardParameters& p) {
    emulated::launch(1, StreamedBackward<ROW, PAIRS, Type, Access>::kThreads,
                     [&] { streamed_backward<ROW, PAIRS, Type, Access>(p); });
  }

  double x(int b, int i) const { return u.at(b, i) * (c.pregate ? pregate.at(b, i) : 1); }
  double g(int b, int i) const { return dy.at(b, i) * (c.postgate ? postgate.at(b, i) : 1); }
  // Sample i - j, of the circle in pairs; -1 where there is none.
  int source(int i, int j) const {
    const int at = PAIRS ? (i - j % M + M) % M : i - j;
    return at < c.length ? at : -1;
  }

  double exact_conv(int b, int i) const {
    double sum = c.skip * x(b, i);
    for (int j = 0; j < c.taps; ++j)
      if (const int at = source(i, j); at >= 0) sum += double(taps[j]) * x(b, at);
    return sum;
  }
  double exact_corr(int b, int i) const {
    double sum = c.skip * g(b, i);
    for (int j = 0; j < c.taps; ++j) {
      const int to = PAIRS ? (i + j) % M : i + j;
      if (to < c.length) sum += double(taps[j]) * g(b, to);
    }
    return sum;
  }
  double exact_tap(int j) const {
    double sum = 0;
    for (int b = 0; b < c.batch; ++b)
      for (int i = 0; i < c.length; ++i)
        if (const int at = source(i, j); at >= 0) sum += g(b, i) * x(b, at);
    return sum;
  }
};

// Relative error of `count` values spread over [0, length).
template <class Got, class Exact>
double error(int length, int count, Got&& got, Exact&& exact) {
  double off = 0, norm = 0;
  for (int n = 0; n < count; ++n) {
    const int i = static_cast<int>(static_cast<long long>(n) * length / count);
    const double e = exact(i);
    off += (got(i) - e) * (got(i) - e), norm += e * e;
  }
  return std::sqrt(off / norm);
}

template <class Type>
double bound() {
  return Type::kIsHalf ? 1.25 * kBoundHalf : 3.5e-3;  // some samples of a row: they scatter more than whole rows do
}

template <int ROW, bool PAIRS, class Type, class Access>
void check(const Case& c) {
  CAPTURE(ROW);
  CAPTURE(PAIRS);
  CAPTURE(Type::kIsHalf);
  CAPTURE(c.length);
  Problem<ROW, PAIRS, Type, Access> p(c);
  p.run_spectrum();
  p.run_forward();
  const int count = std::min(c.length, 512);
  auto close = [&](const char* what, const Tensor<Type>& got, auto&& exact) {
    CAPTURE(what);
    CHECK(got.margins_untouched());
    for (int b = 0; b < c.batch; ++b) {
      CAPTURE(b);
      CHECK(error(
                c.length, count, [&](int i) { return got.at(b, i); }, [&](int i) { return exact(b, i); }) <
            bound<Type>());
    }
  };
  close("y", p.y, [&](int b, int i) { return p.exact_conv(b, i) * (c.postgate ? p.postgate.at(b, i) : 1); });
  {
    p.run_backward();
    close("du", p.du, [&](int b, int i) { return p.exact_corr(b, i) * (c.pregate ? p.pregate.at(b, i) : 1); });
    if (c.pregate) close("dpregate", p.dpregate, [&](int b, int i) { return p.exact_corr(b, i) * p.u.at(b, i); });
    if (c.postgate) close("dpostgate", p.dpostgate, [&](int b, int i) { return p.exact_conv(b, i) * p.dy.at(b, i); });
    // The gradient of a skip term is that of a tap at lag 0; alone it may be any small number, so it is judged beside
    // the taps.
    auto tap = [&](int j) { return j == 0 ? p.dskip : p.dk[j]; };
    CHECK(p.dskip == p.dk[0]);
    CHECK(error(c.taps, std::min(c.taps, 32), tap, [&](int j) { return p.exact_tap(j); }) < kBoundGradient);
  }
}

// Row 1 is not finite: it comes out as NaN, its partner as if it were zeros, the others as ever.
template <int ROW>
void check_not_finite(double value) {
  constexpr int M = kSizes[ROW].points;
  CAPTURE(ROW);
  CAPTURE(value);
  using P = Problem<ROW, true, Half, Aligned>;
  const Case c{4, M, M, true, true, 0};
  auto run = [&](double in_row_1, bool one_sample) {
    P p(c);
    for (int i = one_sample ? M / 3 : 0; i < (one_sample ? M / 3 + 1 : M); ++i)
      p.u.data()[M + i] = narrow<Half>(in_row_1);
    p.run_spectrum(), p.run_forward(), p.run_backward();
    return p;
  };
  P bad = run(value, true), zeroed = run(0, true);
  const P silent = run(0, false);
  const std::vector<Tensor<Half> P::*> outputs{&P::y, &P::du, &P::dpregate, &P::dpostgate};
  for (std::size_t n = 0; n < outputs.size(); ++n) {
    CAPTURE(n);
    const bool touched = n == 0 || n == 3;  // du and dpregate come from dy, which is finite
    const Tensor<Half>&of_bad = bad.*outputs[n], &of_silent = silent.*outputs[n], &of_zeroed = zeroed.*outputs[n];
    int partner = 0, others = 0, numbers = 0;
    for (int i = 0; i < M; ++i) {
      partner += of_bad.memory[8 + i] != of_silent.memory[8 + i];
      for (int b = 2; b < 4; ++b) others += of_bad.memory[8 + b * M + i] != of_zeroed.memory[8 + b * M + i];
      numbers += !std::isnan(of_bad.at(1, i));
    }
    CHECK(partner == 0);
    CHECK(others == 0);
    if (touched) CHECK(numbers == 0);
  }
  CHECK(std::isnan(bad.dk[0]));
}

// What stands at frequency k of a spectrum, or of sums: (re, im) words of two k5 of a column, then of the next column.
template <int ROW>
std::complex<double> at_frequency(const u32* words, int k) {
  constexpr int M = kSizes[ROW].points, O = kSizes[ROW].outer, R = kSizes[ROW].radix;
  const int column = O == 64 ? k % 8 * 8 + k / 8 % 8 : k % O, k3 = k / O % R, k4 = k / (O * R) % 8, k5 = k / (M / 8);
  const int lane = k4 * 4 + k5 / 2;
  words += O > 1 ? 4 * ((column / 2 * R + k3) * 32 + lane) + column % 2 * 2 : 2 * (k3 * 32 + lane);
  const float2 re = Half::wide(words[0]), im = Half::wide(words[1]);
  return k5 % 2 ? std::complex<double>(re.y, im.y) : std::complex<double>(re.x, im.x);
}

enum class Taps { few, whole, reversed, reversed_from_zero, circle };

// The spectrum of taps, against the sums of its definition at some frequencies.
template <int ROW>
void check_filter_spectrum(Taps which, bool pairs) {
  using F = typename FilterSpectrum<ROW>::F;
  constexpr int M = F::M;
  CAPTURE(ROW);
  CAPTURE(static_cast<int>(which));
  CAPTURE(pairs);
  std::mt19937 random(ROW);
  std::normal_distribution<float> normal;
  std::vector<float> k(M + 5), k_rev(M);
  for (float& t : k) t = 37 * normal(random);
  for (float& t : k_rev) t = 37 * normal(random);
  FoldView fold{which == Taps::few ? M / 2 + 7 : M, 0, -1, 0, 0, false};
  if (which == Taps::reversed) fold = {M - 9, -(M - 3), -3, -3, -1, true};
  if (which == Taps::reversed_from_zero) fold = {M - 9, -(M - 20), 0, 0, -1, true};
  if (which == Taps::circle) fold = {M - 1, -(M - 2), -1, M + 5, 1, false};
  std::vector<std::complex<double>> h(M);
  double sum = 0;
  auto add = [&](int n, double t, bool below) {
    h[n] += below ? std::complex<double>(0, -t) : std::complex<double>(t, 0);
    sum += std::fabs(t);
  };
  for (int n = 0; n < fold.positive; ++n) add(n, k[n], false);
  for (int lag = static_cast<int>(fold.negative_lo); lag <= fold.negative_hi; ++lag)
    add((lag + M) % M, (fold.from_reverse ? k_rev : k)[fold.base + fold.sign * lag], lag < 0);
  std::vector<u32> spectrum(M);
  float factor = NAN;
  const SpectrumParameters p{{k.data(), M, 2}, {k_rev.data(), M, 2}, fold, pairs, spectrum.data(), &factor};
  emulated::launch(F::kParts, F::kThreads, [&] { filter_spectrum<ROW>(p); });
  const double gain = spectrum_gain(kSizes[ROW]), turn = 2 * std::acos(-1.0) / M;
  auto exact = [&](int k) {
    std::complex<double> H = 0;
    for (int n = 0; n < M; ++n)
      H += h[n] * std::polar(1.0, -turn * std::fmod(double(n) * (k - F::shift(pairs) / 4.0), M));
    return H * gain / double(factor);
  };
  double off = 0, norm = 0;
  for (int k = 0; k < M; k += M > 1024 ? M / 128 + 1 : 1) {
    const std::complex<double> H = exact(k);
    off += std::norm(at_frequency<ROW>(spectrum.data(), k) - H), norm += std::norm(H);
  }
  CHECK(std::sqrt(off / norm) < 4e-4);
  CHECK(sum * gain / factor <= 1.0001);
  CHECK(sum * gain / factor > 0.4999);
}
template <int ROW>
void check_filter_spectra() {
  for (const Taps which : {Taps::few, Taps::whole, Taps::reversed, Taps::reversed_from_zero, Taps::circle})
    check_filter_spectrum<ROW>(which, false);
  for (const Taps which : {Taps::few, Taps::whole}) check_filter_spectrum<ROW>(which, true);
}

// The gradients of taps from sums that are any numbers, against the inverse transform itself. Taps from lag 0 on, with
// reversed taps below it, or on a circle of some samples, where those below lag 0 are the last.
template <int ROW>
void check_filter_gradient(int length, bool reversed, int circle) {
  using F = typename FilterGradient<ROW>::F;
  constexpr int M = F::M, kSplits = 2, kBefore = 3, kBeyond = 5;  // reversed taps begin at lag -3, and some are too far
  CAPTURE(ROW);
  CAPTURE(length);
  CAPTURE(reversed);
  CAPTURE(circle);
  std::mt19937 random(ROW);
  std::normal_distribution<float> normal;
  std::vector<u32> sums(kSplits * M);
  for (u32& s : sums) s = pack(1000 * normal(random), 1000 * normal(random));
  const std::vector<float> factors{0.25f, 2};
  auto sum_at = [&](int k) {
    return double(factors[0]) * at_frequency<ROW>(sums.data(), k) +
           double(factors[1]) * at_frequency<ROW>(sums.data() + M, k);
  };
  const double turn = 2 * std::acos(-1.0) / M;
  auto exact = [&](int n) {
    std::complex<double> sum = 0;
    for (int k = 0; k < M; ++k)
      sum += sum_at(k) * std::polar(1.0, turn * std::fmod(double(n) * (k - F::shift(false) / 4.0), M));
    return spectrum_gain(kSizes[ROW]) * sum;
  };

  const int taps = circle ? circle : M + kBeyond, taps_reversed = reversed ? M + kBeyond : 0;
  std::vector<float> dk(taps, NAN), dk_rev(taps_reversed + 1, NAN);
  float dskip = NAN;
  FoldView fold{length, 0, -1, 0, 0, false};
  if (reversed)
    fold.negative_lo = -(length - 1), fold.negative_hi = fold.base = -kBefore, fold.sign = -1, fold.from_reverse = true;
  if (circle) fold.negative_lo = -(length - 1), fold.negative_hi = -1, fold.base = circle, fold.sign = 1;
  for (const int splits : {kSplits, 0}) {
    CAPTURE(splits);
    const GradientParameters p{sums.data(),
                               factors.data(),
                               splits,
                               1,
                               {dk.data(), taps, 2},
                               {reversed ? dk_rev.data() : nullptr, taps_reversed, 2},
                               fold,
                               taps,
                               taps_reversed,
                               false,
                               &dskip};
    emulated::launch(1, F::kThreads, [&] { filter_gradient<ROW>(p); });
    if (splits == 0) {
      for (const float d : dk) REQUIRE(d == 0);
      continue;
    }
    CHECK(error(
              taps, 33, [&](int j) { return dk[j]; },
              [&](int j) {
                const double first = j < length ? exact(j).real() : 0;
                return circle && j > circle - length ? first - exact(j - circle + M).imag() : first;
              }) < 1e-5);
    CHECK(std::all_of(dk.begin(), dk.end(), [](float d) { return std::isfinite(d); }));
    for (int j = std::max(length, circle); j < taps; ++j) CHECK(dk[j] == 0);
    if (reversed) {
      CHECK(error(
                taps_reversed, 33, [&](int j) { return dk_rev[j]; },
                [&](int j) { return j + kBefore < length ? -exact(M - kBefore - j).imag() : 0; }) < 1e-5);
      CHECK(std::all_of(dk_rev.begin(), dk_rev.end() - 1, [](float d) { return std::isfinite(d); }));
      for (int j = length - kBefore; j < taps_reversed; ++j) CHECK(dk_rev[j] == 0);
    }
    CHECK(std::isnan(dk_rev.back()));  // not written
    CHECK(std::fabs(dskip - exact(0).real()) < 1e-4 * std::sqrt(2 * M) * 1000 * spectrum_gain(kSizes[ROW]));
  }
  CHECK(dskip == 0);
}
// Lag 0 of reversed taps that begin there coincides with tap 0 of the others.
template <int ROW>
void check_lag_of_both() {
  using F = typename FilterGradient<ROW>::F;
  constexpr int M = F::M;
  std::vector<u32> sums(M, pack(1, 2));
  std::vector<float> dk(M, NAN), dk_rev(M, NAN);
  const float factor = 1;
  const GradientParameters p{
      sums.data(), &factor, 1, 1,      {dk.data(), M, 2}, {dk_rev.data(), M, 2}, {M, -(M - 1), 0, 0, -1, true},
      M,           M,       0, nullptr};
  emulated::launch(1, F::kThreads, [&] { filter_gradient<ROW>(p); });
  CHECK(dk_rev[0] == dk[0]);
  CHECK(dk_rev[0] != 0);
  CHECK(std::all_of(dk_rev.begin(), dk_rev.end(), [](float d) { return std::isfinite(d); }));
}

// What a row of zeros adds to the filter's gradient is nothing, however large the other factor is; in pairs the
// partner's rounding error stands in its place.
template <int ROW>
void check_silent_row() {
  constexpr int M = kSizes[ROW].points;
  CAPTURE(ROW);
  for (const bool of_u : {true, false}) {
    CAPTURE(of_u);
    Problem<ROW, true, Half, Aligned> p({2, M, M, false, false, 0});
    for (int i = 0; i < M; ++i) {
      const double u = p.u.at(1, i), dy = p.dy.at(1, i);
      p.u.data()[i] = narrow<Half>(0.02 * p.u.at(0, i));
      p.u.data()[M + i] = narrow<Half>(of_u ? 0 : 1000 * u);
      p.dy.data()[M + i] = narrow<Half>(of_u ? 1000 * dy : 0);
    }
    p.run_spectrum(), p.run_backward();
    CHECK(error(M, 16, [&](int j) { return p.dk[j]; }, [&](int j) { return p.exact_tap(j); }) < kBoundGradient);
  }
}

template <int ROW>
void check_rows_of_different_sizes() {
  constexpr int M = kSizes[ROW].points;
  for (const double louder : {40., 1 / 40.}) {
    check<ROW, false, Half, Aligned>({3, M, M, true, true, 0, louder});
    check<ROW, true, Half, Aligned>({3, M, M, false, false, 0, louder});
  }
  for (const double louder : {1e12, 1e-12}) {
    check<ROW, false, BFloat, Aligned>({3, M, M, false, false, 0, louder});
    check<ROW, true, BFloat, Aligned>({3, M, M, true, false, 0, louder});
  }
}

// Rows that fill the type, and outputs that do: the scales on the way reach their ends.
template <int ROW, class Type>
void check_largest(double value, float sum_of_taps) {
  constexpr int M = kSizes[ROW].points;
  CAPTURE(ROW);
  CAPTURE(value);
  Problem<ROW, false, Type, Aligned> p({1, M, 16, false, false, 0});
  for (int i = 0; i < M; ++i) p.u.data()[i] = narrow<Type>(value);
  for (int j = 0; j < 16; ++j) p.taps[j] = sum_of_taps / 31 * (1 + j % 3);
  p.run_spectrum(), p.run_forward();
  CHECK(error(M, 512, [&](int i) { return p.y.at(0, i); }, [&](int i) { return p.exact_conv(0, i); }) < bound<Type>());
}

// Rows whose spectra are a single line, in x and in g: nothing on the way to the filter's gradient may overflow.
template <int ROW, bool PAIRS, class Type>
void check_constant_rows(double x, double g) {
  constexpr int M = kSizes[ROW].points;
  CAPTURE(ROW);
  CAPTURE(x);
  Problem<ROW, PAIRS, Type, Aligned> p({2, M, 16, false, false, 0});
  for (int i = 0; i < M; ++i) {
    p.u.data()[i] = narrow<Type>(x), p.u.data()[M + i] = narrow<Type>(1.4 * x);
    p.dy.data()[i] = narrow<Type>(g), p.dy.data()[M + i] = narrow<Type>(1.4 * g);
  }
  p.run_spectrum(), p.run_backward();
  CHECK(error(16, 16, [&](int j) { return p.dk[j]; }, [&](int j) { return p.exact_tap(j); }) < kBoundGradient);
}

// One gradient of the rows alone, all of them, or the filter's alone: the same bits as with the others, and nothing
// else is written.
template <int ROW, bool PAIRS>
void check_some_wanted() {
  constexpr int M = kSizes[ROW].points;
  CAPTURE(PAIRS);
  using P = Problem<ROW, PAIRS, Half, Aligned>;
  const Case c{3, M, M, true, true, 0.5f};
  P all(c);
  all.run_spectrum(), all.run_backward();
  const std::vector<Tensor<Half> P::*> outputs{&P::du, &P::dpregate, &P::dpostgate};
  for (const unsigned wanted : {1u, 2u, 4u, 7u, 8u}) {
    CAPTURE(wanted);
    P p(c);
    const auto untouched = p.du.memory;
    const auto no_sums = p.sums;
    p.run_spectrum();
    BackwardParameters some = p.backward_parameters();
    RowsView* const views[] = {&some.du, &some.dpregate, &some.dpostgate};
    for (std::size_t i = 0; i < outputs.size(); ++i)
      if (!(wanted >> i & 1)) *views[i] = {};
    if (!(wanted & 8)) some.sums = nullptr;
    p.run_streamed(some);
    for (std::size_t i = 0; i < outputs.size(); ++i)
      CHECK((p.*outputs[i]).memory == (wanted >> i & 1 ? (all.*outputs[i]).memory : untouched));
    CHECK(p.sums == (wanted & 8 ? all.sums : no_sums));
  }
}

// Sums that take the place of the filter's spectrum are the same.
template <int ROW, bool PAIRS>
void check_sums_in_place() {
  constexpr int M = kSizes[ROW].points;
  CAPTURE(PAIRS);
  using P = Problem<ROW, PAIRS, Half, Aligned>;
  const Case c{3, M, M, true, true, 0.5f};
  P apart(c), together(c);
  apart.splits = together.splits = 1;
  apart.run_spectrum(), together.run_spectrum();
  BackwardParameters in_place = together.backward_parameters();
  in_place.sums = together.spectrum.data();
  apart.run_streamed(apart.backward_parameters()), together.run_streamed(in_place);
  CHECK(std::equal(together.spectrum.begin(), together.spectrum.end(), apart.sums.begin()));
  CHECK(together.du.memory == apart.du.memory);
  CHECK(together.dpostgate.memory == apart.dpostgate.memory);
}

// As many equal rows as a sum in halves takes: every addition rounds the same way.
template <int ROW>
void check_equal_rows() {
  constexpr int M = kSizes[ROW].points;
  Problem<ROW, false, Half, Aligned> p({kMostInSum, M, M, false, false, 0});
  p.splits = 1;
  for (Tensor<Half>* t : {&p.u, &p.dy})
    for (int b = 1; b < kMostInSum; ++b) std::copy_n(t->data(), M, t->data() + static_cast<std::size_t>(b) * M);
  p.run_spectrum(), p.run_backward();
  CHECK(error(M, 32, [&](int j) { return p.dk[j]; }, [&](int j) { return p.exact_tap(j); }) < kBoundGradient);
}

template <int ROW>
void check_row() {
  constexpr int M = kSizes[ROW].points;
  check<ROW, false, Half, Aligned>({3, M, M, true, true, 0.5f});
  check<ROW, false, BFloat, Any>({2, M - 3, M - 3, true, false, 0});
  check<ROW, false, Half, Any>({1, M / 2 + 5, 9, false, true, 0});
  if constexpr (M >= kSmallestPairs) {
    check<ROW, true, Half, Aligned>({3, M, M, true, true, 0.5f});
    check<ROW, true, BFloat, Aligned>({2, M, M, false, false, 0});
  }
}

}  // namespace

TEST_CASE("a row that is not finite") {
  for (const double value : {std::nan(""), double(INFINITY)}) {
    check_not_finite<4>(value);
#ifndef FFC_EMULATED_QUICK
    check_not_finite<3>(value);
    check_not_finite<6>(value);
    check_not_finite<8>(value);
    check_not_finite<9>(value);
#endif
  }
}
TEST_CASE("a row of zeros beside a loud gradient") {
  check_silent_row<4>();
#if !defined(FFC_EMULATED_QUICK) || defined(FFC_EMULATED_LONGEST)
  check_silent_row<8>();
  check_silent_row<9>();
#endif
}
TEST_CASE("rows of different sizes") {
  check_rows_of_different_sizes<4>();
#ifndef FFC_EMULATED_QUICK
  check_rows_of_different_sizes<1>();
  check_rows_of_different_sizes<3>();
  check_rows_of_different_sizes<6>();
  check_rows_of_different_sizes<8>();
  check_rows_of_different_sizes<9>();
#endif
}
TEST_CASE("the largest inputs") {
  check_largest<4, Half>(60000, 1);
  check_largest<4, BFloat>(1e38, 3);
#ifndef FFC_EMULATED_QUICK
  check_largest<3, BFloat>(1e38, 3);
  check_largest<6, Half>(60000, 1);
  check_largest<6, BFloat>(1e38, 3);
  check_largest<9, BFloat>(1e38, 3);
#endif
}
TEST_CASE("constant rows") {
  check_constant_rows<4, true, Half>(1.41, 1.41);
  check_constant_rows<4, false, BFloat>(2.3e38, 1e-7);
  check_constant_rows<4, false, BFloat>(2.3e38, 1e-35);
#ifndef FFC_EMULATED_QUICK
  check_constant_rows<3, false, BFloat>(2.3e38, 1e-7);
  check_constant_rows<3, true, BFloat>(2.3e38, 1e-7);
  check_constant_rows<6, true, BFloat>(2.3e38, 1e-7);
  check_constant_rows<9, true, Half>(1.41, 1.41);
  check_constant_rows<9, true, BFloat>(2.3e38, 1e-7);
#endif
}
template <int ROW>
void check_filter_gradients() {
  constexpr int M = kSizes[ROW].points;
  for (const int length : {M - 1, M}) check_filter_gradient<ROW>(length, false, 0);
  check_filter_gradient<ROW>(M - 1, true, 0);
  for (const int circle : {M, M + 5}) check_filter_gradient<ROW>(M - 1, false, circle);
  check_lag_of_both<ROW>();
}
TEST_CASE("the filter's spectrum") {
  check_filter_spectra<4>();
#ifndef FFC_EMULATED_QUICK
  check_filter_spectra<0>();
  check_filter_spectra<1>();
  check_filter_spectra<2>();
  check_filter_spectra<3>();
  check_filter_spectra<5>();
  check_filter_spectra<6>();
  check_filter_spectra<7>();
  check_filter_spectra<8>();
  check_filter_spectra<9>();
#endif
}
TEST_CASE("the filter's gradient from sums") {
  check_filter_gradients<4>();
#ifndef FFC_EMULATED_QUICK
  check_filter_gradients<0>();
  check_filter_gradients<1>();
  check_filter_gradients<2>();
  check_filter_gradients<3>();
  check_filter_gradients<5>();
  check_filter_gradients<6>();
  check_filter_gradients<7>();
  check_filter_gradients<8>();
  check_filter_gradients<9>();
#endif
}
TEST_CASE("256 points") { check_row<2>(); }
TEST_CASE("1024 points") { check_row<4>(); }
#ifndef FFC_EMULATED_QUICK  // enough for faults to be noticed (tests/mutants/cuda.py)
TEST_CASE("64 points") { check_row<0>(); }
TEST_CASE("128 points") { check_row<1>(); }
TEST_CASE("512 points") { check_row<3>(); }
TEST_CASE("2048 points") { check_row<5>(); }
TEST_CASE("4096 points") { check_row<6>(); }
TEST_CASE("8192 points") { check_row<7>(); }
TEST_CASE("16384 points") { check_row<8>(); }
#endif
#if !defined(FFC_EMULATED_QUICK) || defined(FFC_EMULATED_LONGEST)
TEST_CASE("32768 points") { check_row<9>(); }
TEST_CASE("some gradients of 32768 points") { check_some_wanted<9, false>(), check_some_wanted<9, true>(); }
TEST_CASE("sums in the place of the spectrum") { check_sums_in_place<9, false>(), check_sums_in_place<8, true>(); }
TEST_CASE("equal rows of 16384 points") { check_equal_rows<8>(); }
#endif

}  // namespace ffc::cuda
