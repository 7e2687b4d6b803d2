// Gradients for rows that need an exchange, in one pass over the data; with x = pregate u, g = postgate dy:
//
//   X, G = outer and inner forward of x and g,   sums += G conj(X)
//   dx = inverse(G conj(H)),  du = pregate dx,  dpregate = u dx
//   c = inverse(X H),         dpostgate = dy c
//
// Only what is wanted is computed. The sums of a block stay in registers, or in device memory where there are too many.
//
// u, dy and the gates stay in shared memory as they are until the gradients have been multiplied by them, so each
// crosses device memory once; x and g are formed in the exchanges. A thread's samples are its own from copy to
// gradient: it may ask for the next row's as soon as it has used them.
#pragma once

#include <type_traits>

#include "cuda/kernels/staged.cuh"
#include "cuda/tile/inner.cuh"

namespace ffc::cuda {

/// The tensors of a row, in the order in which they get room in shared memory.
enum BackwardTensor { kTensorU, kTensorDy, kTensorPregate, kTensorPostgate, kTensors };

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
  // Samples of this row and the next; of one row at a time; or of some tensors only, the rest from device memory.
  static constexpr int kRoom = (226 * 1024 / kBlocks - kTableBytes) / kTeams - 4 * At::kPlane - kScaleBytes;
  static constexpr int kSets = kRoom >= 2 * kTensors * Row::kBytes ? 2 : 1;
  static constexpr int kKept = kRoom >= kTensors * Row::kBytes ? int{kTensors} : kRoom / Row::kBytes;
  static constexpr bool kFits = kRoom >= 0;
  static constexpr int kSetBytes = kKept * Row::kBytes;
  static constexpr int kTeamBytes = 4 * At::kPlane + kSets * kSetBytes + kScaleBytes;
  static constexpr int kSharedBytes = kTableBytes + kTeams * kTeamBytes;
  static constexpr float kSpectrumGain = static_cast<float>(spectrum_gain(kSizes[ROW]));

  // x and g are formed where the outer transform turns them into columns; of one row's results none lie in the second
  // plane, so there the next row need not wait for them.
  static constexpr int kFormed = PAIRS ? 0 : At::kPlane;

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
  constexpr int kRows = Kernel::kRows, R = Kernel::R, kGroup = Row::kTogether;

  extern __shared__ __align__(16) unsigned char shared[];
  const int team = Kernel::kTeams > 1 ? threadIdx.x / At::kThreads : 0, thread = threadIdx.x % At::kThreads;
  const int warp = thread >> 5, lane = thread & 31;
  unsigned char* exchange_x = shared + Kernel::kTableBytes + team * Kernel::kTeamBytes;
  unsigned char* exchange_g = exchange_x + 2 * At::kPlane;
  unsigned char* samples = exchange_g + 2 * At::kPlane;  // of this row: [kept tensor]
  unsigned char* samples_next = samples + (Kernel::kSets - 1) * Kernel::kSetBytes;
  Scale* scales = reinterpret_cast<Scale*>(exchange_g + 2 * At::kPlane + Kernel::kSets * Kernel::kSetBytes);
  const bool pregated = p.pregate.data != nullptr, postgated = p.postgate.data != nullptr;
  const bool want_dx = p.du.data || p.dpregate.data, want_c = p.dpostgate.data != nullptr,
             want_sums = p.sums != nullptr;
  auto sync = [&] { barrier(team + 1, At::kThreads); };

  auto view = [&](BackwardTensor tensor) -> const RowsView& {
    return tensor == kTensorU ? p.u : tensor == kTensorDy ? p.dy : tensor == kTensorPregate ? p.pregate : p.postgate;
  };
  auto fetch = [&](const Cursor& at, BackwardTensor first, BackwardTensor last, unsigned char* to) {
    if (!at.done())
#pragma unroll
      for (int i = first; i <= last && i < Kernel::kKept; ++i) {
        const RowsView& rows = view(static_cast<BackwardTensor>(i));
        if (i < kTensorPregate || rows.data)
          Row{nullptr, nullptr, p.work.batch, p.length}.fetch(rows, at.b, at.h, thread, to + i * Row::kBytes);
      }
    copy_async_commit();
  };

