// Rows of samples in device memory: eight at a time, at any alignment, and their conversion to halves with a power of
// two.
#pragma once

#include <cuda_bf16.h>

#include "cuda/tile/tile.cuh"

namespace ffc::cuda {

/// [batch, channels, length] of 2-byte elements, strides in elements.
struct RowsView {
  std::uint16_t* data = nullptr;
  long long batch_stride = 0, channel_stride = 0;
  int batch_chunks = 0, channel_chunks = 0;  // the strides in units of 16 bytes, where every row is aligned to them
};

struct Half {
  __device__ static __forceinline__ float2 wide(u32 v) { return __half22float2(as_half2(v)); }
  __device__ static __forceinline__ u32 halves(u32 v) { return v; }
  __device__ static __forceinline__ u32 halves_of_product(u32 a, u32 b) { return mul(a, b); }
  __device__ static __forceinline__ u32 narrow(float a, float b) { return pack(a, b); }
  static constexpr bool kIsHalf = true;
};
struct BFloat {
  __device__ static __forceinline__ float2 wide(u32 v) {
    return {__uint_as_float(v << 16), __uint_as_float(v & 0xffff0000u)};
  }
  __device__ static __forceinline__ u32 halves(u32 v) { return pack(wide(v).x, wide(v).y); }
  __device__ static __forceinline__ u32 halves_of_product(u32 a, u32 b) {
    return pack(wide(a).x * wide(b).x, wide(a).y * wide(b).y);
  }
  __device__ static __forceinline__ u32 narrow(float a, float b) {
    const __nv_bfloat162 v = __floats2bfloat162_rn(a, b);
    return *reinterpret_cast<const u32*>(&v);
  }
  static constexpr bool kIsHalf = false;
};

/// How rows are reached, eight samples at a time. Aligned: every row begins at a multiple of 16 bytes and has a
/// multiple of eight samples. Any: everything else, sample by sample.
struct Aligned {
  __device__ static __forceinline__ std::uint16_t* row(const RowsView& rows, int b, int h) {
    return rows.data +
           8 * (static_cast<long long>(b) * rows.batch_chunks + static_cast<long long>(h) * rows.channel_chunks);
  }
  /// The same place, `count` rows of the batch on.
  __device__ static __forceinline__ std::uint16_t* below(const RowsView& rows, std::uint16_t* row, int count) {
    return row + static_cast<long long>(rows.batch_chunks) * (8 * count);
  }
  /// Samples [at, at + 8); zeros past `length`.
  __device__ static __forceinline__ uint4 load(const std::uint16_t* row, int at, int length) {
    return at < length ? __ldcs(reinterpret_cast<const uint4*>(row + at)) : make_uint4(0, 0, 0, 0);
  }
  __device__ static __forceinline__ void store(std::uint16_t* row, int at, int length, uint4 v) {
    if (at < length) __stcs(reinterpret_cast<uint4*>(row + at), v);
  }
  /// Samples at, at + 1.
  __device__ static __forceinline__ u32 load_2(const std::uint16_t* row, int at, int length) {
    return at < length ? __ldcs(reinterpret_cast<const u32*>(row + at)) : 0;
  }
  __device__ static __forceinline__ void store_2(std::uint16_t* row, int at, int length, u32 v) {
    if (at < length) __stcs(reinterpret_cast<u32*>(row + at), v);
  }
  /// Eight to shared memory, asynchronously.
  __device__ static __forceinline__ void copy(u32 to, const std::uint16_t* row, int at, int length) {
    copy_async(to, row + at, at < length ? 16 : 0);
  }
};
struct Any {
  __device__ static __forceinline__ std::uint16_t* row(const RowsView& rows, int b, int h) {
    return rows.data + b * rows.batch_stride + h * rows.channel_stride;
  }
  __device__ static __forceinline__ std::uint16_t* below(const RowsView& rows, std::uint16_t* row, int count) {
    return row + rows.batch_stride * count;
  }
  __device__ static __forceinline__ uint4 load(const std::uint16_t* row, int at, int length) {
    u32 v[4];
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const u32 low = at + 2 * i < length ? row[at + 2 * i] : 0,
                high = at + 2 * i + 1 < length ? row[at + 2 * i + 1] : 0;
      v[i] = low | high << 16;
    }
    return make_uint4(v[0], v[1], v[2], v[3]);
  }
  __device__ static __forceinline__ void store(std::uint16_t* row, int at, int length, uint4 v) {
    const u32 words[4] = {v.x, v.y, v.z, v.w};
#pragma unroll
    for (int i = 0; i < 8; ++i)
      if (at + i < length) row[at + i] = static_cast<std::uint16_t>(words[i / 2] >> 16 * (i & 1));
  }
  __device__ static __forceinline__ u32 load_2(const std::uint16_t* row, int at, int length) {
    return (at < length ? row[at] : 0) | (at + 1 < length ? static_cast<u32>(row[at + 1]) << 16 : 0);
  }
  __device__ static __forceinline__ void store_2(std::uint16_t* row, int at, int length, u32 v) {
    if (at < length) row[at] = static_cast<std::uint16_t>(v);
    if (at + 1 < length) row[at + 1] = static_cast<std::uint16_t>(v >> 16);
  }
  __device__ static __forceinline__ void copy(u32 to, const std::uint16_t* row, int at, int length) {
    shared_at<uint4>(to) = load(row, at, length);
  }
};

