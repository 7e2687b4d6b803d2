// What the passes over staged rows (1024 points and more) share: a team of W warps owns a row at a time. Its samples
// come by asynchronous copies a row ahead, become halves with a scale, and go through the outer transform.
#pragma once

#include "cuda/kernels/arguments.cuh"
#include "cuda/kernels/outer.cuh"

namespace ffc::cuda {

/// A team's samples of a row (of two rows in pairs), in shared memory.
template <class At, bool PAIRS, class Type, class Access>
struct Samples {
  static constexpr int kRows = PAIRS ? 2 : 1;
  static constexpr int kBytes = kRows * At::kPlane;
  static constexpr int kTogether = 2;  // chunks of a lane that share a scale with those of its warp
  static constexpr int kGroups = At::kChunks / 32 / kTogether;
  static constexpr int kScaleBytes = kRows * kGroups * static_cast<int>(sizeof(Scale));
  static constexpr int kLargestByStage = 8;  // 2^-8 of a stage's entries, up to 1/4, is far from subnormal
  static_assert(At::kChunksPerThread % kTogether == 0, "groups are whole");

  unsigned char* place;  // kBytes
  Scale* scales;         // [kRows][kGroups]
  int batch, length;

  /// Starts copies of rows b, b + 1 into `to`. Each thread copies the chunks that it will read.
  __device__ __forceinline__ void fetch(const RowsView& rows, int b, int h, int thread, unsigned char* to) const {
#pragma unroll
    for (int r = 0; r < kRows; ++r) {
      const bool present = b + r < batch;
      const std::uint16_t* row = Access::row(rows, present ? b + r : b, h) + 8 * thread;
      const int left = present ? length - 8 * thread : 0;
#pragma unroll
      for (int j = 0; j < At::kChunksPerThread; ++j)
        Access::copy(to + r * At::kPlane + At::sample(j * At::kThreads + thread), row, 8 * At::kThreads * j, left);
    }
  }

  /// Halves and scales of x = u gate (`gated`) or u of rows b, b + 1. STAGED: samples, or samples and gates, have been
  /// fetched; the rest is read from device memory.
  template <int STAGED>
  __device__ __forceinline__ void prepare(const RowsView& u, const RowsView& gate, bool gated,
                                          const unsigned char* staged_gate, int b, int h, int thread) const {
#pragma unroll
    for (int r = 0; r < kRows; ++r)
#pragma unroll
      for (int group = 0; group < At::kChunksPerThread / kTogether; ++group) {
        u32 x[4 * kTogether], factors[4 * kTogether];
        auto read = [&](const RowsView& rows, bool is_staged, const unsigned char* staged, u32(&words)[4 * kTogether]) {
#pragma unroll
          for (int j = 0; j < kTogether; ++j) {
            const int s = (group * kTogether + j) * At::kThreads + thread;
            const uint4 chunk = is_staged ? *reinterpret_cast<const uint4*>(staged + r * At::kPlane + At::sample(s))
                                : b + r < batch
                                    ? Access::load(Access::row(rows, b + r, h) + 8 * thread,
                                                   8 * At::kThreads * (group * kTogether + j), length - 8 * thread)
                                    : make_uint4(0, 0, 0, 0);
            words[4 * j] = chunk.x, words[4 * j + 1] = chunk.y, words[4 * j + 2] = chunk.z, words[4 * j + 3] = chunk.w;
          }
        };
        read(u, STAGED >= 1, place, x);
        if (gated) read(gate, STAGED == 2, staged_gate, factors);
        const Scale scale = to_halves<Type, PAIRS>(x, factors, gated);
        if (gated || !Type::kIsHalf || STAGED == 0 || (PAIRS && scale.magnitude >= kInfinity))
#pragma unroll
          for (int j = 0; j < kTogether; ++j)
            *reinterpret_cast<uint4*>(place + r * At::kPlane +
                                      At::sample((group * kTogether + j) * At::kThreads + thread)) =
                make_uint4(x[4 * j], x[4 * j + 1], x[4 * j + 2], x[4 * j + 3]);
        if ((thread & 31) == 0) scales[r * kGroups + group * At::W + thread / 32] = scale;
      }
  }

