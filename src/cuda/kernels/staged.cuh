// What the passes over staged rows (512 points and more) share: a team of W warps owns a row at a time. Its samples
// come by asynchronous copies a row ahead, become halves with a scale, and go through the outer transform.
#pragma once

#include "cuda/kernels/arguments.cuh"
#include "cuda/kernels/outer.cuh"

namespace ffc::cuda {

/// Waits for the threads of a team, of which a block has several.
template <int THREADS>
__device__ __forceinline__ void team_barrier(int team) {
  if constexpr (THREADS == 32)
    __syncwarp();
  else
    barrier(team + 1, THREADS);
}
/// Waits for all teams, which come from barriers of their own. One barrier would do; but after one, compute-sanitizer
/// (racecheck, of CUDA 13.0) still takes what another team has written before it for a hazard.
template <int TEAMS>
__device__ __forceinline__ void barrier_of_teams() {
  __syncthreads();
  if constexpr (TEAMS > 1) __syncthreads();
}

/// Chunk j of some words.
template <int WORDS>
__device__ __forceinline__ void split(uint4 v, u32 (&x)[WORDS], int j) {
  x[4 * j] = v.x, x[4 * j + 1] = v.y, x[4 * j + 2] = v.z, x[4 * j + 3] = v.w;
}

/// A team's samples of a row (of two rows in pairs), in shared memory.
template <class At, bool PAIRS, class Type, class Access>
struct Samples {
  static constexpr int kRows = PAIRS ? 2 : 1;
  static constexpr int kBytes = kRows * At::kPlane;
  static constexpr int kTogether = 2;  // chunks of a lane that share a scale with those of its warp
  static constexpr int kGroups = At::kChunks / 32 / kTogether, kGroupsPerThread = At::kChunksPerThread / kTogether;
  static constexpr int kScaleBytes = kRows * kGroups * static_cast<int>(sizeof(Scale));
  static_assert(At::kChunksPerThread % kTogether == 0, "groups are whole");
  static_assert(kGroups <= 64, "the energies of a row add up in an integer");

  SamplePlaces<At> places;
  Scale* scales;  // [kRows][kGroups]
  int batch, length;

  __device__ __forceinline__ Samples moved(int by) const { return {places.moved(by), scales, batch, length}; }

  /// Starts copies of rows b, b + 1 to `to` bytes past the places. Each thread copies the chunks that it will read.
  __device__ __forceinline__ void fetch(const RowsView& rows, int b, int h, int thread, int to) const {
#pragma unroll
    for (int r = 0; r < kRows; ++r) {
      const bool present = b + r < batch;
      const std::uint16_t* row = Access::row(rows, present ? b + r : b, h) + 8 * thread;
      const int left = present ? length - 8 * thread : 0;
#pragma unroll
      for (int j = 0; j < At::kChunksPerThread; ++j)
        Access::copy(places.own_chunk(j) + to + r * At::kPlane, row, 8 * At::kThreads * j, left);
    }
  }

  /// Halves and scales of x = u gate (`gated`) or u, which have been fetched, the gate `gate_at` bytes past the places.
  __device__ __forceinline__ void prepare(bool gated, int gate_at, int thread) const {
#pragma unroll
    for (int r = 0; r < kRows; ++r)
#pragma unroll
      for (int group = 0; group < kGroupsPerThread; ++group) {
        u32 x[4 * kTogether], factors[4 * kTogether];
        get(r, group, x);
        if (gated) get(r, group, factors, gate_at);
        const Scale scale = to_halves<Type, PAIRS>(x, factors, gated);
        if (gated || !Type::kIsHalf || scale.stored != 0) put(r, group, x);
        set_scale(r, group, thread, scale);
      }
  }

