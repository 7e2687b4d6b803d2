// The outer transform: eight or sixty-four points on either side of the exchange. K = k1 + 8 k2 (or k1), s the shift,
// and m = 64 n3 + 8 n4 + n5 of the samples within a column:
//
//   forward   n1 -> k1, times exp(-2 pi i n2 (k1 - s) / 64), n2 -> k2, times exp(-2 pi i m (K - s) / M)
//   inverse   the conjugates in reverse order: of the samples the real part, and in pairs the imaginary part too
//
// Digits of eight count from -4, but k1 from 0; n3 from -R/2. A unit is eight tiles: all n5, at 8 c = 64 n3 + 8 n4
// (outer 64), or all n4, at 64 n3, with rows or columns n5 (outer 8). Where a warp has several units, exp(-2 pi i 8 c
// (K - s) / M) is folded into the constants of the stages around it.
#pragma once

#include "cuda/kernels/layout.cuh"
#include "cuda/tile/stage.cuh"

namespace ffc::cuda {

/// Whether a warp has several units, and their factors are folded.
template <class At>
inline constexpr bool kFolds = At::O == 64 && At::kUnitsPerWarp > 1;

/// FOLDED: the factor that a unit alone decides, exp(-2 pi i 8 c (K - s) / M) or exp(-2 pi i 64 n3 (K - s) / M), is
/// part of the constants of the stages beside it; the rest, by n5, is the same for all warps and lies in shared memory.
/// FRUGAL: on the way back rows are columns, so the constants of a unit, folded into stages, are transposed when their
/// turn comes, an instruction each, and do not take four registers a unit beside those of the way there.
template <class At, bool PAIRS, bool FOLDED = kFolds<At>, bool FRUGAL = false>
struct OuterTables {
  using LayoutType = At;
  static constexpr int U = At::kUnitsPerWarp;
  static_assert(At::O == 64 || U == 1, "the constants of an outer 8 are those of one unit");
  static constexpr bool kTurned = true;
  static constexpr bool kFolded = FOLDED && At::O == 64;  // into the second stage
  static constexpr int kQuarters = PAIRS ? 0 : 1;         // 4 s

  Stacked first, last;  // the shifted stage: rows k1, columns n1; and rows n1, columns k1
  // Rows k1, columns n2; rows n2, columns k1.
  Phases between_forward[U], between_back[FRUGAL ? 1 : U];
  // Rows k2, columns n2; rows n2, columns k2; the plain Dft8 unless folded.
  Phases second_forward[kFolded ? U : 1], second_back[kFolded && !FRUGAL ? U : 1];
  using Table = LaneTable<8, FOLDED>;
  static constexpr int kTableBytes = 2 * Table::kBytes;
  Table forward, inverse;  // by n5 (outer 64) or n4 (outer 8)
  u32 zero;

  /// exp(-2 pi i m (K - s) / M) at two values of (m, K).
  __device__ static __forceinline__ Phases turned(int m0, int K0, int m1, int K1) {
    return phases(m0 * (4 * K0 - kQuarters), m1 * (4 * K1 - kQuarters), 4 * At::M);
  }

  __device__ __forceinline__ Phases between_inverse(int i) const {
    if constexpr (FRUGAL)
      return transposed(between_forward[i]);
    else
      return between_back[i];
  }
  __device__ __forceinline__ Phases second_inverse(int i) const {
    if constexpr (FRUGAL)
      return transposed(second_forward[i]);
    else
      return second_back[i];
  }