// ---- scales. A group of samples is kept as halves times 2^-stored. A row goes through the transform times
// 2^-exponent, the mean of its M squares in [1/2, 2) then; in pairs that of the first in [1/4, 1), that of the second
// at most twice as much. So by Parseval nothing on the way exceeds sqrt(3 M) times the stages' gain, whatever the rows
// are. Mostly the samples, or their products with the pregate, are halves as they are.

struct Scale {
  int energy;  // the sum of squares of a group's halves, in units of 1 / kEnergyUnit
  int stored;
};

inline constexpr float kEnergyUnit = 256;
/// Groups whose energy is in between are kept as they are: of 512 samples, a root of the mean square from 0.01 to 11.
/// That of a row, 64 groups, fits an integer.
inline constexpr int kLeastEnergy = 16, kMostEnergy = 1 << 24;
/// Stands for a lane's sum that is larger, infinite or NaN.
inline constexpr float kLargestLaneEnergy = 0x1p25f;

inline constexpr u32 kInfinity = 0x7f800000u;
inline constexpr int kTopOfInfinity = 126;
/// What is left above it, 2^8, passes every stage; and scaled up again by a channel's factor it is still a float.
inline constexpr int kLargestExponent = 120;

/// 2^e, for e in [-126, 127].
__device__ __forceinline__ float power_of_two(int e) { return __int_as_float((127 + e) << 23); }

/// 2^e in half precision: exact from -24 to 15, 0 below, 2^15 above (where it meets nothing but zeros).
__device__ __forceinline__ u32 half_power_of_two(int e) {
  return e >= -14 ? static_cast<u32>(min(e, 15) + 15) << 10 : e >= -24 ? 1u << (e + 24) : 0u;
}
/// 2^e twice, for e in [-14, 15].
__device__ __forceinline__ u32 two_halves(int e) { return 0x3c003c00u + static_cast<u32>(e) * 0x04000400u; }

/// e such that a magnitude, the bits of a non-negative float, is in [4, 8) 2^e, at least -126; kTopOfInfinity for
/// infinity and NaN.
__device__ __forceinline__ int top_of(u32 magnitude) { return max(static_cast<int>(magnitude >> 23) - 129, -126); }

__device__ __forceinline__ u32 larger_magnitude(u32 a, u32 b) {
  return as_bits(__hmax2_nan(as_half2(a), __habs2(as_half2(b))));
}

/// The energy of a warp's group of WORDS * 32 words of two halves. Infinities and NaN are beyond kMostEnergy.
template <int WORDS>
__device__ __forceinline__ int energy_of(const u32 (&x)[WORDS]) {
  u32 sum = 0;
#pragma unroll
  for (int i = 0; i < WORDS; ++i) sum = fma(x[i], x[i], sum);
  const float2 halves = __half22float2(as_half2(sum));
  return __reduce_add_sync(~0u, __float2int_rn(fminf((halves.x + halves.y) * kEnergyUnit, kLargestLaneEnergy)));
}

