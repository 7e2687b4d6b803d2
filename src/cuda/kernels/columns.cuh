// The two halves of a transform with an outer 8 with all that turns between them in the constants of the inner stages,
// where shared memory holds those of every column. With K = k1 + 8 k3 - s of a column and k3:
//
//   outer   n1 -> k1, and exp(-2 pi i 64 n3 (k1 - s) / M) in the constants of that stage
//   inner   n3 -> k3 between registers, sum over n4 of exp(-2 pi i n4 (k4 / 8 + 8 K / M)),
//           times exp(-2 pi i n5 (k4 / 64 + K / M)), n5 -> k5
//
// Digits of eight count from -4, but k1 from 0; n3 and k3 from -R/2.
//
// Two complex products a point less than turning by exp(-2 pi i (64 n3 + 8 n4 + n5)(k1 - s) / M) between the halves
// (outer.cuh), each way, and two roundings less.
#pragma once

#include "cuda/kernels/layout.cuh"
#include "cuda/tile/radix.cuh"
#include "cuda/tile/stage.cuh"

namespace ffc::cuda {

template <class At, bool PAIRS>
struct ColumnOuter {
  static constexpr bool kTurned = false, kFolded = false;
  static constexpr int kQuarters = PAIRS ? 0 : 1;
  static_assert(At::O == 8 && At::kUnitsPerWarp == 1, "a warp has one unit, and one n3");

  Stacked first, last;
  Phases between_forward[1];  // of an outer 64: not used

  __device__ __forceinline__ ColumnOuter(int lane, int warp, u32 unknown_zero) {
    const int g = (lane >> 2) - kMiddle, t = 2 * (lane & 3) - kMiddle;
    const int g1 = g + kMiddle, t1 = t + kMiddle;  // k1
    const float scale = kStage * kRounding;
    constexpr int M = At::M;
    // n1 (k1 - s) / 8 + 64 n3 (k1 - s) / M, over 4 M
    const int n3 = warp - At::R / 2;
    auto stage = [&](int n1, int k1) { return (4 * k1 - kQuarters) * (n1 * M / 8 + 64 * n3); };
    first = stacked(phases(stage(t, g1), stage(t + 1, g1), 4 * M, scale), unknown_zero);
    last = stacked(phases(stage(g, t1), stage(g, t1 + 1), 4 * M, scale), unknown_zero);
  }
};

template <class At, bool PAIRS>
struct ColumnInner {
  static constexpr int R = At::R, kTiles = At::O * R;
  static constexpr int kTableBytes = kTiles * 2 * 32 * 16;
  static constexpr int kQuarters = PAIRS ? 0 : 1;

  Dft8 dft8;
  u32 zero;
  const uint4* table;  // [column][k3][forward, inverse][lane] x (matrix, turn), or (turn, matrix)

  /// The warps of one team fill the table, `memory`; all others wait for a barrier.
  __device__ __forceinline__ ColumnInner(int lane, int warp, bool writer, u32 unknown_zero, unsigned char* memory)
      : dft8(lane, unknown_zero), zero(unknown_zero), table(reinterpret_cast<const uint4*>(memory) + lane) {
    if (!writer) return;
    const int g = (lane >> 2) - kMiddle, t = 2 * (lane & 3) - kMiddle;
    const float scale = kStage * kRounding;
    constexpr int M = At::M, kPerWarp = kTiles / At::W;
    uint4* to = reinterpret_cast<uint4*>(memory) + lane;
    for (int i = 0; i < kPerWarp; ++i) {
      const int tile = warp * kPerWarp + i, column = tile / R, k3 = tile % R;
      const int K = 4 * (column + At::O * (k3 - R / 2)) - kQuarters;
      auto stage = [&](int n4, int k4) { return n4 * (k4 * M / 2 + 8 * K); };
      auto turn = [&](int n5, int k4) { return n5 * (k4 * M / 16 + K); };
      const Phases a = phases(stage(t, g), stage(t + 1, g), 4 * M, scale),
                   b = phases(turn(t, g), turn(t + 1, g), 4 * M);
      const Phases c = phases(turn(g, t), turn(g, t + 1), 4 * M),
                   d = phases(stage(g, t), stage(g, t + 1), 4 * M, scale);
      to[64 * tile] = make_uint4(a.c, a.s, b.c, b.s);       // rows k4: columns n4, columns n5
      to[64 * tile + 32] = make_uint4(c.c, c.s, d.c, d.s);  // columns k4: rows n5, rows n4
    }
  }

  /// Columns column, column + 1, ..: tiles n3 with rows n5 and columns n4 become tiles k3 with rows k4 and columns k5.
  template <int COUNT>
  __device__ __forceinline__ void forward(Tile (&x)[COUNT][R], int column) const {
#pragma unroll
    for (int i = 0; i < COUNT; ++i) {
      dft_registers<false>(x[i]);
#pragma unroll
      for (int k3 = 0; k3 < R; ++k3) {
        const uint4 f = table[64 * ((column + i) * R + k3)];
        x[i][k3] = times(sum_columns(stacked({f.x, f.y}, zero), x[i][k3]), {f.z, f.w});
      }
    }
#pragma unroll
    for (int i = 0; i < COUNT; i += 2)
#pragma unroll
      for (int k3 = 0; k3 < R; ++k3) sum_columns_in_place(dft8, x[i][k3], x[i + 1][k3]);
  }
  /// The conjugates in reverse order: tiles n3, rows n4, columns n5.
  template <int COUNT>
  __device__ __forceinline__ void inverse(Tile (&x)[COUNT][R], int column) const {
#pragma unroll
    for (int i = 0; i < COUNT; ++i) {
#pragma unroll
      for (int k3 = 0; k3 < R; ++k3) {
        const uint4 f = table[64 * ((column + i) * R + k3) + 32];
        x[i][k3] = times_conjugate(sum_columns(dft8.inverse, x[i][k3]), {f.x, f.y});
        x[i][k3] = sum_columns(stacked_conjugate({f.z, f.w}, zero), x[i][k3]);
      }
      dft_registers<true>(x[i]);
    }
  }
};

}  // namespace ffc::cuda