  /// `memory`: kTableBytes of shared memory.
  __device__ __forceinline__ OuterTables(int lane, int warp, u32 unknown_zero, unsigned char* memory)
      : forward(lane, memory), inverse(lane, memory + Table::kBytes), zero(unknown_zero) {
    const bool writer = warp == 0;
    const int g = (lane >> 2) - kMiddle, t = 2 * (lane & 3) - kMiddle;
    const int g1 = g + kMiddle, t1 = t + kMiddle;  // k1
    const int fold_first = FOLDED && At::O == 8 ? 64 * (warp - At::R / 2) : 0;
    auto shifted = [&](int n, int k) { return (n * (At::M / 8) + fold_first) * (4 * k - kQuarters); };  // over 4 M
    first = stacked(phases(shifted(t, g1), shifted(t + 1, g1), 4 * At::M, kStage * kRounding), zero);
    last = stacked(phases(shifted(g, t1), shifted(g, t1 + 1), 4 * At::M, kStage * kRounding), zero);
#pragma unroll
    for (int i = 0; i < U; ++i) {
      const int unit = warp * U + i - At::kUnits / 2;
      if constexpr (At::O == 64) {
        const int fold = kFolded ? 8 * unit : 0, per = At::M / 64;  // n2 / 64 + 8 c / M = (n2 per + 8 c) / M
        between_forward[i] = turned(t * per + fold, g1, (t + 1) * per + fold, g1);
        if constexpr (!FRUGAL) between_back[i] = turned(g * per + fold, t1, g * per + fold, t1 + 1);
        if constexpr (kFolded) {
          // n2 k2 / 8 + 8 c 8 k2 / M = k2 (n2 per + 8 c) 8 / M
          const float scale = kStage * kRounding;
          second_forward[i] = phases(g * (t * per + fold), g * ((t + 1) * per + fold), At::M / 8, scale);
          if constexpr (!FRUGAL)
            second_back[i] = phases(t * (g * per + fold), (t + 1) * (g * per + fold), At::M / 8, scale);
        }
      }
    }
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      const int n5 = i - kMiddle;
      if constexpr (At::O == 64) {
        const int m = (FOLDED ? 0 : 8 * (warp - At::kUnits / 2)) + n5;
        forward.set(i, turned(m, t1 + 8 * g, m, t1 + 1 + 8 * g), writer);    // rows k2, columns k1
        inverse.set(i, turned(m, g1 + 8 * t, m, g1 + 8 * (t + 1)), writer);  // rows k1, columns k2
      } else {
        const int m = (FOLDED ? 0 : 64 * (warp - At::R / 2)) + 8 * (i - kMiddle);  // of n4
        forward.set(i, turned(m + t, g1, m + t + 1, g1), writer);                  // rows k1, columns n5
        inverse.set(i, turned(m + g, t1, m + g, t1 + 1), writer);                  // rows n5, columns k1
      }
    }
  }
};

/// The first stage of tile i: x(i, row) is the register of samples (n1 = 2t, 2t + 1) of a row.
template <bool PAIRS, class Samples>
__device__ __forceinline__ Tile first_sum(const Stacked& first, Samples&& x, int i) {
  if constexpr (PAIRS)
    return sum_columns(first, Tile{x(i, 0), x(i, 1)});
  else
    return sum_columns_real(first, x(i, 0));
}

/// A unit forward, of tiles n5. `first` and `between` are those of the tables, one of them times what the rows are
/// scaled by.
template <class At, bool PAIRS, class Tables, class Samples>
__device__ __forceinline__ void outer_64_forward(const Tables& a, const Dft8& dft8, const Stacked& first,
                                                 Phases between, int i, Samples&& x,
                                                 const ExchangePlaces<At>& exchange) {
  const Stacked second = [&] {
    if constexpr (Tables::kFolded)
      return stacked(a.second_forward[i], a.zero);
    else
      return dft8.forward;
  }();
  u32 re[2][4], im[2][4];
#pragma unroll
  for (int q = 0; q < 4; ++q) {
    Tile z[2];
#pragma unroll
    for (int e = 0; e < 2; ++e) {
      const int n5 = 2 * q + e;
      z[e] = sum_columns(second, times(first_sum<PAIRS>(first, x, n5), between));
      if (!(Tables::kFolded && n5 == kMiddle)) z[e] = times(z[e], a.forward.get(n5));
    }
    re[0][q] = pack_low(z[0].re, z[1].re), re[1][q] = pack_high(z[0].re, z[1].re);
    im[0][q] = pack_low(z[0].im, z[1].im), im[1][q] = pack_high(z[0].im, z[1].im);
  }
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    const u32 to = exchange.column_chunk(i, r);
    shared_at<uint4>(to) = make_uint4(re[r][0], re[r][1], re[r][2], re[r][3]);
    shared_at<uint4>(to + At::kPlane) = make_uint4(im[r][0], im[r][1], im[r][2], im[r][3]);
  }
}

/// The same where a warp has one unit, of tiles n4: rows n5, columns n1, of which k1 becomes rows and n5 columns.
template <class At, bool PAIRS, class Tables, class Samples>
__device__ __forceinline__ void outer_8_forward(const Tables& a, const Stacked& first, Samples&& x,
                                                const ExchangePlaces<At>& exchange) {
#pragma unroll
  for (int n4 = 0; n4 < 8; n4 += 4) {
    u32 re[4], im[4];
#pragma unroll
    for (int e = 0; e < 4; ++e) {
      Tile z = first_sum<PAIRS>(first, x, n4 + e);
      if constexpr (Tables::kTurned) z = times(z, a.forward.get(n4 + e));
      re[e] = z.re, im[e] = z.im;
    }
    store_matrices(re, exchange.column_rows(n4));
    store_matrices(im, exchange.column_rows(n4) + At::kPlane);
  }
}

