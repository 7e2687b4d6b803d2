// Where things lie in shared memory, for transforms with an exchange (outer 8 or 64).
//
//   n = (M/8) n1 [+ (M/64) n2] + 64 n3 + 8 n4 + n5,     k = k1 [+ 8 k2] + outer k3 + outer R k4 + 8 outer R k5
//
// A chunk is 16 bytes: eight halves with n5 = 0..7. The exchange is two planes of 2 M bytes, real and imaginary parts:
//
//   into the inner transform   chunks (n3, n4) of a column (k1, k2), or k1
//
//   out of it                  the same chunks (outer 8), or words: two neighbouring columns k2 = 2q, 2q + 1,
//                              at (n3, n5 % 2, n4, n5 / 2) (outer 64)
//
//   out of the outer inverse   chunks of samples (n1, n2, n3, n4)
//
// Each step overwrites the very words that the same lane or warp has read, so one buffer serves all three. The last
// three bits of a chunk's place are XORed with bits of its column: every access below is 16 bytes a lane or a full set
// of banks.
#pragma once

#include "cuda/ptx/ptx.cuh"
#include "cuda/sizes.h"

namespace ffc::cuda {

/// WARPS share a row of points. BY_MATRICES: of an outer 64 pairs of columns leave the inner transform by stmatrix, not
/// word by word (an outer 8 always does): fewer instructions, more registers. Kernels are up to 3 % faster so, most by
/// less than 1 %; but pairs of 8192 points were 5 % slower backward, plain right-angle rows of 32768 4 % forward.
template <int ROW, int WARPS = kSizes[ROW].warps, bool BY_MATRICES = false>
struct Layout {
  static constexpr int M = kSizes[ROW].points, O = kSizes[ROW].outer, R = kSizes[ROW].radix, W = WARPS;
  static constexpr bool kByMatrices = BY_MATRICES;
  static_assert(O == 8 || O == 64, "a row in the registers of one warp needs no exchange");
  static_assert(M == O * R * 64, "a size is outer * radix * 64");

  static constexpr int kThreads = 32 * W;
  static constexpr int kPlane = 2 * M;   // bytes of a plane
  static constexpr int kChunks = M / 8;  // chunks of a row of samples
  static constexpr int kChunksPerThread = kChunks / kThreads;
  static constexpr int kUnits = M / 512;  // an outer unit is eight tiles: n5 = 0..7
  static constexpr int kUnitsPerWarp = kUnits / W;
  static constexpr int kColumns = O / 2;  // an inner unit is two neighbouring columns
  static constexpr int kColumnsPerWarp = kColumns / W;
  static_assert(kUnits % W == 0 && kColumns % W == 0, "warps share the units of a row evenly");

  /// Byte of chunk `s` of a row of samples, in staging.
  __device__ static __forceinline__ int sample(int s) {
    const int n1 = s / (kChunks / 8);
    return 16 * (s ^ (O == 64 ? (n1 >> 1) << 1 | (s / R / 8 & 1) : n1));
  }
  /// Index of the chunk n1 = 2t + i of an outer unit: n2 = g (outer 64) or n4 = g (outer 8).
  __device__ static __forceinline__ int unit_chunk(int unit, int g, int t, int i) {
    return (2 * t + i) * (kChunks / 8) + (O == 64 ? g * 8 * R + unit : 8 * unit + g);
  }
  /// Outer 64: byte of the chunk that a unit writes: k1 = 2t + i, k2 = g.
  __device__ static __forceinline__ int column_chunk(int unit, int g, int t, int i) {
    return 16 * (((2 * t + i) * 8 + g) * 8 * R + (unit ^ (t << 1 | (g & 1))));
  }
  /// Outer 8: byte of row n1 or k1 of the 8 x 8 matrix (n1, n5) or (k1, n5) that a unit reads or writes: chunk n4 of
  /// samples, of columns, and of samples again.
  __device__ static __forceinline__ int unit_row(int unit, int n4, int row) {
    return 16 * (row * 8 * R + 8 * unit + (n4 ^ row));
  }
  /// Byte of row n4 of the 8 x 8 matrix (n4, n5) of column 2 pair + e, n3 = 0; n3 adds 128 bytes.
  __device__ static __forceinline__ int column_row(int pair, int e, int n4) {
    const int turn = O == 64 ? (pair >> 3) << 1 | e : (2 * pair + e) & 7;
    return 16 * ((2 * pair + e) * 8 * R + (n4 ^ turn));
  }
  /// Outer 64: byte of the word that lane 4 n4 + n5 / 2 writes for a pair of columns, n3 = 0, n5 even; n3 adds 256
  /// bytes, odd n5 128.
  __device__ static __forceinline__ int pair_word(int pair, int lane) {
    const int turn = (pair & 3) << 1 | (pair >> 2 & 1);
    return 256 * R * pair + 4 * (lane ^ (turn << 2));
  }
  /// Outer 64: byte of the four words n5 = 0, 2, 4, 6 that lane 4g + t reads, pair lane, n4 of the unit. Odd n5: 128
  /// bytes on. The samples n1 = 2t (and, 128 bytes on, 2t + 1) are written to the same place.
  __device__ static __forceinline__ int unit_words(int unit, int g, int t) {
    return 256 * R * (4 * g + t) + 256 * (unit >> 3) + 16 * ((unit & 7) ^ (t << 1 | (g & 1)));
  }
  /// Byte of chunk `s` of the samples that the outer inverse has written.
  __device__ static __forceinline__ int result(int s) {
    const int n1 = s / (kChunks / 8);
    if constexpr (O == 64) {
      const int n2 = s / (8 * R) & 7, unit = s & (8 * R - 1);
      return unit_words(unit, n2, n1 >> 1) + 128 * (n1 & 1);
    } else {
      return sample(s);
    }
  }
};

/// The address `address` of a lane, with the place `constant` of what the lane does not decide (a step of an unrolled
/// loop) added to it: the functions above are linear in XOR, and only the bits of a chunk's turn are in both.
__device__ __forceinline__ u32 joined(u32 address, int constant) {
  constexpr int kTurn = 7 * 16;
  return (address ^ (constant & kTurn)) + (constant & ~kTurn);
}

/// Places that are computed once, before a loop.
template <class Places>
__device__ __forceinline__ Places kept(Places places) {
  places.each([](u32& place) { place = opaque(place); });
  return places;
}

/// Those of them that are used, once for all uses.
template <class Places>
__device__ __forceinline__ Places named(Places places) {
  places.each([](u32& place) { place = base(place); });
  return places;
}

/// Where a lane finds the samples of a row: its own chunks, and those of its warp's outer units.
template <class At>
struct SamplePlaces {
  u32 own, units;

