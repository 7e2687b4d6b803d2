// Transforms of 64 to 256 points, M = 64 R: a row lies in one warp's registers from load to store.
//
//   n = 64 n3 + 8 n4 + n5,  k = k3 + R k4 + 8 R k5,  s the shift
//   x[n3] exp(2 pi i n3 s / R),  n3 -> k3 between registers,  then for each k3, with K = k3 - s:
//   sum over n4 of exp(-2 pi i n4 (k4 / 8 + 8 K / M)),  times exp(-2 pi i n5 (k4 / 64 + K / M)),  n5 -> k5
//   n4, n5, k4 and k5 count from -4, k3 from -R/2
//
// What turns with 8 n4 + n5 between the stages is in the matrix of the stage that sums over n4 and in the turn after
// it. A tile n3 is 64 neighbouring samples: lane i holds 2 i and 2 i + 1. In pairs the imaginary parts are a second
// row.
//
// The sums of a stage stay in fp32 through what they are multiplied by (wide), and are rounded to halves once, for the
// next stage; after the last one no more than the output is. The errors of short rows scatter more than those of long
// ones, and here there is time for it: a few more instructions, of many around the transform.
#pragma once

#include "cuda/kernels/arguments.cuh"
#include "cuda/tile/radix.cuh"
#include "cuda/tile/stage.cuh"

namespace ffc::cuda {

template <int ROW, bool PAIRS>
struct WarpTransform {
  static constexpr int R = kSizes[ROW].radix, M = kSizes[ROW].points;
  static constexpr int kRows = PAIRS ? 2 : 1;
  static constexpr int kSlots = 8 / R;  // transforms that a warp has in hand
  static constexpr int kQuarters = PAIRS ? 0 : 1;
  static_assert(kSizes[ROW].outer == 1, "longer rows need an exchange");

  using Matrices = LaneTable<R, (R > 1)>;  // by k3
  using Turns = LaneTable<R, (R > 1), WidePhases>;
  static constexpr int kTableBytes = 2 * Matrices::kBytes + 2 * Turns::kBytes;

  Dft8 dft8;
  u32 zero;
  Turns turn_forward, turn_inverse;         // rows k4, columns n5; rows n5, columns k4
  Matrices matrix_forward, matrix_inverse;  // rows k4, columns n4; rows n4, columns k4

  /// `memory`: kTableBytes of shared memory, the same for all warps of a block.
  __device__ __forceinline__ WarpTransform(int lane, int warp, u32 unknown_zero, unsigned char* memory)
      : dft8(lane, unknown_zero),
        zero(unknown_zero),
        turn_forward(lane, memory),
        turn_inverse(lane, memory + Turns::kBytes),
        matrix_forward(lane, memory + 2 * Turns::kBytes),
        matrix_inverse(lane, memory + 2 * Turns::kBytes + Matrices::kBytes) {
    const int g = (lane >> 2) - kMiddle, t = 2 * (lane & 3) - kMiddle;
    const float scale = kStage * kRounding;
#pragma unroll
    for (int i = 0; i < R; ++i) {
      const int K = 4 * (i - R / 2) - kQuarters;  // four times k3 - s
      auto stage = [&](int n4, int k4) { return n4 * (k4 * M / 2 + 8 * K); };
      auto turn = [&](int n5, int k4) { return n5 * (k4 * M / 16 + K); };
      matrix_forward.set(i, phases(stage(t, g), stage(t + 1, g), 4 * M, scale), warp == 0);
      turn_forward.set(i, wide_phases(turn(t, g), turn(t + 1, g), 4 * M), warp == 0);
      turn_inverse.set(i, wide_phases(turn(g, t), turn(g, t + 1), 4 * M), warp == 0);
      matrix_inverse.set(i, phases(stage(g, t), stage(g, t + 1), 4 * M, scale), warp == 0);
    }
    if (kTableBytes) __syncthreads();
  }

  /// n3 -> k3 of the samples as loaded, tile n3 of two real rows (or one): rows n4, columns n5.
  __device__ __forceinline__ void first_stage(const u32 (&x)[kRows][R], Tile (&z)[R]) const {
#pragma unroll
    for (int n3 = 0; n3 < R; ++n3) {
      const u32 real = transpose_8x8(x[0][n3]);
      if constexpr (PAIRS)
        z[n3] = {real, transpose_8x8(x[1][n3])};
      else
        z[n3] = n3 == 0 ? Tile{real, 0u}
                        : Tile{mul(real, half_cosine_of_32(turn_of_32(n3))),
                               mul(real, half_cosine_of_32(8 - turn_of_32(n3)))};
    }
    dft_registers<false>(z);
  }
  /// n4 -> k4 of transforms side by side, and the turn: rows k4, columns n5. What they share is read once.
  template <class... Tiles>
  __device__ __forceinline__ void second_stage(Tiles&... z) const {
#pragma unroll
    for (int k3 = 0; k3 < R; ++k3) {
      const Stacked matrix = stacked(matrix_forward.get(k3), zero);
      const WidePhases turn = turn_forward.get(k3);
      auto apply = [&](auto& tiles) {
#pragma unroll
        for (auto& tile : tiles) tile[k3] = narrow(times(wide_sum_columns(matrix, tile[k3]), turn));
      };
      (apply(z), ...);
    }
  }

