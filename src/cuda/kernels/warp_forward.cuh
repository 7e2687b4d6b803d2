// y = postgate * (conv(pregate * u, k) + skip pregate * u) for rows of up to 256 points: every warp for itself. From
// taps it makes the spectrum of its channel too: so few short rows, whose time is that of launches, take one of them.
#pragma once

#include "cuda/kernels/filter_spectrum.cuh"
#include "cuda/kernels/warp_transform.cuh"

namespace ffc::cuda {

struct WarpForwardParameters : ForwardParameters {
  SpectrumParameters filter;  // of which no spectrum is there, nor written
};

template <int ROW, bool PAIRS, bool FROM_TAPS>
struct WarpForward {
  using Parameters = std::conditional_t<FROM_TAPS, WarpForwardParameters, ForwardParameters>;
  using Filter = typename FilterSpectrum<ROW, PAIRS>::F;
  static_assert(Filter::kOneWarp && Filter::kParts == 1, "a warp makes the spectrum");
  static constexpr int kThreads = 256, kBlocks = FROM_TAPS ? 1 : 2;  // from taps only where no multiprocessor has two
  static constexpr int kFilterBytes = FilterSpectrum<ROW, PAIRS>::kSharedBytes;
  static constexpr int kTableBytes = WarpTransform<ROW, PAIRS>::kTableBytes;
  static constexpr int kSharedBytes = kTableBytes + (FROM_TAPS ? kThreads / 32 * kFilterBytes : 0);
  static constexpr float kSpectrumGain = static_cast<float>(spectrum_gain(kSizes[ROW]));
};

/// GATED: with a pregate, a postgate, or both.
template <int ROW, bool PAIRS, bool GATED, bool FROM_TAPS, class Type, class Access>
__global__ void __launch_bounds__(WarpForward<ROW, PAIRS, FROM_TAPS>::kThreads,
                                  WarpForward<ROW, PAIRS, FROM_TAPS>::kBlocks)
    warp_forward(const typename WarpForward<ROW, PAIRS, FROM_TAPS>::Parameters p) {
  using Transform = WarpTransform<ROW, PAIRS>;
  using Kernel = WarpForward<ROW, PAIRS, FROM_TAPS>;
  constexpr int R = Transform::R, kRows = Transform::kRows, kSlots = Transform::kSlots;
  const int lane = threadIdx.x & 31, warps = blockDim.x / 32;
  const bool pregated = GATED && p.pregate.data != nullptr, postgated = GATED && p.postgate.data != nullptr;

  Cursor at(p.work, blockIdx.x * warps + threadIdx.x / 32, gridDim.x * warps, 0, 1, kSlots * kRows);
  extern __shared__ __align__(16) unsigned char shared[];
  const Transform transform(lane, threadIdx.x / 32, p.work.batch >> 31, shared);
  Tile H[1][R];
  ChannelScale channel;
  int channel_held = -1;
  u32 next[kSlots][kRows][R], next_gate[kSlots][kRows][R];
  const int left = p.length - 2 * lane;
  auto fetch_rows = [&](const RowsView& rows, u32(&words)[kSlots][kRows][R]) {
    const LaneRows<Access> of_channel(rows, at.b, at.h, lane);
#pragma unroll
    for (int i = 0; i < kSlots; ++i)
#pragma unroll
      for (int r = 0; r < kRows; ++r) {
        const int n = kRows * i + r;
        of_channel.load(n, at.b + n < p.work.batch ? left : 0, words[i][r]);
      }
  };
  auto fetch = [&] {
    if (at.done()) return;
    fetch_rows(p.u, next);
    if (pregated) fetch_rows(p.pregate, next_gate);
  };
  fetch();
  wait_for_kernel_before();  // the spectrum

  while (!at.done()) {
    const int first = at.b, h = at.h;
    if (h != channel_held) {
      channel_held = h;
      if constexpr (FROM_TAPS) {
        using Filter = typename Kernel::Filter;
        unsigned char* own = shared + Kernel::kTableBytes + threadIdx.x / 32 * Kernel::kFilterBytes;
        float* factor = reinterpret_cast<float*>(own + FilterSpectrum<ROW, PAIRS>::kFactor);
        stage_spectrum<Filter>(p.filter, h, 0, own, factor);
        channel = ChannelScale(*factor, p.skip, h, Kernel::kSpectrumGain);
        const StagedSpectrum<Filter> staged{reinterpret_cast<uint4*>(own)};
        load_spectrum<R>(lane, H[0], [&](int i) { return staged.two(staged.index(2 * i)); });
        __syncwarp();  // before the next channel's points take its place
      } else {
        channel = ChannelScale(p.factors, p.skip, h, Kernel::kSpectrumGain);
        load_spectrum<R>(p.spectrum + static_cast<long long>(h) * Transform::M, lane, H[0]);
      }
      channel.apply(H);
    }

    RowsInHand<ROW, PAIRS, kSlots> rows;
#pragma unroll
    for (int i = 0; i < kSlots; ++i)
#pragma unroll
      for (int r = 0; r < kRows; ++r)
#pragma unroll
        for (int n3 = 0; n3 < R; ++n3) rows.x[i][r][n3] = next[i][r][n3];
    rows.template prepare<Type>(next_gate, pregated, p.work.batch - first);
    Tile z[kSlots][R];
#pragma unroll
    for (int i = 0; i < kSlots; ++i) transform.first_stage(rows.x[i], z[i]);
    at.advance();
    fetch();

    transform.second_stage(z);
#pragma unroll
    for (int n = 0; n < kSlots * R; n += 2) {
      WideTile X[2];
      transform.third_stage(z, n, X);
#pragma unroll
      for (int e = 0; e < 2; ++e) z[(n + e) / R][(n + e) % R] = narrow(times(X[e], wide_phases(H[0][(n + e) % R])));
    }
    const LaneRows<Access> postgates(p.postgate, first, h, lane), results(p.y, first, h, lane);
    const int present = p.work.batch - first;
    // Postgates are asked for a transform ahead, but in pairs, where there are no registers for them.
    u32 gate[kSlots][kRows][R]{};
    auto fetch_postgate = [&](int i, int r) {
      const int n = kRows * i + r;
      if (postgated) postgates.load(n, n < present ? left : 0, gate[i][r]);
    };
    if constexpr (!PAIRS) fetch_postgate(0, 0);
    unrolled<kSlots>([&](auto slot) {
      constexpr int i = slot.value;
      if constexpr (!PAIRS && i + 1 < kSlots) fetch_postgate(i + 1, 0);
      float2 y[kRows][R];
      transform.inverse(z[i], y);
#pragma unroll
      for (int r = 0; r < kRows; ++r) {
        const int n = kRows * i + r;
        if (n >= present) break;
        if constexpr (PAIRS) fetch_postgate(i, r);
        const float nan = __int_as_float(0x7fffffff);
        const Finish<Type> finish(rows.exponent[i][r], !PAIRS || rows.finite[i][r] ? channel.factor : nan, postgated);
        u32 words[R];
        finish.finish(y[r], gate[i][r], words);
        results.store(n, left, words);
      }
    });
  }
}

}  // namespace ffc::cuda
