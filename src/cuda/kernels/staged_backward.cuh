// Gradients for rows that need an exchange, in one pass over the data; with x = pregate u, g = postgate dy:
//
//   X, G = outer and inner forward of x and g,   sums += G conj(X)
//   dx = inverse(G conj(H)),  du = pregate dx,  dpregate = u dx
//   c = inverse(X H),         dpostgate = dy c
//
// Only what is wanted is computed. The sums of a block stay in registers, or in device memory where there are too many.
#pragma once

#include "cuda/kernels/staged.cuh"
#include "cuda/tile/inner.cuh"

namespace ffc::cuda {

template <int ROW, bool PAIRS, class Type, class Access>
struct StagedBackward {
  using At = Layout<ROW>;
  using Row = Samples<ROW, PAIRS, Type, Access>;
  static constexpr int kRows = Row::kRows, R = At::R;

  static constexpr int kTeams = At::W >= 8 ? 1 : 8 / At::W;
  static constexpr int kThreads = kTeams * At::kThreads;
  static constexpr int kBlocks = At::W > 8 ? 1 : 2;
  using InnerTables = Inner<R, true>;
  using Outer = OuterTables<ROW, PAIRS, true>;
  static constexpr int kTableBytes = InnerTables::kTableBytes + Outer::kTableBytes;
  static constexpr int kScaleBytes = (2 * Row::kScaleBytes + 15) / 16 * 16;
  static constexpr int kRoom = 226 * 1024 / (kTeams * kBlocks) - 4 * At::kPlane - kTableBytes - kScaleBytes;
  // Samples and gates on their way; samples alone; or nothing, and the exchanges themselves take the samples.
  static constexpr int kStaged = kRoom >= 4 * Row::kBytes ? 2 : kRoom >= 2 * Row::kBytes ? 1 : 0;
  static constexpr bool kFits = kRoom >= 0;
  static constexpr int kTeamBytes = 4 * At::kPlane + 2 * kStaged * Row::kBytes + kTableBytes + kScaleBytes;
  static constexpr int kSharedBytes = kTeams * kTeamBytes;
  static constexpr float kSpectrumGain = static_cast<float>(spectrum_gain(kSizes[ROW]));