__device__ __forceinline__ bool is_ordinary(int energy) { return energy >= kLeastEnergy && energy < kMostEnergy; }

/// Turns a warp's group of WORDS * 32 words of two samples, whose energy is not ordinary, into halves of x = u, or u
/// pregate, in place. An infinity or a NaN makes all of its own row NaN; it must not reach the other row of a pair, so
/// its group travels as zeros.
template <class Type, bool PAIRS, int WORDS>
__device__ __forceinline__ Scale to_scaled_halves(u32 (&x)[WORDS], const u32 (&pregate)[WORDS], bool gated) {
  float2 f[WORDS];
  u32 largest = 0;
#pragma unroll
  for (int i = 0; i < WORDS; ++i) {
    f[i] = Type::wide(x[i]);
    if (gated) {
      const float2 p = Type::wide(pregate[i]);
      f[i].x *= p.x, f[i].y *= p.y;
    }
    largest = max(largest, max(__float_as_uint(fabsf(f[i].x)), __float_as_uint(fabsf(f[i].y))));
  }
  const u32 magnitude = __reduce_max_sync(~0u, largest);
  const bool finite = magnitude < kInfinity;
  const int stored = magnitude == 0 ? 0 : top_of(magnitude);
  const float down = power_of_two(-stored);
#pragma unroll
  for (int i = 0; i < WORDS; ++i) x[i] = finite || !PAIRS ? pack(f[i].x * down, f[i].y * down) : 0;
  return {finite ? energy_of(x) : 0, stored};
}

/// The same of a group as if its energy were ordinary, which is returned.
template <class Type, int WORDS>
__device__ __forceinline__ int to_ordinary_halves(u32 (&x)[WORDS], const u32 (&pregate)[WORDS], bool gated) {
#pragma unroll
  for (int i = 0; i < WORDS; ++i) x[i] = gated ? Type::halves_of_product(x[i], pregate[i]) : Type::halves(x[i]);
  return energy_of(x);
}

/// The same of any group.
template <class Type, bool PAIRS, int WORDS>
__device__ __forceinline__ Scale to_halves(u32 (&x)[WORDS], const u32 (&pregate)[WORDS], bool gated) {
  u32 halves[WORDS];
#pragma unroll
  for (int i = 0; i < WORDS; ++i) halves[i] = x[i];
  const int energy = to_ordinary_halves<Type>(halves, pregate, gated);
  if (!is_ordinary(energy)) return to_scaled_halves<Type, PAIRS>(x, pregate, gated);
#pragma unroll
  for (int i = 0; i < WORDS; ++i) x[i] = halves[i];
  return {energy, 0};
}

/// How the rows that travel together are scaled: x 2^-exponent. The rows of a pair are scaled such that their norms are
/// within sqrt(2): the rounding errors of the louder row are in the other one too.
template <int ROWS>
struct RowScales {
  int exponent[ROWS];
  bool finite[ROWS];

  RowScales() = default;
  /// The sum of squares of a row of POINTS is energy / kEnergyUnit 4^top.
  template <int POINTS>
  __device__ __forceinline__ static RowScales of(const float (&energy)[ROWS], const int (&top)[ROWS]) {
    // 0.01^2, of a row that is not silent: silent rows do not matter.
    constexpr float kPerMeanSquare = 2 / (kEnergyUnit * POINTS), kSilence = 0x1p-13f;
    RowScales scales;
#pragma unroll
    for (int r = 0; r < ROWS; ++r) {
      const float twice_mean = fmaxf(energy[r] * kPerMeanSquare, kSilence);
      scales.exponent[r] = top[r] + ((static_cast<int>(__float_as_uint(twice_mean) >> 23) - (128 - ROWS)) >> 1);
      scales.finite[r] = top[r] < kTopOfInfinity;
    }
    if constexpr (ROWS == 2)
      if (energy[0] > 0 && energy[1] > 0)  // round(log2(energy ratio) / 2)
        scales.exponent[1] =
            scales.exponent[0] + top[1] - top[0] +
            ((static_cast<int>(__float_as_uint(__fdividef(2 * energy[1], energy[0])) >> 23) - 127) >> 1);
#pragma unroll
    for (int r = 0; r < ROWS; ++r) scales.exponent[r] = max(-126, min(scales.exponent[r], kLargestExponent));
    return scales;
  }
};

