// The inner transform of R * 64 points in one warp's registers, m = 64 n3 + 8 n4 + n5, kappa = k3 + R k4 + 8 R k5:
//
//   forward   x[n3] tiles, rows n5, columns n4:   n3 -> k3 between registers, times exp(-2 pi i k3 (8 n4 + n5) / 64R),
//             n4 -> k4, times exp(-2 pi i n5 k4 / 64), n5 -> k5.     Out: tiles k3, rows k4, columns k5.
//   inverse   the conjugates in reverse order.                       Out: tiles n3, rows n4, columns n5.
//
// n4, n5, k4 and k5 count from -4, k3 from -R/2.
#pragma once

#include <type_traits>

#include "cuda/tile/radix.cuh"
#include "cuda/tile/stage.cuh"

namespace ffc::cuda {

/// SHARED: the turns lie in shared memory. WIDE: the first sums of 64 points stay in fp32 until they have been turned,
/// a rounding less and a better one: 5 % of the error, up to 6 % of the time.
template <int R, bool SHARED = (R == 8), bool WIDE = false>
struct Inner {
  static constexpr int kTurned = R > 1 ? R - 1 : 1;
  using Table = LaneTable<kTurned, SHARED && R != 1>;
  static constexpr int kTableBytes = 2 * Table::kBytes;
  /// The tiles that turn: not that of k3 = 0, in the middle.
  __device__ __forceinline__ static int tile_of(int i) { return i < R / 2 ? i : i + 1; }

  Dft8 dft8;
  std::conditional_t<WIDE, WidePhases, Phases> between;  // exp(-2 pi i n5 k4 / 64): symmetric
  Table turns_forward;  // exp(-2 pi i k3 (8 n4 + n5) / 64R), k3 != 0: rows n5, columns n4
  Table turns_inverse;  // the same: rows n4, columns n5

  /// `memory`: kTableBytes of shared memory.
  __device__ __forceinline__ Inner(int lane, int warp, u32 zero, unsigned char* memory)
      : dft8(lane, zero), turns_forward(lane, memory), turns_inverse(lane, memory + Table::kBytes) {
    const int g = (lane >> 2) - kMiddle, t = 2 * (lane & 3) - kMiddle;
    if constexpr (WIDE)
      between = wide_phases(g * t, g * (t + 1), 64);
    else
      between = phases(g * t, g * (t + 1), 64);
#pragma unroll
    for (int i = 0; i < R - 1; ++i) {
      const int k3 = tile_of(i) - R / 2;
      turns_forward.set(i, phases(k3 * (8 * t + g), k3 * (8 * t + 8 + g), 64 * R), warp == 0);
      turns_inverse.set(i, phases(k3 * (8 * g + t), k3 * (8 * g + t + 1), 64 * R), warp == 0);
    }
  }

  __device__ __forceinline__ void turn_forward(Tile (&x)[R]) const {
#pragma unroll
    for (int i = 0; i < R - 1; ++i) x[tile_of(i)] = times(x[tile_of(i)], turns_forward.get(i));
  }
  __device__ __forceinline__ void turn_inverse(Tile (&x)[R]) const {
#pragma unroll
    for (int i = 0; i < R - 1; ++i) x[tile_of(i)] = times_conjugate(x[tile_of(i)], turns_inverse.get(i));
  }

  __device__ __forceinline__ Tile turned_sum(Tile x) const {
    if constexpr (WIDE)
      return narrow(times(wide_sum_columns(dft8.forward, x), between));
    else
      return times(sum_columns(dft8.forward, x), between);
  }
  /// 64 points of two tiles.
  __device__ __forceinline__ void forward_64(Tile& x, Tile& y) const {
    x = turned_sum(x), y = turned_sum(y);
    sum_columns_in_place(dft8, x, y);
  }
  __device__ __forceinline__ Tile inverse_64(Tile x) const {
    if constexpr (WIDE)
      x = narrow(times_conjugate(wide_sum_columns(dft8.inverse, x), between));
    else
      x = times_conjugate(sum_columns(dft8.inverse, x), between);
    return sum_columns(dft8.inverse, x);
  }

  /// Transforms side by side, two or more. Every column is like the others (columns.cuh has them differ).
  template <int COUNT>
  __device__ __forceinline__ void forward(Tile (&x)[COUNT][R], int = 0) const {
#pragma unroll
    for (int i = 0; i < COUNT; ++i) {
      dft_registers<false>(x[i]);
      turn_forward(x[i]);
    }
#pragma unroll
    for (int i = 0; i < COUNT; i += 2)
#pragma unroll
      for (int k3 = 0; k3 < R; ++k3) forward_64(x[i][k3], x[i + 1][k3]);
  }
  template <int COUNT>
  __device__ __forceinline__ void inverse(Tile (&x)[COUNT][R], int = 0) const {
#pragma unroll
    for (int i = 0; i < COUNT; ++i) {
#pragma unroll
      for (int k3 = 0; k3 < R; ++k3) x[i][k3] = inverse_64(x[i][k3]);
      turn_inverse(x[i]);
      dft_registers<true>(x[i]);
    }
  }
};

}  // namespace ffc::cuda