  /// Of halves that have been fetched and have no gate, prepare in two parts, so that other work lies between: their
  /// energies, and the rest.
  struct Energies {
    int of[kRows][kGroupsPerThread];
  };
  __device__ __forceinline__ Energies energies() const {
    Energies energies;
#pragma unroll
    for (int r = 0; r < kRows; ++r)
#pragma unroll
      for (int group = 0; group < kGroupsPerThread; ++group) {
        u32 x[4 * kTogether];
        get(r, group, x);
        energies.of[r][group] = energy_of(x);
      }
    return energies;
  }
  __device__ __forceinline__ void prepare(const Energies& energies, int thread) const {
#pragma unroll
    for (int r = 0; r < kRows; ++r)
#pragma unroll
      for (int group = 0; group < kGroupsPerThread; ++group) {
        Scale scale{energies.of[r][group], 0};
        if (!is_ordinary(scale.energy)) {
          u32 x[4 * kTogether];
          get(r, group, x);
          scale = to_scaled_halves<Type, PAIRS>(x, x, false);
          put(r, group, x);
        }
        set_scale(r, group, thread, scale);
      }
  }

  /// A thread's group of words of a row, from `from` bytes past its place; back; and its scale.
  __device__ __forceinline__ void get(int r, int group, u32 (&x)[4 * kTogether], int from = 0) const {
#pragma unroll
    for (int j = 0; j < kTogether; ++j)
      split(shared_at<uint4>(places.own_chunk(group * kTogether + j) + from + r * At::kPlane), x, j);
  }
  __device__ __forceinline__ void put(int r, int group, const u32 (&x)[4 * kTogether]) const {
#pragma unroll
    for (int j = 0; j < kTogether; ++j)
      shared_at<uint4>(places.own_chunk(group * kTogether + j) + r * At::kPlane) =
          make_uint4(x[4 * j], x[4 * j + 1], x[4 * j + 2], x[4 * j + 3]);
  }
  __device__ __forceinline__ void set_scale(int r, int group, int thread, const Scale& scale) const {
    if ((thread & 31) == 0) scales[r * kGroups + group * At::W + thread / 32] = scale;
  }

  /// The scales of the rows. `raw`: every group is stored as it is. `energy`: 0 for a row of zeros.
  __device__ __forceinline__ RowScales<kRows> row_scales(int lane, bool& raw, float (&energy)[kRows]) const {
    constexpr int kPerLane = (kGroups + 31) / 32;
    Scale scale[kRows][kPerLane];
    int stored = 0;
#pragma unroll
    for (int r = 0; r < kRows; ++r)
#pragma unroll
      for (int i = 0; i < kPerLane; ++i) {
        const int group = 32 * i + lane;
        scale[r][i] = kGroups % 32 == 0 || group < kGroups ? scales[r * kGroups + group] : Scale{0, 0};
        stored |= scale[r][i].stored;
      }
    raw = !__any_sync(~0u, stored != 0);
    int top[kRows]{};
    if (!raw)  // all energies to the row's largest scale
#pragma unroll
      for (int r = 0; r < kRows; ++r) {
        int largest = -126;
#pragma unroll
        for (int i = 0; i < kPerLane; ++i)
          if (scale[r][i].energy > 0 || scale[r][i].stored == kTopOfInfinity)
            largest = max(largest, scale[r][i].stored);
        top[r] = __reduce_max_sync(~0u, largest);
#pragma unroll
        for (int i = 0; i < kPerLane; ++i)
          scale[r][i].energy =
              __float2int_rn(scale[r][i].energy * power_of_two(max(2 * (scale[r][i].stored - top[r]), -126)));
      }
#pragma unroll
    for (int r = 0; r < kRows; ++r) {
      int sum = scale[r][0].energy;
      if constexpr (kPerLane == 2) sum += scale[r][1].energy;
      energy[r] = static_cast<float>(__reduce_add_sync(~0u, sum));
    }
    return RowScales<kRows>::template of<At::M>(energy, top);
  }
  __device__ __forceinline__ RowScales<kRows> row_scales(int lane, bool& raw) const {
    float energy[kRows];
    return row_scales(lane, raw, energy);
  }

  /// The samples of an outer unit in a lane, by fours: of n1 = 2t, of 2t + 1 (outer 64), or of both, four tiles (outer
  /// 8).
  struct Unit {
    u32 words[kRows][8];