  Cursor at(p.work, blockIdx.x, gridDim.x, team, Kernel::kTeams, kRows);
  fetch(at, kTensorU, kTensorPostgate, samples);
  const u32 zero = p.work.batch >> 31;
  const typename Kernel::InnerTables inner(lane, warp, zero, shared);
  const typename Kernel::Outer outer(lane, warp, zero, shared + Kernel::InnerTables::kTableBytes);
  __syncthreads();
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
      // Words of chunks [kGroup * group, ..) of this thread of row r.
      auto read = [&](BackwardTensor tensor, int r, int group, u32(&words)[4 * kGroup]) {
#pragma unroll
        for (int j = 0; j < kGroup; ++j) {
          const int s = (group * kGroup + j) * At::kThreads + thread;
          uint4 v = make_uint4(0, 0, 0, 0);
          if (tensor < Kernel::kKept)
            v = *reinterpret_cast<const uint4*>(samples + tensor * Row::kBytes + r * At::kPlane + At::sample(s));
          else if (b + r < p.work.batch)
            v = Access::load(Access::row(view(tensor), b + r, h), 8 * s, p.length);
          words[4 * j] = v.x, words[4 * j + 1] = v.y, words[4 * j + 2] = v.z, words[4 * j + 3] = v.w;
        }
      };
      // Where the outer transform finds the halves: formed, or the samples themselves.
      auto halves = [&](BackwardTensor tensor, bool gated, unsigned char* exchange) {
        const bool formed = gated || !Type::kIsHalf || tensor >= Kernel::kKept;
        return formed ? exchange + Kernel::kFormed : samples + tensor * Row::kBytes;
      };
      auto form = [&](BackwardTensor tensor, BackwardTensor gate, bool gated, const Row& rows) {
        const bool formed = gated || !Type::kIsHalf || tensor >= Kernel::kKept;
#pragma unroll
        for (int r = 0; r < kRows; ++r)
#pragma unroll
          for (int group = 0; group < At::kChunksPerThread / kGroup; ++group) {
            u32 v[4 * kGroup], f[4 * kGroup], x[4 * kGroup];
            read(tensor, r, group, v);
            if (gated) read(gate, r, group, f);
            const Scale scale = to_halves<Type, PAIRS>(v, f, gated, x);
            if (formed)
#pragma unroll
              for (int j = 0; j < kGroup; ++j)
                *reinterpret_cast<uint4*>(rows.place + r * At::kPlane +
                                          At::sample((group * kGroup + j) * At::kThreads + thread)) =
                    make_uint4(x[4 * j], x[4 * j + 1], x[4 * j + 2], x[4 * j + 3]);
            if (lane == 0) rows.scales[r * Row::kGroups + group * At::W + warp] = scale;
          }
      };
      const Row rows_x{halves(kTensorU, pregated, exchange_x), scales, p.work.batch, p.length};
      const Row rows_g{halves(kTensorDy, postgated, exchange_g), scales + kRows * Row::kGroups, p.work.batch, p.length};
      auto prepare = [&] {
        if (PAIRS) sync();  // the results before have left the exchanges
        form(kTensorU, kTensorPregate, pregated, rows_x);
        form(kTensorDy, kTensorPostgate, postgated, rows_g);
        sync();
      };
      copy_async_wait();
      at.advance();
      if (Kernel::kSets == 2) fetch(at, kTensorU, kTensorPostgate, samples_next);
      prepare();
      bool raw_x, raw_g;
      const RowScales<kRows> scale_x = rows_x.row_scales(lane, raw_x), scale_g = rows_g.row_scales(lane, raw_g);

      // The sums of a pair have one scale, so its rows go together only if theirs agree.
      int parts = 1;
      if constexpr (PAIRS)
        parts = scale_x.exponent[0] + scale_g.exponent[0] == scale_x.exponent[1] + scale_g.exponent[1] ? 1 : 2;
      for (int part = 0; part < parts; ++part) {
        const int mask = parts == 1 ? 3 : 1 << part;
        if (part > 0) prepare();
        if (Kernel::kSets == 1 && part + 1 == parts) fetch(at, kTensorPostgate, kTensorPostgate, samples);
        rows_x.outer(outer, inner.dft8, scale_x, raw_x, mask, warp, lane, exchange_x);
        rows_g.outer(outer, inner.dft8, scale_g, raw_g, mask, warp, lane, exchange_g);
        sync();

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
          // result times factor, where gated, to rows; null rows: not wanted.
          auto write = [&](const RowsView& rows, const unsigned char* exchange, BackwardTensor factor, bool gated,
                           const RowScales<kRows>& scale) {
            if (rows.data == nullptr) return;
            // What is not finite comes out as NaN.
            const float nan = __int_as_float(0x7fffffff);
            const Finish<Type> finish(scale.exponent[r], PAIRS && !scale.finite[r] ? nan : channel.factor, gated);
            std::uint16_t* to = Access::row(rows, b + r, h);
#pragma unroll
            for (int group = 0; group < At::kChunksPerThread / kGroup; ++group) {
              u32 v[4 * kGroup], f[4 * kGroup];
              if (gated) read(factor, r, group, f);
#pragma unroll
              for (int j = 0; j < kGroup; ++j) {
                const int s = (group * kGroup + j) * At::kThreads + thread;
                const uint4 chunk = *reinterpret_cast<const uint4*>(exchange + r * At::kPlane + At::result(s));
                v[4 * j] = chunk.x, v[4 * j + 1] = chunk.y, v[4 * j + 2] = chunk.z, v[4 * j + 3] = chunk.w;
              }
              finish.apply(v, f);
#pragma unroll
              for (int j = 0; j < kGroup; ++j)
                Access::store(to, 8 * ((group * kGroup + j) * At::kThreads + thread), p.length,
                              make_uint4(v[4 * j], v[4 * j + 1], v[4 * j + 2], v[4 * j + 3]));
            }
          };
          write(p.du, exchange_g, kTensorPregate, pregated, scale_g);
          write(p.dpregate, exchange_g, kTensorU, true, scale_g);
          write(p.dpostgate, exchange_x, kTensorDy, true, scale_x);
        }
      }
      if (Kernel::kSets == 1) {
        fetch(at, kTensorU, kTensorPregate, samples);
      } else {
        unsigned char* const used = samples;
        samples = samples_next, samples_next = used;
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
