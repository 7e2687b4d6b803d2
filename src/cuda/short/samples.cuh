// Samples as they lie in memory and as floats, and the activations.
#pragma once

#include <type_traits>

#include "cuda/kernels/rows.cuh"
#include "cuda/short/short_launch.h"

namespace ffc::cuda {

/// Beside Half and BFloat: a sample is a word.
struct Single {};

template <class Type>
inline constexpr int kPerWord = 2;
template <>
inline constexpr int kPerWord<Single> = 1;

template <class Type>
using Stored = std::conditional_t<kPerWord<Type> == 2, std::uint16_t, float>;

/// Samples in 16 bytes.
template <class Type>
inline constexpr int kChunk = 4 * kPerWord<Type>;

template <class Type>
__device__ __forceinline__ float wide(Stored<Type> v) {
  if constexpr (kPerWord<Type> == 2)
    return Type::wide(v).x;
  else
    return v;
}
template <class Type>
__device__ __forceinline__ Stored<Type> narrow(float v) {
  if constexpr (kPerWord<Type> == 2)
    return static_cast<std::uint16_t>(Type::narrow(v, v));
  else
    return v;
}

/// COUNT adjacent samples, accessed as one: 4, 8 or 16 bytes of memory aligned to them.
template <class Type, int COUNT>
struct SampleVector {
  static constexpr int kWords = COUNT / kPerWord<Type>;
  static_assert(kWords == 1 || kWords == 2 || kWords == 4);
  using Memory = std::conditional_t<kWords == 1, u32, std::conditional_t<kWords == 2, uint2, uint4>>;
  u32 words[kWords];

  __device__ __forceinline__ void clear() {
#pragma unroll
    for (int i = 0; i < kWords; ++i) words[i] = 0;
  }
  /// Neighbours read the same samples again: they stay in L1.
  __device__ __forceinline__ void load(const Stored<Type>* from) {
    const Memory m = __ldg(reinterpret_cast<const Memory*>(from));
    if constexpr (kWords == 1)
      words[0] = m;
    else
      words[0] = m.x, words[1] = m.y;
    if constexpr (kWords == 4) words[2] = m.z, words[3] = m.w;
  }
  /// Words [FIRST, FIRST + WORDS) of them alone.
  template <int FIRST, int WORDS>
  __device__ __forceinline__ void load_part(const Stored<Type>* from) {
    SampleVector<Type, WORDS * kPerWord<Type>> part;
    part.load(from + FIRST * kPerWord<Type>);
#pragma unroll
    for (int i = 0; i < WORDS; ++i) words[FIRST + i] = part.words[i];
  }
  /// Nobody reads them again soon: they leave L2 first.
  __device__ __forceinline__ void store(Stored<Type>* to) const {
    Memory m;
    if constexpr (kWords == 1)
      m = words[0];
    else
      m.x = words[0], m.y = words[1];
    if constexpr (kWords == 4) m.z = words[2], m.w = words[3];
    __stcs(reinterpret_cast<Memory*>(to), m);
  }
  __device__ __forceinline__ void widen(float* to) const { widen_part<COUNT>(0, to); }
  __device__ __forceinline__ void narrow(const float (&from)[COUNT]) { narrow_part(0, from); }
  /// Samples [first, first + PART) of them, whole words.
  template <int PART>
  __device__ __forceinline__ void widen_part(int first, float* to) const {
#pragma unroll
    for (int i = 0; i < PART / kPerWord<Type>; ++i) {
      const u32 word = words[first / kPerWord<Type> + i];
      if constexpr (kPerWord<Type> == 2) {
        const float2 pair = Type::wide(word);
        to[2 * i] = pair.x, to[2 * i + 1] = pair.y;
      } else {
        to[i] = __uint_as_float(word);
      }
    }
  }
  template <int PART>
  __device__ __forceinline__ void narrow_part(int first, const float (&from)[PART]) {
#pragma unroll
    for (int i = 0; i < PART / kPerWord<Type>; ++i) {
      u32& word = words[first / kPerWord<Type> + i];
      if constexpr (kPerWord<Type> == 2)
        word = Type::narrow(from[2 * i], from[2 * i + 1]);
      else
        word = __float_as_uint(from[i]);
    }
  }
};

/// Weights and biases: of the samples' type, or fp32.
template <class Type>
__device__ __forceinline__ float weight_at(const void* weights, long long at, bool single) {
  return single ? __ldg(static_cast<const float*>(weights) + at)
                : wide<Type>(__ldg(static_cast<const Stored<Type>*>(weights) + at));
}

/// v / (1 + e^-v). e^-v beyond the floats is infinite, the quotient 0.
__device__ __forceinline__ float silu(float v) { return __fdividef(v, 1 + __expf(-v)); }
__device__ __forceinline__ float silu_slope(float v) {
  const float s = __fdividef(1, 1 + __expf(-v));
  return s * (1 + v * (1 - s));
}
/// v Phi(v).
__device__ __forceinline__ float gelu(float v) { return 0.5f * v * (1 + erff(v * 0.70710678f)); }
__device__ __forceinline__ float gelu_slope(float v) {
  return 0.5f * (1 + erff(v * 0.70710678f)) + v * 0.39894228f * __expf(-0.5f * v * v);
}

/// v = act(v).
template <int COUNT>
__device__ __forceinline__ void activate(float (&v)[COUNT], ShortActivation kind) {
  if (kind == ShortActivation::silu) {
#pragma unroll
    for (int i = 0; i < COUNT; ++i) v[i] = silu(v[i]);
  } else if (kind == ShortActivation::gelu) {
#pragma unroll
    for (int i = 0; i < COUNT; ++i) v[i] = gelu(v[i]);
  }
}
/// v = act'(v), for an activation other than none.
template <int COUNT>
__device__ __forceinline__ void to_slopes(float (&v)[COUNT], ShortActivation kind) {
  if (kind == ShortActivation::silu) {
#pragma unroll
    for (int i = 0; i < COUNT; ++i) v[i] = silu_slope(v[i]);
  } else if (kind == ShortActivation::gelu) {
#pragma unroll
    for (int i = 0; i < COUNT; ++i) v[i] = gelu_slope(v[i]);
  }
}

}  // namespace ffc::cuda
