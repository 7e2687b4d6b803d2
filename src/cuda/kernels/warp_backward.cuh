// Gradients for rows of up to 256 points, as in staged_backward.cuh: every warp for itself.
#pragma once

#include "cuda/kernels/sums.cuh"
#include "cuda/kernels/warp_transform.cuh"

namespace ffc::cuda {

template <int ROW, bool PAIRS>
struct WarpBackward {
  static constexpr int kThreads = 128, kBlocks = 3, kSharedBytes = WarpTransform<ROW, PAIRS>::kTableBytes;
  static constexpr int kSlots = kSizes[ROW].radix == 1 ? 2 : 1;  // the 64-point step takes tiles two by two
  static constexpr float kSpectrumGain = static_cast<float>(spectrum_gain(kSizes[ROW]));
};

template <int ROW, bool PAIRS, class Type, class Access>
__global__ void __launch_bounds__(WarpBackward<ROW, PAIRS>::kThreads, WarpBackward<ROW, PAIRS>::kBlocks)
    warp_backward(const BackwardParameters p) {
  using Transform = WarpTransform<ROW, PAIRS>;
  constexpr int R = Transform::R, kRows = Transform::kRows, kSlots = WarpBackward<ROW, PAIRS>::kSlots;
  let_next_kernel_start();
  const int lane = threadIdx.x & 31, warps = blockDim.x / 32;
  const bool pregated = p.pregate.data != nullptr, postgated = p.postgate.data != nullptr;
  const bool want_dx = p.du.data || p.dpregate.data, want_c = p.dpostgate.data != nullptr,
             want_sums = p.sums != nullptr;
  const float nan = __int_as_float(0x7fffffff);
  extern __shared__ __align__(16) unsigned char shared[];
  const Transform transform(lane, threadIdx.x / 32, p.work.batch >> 31, shared);

  const int left = p.length - 2 * lane;
  using Samples = RowsInHand<ROW, PAIRS, kSlots>;
  // Rows b, b + 1, .. of a tensor, times their gates, as halves with scales.
  auto prepare = [&](const RowsView& rows, const RowsView& gate, bool gated, int b, int h, Samples& s) {
    const LaneRows<Access> of_channel(rows, b, h, lane), gates(gate, b, h, lane);
    typename Samples::Words factors;
#pragma unroll
    for (int i = 0; i < kSlots; ++i)
#pragma unroll
      for (int r = 0; r < kRows; ++r) {
        const int n = kRows * i + r, present = b + n < p.work.batch ? left : 0;
        of_channel.load(n, present, s.x[i][r]);
        if (gated) gates.load(n, present, factors[i][r]);
      }
    s.template prepare<Type>(factors, gated, p.work.batch - b);
  };
  auto first_stage = [&](const Samples& s, const int (&mask)[kSlots], Tile(&z)[kSlots][R]) {
#pragma unroll
    for (int i = 0; i < kSlots; ++i) {
      u32 x[kRows][R];
#pragma unroll
      for (int r = 0; r < kRows; ++r)
#pragma unroll
        for (int n3 = 0; n3 < R; ++n3) x[r][n3] = PAIRS && !(mask[i] >> r & 1) ? 0 : s.x[i][r][n3];
      transform.first_stage(x, z[i]);
    }
  };

  wait_for_kernel_before();  // the spectrum
  const long long items = static_cast<long long>(p.work.channels) * p.work.splits;
  const int workers = gridDim.x * warps;
  for (long long item = blockIdx.x * warps + threadIdx.x / 32; item < items; item += workers) {
    const int h = static_cast<int>(item / p.work.splits), split = static_cast<int>(item % p.work.splits);
    ChannelScale channel(p.factors, p.skip, h, WarpBackward<ROW, PAIRS>::kSpectrumGain);
    Tile H[1][R];
    load_spectrum<R>(p.spectrum + static_cast<long long>(h) * Transform::M, lane, H[0]);
    channel.apply(H);
    float4 sums[R];
#pragma unroll
    for (int k3 = 0; k3 < R; ++k3) sums[k3] = make_float4(0, 0, 0, 0);

    for (int b = split * kSlots * kRows; b < p.work.batch; b += p.work.splits * kSlots * kRows) {
      Samples sx, sg;
      prepare(p.u, p.pregate, pregated, b, h, sx);
      prepare(p.dy, p.postgate, postgated, b, h, sg);

      // The sums of a pair have one scale, so its rows go together only if theirs agree.
      int parts = 1;
      if constexpr (PAIRS)
#pragma unroll
        for (int i = 0; i < kSlots; ++i)
          if (sx.exponent[i][0] + sg.exponent[i][0] != sx.exponent[i][1] + sg.exponent[i][1]) parts = 2;
      for (int part = 0; part < parts; ++part) {
        int mask[kSlots];
#pragma unroll
        for (int i = 0; i < kSlots; ++i) mask[i] = parts == 1 ? 3 : 1 << part;
        Tile x[kSlots][R], g[kSlots][R];
        first_stage(sx, mask, x);
        first_stage(sg, mask, g);
        transform.second_stage(x, g);
        float product[kSlots];
#pragma unroll
        for (int i = 0; i < kSlots; ++i) {
          const bool second = PAIRS && mask[i] == 2;
          product[i] = power_of_two(second ? sx.exponent[i][kRows - 1] : sx.exponent[i][0]) *
                       power_of_two(second ? sg.exponent[i][kRows - 1] : sg.exponent[i][0]);
#pragma unroll
          for (int r = 0; r < kRows; ++r)
            if ((mask[i] >> r & 1) && !(sx.finite[i][r] && sg.finite[i][r])) product[i] = nan;
        }
#pragma unroll
        for (int n = 0; n < kSlots * R; n += 2) {
          WideTile X[2], G[2];
          transform.third_stage(x, n, X);
          transform.third_stage(g, n, G);
#pragma unroll
          for (int e = 0; e < 2; ++e) {
            const int i = (n + e) / R, k3 = (n + e) % R;
            if (want_sums) accumulate<Type>(sums[k3], G[e], X[e], product[i]);
            const auto spectral = wide_phases(H[0][k3]);
            x[i][k3] = narrow(times(X[e], spectral));
            g[i][k3] = narrow(times_conjugate(G[e], spectral));
          }
        }
#pragma unroll
        for (int i = 0; i < kSlots; ++i) {
          // result times gate, where gate is null 1, to rows; null rows: not wanted.
          float2 y[kRows][R];
          auto write = [&](const RowsView& rows, const RowsView& gate, const Samples& s) {
            if (rows.data == nullptr) return;
            const LaneRows<Access> to(rows, b, h, lane), gates(gate, b, h, lane);
#pragma unroll
            for (int r = 0; r < kRows; ++r) {
              const int n = kRows * i + r;
              if (b + n >= p.work.batch || !(mask[i] >> r & 1)) continue;
              u32 words[R], factors[R]{};
              if (gate.data) gates.load(n, left, factors);
              const Finish<Type> finish(s.exponent[i][r], !PAIRS || s.finite[i][r] ? channel.factor : nan,
                                        gate.data != nullptr);
              finish.finish(y[r], factors, words);
              to.store(n, left, words);
            }
          };
          if (want_dx) {
            transform.inverse(g[i], y);
            write(p.du, p.pregate, sg);
            write(p.dpregate, p.u, sg);
          }
          if (want_c) {
            transform.inverse(x[i], y);
            write(p.dpostgate, p.dy, sx);
          }
        }
      }
    }
    if (!want_sums) continue;
    u32 largest = 0;
#pragma unroll
    for (int k3 = 0; k3 < R; ++k3) largest = max(largest, largest_magnitude(sums[k3]));
    const SumScale scale(__reduce_max_sync(~0u, largest));
    const long long at = static_cast<long long>(split) * p.work.channels + h;
    uint2* const to = reinterpret_cast<uint2*>(p.sums + at * Transform::M) + lane;
#pragma unroll
    for (int k3 = 0; k3 < R; ++k3) {
      const Tile sum = scale.halves(sums[k3]);
      to[32 * k3] = uint2{sum.re, sum.im};
    }
    if (lane == 0) p.sum_factors[at] = scale.factor;
  }
}

}  // namespace ffc::cuda