/// Unit i of the warp.
template <class At, bool PAIRS, class Tables, class Samples>
__device__ __forceinline__ void outer_forward(const Tables& a, const Dft8& dft8, const Stacked& first, Phases between,
                                              int i, Samples&& x, const ExchangePlaces<At>& exchange) {
  if constexpr (At::O == 8)
    outer_8_forward<At, PAIRS>(a, first, x, exchange);
  else
    outer_64_forward<At, PAIRS>(a, dft8, first, between, i, x, exchange);
}

__device__ __forceinline__ u32 word(const uint4& v, int i) { return i == 0 ? v.x : i == 1 ? v.y : i == 2 ? v.z : v.w; }

/// A unit of tiles n5 back to samples, in place: the real parts in the first plane, in pairs the imaginary parts in the
/// second. `last` is that of the tables, times what the results are scaled by.
template <class At, bool PAIRS, class Tables>
__device__ __forceinline__ void outer_64_inverse(const Tables& a, const Dft8& dft8, const Stacked& last, int i,
                                                 const ExchangePlaces<At>& exchange) {
  const u32 at = exchange.unit_words(i);
  uint4 in_re[2], in_im[2];
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    in_re[r] = shared_at<uint4>(at + 128 * r);
    in_im[r] = shared_at<uint4>(at + 128 * r + At::kPlane);
  }
  const Stacked second = [&] {
    if constexpr (Tables::kFolded)
      return stacked_conjugate(a.second_inverse(i), a.zero);
    else
      return dft8.inverse;
  }();
  const Phases between = a.between_inverse(i);
  u32 re[2][4], im[2][4];
#pragma unroll
  for (int q = 0; q < 4; ++q) {
    Tile z[2];
#pragma unroll
    for (int e = 0; e < 2; ++e) {
      const int n5 = 2 * q + e;
      z[e] = {word(in_re[e], q), word(in_im[e], q)};
      if (!(Tables::kFolded && n5 == kMiddle)) z[e] = times_conjugate(z[e], a.inverse.get(n5));
      z[e] = times_conjugate(sum_columns(second, z[e]), between);
    }
    u32 even, odd;
    real_of_conjugate_sum(last, z[0], z[1], even, odd);
    re[0][q] = pack_low(even, odd), re[1][q] = pack_high(even, odd);
    if constexpr (PAIRS) {
      imaginary_of_conjugate_sum(last, z[0], z[1], even, odd);
      im[0][q] = pack_low(even, odd), im[1][q] = pack_high(even, odd);
    }
  }
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    shared_at<uint4>(at + 128 * r) = make_uint4(re[r][0], re[r][1], re[r][2], re[r][3]);
    if constexpr (PAIRS)
      shared_at<uint4>(at + 128 * r + At::kPlane) = make_uint4(im[r][0], im[r][1], im[r][2], im[r][3]);
  }
}

/// The same of tiles n4: rows n5, columns k1, which become n1.
template <class At, bool PAIRS, class Tables>
__device__ __forceinline__ void outer_8_inverse(const Tables& a, const Stacked& last,
                                                const ExchangePlaces<At>& exchange) {
#pragma unroll
  for (int n4 = 0; n4 < 8; n4 += 4) {
    Tile z[4];
#pragma unroll
    for (int e = 0; e < 4; e += 2) {
      u32 m[4];
      load_matrices_transposed(m, exchange.unit_row(n4 + e));
      z[e] = {m[0], m[1]}, z[e + 1] = {m[2], m[3]};
    }
    __syncwarp();
    u32 re[4], im[4];
#pragma unroll
    for (int e = 0; e < 4; e += 2) {
      Tile &x = z[e], &y = z[e + 1];
      if constexpr (Tables::kTurned)
        x = times_conjugate(x, a.inverse.get(n4 + e)), y = times_conjugate(y, a.inverse.get(n4 + e + 1));
      real_of_conjugate_sum(last, x, y, re[e], re[e + 1]);
      if constexpr (PAIRS) imaginary_of_conjugate_sum(last, x, y, im[e], im[e + 1]);
    }
    store_matrices_transposed(re, exchange.column_rows(n4));
    if constexpr (PAIRS) store_matrices_transposed(im, exchange.column_rows(n4) + At::kPlane);
  }
}

/// Unit i of the warp.
template <class At, bool PAIRS, class Tables>
__device__ __forceinline__ void outer_inverse(const Tables& a, const Dft8& dft8, const Stacked& last, int i,
                                              const ExchangePlaces<At>& exchange) {
  if constexpr (At::O == 8)
    outer_8_inverse<At, PAIRS>(a, last, exchange);
  else
    outer_64_inverse<At, PAIRS>(a, dft8, last, i, exchange);
}

}  // namespace ffc::cuda