    /// Samples n1 = 2t, 2t + 1 of a tile.
    __device__ __forceinline__ u32 of_tile(int tile, int r) const {
      if constexpr (At::O == 8) return words[r][tile];
      const u32 a = words[r][tile / 2], b = words[r][4 + tile / 2];
      return tile & 1 ? pack_high(a, b) : pack_low(a, b);
    }
  };
  __device__ __forceinline__ Unit unit(int i) const {
    Unit unit;
#pragma unroll
    for (int r = 0; r < kRows; ++r)
#pragma unroll
      for (int four = 0; four < 2; ++four) {
        if constexpr (At::O == 64) {
          split(shared_at<uint4>(places.unit_chunk(i, four) + r * At::kPlane), unit.words[r], four);
        } else {
          u32 m[4];
          load_matrices_transposed(m, places.unit_row(4 * four) + r * At::kPlane);
          split(make_uint4(m[0], m[1], m[2], m[3]), unit.words[r], four);
        }
      }
    return unit;
  }
  /// A thread's samples from the scales of their groups to the row's, where groups have scales of their own. A barrier
  /// must follow.
  __device__ __forceinline__ void rescale(const RowScales<kRows>& scale, int thread) const {
#pragma unroll
    for (int r = 0; r < kRows; ++r)
#pragma unroll 1
      for (int group = 0; group < kGroupsPerThread; ++group) {
        const u32 own = group_factor(scale, r, group * At::W + thread / 32) * 0x10001u;
        u32 x[4 * kTogether];
        get(r, group, x);
#pragma unroll
        for (u32& two : x) two = mul(two, own);
        put(r, group, x);
      }
  }
  /// The same of what has been read.
  __device__ __forceinline__ void rescale(Unit& unit, int i, const RowScales<kRows>& scale, int warp, int lane) const {
#pragma unroll
    for (int r = 0; r < kRows; ++r) {
      u32 own[2];  // of n1 = 2t, and of 2t + 1: all n4 of an outer 8 are in one group
#pragma unroll
      for (int n1 = 0; n1 < 2; ++n1) {
        const int s = At::unit_chunk(warp * At::kUnitsPerWarp + i, lane >> 2, lane & 3, n1);
        own[n1] = group_factor(scale, r, s / (At::kThreads * kTogether) * At::W + s / 32 % At::W);
      }
#pragma unroll
      for (int j = 0; j < 8; ++j)
        unit.words[r][j] = mul(unit.words[r][j], At::O == 64 ? own[j / 4] * 0x10001u : own[0] | own[1] << 16);
    }
  }
  __device__ __forceinline__ u32 group_factor(const RowScales<kRows>& scale, int r, int group) const {
    return half_power_of_two(scales[r * kGroups + group].stored - scale.exponent[r]);
  }

