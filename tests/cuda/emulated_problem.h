// A convolution for the kernels of the CUDA engine on an emulated block of threads (emulated/device.h): its tensors,
// the launches of every kernel, and what must come out, as direct sums in float64.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <random>
#include <type_traits>
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

template <class Type>
std::uint16_t narrow(double value) {
  return static_cast<std::uint16_t>(Type::narrow(static_cast<float>(value), 0));
}
template <class Type>
double wide(std::uint16_t bits) {
  return Type::wide(bits).x;
}

// [batch, channels, length] in the type of the rows, 16 bytes before and after poisoned. Row n is of channel n %
// channels.
template <class Type>
struct Tensor {
  int channels, rows, length;
  std::vector<std::uint16_t> memory;

  Tensor(int batch, int of_channels, int l)
      : channels(of_channels),
        rows(batch * channels),
        length(l),
        memory(static_cast<std::size_t>(rows) * l + 16, 0x7e01) {}
  std::uint16_t* data() { return memory.data() + 8; }
  double at(int row, int i) const { return wide<Type>(memory[8 + static_cast<std::size_t>(row) * length + i]); }
  void set(int row, int i, double value) { data()[static_cast<std::size_t>(row) * length + i] = narrow<Type>(value); }
  void fill(std::mt19937& random) {
    std::normal_distribution<double> normal;
    for (int row = 0; row < rows; ++row)
      for (int i = 0; i < length; ++i) set(row, i, normal(random));
  }
  RowsView view() { return {data(), channels * length, length, channels * length / 8, length / 8}; }
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
  int channels = 1, blocks = 1;
};

// Everything of a convolution: causal (right-angle) or circular of M points (pairs).
template <int ROW, bool PAIRS, class Type, class Access>
struct Problem {
  static constexpr int M = kSizes[ROW].points;
  // At most: rows of a cluster want at least as many in a split as it has blocks.
  int splits = M > kLargestStagedBackward&& Type::kIsHalf ? 1 : 2;
  Case c;
  Tensor<Type> u, pregate, postgate, dy, y, du, dpregate, dpostgate;
  std::vector<float> taps, skips, factors;  // of every channel
  std::vector<float> dk, dskips;
  std::vector<u32> spectra, sums;
  std::vector<float> sum_factors;
  std::vector<uint4> kept;

  explicit Problem(const Case& given)
      : c(given),
        u(c.batch, c.channels, c.length),
        pregate(u),
        postgate(u),
        dy(u),
        y(u),
        du(u),
        dpregate(u),
        dpostgate(u),
        taps(c.channels * c.taps),
        skips(c.channels),
        factors(c.channels),
        dk(taps.size(), NAN),
        dskips(c.channels, NAN),
        spectra(c.channels * M),
        sums(2 * c.channels * M, 0x7e017e01),
        sum_factors(2 * c.channels),
        kept(M > kLargestStagedBackward ? blocks() * KeptSum<ROW>::kBytes / 16 : 0) {
    std::mt19937 random(17 * ROW + PAIRS);
    for (Tensor<Type>* t : {&u, &pregate, &postgate, &dy}) t->fill(random);
    std::normal_distribution<float> normal;
    for (int h = 0; h < c.channels; ++h)
      for (int j = 0; j < c.taps; ++j)
        taps[h * c.taps + j] = normal(random) * std::exp(-4.f * j / c.taps) / std::sqrt(float(c.taps));
    tell_apart();
  }
  // Rows, and channels beside each other, of different sizes: so are the scales of their spectra and sums.
  void tell_apart() {
    for (int row = 0; row < u.rows; ++row) {
      const double scale = std::pow(c.louder, row / c.channels) * std::ldexp(1., 2 * (row % c.channels % 3));
      for (int i = 0; i < c.length; ++i) u.set(row, i, u.at(row, i) * scale);
    }
    for (int h = 0; h < c.channels; ++h) {
      for (int j = 0; j < c.taps; ++j) taps[h * c.taps + j] = std::ldexp(taps[h * c.taps + j], -3 * (h % 3));
      skips[h] = c.skip * (1 - 1.5f * (h % 3));
    }
  }

  FoldView fold() const {
    return {c.taps, PAIRS ? -(c.length - 1) : 0, PAIRS ? c.taps - 1 - M : -1, PAIRS ? M : 0, PAIRS ? 1 : 0, false};
  }
  // No split is without rows.
  Work work() const {
    const int groups = (c.batch + PAIRS) / (1 + PAIRS), used = std::min(splits, groups);
    return {c.batch, c.channels, used,
            M > kLargestStagedBackward && groups >= kBlocksTogether * used ? kBlocksTogether : 1};
  }
  // Of a backward launch.
  int blocks() const { return c.blocks * work().together; }

