// The kernels of the CUDA engine on an emulated block of threads (emulated/device.h), against direct sums in float64:
// every size, right-angle and pairs, both types of rows, aligned rows and any, channels and blocks.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <complex>
#include <random>
#include <vector>

#include "emulated_problem.h"

namespace ffc::cuda {
namespace {

constexpr double kBoundHalf = 1.2e-3, kBoundGradient = 2.5e-3;

// Relative error of `count` values spread over [0, length), odd and even ones.
template <class Got, class Exact>
double error(int length, int count, Got&& got, Exact&& exact) {
  double off = 0, norm = 0;
  for (int n = 0; n < count; ++n) {
    const int i = static_cast<int>(static_cast<long long>(n) * length / count) + n % std::max(1, length / count);
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
  CAPTURE(c.channels);
  Problem<ROW, PAIRS, Type, Access> p(c);
  p.run_spectrum();
  p.run_forward();
  const int count = std::min(c.length, 512);
  auto close = [&](const char* what, const Tensor<Type>& got, auto&& exact) {
    CAPTURE(what);
    CHECK(got.margins_untouched());
    for (int row = 0; row < got.rows; ++row) {
      CAPTURE(row);
      CHECK(error(
                c.length, count, [&](int i) { return got.at(row, i); }, [&](int i) { return exact(row, i); }) <
            bound<Type>());
    }
  };
  close("y", p.y, [&](int row, int i) { return p.exact_conv(row, i) * (c.postgate ? p.postgate.at(row, i) : 1); });
  p.run_backward();
  if (kSizes[ROW].points > kLargestStagedBackward) CHECK(p.every_block_kept());
  close("du", p.du, [&](int row, int i) { return p.exact_corr(row, i) * (c.pregate ? p.pregate.at(row, i) : 1); });
  if (c.pregate) close("dpregate", p.dpregate, [&](int row, int i) { return p.exact_corr(row, i) * p.u.at(row, i); });
  if (c.postgate)
    close("dpostgate", p.dpostgate, [&](int row, int i) { return p.exact_conv(row, i) * p.dy.at(row, i); });
  // The gradient of a skip term is that of a tap at lag 0; alone it may be any small number, so it is judged beside
  // the taps.
  for (int h = 0; h < c.channels; ++h) {
    CAPTURE(h);
    const float* dk = &p.dk[h * c.taps];
    CHECK(p.dskips[h] == dk[0]);
    CHECK(error(
              c.taps, std::min(c.taps, 32), [&](int j) { return dk[j]; }, [&](int j) { return p.exact_tap(h, j); }) <
          kBoundGradient);
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
template <int ROW, bool PAIRS>
void check_filter_spectrum(Taps which) {
  using F = typename FilterSpectrum<ROW, PAIRS>::F;
  constexpr int M = F::M;
  CAPTURE(ROW);
  CAPTURE(static_cast<int>(which));
  CAPTURE(PAIRS);
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
  const SpectrumParameters p{{k.data(), M, 2}, {k_rev.data(), M, 2}, fold, spectrum.data(), &factor};
  emulated::launch(F::kParts, F::kThreads, [&] { filter_spectrum<ROW, PAIRS>(p); });
  const double gain = spectrum_gain(kSizes[ROW]), turn = 2 * std::acos(-1.0) / M;
  auto exact = [&](int k) {
    std::complex<double> H = 0;
    for (int n = 0; n < M; ++n) H += h[n] * std::polar(1.0, -turn * std::fmod(double(n) * (k - F::kShift / 4.0), M));
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
    check_filter_spectrum<ROW, false>(which);
  if constexpr (kSizes[ROW].points >= kSmallestPairs)
    for (const Taps which : {Taps::few, Taps::whole}) check_filter_spectrum<ROW, true>(which);
}

// The gradients of taps from sums that are any numbers, against the inverse transform itself. Taps from lag 0 on, with
// reversed taps below it, or on a circle of some samples, where those below lag 0 are the last.
template <int ROW, bool PAIRS = false>
void check_filter_gradient(int length, bool reversed, int circle) {
  using F = typename FilterGradient<ROW, PAIRS>::F;
  constexpr int M = F::M, kSplits = 2, kBefore = 3, kBeyond = 5;  // reversed taps begin at lag -3, and some are too far
  CAPTURE(ROW);
  CAPTURE(PAIRS);
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
      sum += sum_at(k) * std::polar(1.0, turn * std::fmod(double(n) * (k - F::kShift / 4.0), M));
    return spectrum_gain(kSizes[ROW]) * sum;
  };

  const int taps = circle ? circle : M + kBeyond, taps_reversed = reversed ? M + kBeyond : 0;
  std::vector<float> dk(taps), dk_rev(taps_reversed + 1);
  float dskip = NAN;
  FoldView fold{length, 0, -1, 0, 0, false};
  if (reversed)
    fold.negative_lo = -(length - 1), fold.negative_hi = fold.base = -kBefore, fold.sign = -1, fold.from_reverse = true;
  if (circle) fold.negative_lo = -(length - 1), fold.negative_hi = -1, fold.base = circle, fold.sign = 1;
  for (const int splits : {kSplits, 0}) {
    CAPTURE(splits);
    std::fill(dk.begin(), dk.end(), NAN), std::fill(dk_rev.begin(), dk_rev.end(), NAN);
    const GradientParameters p{sums.data(),
                               factors.data(),
                               splits,
                               1,
                               {dk.data(), taps, 2},
                               {reversed ? dk_rev.data() : nullptr, taps_reversed, 2},
                               fold,
                               taps,
                               taps_reversed,
                               &dskip};
    emulated::launch(1, F::kThreads, [&] { filter_gradient<ROW, PAIRS>(p); });
    if (splits == 0) {
      for (const float d : dk) REQUIRE(d == 0);
      for (int j = 0; j < taps_reversed; ++j) REQUIRE(dk_rev[j] == 0);
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
  using F = typename FilterGradient<ROW, false>::F;
  constexpr int M = F::M;
  std::vector<u32> sums(M, pack(1, 2));
  std::vector<float> dk(M, NAN), dk_rev(M, NAN);
  const float factor = 1;
  const GradientParameters p{
      sums.data(), &factor, 1,      1, {dk.data(), M, 2}, {dk_rev.data(), M, 2}, {M, -(M - 1), 0, 0, -1, true},
      M,           M,       nullptr};
  emulated::launch(1, F::kThreads, [&] { filter_gradient<ROW, false>(p); });
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
    CHECK(error(M, 16, [&](int j) { return p.dk[j]; }, [&](int j) { return p.exact_tap(0, j); }) < kBoundGradient);
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
  CHECK(error(16, 16, [&](int j) { return p.dk[j]; }, [&](int j) { return p.exact_tap(0, j); }) < kBoundGradient);
}

// Some gradients of the rows, or the filter's, and of that the taps' alone or the skip term's: the same bits as with
// the others, and nothing else is written. A bit each: du, dpregate, dpostgate, sums.
template <int ROW, bool PAIRS>
void check_some_wanted() {
  constexpr int M = kSizes[ROW].points;
  CAPTURE(ROW);
  CAPTURE(PAIRS);
  using P = Problem<ROW, PAIRS, Half, Aligned>;
  const Case c{3, M, M, true, true, 0.5f};
  P all(c);
  all.run_spectrum(), all.run_backward();
  const std::vector<Tensor<Half> P::*> outputs{&P::du, &P::dpregate, &P::dpostgate};
  std::vector<unsigned> subsets{1, 2, 4, 7, 8};  // of the long rows, which take their time
  if (M <= 1024) subsets = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14};
  for (const unsigned wanted : subsets) {
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
    p.run_rows_backward(some);
    for (std::size_t i = 0; i < outputs.size(); ++i)
      CHECK((p.*outputs[i]).memory == (wanted >> i & 1 ? (all.*outputs[i]).memory : untouched));
    CHECK(p.sums == (wanted & 8 ? all.sums : no_sums));
    if (wanted != 8) continue;
    p.run_gradient(false, true);
    CHECK(p.dskips == all.dskips);
    CHECK(std::all_of(p.dk.begin(), p.dk.end(), [](float d) { return std::isnan(d); }));
    p.dskips = {NAN}, p.run_gradient(true, false);
    CHECK(p.dk == all.dk);
    CHECK(std::isnan(p.dskips[0]));
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
  in_place.sums = together.spectra.data();
  apart.run_rows_backward(apart.backward_parameters()), together.run_rows_backward(in_place);
  CHECK(std::equal(together.spectra.begin(), together.spectra.end(), apart.sums.begin()));
  CHECK(together.du.memory == apart.du.memory);
  CHECK(together.dpostgate.memory == apart.dpostgate.memory);
}

// Three channels of some rows one after another, by one cluster or by two: the same as each channel alone.
template <int ROW, bool PAIRS>
void check_channels_in_turn(int splits) {
  constexpr int M = kSizes[ROW].points, kChannels = 3;
  const int batch = (PAIRS ? 8 : 4) * splits + 1;
  CAPTURE(PAIRS);
  using P = Problem<ROW, PAIRS, Half, Aligned>;
  using Kernel = StreamedBackward<ROW, PAIRS, Half, Aligned>;
  P p({kChannels * batch, M, M, true, true, 0.5f});
  p.run_spectrum();
  std::vector<u32> spectrum(kChannels * M);
  for (int h = 0; h < kChannels; ++h) std::copy_n(p.spectra.data(), M, spectrum.data() + h * M);
  const std::vector<float> factors(kChannels, p.factors[0]), skip(kChannels, p.skips[0]);
  struct Outcome {
    std::vector<std::uint16_t> du, dpregate, dpostgate;
    std::vector<u32> sums;
    std::vector<float> factors;
  };
  // Rows b, h lie at (kChannels b + h) M.
  auto run = [&](int first, int channels, int blocks, int together = kBlocksTogether) {
    P out(p.c);
    Outcome outcome{{}, {}, {}, std::vector<u32>(splits * channels * M), std::vector<float>(splits * channels)};
    std::vector<uint4> kept(blocks * KeptSum<ROW>::kBytes / 16);
    auto view = [&](Tensor<Half>& t) {
      return RowsView{t.data() + first * M, kChannels * M, M, kChannels * M / 8, M / 8};
    };
    BackwardParameters q{view(p.dy),
                         view(p.u),
                         view(p.pregate),
                         view(p.postgate),
                         view(out.du),
                         view(out.dpregate),
                         view(out.dpostgate),
                         spectrum.data(),
                         factors.data(),
                         skip.data(),
                         outcome.sums.data(),
                         outcome.factors.data(),
                         kept.data(),
                         {batch, channels, splits, together},
                         M};
    emulated::launch(blocks, Kernel::kThreads, [&] { streamed_backward<ROW, PAIRS, Half, Aligned>(q); }, together);
    outcome.du = out.du.memory, outcome.dpregate = out.dpregate.memory, outcome.dpostgate = out.dpostgate.memory;
    return outcome;
  };
  const Outcome all = run(0, kChannels, 2);
  {  // Of the first channel: a block without a partner adds the same rows in another order.
    const Outcome single = run(0, 1, 1, 1);
    auto sum = [&](const Outcome& outcome, int channels, int i) {
      std::complex<double> sum = 0;
      for (int split = 0; split < splits; ++split) {
        const float2 part = Half::wide(outcome.sums[split * channels * M + i]);
        sum += std::complex<double>(part.x, part.y) * double(outcome.factors[split * channels]);
      }
      return sum;
    };
    double off = 0, norm = 0;
    for (int i = 0; i < M; ++i)
      off += std::norm(sum(all, kChannels, i) - sum(single, 1, i)), norm += std::norm(sum(single, 1, i));
    REQUIRE(std::sqrt(off / norm) < 2e-3);
  }
  const Outcome by_two = run(0, kChannels, 4);
  CHECK(all.du == by_two.du);
  CHECK(all.sums == by_two.sums);
  CHECK(all.factors == by_two.factors);
  for (int h = 0; h < kChannels; ++h) {
    CAPTURE(h);
    const Outcome one = run(h, 1, 2);
    for (int split = 0; split < splits; ++split) {
      const int at = split * kChannels + h;
      CHECK(std::equal(one.sums.begin() + split * M, one.sums.begin() + (split + 1) * M, all.sums.begin() + at * M));
      CHECK(one.factors[split] == all.factors[at]);
    }
    for (int b = 0; b < batch; ++b) {
      const auto at = 8 + (kChannels * b + h) * M;
      CHECK(std::equal(one.du.begin() + at, one.du.begin() + at + M, all.du.begin() + at));
      CHECK(std::equal(one.dpostgate.begin() + at, one.dpostgate.begin() + at + M, all.dpostgate.begin() + at));
    }
  }
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
  CHECK(error(M, 32, [&](int j) { return p.dk[j]; }, [&](int j) { return p.exact_tap(0, j); }) < kBoundGradient);
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
// Without gates the forward pass of aligned rows is a kernel of its own.
template <int ROW>
void check_plain() {
  constexpr int M = kSizes[ROW].points;
  check<ROW, false, Half, Aligned>({1, M, M, false, false, 0.25f, 1, 2});
  if constexpr (M >= kSmallestPairs) check<ROW, true, Half, Aligned>({2, M, M, false, false, 0.25f, 1, 2});
}

// Two blocks that go on from item to item. Both splits of a channel have rows: a worker takes kAtOnce at most at a
// time.
template <int ROW, bool PAIRS, class Type, class Access>
void check_channels(int length, int taps, bool gated) {
  constexpr int kAtOnce = (1 + PAIRS) * std::max(1, 8 / kSizes[ROW].warps);
  // Two blocks of a forward kernel of short rows have 16 warps, each with items of its own. The longest take their
  // time.
  constexpr int kChannels = kSizes[ROW].outer == 1 ? 9 : kSizes[ROW].points > 4096 ? 2 : 3;
  check<ROW, PAIRS, Type, Access>({kAtOnce + 1, length, taps, gated, gated, 0.5f, 1, kChannels, 2});
}
template <int ROW>
void check_channels() {
  constexpr int M = kSizes[ROW].points;
  check_channels<ROW, false, Half, Aligned>(M, M, true);
  check_channels<ROW, false, Half, Any>(M - 5, 9, false);
  if constexpr (M >= kSmallestPairs) check_channels<ROW, true, Half, Aligned>(M, M, true);
}

}  // namespace

TEST_CASE("a row that is not finite") {
  for (const double value : {std::nan(""), double(INFINITY)}) {
    check_not_finite<4>(value);
#ifndef FFC_EMULATED_QUICK
    check_not_finite<1>(value);
    check_not_finite<2>(value);
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
  check_silent_row<1>();
  check_silent_row<2>();
  check_silent_row<8>();
  check_silent_row<9>();
#endif
}
TEST_CASE("rows of different sizes") {
  check_rows_of_different_sizes<1>();
  check_rows_of_different_sizes<4>();
#ifndef FFC_EMULATED_QUICK
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
  check_largest<1, Half>(60000, 1);
  check_largest<2, BFloat>(1e38, 3);
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
  check_constant_rows<1, false, BFloat>(2.3e38, 1e-7);
  check_constant_rows<2, true, BFloat>(2.3e38, 1e-7);
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
  if constexpr (M >= kSmallestPairs)
    for (const int length : {M - 1, M}) check_filter_gradient<ROW, true>(length, false, 0);
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
template <int ROW>
void check_some_wanted() {
  check_some_wanted<ROW, false>(), check_some_wanted<ROW, true>();
}
TEST_CASE("some gradients of 256 to 16384 points") {
  check_some_wanted<2>();
  check_some_wanted<4>();
#ifndef FFC_EMULATED_QUICK
  check_some_wanted<6>();
  check_some_wanted<8>();
#endif
}
TEST_CASE("channels") {
  check_channels<2>();
  check_channels<4>();
#ifndef FFC_EMULATED_QUICK
  check_channels<0>();
  check_channels<1>();
  check_channels<3>();
  check_channels<6>();
  check_channels<8, true, Half, Aligned>(kSizes[8].points, kSizes[8].points, true);
  check_channels<9, true, Half, Aligned>(kSizes[9].points, kSizes[9].points, false);
#endif
}
TEST_CASE("rows without gates") {
  check_plain<4>();
#ifndef FFC_EMULATED_QUICK
  check_plain<0>();
  check_plain<1>();
  check_plain<2>();
  check_plain<3>();
  check_plain<5>();
  check_plain<6>();
  check_plain<7>();
  check_plain<8>();
  check_plain<9>();
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
TEST_CASE("some gradients of 32768 points") { check_some_wanted<9>(); }
TEST_CASE("channels in turn, by clusters") {
  check_channels_in_turn<8, false>(1);
#ifndef FFC_EMULATED_QUICK
  check_channels_in_turn<8, false>(2), check_channels_in_turn<8, true>(1);
#endif
}
TEST_CASE("sums in the place of the spectrum") { check_sums_in_place<9, false>(), check_sums_in_place<8, true>(); }
TEST_CASE("equal rows of 16384 points") { check_equal_rows<8>(); }
#endif

}  // namespace ffc::cuda