  /// The outer transform of all the warp's units, `unit` the first, into the exchange. `raw`: samples are as they came,
  /// and not at the row's scale. BY_STAGE: it is brought to them by constants, those of the first stage or of the turn
  /// after it, which costs two registers to four. RESCALED: where groups have scales of their own, `rescale` has been
  /// called, which takes no registers here; else it is done as samples are read, which makes forward passes about 1 %
  /// faster, but a backward one spill (right-angle 2048: 1.84 times the floor instead of 1.70).
  template <bool BY_STAGE, bool RESCALED, class Tables>
  __device__ __forceinline__ void outer(const Tables& tables, const Dft8& dft8, Unit unit_of_row,
                                        const RowScales<kRows>& scale, bool raw, int warp, int lane,
                                        const ExchangePlaces<At>& exchange) const {
    u32 down[kRows];
#pragma unroll
    for (int r = 0; r < kRows; ++r) down[r] = raw ? two_halves(-scale.exponent[r]) : two_halves(0);
    constexpr bool kByTurn = BY_STAGE && !PAIRS && At::O == 64;  // the scale may come later
    Stacked first = tables.first;
    if constexpr (BY_STAGE && !kByTurn) first = scaled(first, down[0], down[kRows - 1]);
#pragma unroll
    for (int i = 0; i < At::kUnitsPerWarp; ++i) {
      if (i > 0) unit_of_row = unit(i);
      if (!RESCALED && !raw) rescale(unit_of_row, i, scale, warp, lane);
      if constexpr (At::O == 8) __syncwarp();  // the samples may lie where this warp's columns go
      Phases between = tables.between_forward[i];
      if constexpr (kByTurn) between = {mul(between.c, down[0]), mul(between.s, down[0])};
      outer_forward<At, PAIRS>(
          tables, dft8, first, between, i,
          [&](int tile, int r) {
            const u32 x = unit_of_row.of_tile(tile, r);
            return BY_STAGE ? x : mul(x, down[r]);
          },
          exchange);
    }
  }
};

/// Column pairs `first`, first + 1, .. of the warp, as tiles n3: rows n5, columns n4.
template <class At, int COUNT>
__device__ __forceinline__ void load_columns(const ExchangePlaces<At>& exchange, int first, Tile (&x)[COUNT][At::R]) {
#pragma unroll
  for (int i = 0; i < COUNT; i += 2)
#pragma unroll
    for (int n3 = 0; n3 < At::R; ++n3) {
      u32 m[4];
      load_matrices_transposed(m, exchange.column_row(first + i / 2) + 128 * n3);
      x[i][n3] = {m[0], m[1]}, x[i + 1][n3] = {m[2], m[3]};
    }
}

/// Tiles n3, rows n4, columns n5, back to where they came from; of an outer 64 two columns to a word.
template <class At, int COUNT>
__device__ __forceinline__ void store_columns(const ExchangePlaces<At>& exchange, int first,
                                              const Tile (&x)[COUNT][At::R]) {
  __syncwarp();
#pragma unroll
  for (int i = 0; i < COUNT; i += 2)
#pragma unroll
    for (int n3 = 0; n3 < At::R; ++n3) {
      const Tile a = x[i][n3], b = x[i + 1][n3];
      if constexpr (At::O == 8)
        store_matrices({a.re, a.im, b.re, b.im}, exchange.column_row(first + i / 2) + 128 * n3);
      else if constexpr (At::kByMatrices)
        store_matrices({pack_low(a.re, b.re), pack_high(a.re, b.re), pack_low(a.im, b.im), pack_high(a.im, b.im)},
                       exchange.pair_word(first + i / 2) + 256 * n3);
      else
#pragma unroll
        for (int r = 0; r < 2; ++r) {
          const u32 to = exchange.pair_word(first + i / 2) + 256 * n3 + 128 * r;
          shared_at<u32>(to) = r ? pack_high(a.re, b.re) : pack_low(a.re, b.re);
          shared_at<u32>(to + At::kPlane) = r ? pack_high(a.im, b.im) : pack_low(a.im, b.im);
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

/// The same of a spectrum that is soon needed again: it stays in the second-level cache.
template <int R>
__device__ __forceinline__ void load_lasting_spectrum(const u32* spectrum, int pair, int lane, Tile (&h)[2][R]) {
#pragma unroll
  for (int k3 = 0; k3 < R; ++k3)
    split_columns(load_lasting(reinterpret_cast<const uint4*>(spectrum) + (pair * R + k3) * 32 + lane), h[0][k3],
                  h[1][k3]);
}

/// The same into device memory.
template <int R, int COUNT>
__device__ __forceinline__ void store_spectrum(uint4* spectrum, int pair, int lane, const Tile (&x)[COUNT][R]) {
#pragma unroll
  for (int i = 0; i < COUNT; i += 2)
#pragma unroll
    for (int k3 = 0; k3 < R; ++k3)
      spectrum[((pair + i / 2) * R + k3) * 32 + lane] =
          make_uint4(x[i][k3].re, x[i][k3].im, x[i + 1][k3].re, x[i + 1][k3].im);
}

/// H, or conj(H): `conjugated` has the sign bits.
template <int R, int COUNT>
__device__ __forceinline__ void conjugate(Tile (&h)[COUNT][R], u32 conjugated) {
#pragma unroll
  for (int i = 0; i < COUNT; ++i)
#pragma unroll
    for (int k3 = 0; k3 < R; ++k3) h[i][k3].im ^= conjugated;
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