  __device__ __forceinline__ SamplePlaces(u32 base, int thread)
      : own(base + At::sample(thread)), units(base + [thread] {
          const int unit = (thread >> 5) * At::kUnitsPerWarp, lane = thread & 31;
          return At::O == 64 ? At::sample(At::unit_chunk(unit, lane >> 2, lane & 3, 0))
                             : At::unit_row(unit, lane >> 3, lane & 7);
        }()) {}
  template <class F>
  __device__ __forceinline__ void each(F f) {
    f(own), f(units);
  }
  __device__ __forceinline__ SamplePlaces moved(int by) const {
    SamplePlaces places = *this;
    places.each([by](u32& place) { place += by; });
    return places;
  }
  __device__ __forceinline__ u32 own_chunk(int j) const { return joined(own, At::sample(j * At::kThreads)); }
  /// Outer 64.
  __device__ __forceinline__ u32 unit_chunk(int i, int j) const {
    return joined(units, At::sample(At::unit_chunk(i, 0, 0, j)));
  }
  /// Outer 8. Of n4 to n4 + 3, n4 = 0 or 4.
  __device__ __forceinline__ u32 unit_row(int n4) const { return joined(units, At::unit_row(0, n4, 0)); }
};

/// Where a lane reads and writes in an exchange whose first plane begins at a multiple of 128.
template <class At>
struct ExchangePlaces {
  u32 columns;  // what outer units write: chunks, or rows of matrices (outer 8: of samples too)
  u32 rows;     // rows of matrices into the inner transform, and out of it (outer 8)
  u32 words;    // of a pair of columns out of it (outer 64), or rows of matrices of them
  u32 units;    // what outer units read: words, or rows of matrices
  u32 results;  // chunks of samples
  __device__ __forceinline__ ExchangePlaces(u32 base, int thread) {
    const int warp = thread >> 5, lane = thread & 31, g = lane >> 2, t = lane & 3;
    const int unit = warp * At::kUnitsPerWarp, pair = warp * At::kColumnsPerWarp;
    const int matrix = lane >> 3, row = lane & 7;  // whose address this lane gives
    rows = base + (matrix & 1) * At::kPlane + At::column_row(pair, matrix >> 1, row);
    if constexpr (At::O == 64) {
      columns = base + At::column_chunk(unit, g, t, 0);
      words = base + (At::kByMatrices ? (matrix >> 1) * At::kPlane + 128 * (matrix & 1) + At::pair_word(pair, 4 * row)
                                      : At::pair_word(pair, lane));
      units = base + At::unit_words(unit, g, t);
    } else {
      columns = base + At::unit_row(unit, matrix, row);
      units = base + (matrix & 1) * At::kPlane + At::unit_row(unit, matrix >> 1, row);
    }
    results = base + At::result(thread);
  }
  template <class F>
  __device__ __forceinline__ void each(F f) {
    f(columns), f(rows);
    if constexpr (At::O == 64) f(words);
    f(units), f(results);
  }
  __device__ __forceinline__ ExchangePlaces moved(int by) const {
    ExchangePlaces places = *this;
    places.each([by](u32& place) { place += by; });
    return places;
  }
  /// Outer 64.
  __device__ __forceinline__ u32 column_chunk(int i, int r) const {
    return joined(columns, At::column_chunk(i, 0, 0, r));
  }
  /// Of re and im of a column, and of the next one.
  __device__ __forceinline__ u32 column_row(int i) const { return joined(rows, At::column_row(i, 0, 0)); }
  /// Outer 64.
  __device__ __forceinline__ u32 pair_word(int i) const { return joined(words, At::pair_word(i, 0)); }
  __device__ __forceinline__ u32 unit_words(int i) const { return joined(units, At::unit_words(i, 0, 0)); }
  /// Outer 8. Of re and im of n4, and of n4 + 1, even n4; of n4 to n4 + 3, n4 = 0 or 4, re or samples.
  __device__ __forceinline__ u32 unit_row(int n4) const { return joined(units, At::unit_row(0, n4, 0)); }
  __device__ __forceinline__ u32 column_rows(int n4) const { return joined(columns, At::unit_row(0, n4, 0)); }
  __device__ __forceinline__ u32 result(int j) const { return joined(results, At::result(j * At::kThreads)); }
};

}  // namespace ffc::cuda