  /// The scales of the rows, and whether the halves are the samples themselves.
  __device__ __forceinline__ RowScales<kRows> row_scales(int lane, bool& raw) const {
    u32 magnitude[kRows];
    float energy[kRows];
    bool stored = false;
#pragma unroll
    for (int r = 0; r < kRows; ++r) {
      constexpr int kPerLane = (kGroups + 31) / 32;
      Scale scale[kPerLane];
      u32 largest = 0;
#pragma unroll
      for (int i = 0; i < kPerLane; ++i) {
        const int group = 32 * i + lane;
        scale[i] = group < kGroups ? scales[r * kGroups + group] : Scale{0, 0, 0};
        largest = max(largest, scale[i].magnitude), stored |= scale[i].stored != 0;
      }
      magnitude[r] = __reduce_max_sync(~0u, largest);
      if constexpr (PAIRS) {
        float sum = 0;
#pragma unroll
        for (int i = 0; i < kPerLane; ++i)
          sum += scale[i].energy * power_of_two(max(2 * (top_of(scale[i].magnitude) - top_of(magnitude[r])), -126));
        energy[r] = static_cast<float>(__reduce_add_sync(~0u, __float2int_rn(fminf(sum, 0x1p25f))));
      } else {
        energy[r] = 0;
      }
    }
    raw = Type::kIsHalf && !__any_sync(~0u, stored);
    return RowScales<kRows>(magnitude, energy, raw);
  }

