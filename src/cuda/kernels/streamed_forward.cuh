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
using StreamedForward =
    std::conditional_t<GATED, Streamed<ROW, PAIRS, Type, Access, 2, 1>, Streamed<ROW, PAIRS, Type, Access, 1>>;

/// The tensors that are read.
struct ForwardViews {
  const ForwardParameters& p;

  __device__ __forceinline__ Passes passes() const { return {0, 0}; }
  template <int I>
  __device__ __forceinline__ const RowsView& get(int) const {
    return I == 0 ? p.u : I == 1 ? p.pregate : p.postgate;
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
  const ForwardViews views{p};
  Ring<typename Kernel::At, Access, typename Kernel::Shape, decltype(views)> ring(
      views, Cursor(p.work, blockIdx.x, gridDim.x, 0, 1, kRows), p.length, shared_address(shared) + Kernel::kFixedBytes,
      thread);
  Kernel rows(shared, thread, p.work.batch >> 31, p.work.batch, p.length);
  __syncthreads();
  wait_for_kernel_before();  // the spectrum

  for (; !ring.done(); ring.advance()) {
    const int b = ring.item.b, h = ring.item.h;
    const u32* spectrum = p.spectrum + static_cast<long long>(h) * Kernel::At::M;
    const ChannelScale channel(p.factors, p.skip, h, Kernel::kSpectrumGain);
    float energy[kRows];
    const RowScales<kRows> scale = rows.form(ring, pregated, energy);
    rows.columns([&](int pair, Tile(&x)[2][R]) {
      Tile H[2][R];
      load_spectrum<R>(spectrum, pair, rows.lane, H);
      channel.apply(H);
      multiply<R>(x, H);
      return true;
    });
    auto finish = [&](int r) { return Finish<Type, kByStage>(scale.exponent[r], channel.factor, postgated); };
    Stacked last = rows.outer.last;
    if constexpr (kByStage) last = scaled(last, finish(0).by_stage(), finish(kRows - 1).by_stage());
    rows.back(last);
    auto write = [&](int r, int group, u32(&words)[Kernel::kWords], const u32(&postgate)[Kernel::kWords]) {
      finish(r).apply(words, postgate);
      if (b + r < p.work.batch) rows.store(p.y, b + r, h, group, words, scale.finite[r]);
    };
    if constexpr (GATED)
      rows.results(ring,
                   [&](int r, int group, auto& words, const auto& factors) { write(r, group, words, factors[0]); });
    else
      rows.plain_results([&](int r, int group, auto& words) { write(r, group, words, words); });
  }
}

}  // namespace ffc::cuda