  SpectrumParameters spectrum_parameters() {
    return {{taps.data(), c.taps, 2}, {}, fold(), spectra.data(), factors.data()};
  }
  void run_spectrum() {
    using F = typename FilterSpectrum<ROW, PAIRS>::F;
    const SpectrumParameters p = spectrum_parameters();
    emulated::launch(c.channels * F::kParts, F::kThreads, [&] { filter_spectrum<ROW, PAIRS>(p); });
  }
  void run_forward() {
    if constexpr (std::is_same_v<Access, Any>)
      run_forward<true>();  // one kernel, plain or gated
    else
      c.pregate || c.postgate ? run_forward<true>() : run_forward<false>();
  }
  template <bool GATED>
  void run_forward() {
    const ForwardParameters p{u.view(),
                              c.pregate ? pregate.view() : RowsView{},
                              c.postgate ? postgate.view() : RowsView{},
                              y.view(),
                              spectra.data(),
                              factors.data(),
                              c.skip != 0 ? skips.data() : nullptr,
                              work(),
                              c.length};
    if constexpr (kSizes[ROW].outer == 1)
      run_short_forward<GATED>(p);
    else if constexpr (streams(kSizes[ROW], PAIRS, GATED))
      emulated::launch(c.blocks, StreamedForward<ROW, PAIRS, GATED, Type, Access>::kThreads,
                       [&] { streamed_forward<ROW, PAIRS, GATED, Type, Access>(p); });
    else
      emulated::launch(c.blocks, StagedForward<ROW, PAIRS, GATED, Type, Access>::kThreads,
                       [&] { staged_forward<ROW, PAIRS, GATED, Type, Access>(p); });
  }
  // The spectrum that is there, and one that is made on the way, without any stored: the same bits.
  template <bool GATED>
  void run_short_forward(const ForwardParameters& rows) {
    WarpForwardParameters p{rows, spectrum_parameters()};
    p.spectrum = nullptr, p.factors = nullptr, p.filter.spectrum = nullptr, p.filter.factors = nullptr;
    emulated::launch(c.blocks, WarpForward<ROW, PAIRS, true>::kThreads,
                     [&] { warp_forward<ROW, PAIRS, GATED, true, Type, Access>(p); });
    const auto made_on_the_way = y.memory;
    std::fill(y.memory.begin(), y.memory.end(), 0x7e01);
    emulated::launch(c.blocks, WarpForward<ROW, PAIRS, false>::kThreads,
                     [&] { warp_forward<ROW, PAIRS, GATED, false, Type, Access>(rows); });
    REQUIRE(y.memory == made_on_the_way);
  }
  BackwardParameters backward_parameters() {
    return {dy.view(),
            u.view(),
            c.pregate ? pregate.view() : RowsView{},
            c.postgate ? postgate.view() : RowsView{},
            du.view(),
            c.pregate ? dpregate.view() : RowsView{},
            c.postgate ? dpostgate.view() : RowsView{},
            spectra.data(),
            factors.data(),
            c.skip != 0 ? skips.data() : nullptr,
            sums.data(),
            sum_factors.data(),
            kept.data(),
            work(),
            c.length};
  }
  void run_backward() {
    run_rows_backward(backward_parameters());
    run_gradient(true, true);
  }
  void run_rows_backward(const BackwardParameters& p) {
    if constexpr (kSizes[ROW].outer == 1)
      emulated::launch(c.blocks, WarpBackward<ROW, PAIRS>::kThreads,
                       [&] { warp_backward<ROW, PAIRS, Type, Access>(p); });
    else if constexpr (M <= kLargestStagedBackward)
      emulated::launch(c.blocks, StagedBackward<ROW, PAIRS, Type, Access>::kThreads,
                       [&] { staged_backward<ROW, PAIRS, Type, Access>(p); });
    else
      emulated::launch(
          blocks(), StreamedBackward<ROW, PAIRS, Type, Access>::kThreads,
          [&] { streamed_backward<ROW, PAIRS, Type, Access>(p); }, work().together);
  }
  void run_gradient(bool taps_wanted, bool skips_wanted) {
    using F = typename FilterGradient<ROW, PAIRS>::F;
    const GradientParameters p{sums.data(),
                               sum_factors.data(),
                               work().splits,
                               c.channels,
                               {taps_wanted ? dk.data() : nullptr, c.taps, 2},
                               {},
                               fold(),
                               c.taps,
                               0,
                               skips_wanted ? dskips.data() : nullptr};
    emulated::launch(c.channels, F::kThreads, [&] { filter_gradient<ROW, PAIRS>(p); });
  }

  // Kernels that go over a row twice have left something of every block's own.
  bool every_block_kept() const {
    const std::size_t own = kept.size() / blocks();
    for (auto from = kept.begin(); from != kept.end(); from += own)
      if (std::all_of(from, from + own, [](uint4 v) { return (v.x | v.y | v.z | v.w) == 0; })) return false;
    return true;
  }

  double x(int row, int i) const { return u.at(row, i) * (c.pregate ? pregate.at(row, i) : 1); }
  double g(int row, int i) const { return dy.at(row, i) * (c.postgate ? postgate.at(row, i) : 1); }
  double tap(int row, int j) const { return taps[row % c.channels * c.taps + j]; }
  double skip(int row) const { return skips[row % c.channels]; }
  // Sample i - j, of the circle in pairs; -1 where there is none.
  int source(int i, int j) const {
    const int at = PAIRS ? (i - j % M + M) % M : i - j;
    return at < c.length ? at : -1;
  }

  double exact_conv(int row, int i) const {
    double sum = skip(row) * x(row, i);
    for (int j = 0; j < c.taps; ++j)
      if (const int at = source(i, j); at >= 0) sum += tap(row, j) * x(row, at);
    return sum;
  }
  double exact_corr(int row, int i) const {
    double sum = skip(row) * g(row, i);
    for (int j = 0; j < c.taps; ++j) {
      const int to = PAIRS ? (i + j) % M : i + j;
      if (to < c.length) sum += tap(row, j) * g(row, to);
    }
    return sum;
  }
  double exact_tap(int h, int j) const {
    double sum = 0;
    for (int row = h; row < u.rows; row += c.channels)
      for (int i = 0; i < c.length; ++i)
        if (const int at = source(i, j); at >= 0) sum += g(row, i) * x(row, at);
    return sum;
  }
};

}  // namespace ffc::cuda