  /// The outer transform of all the warp's units, into `exchange`. BY_STAGE: rows are brought to their scale by the
  /// constants of the first stage, as far as these stay normal numbers; the samples themselves only where they are
  /// larger, or their groups have scales of their own. It costs two registers to four.
  template <bool BY_STAGE, class Tables>
  __device__ __forceinline__ void outer(const Tables& tables, const Dft8& dft8, const RowScales<kRows>& scale, bool raw,
                                        int warp, int lane, unsigned char* exchange) const {
    const int g = lane >> 2, t = lane & 3;
    int by_stage[kRows];
    bool by_samples = !raw;
#pragma unroll
    for (int r = 0; r < kRows; ++r) {
      by_stage[r] = BY_STAGE && raw ? min(scale.exponent[r], kLargestByStage) : 0;
      by_samples |= scale.exponent[r] != by_stage[r];
    }
    Stacked first = tables.first;
    if constexpr (BY_STAGE)
      first =
          scaled(first, half_power_of_two(-by_stage[0]) * 0x10001u, half_power_of_two(-by_stage[kRows - 1]) * 0x10001u);
    u32 down[kRows];
#pragma unroll
    for (int r = 0; r < kRows; ++r) down[r] = half_power_of_two(-scale.exponent[r]) * 0x10001u;
#pragma unroll
    for (int i = 0; i < At::kUnitsPerWarp; ++i) {
      const int unit = warp * At::kUnitsPerWarp + i;
      uint4 v[kRows][2];
#pragma unroll
      for (int r = 0; r < kRows; ++r) {
        u32 of_chunk[2];
#pragma unroll
        for (int j = 0; j < 2; ++j) {
          const int s = At::unit_chunk(unit, g, t, j);
          uint4& chunk = v[r][j];
          chunk = *reinterpret_cast<const uint4*>(place + r * At::kPlane + At::sample(s));
          if (BY_STAGE ? by_samples : !raw) {
            const int group = s / (At::kThreads * kTogether) * At::W + s / 32 % At::W;
            of_chunk[j] = half_power_of_two(scales[r * kGroups + group].stored - scale.exponent[r] + by_stage[r]);
            if constexpr (BY_STAGE) {
              const u32 twice = of_chunk[j] * 0x10001u;
              chunk = make_uint4(mul(chunk.x, twice), mul(chunk.y, twice), mul(chunk.z, twice), mul(chunk.w, twice));
            }
          }
        }
        if (!BY_STAGE && !raw) down[r] = of_chunk[0] | of_chunk[1] << 16;
      }
      if constexpr (At::O == 8) __syncwarp();  // the samples may lie where this warp's columns go
      outer_forward<At, PAIRS>(
          tables, dft8, first, i, unit, lane,
          [&](int n5, int r) {
            const u32 a = word(v[r][0], n5 / 2), b = word(v[r][1], n5 / 2);
            const u32 x = n5 & 1 ? pack_high(a, b) : pack_low(a, b);
            return BY_STAGE ? x : mul(x, down[r]);
          },
          exchange);
    }
  }
};

/// Column pairs pair, pair + 1, .. of the exchange, as tiles n3: rows n5, columns n4.
template <class At, int COUNT>
__device__ __forceinline__ void load_columns(const unsigned char* exchange, int pair, int lane,
                                             Tile (&x)[COUNT][At::R]) {
  const int matrix = lane >> 3;  // re, im of the first column; re, im of the second
#pragma unroll
  for (int i = 0; i < COUNT; i += 2) {
    const u32 from =
        shared_address(exchange) + (matrix & 1) * At::kPlane + At::column_row(pair + i / 2, matrix >> 1, lane & 7);
#pragma unroll
    for (int n3 = 0; n3 < At::R; ++n3) {
      u32 m[4];
      load_matrices_transposed(m, from + 128 * n3);
      x[i][n3] = {m[0], m[1]}, x[i + 1][n3] = {m[2], m[3]};
    }
  }
}

/// Tiles n3, rows n4, columns n5, back to where they came from, two columns to a word.
template <class At, int COUNT>
__device__ __forceinline__ void store_columns(unsigned char* exchange, int pair, int lane,
                                              const Tile (&x)[COUNT][At::R]) {
  __syncwarp();
#pragma unroll
  for (int i = 0; i < COUNT; i += 2) {
    unsigned char* to = exchange + At::pair_word(pair + i / 2, lane);
#pragma unroll
    for (int n3 = 0; n3 < At::R; ++n3)
#pragma unroll
      for (int r = 0; r < 2; ++r) {
        const Tile a = x[i][n3], b = x[i + 1][n3];
        u32* words = reinterpret_cast<u32*>(to + 256 * n3 + 128 * r);
        words[0] = r ? pack_high(a.re, b.re) : pack_low(a.re, b.re);
        words[At::kPlane / 4] = r ? pack_high(a.im, b.im) : pack_low(a.im, b.im);
      }
  }
}

/// (re, im) of one column and of the other.
__device__ __forceinline__ void split_columns(uint4 v, Tile& a, Tile& b) { a = {v.x, v.y}, b = {v.z, v.w}; }

/// The spectrum of column pairs, tiles k3: stored as [pair][k3][lane] x (re, im of one column; re, im of the other).
template <int R, int COUNT>
__device__ __forceinline__ void load_spectrum(const u32* spectrum, int pair, int lane, Tile (&h)[COUNT][R]) {
#pragma unroll
  for (int i = 0; i < COUNT; i += 2)
#pragma unroll
    for (int k3 = 0; k3 < R; ++k3)
      split_columns(reinterpret_cast<const uint4*>(spectrum)[((pair + i / 2) * R + k3) * 32 + lane], h[i][k3],
                    h[i + 1][k3]);
}

/// x H
template <int R, int COUNT>
__device__ __forceinline__ void multiply(Tile (&x)[COUNT][R], const Tile (&h)[COUNT][R]) {
#pragma unroll
  for (int i = 0; i < COUNT; ++i)
#pragma unroll
    for (int k3 = 0; k3 < R; ++k3) x[i][k3] = times(x[i][k3], {h[i][k3].re, h[i][k3].im});
}

}  // namespace ffc::cuda