  static constexpr int kColumns = 2 * At::kColumnsPerWarp;
  static constexpr bool kHeld = kColumns * R <= 8;  // spectrum and sums, in registers
};

template <int ROW, bool PAIRS, class Type, class Access>
__global__ void __launch_bounds__(StagedBackward<ROW, PAIRS, Type, Access>::kThreads,
                                  StagedBackward<ROW, PAIRS, Type, Access>::kBlocks)
    staged_backward(const BackwardParameters p) {
  using Kernel = StagedBackward<ROW, PAIRS, Type, Access>;
  using At = typename Kernel::At;
  using Row = typename Kernel::Row;
  constexpr int kRows = Kernel::kRows, R = Kernel::R, kStaged = Kernel::kStaged;

  extern __shared__ __align__(16) unsigned char shared[];
  const int team = Kernel::kTeams > 1 ? threadIdx.x / At::kThreads : 0, thread = threadIdx.x % At::kThreads;
  const int warp = thread >> 5, lane = thread & 31;
  unsigned char* exchange_x = shared + team * Kernel::kTeamBytes;
  unsigned char* exchange_g = exchange_x + 2 * At::kPlane;
  unsigned char* staging = exchange_g + 2 * At::kPlane;
  unsigned char* staged_x = kStaged ? staging : exchange_x;
  unsigned char* staged_g = kStaged ? staging + Row::kBytes : exchange_g;
  unsigned char* staged_pregate = staging + 2 * Row::kBytes;
  unsigned char* staged_postgate = staged_pregate + Row::kBytes;
  unsigned char* tables = staging + 2 * kStaged * Row::kBytes;
  Scale* scales = reinterpret_cast<Scale*>(tables + Kernel::kTableBytes);
  const Row rows_x{staged_x, scales, p.work.batch, p.length};
  const Row rows_g{staged_g, scales + kRows * Row::kGroups, p.work.batch, p.length};
  const bool pregated = p.pregate.data != nullptr, postgated = p.postgate.data != nullptr;
  const bool want_dx = p.du.data || p.dpregate.data, want_c = p.dpostgate.data != nullptr,
             want_sums = p.sums != nullptr;
  auto sync = [&] { barrier(team + 1, At::kThreads); };
  auto fetch = [&](const Cursor& at) {
    if (kStaged >= 1 && !at.done()) {
      rows_x.fetch(p.u, at.b, at.h, thread, staged_x);
      rows_g.fetch(p.dy, at.b, at.h, thread, staged_g);
      if (kStaged == 2 && pregated) rows_x.fetch(p.pregate, at.b, at.h, thread, staged_pregate);
      if (kStaged == 2 && postgated) rows_g.fetch(p.postgate, at.b, at.h, thread, staged_postgate);
    }
    copy_async_commit();
  };

  Cursor at(p.work, blockIdx.x, gridDim.x, team, Kernel::kTeams, kRows);
  fetch(at);
  const u32 zero = p.work.batch >> 31;
  const typename Kernel::InnerTables inner(lane, warp, zero, tables);
  const typename Kernel::Outer outer(lane, warp, zero, tables + Kernel::InnerTables::kTableBytes);
  constexpr int kHeldColumns = Kernel::kHeld ? Kernel::kColumns : 2;
  Tile held[kHeldColumns][R];
  float4 sums[kHeldColumns][R];
  ChannelScale channel;
  auto tile_of = [&](int column, int k3) { return ((warp * At::kColumnsPerWarp * 2 + column) * R + k3) * 32 + lane; };

  const long long items = static_cast<long long>(p.work.channels) * p.work.splits;
  for (long long item = blockIdx.x; item < items; item += gridDim.x) {
    const int h = static_cast<int>(item / p.work.splits);
    const u32* spectrum = p.spectrum + static_cast<long long>(h) * At::M;
    float4* item_sums = p.sums + (item % p.work.splits * p.work.channels + h) * (At::M / 2);
    bool first = true;  // row of this team
    channel = ChannelScale(p.factors, p.skip, h, Kernel::kSpectrumGain);
    if constexpr (Kernel::kHeld) {
      load_spectrum<R>(spectrum, warp * At::kColumnsPerWarp, lane, held);
      channel.apply(held);
    }
#pragma unroll
    for (int i = 0; i < kHeldColumns; ++i)
#pragma unroll
      for (int k3 = 0; k3 < R; ++k3) sums[i][k3] = make_float4(0, 0, 0, 0);

    while (!at.done() && at.item == item) {
      const int b = at.b;
      auto prepare = [&] {
        if (kStaged == 0) sync();  // the results before have left the exchanges
        rows_x.template prepare<kStaged>(p.u, p.pregate, staged_pregate, b, h, thread);
        rows_g.template prepare<kStaged>(p.dy, p.postgate, staged_postgate, b, h, thread);
        sync();
      };
      copy_async_wait();
      prepare();
      bool raw_x, raw_g;
      const RowScales<kRows> scale_x = rows_x.row_scales(lane, raw_x), scale_g = rows_g.row_scales(lane, raw_g);

      // The sums of a pair have one scale, so its rows go together only if theirs agree.
      int parts = 1;
      if constexpr (PAIRS)
        parts = scale_x.exponent[0] + scale_g.exponent[0] == scale_x.exponent[1] + scale_g.exponent[1] ? 1 : 2;
      at.advance();
      for (int part = 0; part < parts; ++part) {
        const int mask = parts == 1 ? 3 : 1 << part;
        if (part > 0) {
          if constexpr (kStaged == 0)
            prepare();
          else
            sync();
        }
        rows_x.outer(outer, inner.dft8, scale_x, raw_x, mask, warp, lane, exchange_x);
        rows_g.outer(outer, inner.dft8, scale_g, raw_g, mask, warp, lane, exchange_g);
        sync();
        if (part + 1 == parts) fetch(at);

        const int row = PAIRS && mask == 2 ? 1 : 0;
        float product = power_of_two(scale_x.exponent[row]) * power_of_two(scale_g.exponent[row]);
#pragma unroll
        for (int r = 0; r < kRows; ++r)
          if ((mask >> r & 1) && !(scale_x.finite[r] && scale_g.finite[r])) product = __int_as_float(0x7fffffff);
#pragma unroll
        for (int i = 0; i < Kernel::kColumns; i += 2) {
          const int pair = warp * At::kColumnsPerWarp + i / 2;
          Tile x[2][R], g[2][R], H[2][R];
          load_columns<ROW>(exchange_x, pair, lane, x);
          inner.forward(x);
          load_columns<ROW>(exchange_g, pair, lane, g);
          inner.forward(g);
          if constexpr (!Kernel::kHeld) {
            load_spectrum<R>(spectrum, pair, lane, H);
            channel.apply(H);
          }
#pragma unroll
          for (int e = 0; e < 2; ++e)
#pragma unroll
            for (int k3 = 0; k3 < R; ++k3) {
              const Tile spectral = Kernel::kHeld ? held[i + e][k3] : H[e][k3];
              if (want_sums) {
                if constexpr (Kernel::kHeld) {
                  accumulate(sums[i + e][k3], g[e][k3], x[e][k3], product);
                } else {
                  float4* place = item_sums + tile_of(i + e, k3);
                  float4 sum = first && part == 0 ? make_float4(0, 0, 0, 0) : *place;
                  accumulate(sum, g[e][k3], x[e][k3], product);
                  *place = sum;
                }
              }
              x[e][k3] = times(x[e][k3], {spectral.re, spectral.im});
              g[e][k3] = times_conjugate(g[e][k3], {spectral.re, spectral.im});
            }
          if (want_c) {
            inner.inverse(x);
            store_columns<ROW>(exchange_x, pair, lane, x);
          }
          if (want_dx) {
            inner.inverse(g);
            store_columns<ROW>(exchange_g, pair, lane, g);
          }
        }
        sync();
#pragma unroll
        for (int i = 0; i < At::kUnitsPerWarp; ++i) {
          const int unit = warp * At::kUnitsPerWarp + i;
          if (want_c) outer_inverse<ROW, PAIRS>(outer, inner.dft8, i, unit, lane, exchange_x);
          if (want_dx) outer_inverse<ROW, PAIRS>(outer, inner.dft8, i, unit, lane, exchange_g);
        }
        sync();

#pragma unroll
        for (int r = 0; r < kRows; ++r) {
          if (b + r >= p.work.batch || !(mask >> r & 1)) continue;
          // result times gate, where gate is null 1, to rows; null rows: not wanted.
          auto write = [&](const RowsView& rows, const unsigned char* exchange, const RowsView& gate, int exponent,
                           bool finite) {
            if (rows.data == nullptr) return;
            const Finish<Type> finish(exponent, channel.factor, gate.data != nullptr);
            std::uint16_t* to = Access::row(rows, b + r, h);
            const std::uint16_t* factors = gate.data ? Access::row(gate, b + r, h) : nullptr;
#pragma unroll
            for (int j = 0; j < At::kChunksPerThread; ++j) {
              const int s = j * At::kThreads + thread;
              const uint4 v = *reinterpret_cast<const uint4*>(exchange + r * At::kPlane + At::result(s));
              uint4 f = make_uint4(0, 0, 0, 0);
              if (factors) f = Access::load(factors, 8 * s, p.length);
              const u32 f_words[4] = {f.x, f.y, f.z, f.w};
              u32 words[4] = {v.x, v.y, v.z, v.w};
              finish.apply(words, f_words);
              if (PAIRS && !finite) words[0] = words[1] = words[2] = words[3] = ~0u;  // NaN
              Access::store(to, 8 * s, p.length, make_uint4(words[0], words[1], words[2], words[3]));
            }
          };
          write(p.du, exchange_g, p.pregate, scale_g.exponent[r], scale_g.finite[r]);
          write(p.dpregate, exchange_g, p.u, scale_g.exponent[r], scale_g.finite[r]);
          write(p.dpostgate, exchange_x, p.dy, scale_x.exponent[r], scale_x.finite[r]);
        }
      }
      first = false;
    }

    // The teams' sums, one after the other in the same order every time.
    if (!want_sums) continue;
    for (int turn = 0; turn < Kernel::kTeams; ++turn) {
      if (Kernel::kTeams > 1) __syncthreads();
      if (turn != team || (!Kernel::kHeld && !first)) continue;
#pragma unroll
      for (int i = 0; i < Kernel::kColumns; ++i)
#pragma unroll
        for (int k3 = 0; k3 < R; ++k3) {
          float4 sum = sums[Kernel::kHeld ? i : 0][k3];
          float4& place = item_sums[tile_of(i, k3)];
          if (turn > 0) sum.x += place.x, sum.y += place.y, sum.z += place.z, sum.w += place.w;
          place = sum;
        }
    }
  }
}

}  // namespace ffc::cuda