/// The scale of the products of two spectra, of the first rows or the second.
template <int ROWS>
__device__ __forceinline__ float product_scale(const RowScales<ROWS>& x, const RowScales<ROWS>& g, bool second) {
  return power_of_two(second ? x.exponent[ROWS - 1] : x.exponent[0]) *
         power_of_two(second ? g.exponent[ROWS - 1] : g.exponent[0]);
}

/// How a row's results come out: y = v 2^exponent factor, times postgate, v the halves that the transform has left.
/// BY_STAGE: without postgate, halves may get their scale from the constants of the last stage.
template <class Type, bool BY_STAGE = false>
struct Finish {
  float once;  // 2^exponent factor, 2^127 at most: zeros stay zeros
  u32 twice;
  bool exact;  // it is harmless in half precision
  bool gated;

  /// `factor`: of the channel, or NaN.
  __device__ __forceinline__ Finish(int exponent, float factor, bool is_gated)
      : once(power_of_two(exponent) * factor), gated(is_gated) {
    exact = Type::kIsHalf && once >= 0x1p-6f && once <= 0x1p14f;
    twice = pack(once, once);
    if (once > 0x1p127f) once = 0x1p127f;
  }

  /// What the last stage is to be scaled by.
  __device__ __forceinline__ u32 by_stage() const { return exact ? twice : 0x3c003c00u; }

  template <int WORDS>
  __device__ __forceinline__ void apply(u32 (&v)[WORDS], const u32 (&postgate)[WORDS]) const {
    if (!apply_in_halves(v, postgate)) apply_in_floats(v, postgate);
  }
  /// False, and nothing done, where halves do not suffice: a product may overflow halfway and yet be finite in the end.
  template <int WORDS>
  __device__ __forceinline__ bool apply_in_halves(u32 (&v)[WORDS], const u32 (&postgate)[WORDS]) const {
    if (!exact) return false;
    if (BY_STAGE) return true;
    u32 largest = 0, y[WORDS];
#pragma unroll
    for (int i = 0; i < WORDS; ++i) y[i] = mul(v[i], twice);
    if (gated) {
#pragma unroll
      for (int i = 0; i < WORDS; ++i) {
        y[i] = mul(y[i], postgate[i]);
        largest = larger_magnitude(largest, y[i]);
      }
    }
    if (max(largest & 0xffffu, largest >> 16) >= 0x7c00u) return false;
#pragma unroll
    for (int i = 0; i < WORDS; ++i) v[i] = y[i];
    return true;
  }
  template <int WORDS>
  __device__ __forceinline__ void apply_in_floats(u32 (&v)[WORDS], const u32 (&postgate)[WORDS]) const {
#pragma unroll
    for (int i = 0; i < WORDS; ++i) v[i] = finished(Half::wide(v[i]), postgate[i]);
  }
  /// Results of a row, in fp32, into words.
  template <int WORDS>
  __device__ __forceinline__ void finish(const float2 (&y)[WORDS], const u32 (&postgate)[WORDS],
                                         u32 (&words)[WORDS]) const {
#pragma unroll
    for (int i = 0; i < WORDS; ++i) words[i] = finished(y[i], postgate[i]);
  }
  /// The same of results in fp32, rounded once.
  __device__ __forceinline__ u32 finished(float2 v, u32 postgate) const {
    v.x *= once, v.y *= once;
    if (gated) {
      const float2 p = Type::wide(postgate);
      v.x *= p.x, v.y *= p.y;
    }
    return Type::narrow(v.x, v.y);
  }
};

}  // namespace ffc::cuda
