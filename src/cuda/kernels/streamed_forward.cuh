// y = postgate * (conv(pregate * u, k) + skip pregate * u) for the longest rows (streamed.cuh).
#pragma once

#include <type_traits>

#include "cuda/kernels/streamed.cuh"

namespace ffc::cuda {

/// Blocks that share a channel share its spectrum in the cache, which gated rows fill: 4 to 8 %.
template <bool GATED>
inline constexpr int kForwardSplits = GATED ? 4 : 1;

/// GATED: with a pregate, a postgate, or both.
template <int ROW, bool PAIRS, bool GATED, class Type, class Access>
using StreamedForward = std::conditional_t<GATED, Streamed<ROW, PAIRS, Type, Access, false, 0, 2, 1>,
                                           Streamed<ROW, PAIRS, Type, Access, PAIRS, 0, 1>>;

/// GATED: the samples and both gates; else the samples. Then y.
template <bool GATED>
struct ForwardViews {
  static constexpr int kRead = GATED ? 3 : 1, kWritten = 1;
  const ForwardParameters& p;

  __device__ __forceinline__ RowsView of(int i) const {
    return i == 0 ? p.u : i == kRead ? p.y : i == 1 ? p.pregate : p.postgate;
  }
};

template <int ROW, bool PAIRS, bool GATED, class Type, class Access>
__global__ void __launch_bounds__(StreamedForward<ROW, PAIRS, GATED, Type, Access>::kThreads, 1)
    streamed_forward(const ForwardParameters p) {
  using Kernel = StreamedForward<ROW, PAIRS, GATED, Type, Access>;
  constexpr int kRows = Kernel::kRows, R = Kernel::R;
  constexpr bool kByStage = !GATED && Type::kIsHalf;  // the results are scaled
  extern __shared__ __align__(128) unsigned char shared[];
  const int thread = opaque(static_cast<int>(threadIdx.x));
  const bool pregated = GATED && p.pregate.data != nullptr, postgated = GATED && p.postgate.data != nullptr;
  const ForwardViews<GATED> views{p};
  Kernel rows(shared, thread, p.work.batch >> 31, p.work.batch, p.length);
  Ring<typename Kernel::At, Access, typename Kernel::Shape, ForwardViews<GATED>> ring(
      views, Cursor(p.work, blockIdx.x, gridDim.x, 0, 1, kRows), p.length, shared_address(shared) + Kernel::kRingOffset,
      shared_address(shared) + Kernel::kRowTable, thread);
  static_assert(decltype(ring)::kTableBytes <= Kernel::kRowTableBytes, "the tables fit");
  wait_for_kernel_before();  // the spectrum

  for (; ring.item().index >= 0; ring.advance()) {
    const int h = ring.item().channel;
    const u32* spectrum = p.spectrum + static_cast<long long>(h) * Kernel::At::M;
    const ChannelScale channel(p.factors, p.skip, h, Kernel::kSpectrumGain);
    float energy[kRows];
    rows.form(ring, pregated);
    const RowScales<kRows> scale = rows.outer_forward(energy);
    rows.columns([&](int pair, Tile(&x)[2][R]) {
      Tile H[2][R];
      load_spectrum<R>(spectrum, pair, rows.lane(), H);
      channel.apply(H);
      multiply<R>(x, H);
      return true;
    });
    // A row of a pair that is not finite has travelled as zeros.
    auto finish = [&](int r) {
      const float factor = PAIRS && !scale.finite[r] ? __int_as_float(0x7fffffff) : channel.factor;
      return Finish<Type, kByStage>(scale.exponent[r], factor, postgated);
    };
    Stacked last = rows.last_stage();
    if constexpr (kByStage) last = scaled(last, finish(0).by_stage(), finish(kRows - 1).by_stage());
    rows.outer_back(last);
    rows.renew(ring);
    unrolled<kRows>([&](auto r) {
      if constexpr (GATED)
        rows.template results<1, r.value>(ring, {{3, 2, postgated}}, finish(r.value), [](auto...) {});
      else
        rows.template plain_results<r.value>(ring, {{1, 0, false}}, finish(r.value));
    });
    rows.end_of_results();
  }
}

}  // namespace ffc::cuda