  /// The samples, in fp32: real parts, and in pairs imaginary parts.
  __device__ __forceinline__ void inverse(const Tile (&z)[R], float2 (&x)[kRows][R]) const {
    WideTile w[R];
#pragma unroll
    for (int k3 = 0; k3 < R; ++k3)
      w[k3] = wide_sum_columns(stacked_conjugate(matrix_inverse.get(k3), zero),
                               narrow(times_conjugate(wide_sum_columns(dft8.inverse, z[k3]), turn_inverse.get(k3))));
    dft_registers<true>(w);
#pragma unroll
    for (int n3 = 0; n3 < R; ++n3) {
      const WideTile v = w[n3];
      const int angle = turn_of_32(n3);
      if constexpr (PAIRS)
        x[0][n3] = v.re, x[1][n3] = v.im;
      else
        x[0][n3] = n3 == 0 ? v.re : add(mul(v.re, cosine_of_32(angle)), mul(v.im, cosine_of_32(8 - angle)));
    }
  }

  /// n5 -> k5 of tiles i and i + 1 of those in hand: the spectrum, rows k4, columns k5.
  template <int SLOTS>
  __device__ __forceinline__ void third_stage(const Tile (&z)[SLOTS][R], int i, WideTile (&w)[2]) const {
    wide_sum_columns_in_place(dft8, z[i / R][i % R], z[(i + 1) / R][(i + 1) % R], w[0], w[1]);
  }

 private:
  /// n3 s / R, s = 1/4, in parts of 32.
  __device__ __forceinline__ static int turn_of_32(int n3) { return 8 / R * n3; }
};

/// The spectrum of a channel, tiles k3: stored as [k3][lane] x (re, im), of which at(i) are number i.
template <int R, class At>
__device__ __forceinline__ void load_spectrum(int lane, Tile (&h)[R], At at) {
#pragma unroll
  for (int k3 = 0; k3 < R; ++k3) {
    const uint2 v = at(k3 * 32 + lane);
    h[k3] = {v.x, v.y};
  }
}
template <int R>
__device__ __forceinline__ void load_spectrum(const u32* spectrum, int lane, Tile (&h)[R]) {
  load_spectrum(lane, h, [&](int i) { return reinterpret_cast<const uint2*>(spectrum)[i]; });
}

/// A lane's samples of the rows that a warp has in hand, times a gate or not, as halves on their way through the
/// transform.
template <int ROW, bool PAIRS, int SLOTS>
struct RowsInHand {
  static constexpr int R = kSizes[ROW].radix, kRows = PAIRS ? 2 : 1;
  using Words = u32[SLOTS][kRows][R];
  Words x;
  int exponent[SLOTS][kRows];
  bool finite[SLOTS][kRows];

  /// Of words as loaded; `present` rows are there, the others are zeros. All are looked at before a branch: one by one
  /// each would wait for its own sum.
  template <class Type>
  __device__ __forceinline__ void prepare(const Words& gate, bool gated, int present) {
    Words halves;
    Scale scale[SLOTS][kRows];
    bool rare = false;
    auto each = [&](auto f) {
#pragma unroll
      for (int i = 0; i < SLOTS; ++i)
#pragma unroll
        for (int r = 0; r < kRows; ++r) f(halves[i][r], scale[i][r], i, r);
    };
    each([&](u32(&half)[R], Scale& own, int i, int r) {
#pragma unroll
      for (int n3 = 0; n3 < R; ++n3) half[n3] = x[i][r][n3];
      own = {to_ordinary_halves<Type>(half, gate[i][r], gated), 0};
      rare |= !is_ordinary(own.energy) & (kRows * i + r < present);
    });
    if (rare)
      each([&](u32(&half)[R], Scale& own, int i, int r) {
        if (is_ordinary(own.energy)) return;
#pragma unroll
        for (int n3 = 0; n3 < R; ++n3) half[n3] = x[i][r][n3];
        own = to_scaled_halves<Type, PAIRS>(half, gate[i][r], gated);
      });
#pragma unroll
    for (int i = 0; i < SLOTS; ++i) {
      float energy[kRows];
      int stored[kRows];
#pragma unroll
      for (int r = 0; r < kRows; ++r)
        energy[r] = static_cast<float>(scale[i][r].energy), stored[r] = scale[i][r].stored;
      const RowScales<kRows> rows = RowScales<kRows>::template of<kSizes[ROW].points>(energy, stored);
#pragma unroll
      for (int r = 0; r < kRows; ++r) {
        exponent[i][r] = rows.exponent[r], finite[i][r] = rows.finite[r];
        // A group is a row, so its scale is near the row's: between -8 and 8.
        const u32 factor = two_halves(stored[r] - rows.exponent[r]);
#pragma unroll
        for (int n3 = 0; n3 < R; ++n3) x[i][r][n3] = mul(halves[i][r][n3], factor);
      }
    }
  }
};

/// A lane's samples 2 lane, .. + 1 of rows b, b + 1, .. of a channel. One address a row, from that of the first: to
/// make one for every access would be a fifth of a kernel's instructions.
template <class Access>
struct LaneRows {
  const RowsView& rows;
  std::uint16_t* first;

  __device__ __forceinline__ LaneRows(const RowsView& of, int b, int h, int lane)
      : rows(of), first(base(Access::row(of, b, h) + 2 * lane)) {}
  /// R words of row b + i: samples 64 n3 + 2 lane, .. + 1. `left`: the row's samples from the lane's first one on.
  template <int R>
  __device__ __forceinline__ void load(int i, int left, u32 (&words)[R]) const {
    const std::uint16_t* row = at(i);
#pragma unroll
    for (int n3 = 0; n3 < R; ++n3) words[n3] = Access::load_2(row, 64 * n3, left);
  }
  template <int R>
  __device__ __forceinline__ void store(int i, int left, const u32 (&words)[R]) const {
    std::uint16_t* row = at(i);
#pragma unroll
    for (int n3 = 0; n3 < R; ++n3) Access::store_2(row, 64 * n3, left, words[n3]);
  }

 private:
  __device__ __forceinline__ std::uint16_t* at(int i) const { return i ? base(Access::below(rows, first, i)) : first; }
};

}  // namespace ffc::cuda
