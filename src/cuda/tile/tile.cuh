// An 8 x 8 tile of complex halves, two registers a lane: lane 4g + t holds (row g, columns 2t and 2t + 1), real parts
// in one register and imaginary parts in the other. Elementwise arithmetic on tiles, and unit complex numbers to go
// with it. Wide: the same in fp32, four registers a lane.
#pragma once

#include <cuda_fp16.h>

#include <utility>

#include "cuda/ptx/ptx.cuh"

namespace ffc::cuda {

/// body(integral_constant 0), .., body(integral_constant COUNT - 1): what an index decides is decided when compiling.
template <int COUNT, class Body>
__device__ __forceinline__ void unrolled(Body body) {
  [&]<int... I>(std::integer_sequence<int, I...>) {
    (body(std::integral_constant<int, I>()), ...);
  }(std::make_integer_sequence<int, COUNT>());
}

struct Tile {
  u32 re, im;
};

/// Two complex constants a lane, c + i s, beside a tile's two columns.
struct Phases {
  u32 c, s;
};

/// Rows as columns. Done where it is asked for, not once before a loop.
__device__ __forceinline__ Phases transposed(Phases p) {
  return {transpose_8x8(opaque(p.c)), transpose_8x8(opaque(p.s))};
}

struct WideTile {
  float2 re, im;
};
struct __align__(16) WidePhases {
  float2 c, s;
};

__device__ __forceinline__ __half2 as_half2(u32 a) { return *reinterpret_cast<__half2*>(&a); }
__device__ __forceinline__ u32 as_bits(__half2 a) { return *reinterpret_cast<u32*>(&a); }
__device__ __forceinline__ u32 pack(float a, float b) { return as_bits(__floats2half2_rn(a, b)); }
__device__ __forceinline__ u32 pack_low(u32 a, u32 b) { return __byte_perm(a, b, 0x5410); }
__device__ __forceinline__ u32 pack_high(u32 a, u32 b) { return __byte_perm(a, b, 0x7632); }
__device__ __forceinline__ u32 negated(u32 a) { return a ^ 0x80008000u; }

__device__ __forceinline__ u32 add(u32 a, u32 b) { return as_bits(__hadd2(as_half2(a), as_half2(b))); }
__device__ __forceinline__ u32 sub(u32 a, u32 b) { return as_bits(__hsub2(as_half2(a), as_half2(b))); }
__device__ __forceinline__ u32 mul(u32 a, u32 b) { return as_bits(__hmul2(as_half2(a), as_half2(b))); }
__device__ __forceinline__ u32 fma(u32 a, u32 b, u32 c) {
  return as_bits(__hfma2(as_half2(a), as_half2(b), as_half2(c)));
}

/// a b - c d and a b + c d: a product rounded, then one rounding more.
__device__ __forceinline__ u32 difference(u32 a, u32 b, u32 c, u32 d) {
  return as_bits(__hfma2(as_half2(a), as_half2(b), __hneg2(__hmul2(as_half2(c), as_half2(d)))));
}
__device__ __forceinline__ u32 sum(u32 a, u32 b, u32 c, u32 d) { return fma(a, b, mul(c, d)); }

/// z p
__device__ __forceinline__ Tile times(Tile z, Phases p) {
  return {difference(z.re, p.c, z.im, p.s), sum(z.re, p.s, z.im, p.c)};
}
/// z conj(p)
__device__ __forceinline__ Tile times_conjugate(Tile z, Phases p) {
  return {sum(z.re, p.c, z.im, p.s), difference(z.im, p.c, z.re, p.s)};
}
__device__ __forceinline__ Tile add(Tile a, Tile b) { return {add(a.re, b.re), add(a.im, b.im)}; }
__device__ __forceinline__ Tile sub(Tile a, Tile b) { return {sub(a.re, b.re), sub(a.im, b.im)}; }

__device__ __forceinline__ float2 add(float2 a, float2 b) { return {a.x + b.x, a.y + b.y}; }
__device__ __forceinline__ float2 sub(float2 a, float2 b) { return {a.x - b.x, a.y - b.y}; }
__device__ __forceinline__ float2 mul(float2 a, float b) { return {a.x * b, a.y * b}; }
__device__ __forceinline__ float2 negated(float2 a) { return {-a.x, -a.y}; }
__device__ __forceinline__ WideTile add(WideTile a, WideTile b) { return {add(a.re, b.re), add(a.im, b.im)}; }
__device__ __forceinline__ WideTile sub(WideTile a, WideTile b) { return {sub(a.re, b.re), sub(a.im, b.im)}; }
/// z p
__device__ __forceinline__ WideTile times(WideTile z, WidePhases p) {
  return {{z.re.x * p.c.x - z.im.x * p.s.x, z.re.y * p.c.y - z.im.y * p.s.y},
          {z.re.x * p.s.x + z.im.x * p.c.x, z.re.y * p.s.y + z.im.y * p.c.y}};
}
/// z conj(p)
__device__ __forceinline__ WideTile times_conjugate(WideTile z, WidePhases p) {
  return {{z.re.x * p.c.x + z.im.x * p.s.x, z.re.y * p.c.y + z.im.y * p.s.y},
          {z.im.x * p.c.x - z.re.x * p.s.x, z.im.y * p.c.y - z.re.y * p.s.y}};
}
__device__ __forceinline__ Tile narrow(WideTile z) { return {pack(z.re.x, z.re.y), pack(z.im.x, z.im.y)}; }
/// A tile of halves as constants.
__device__ __forceinline__ WidePhases wide_phases(Tile z) {
  return {__half22float2(as_half2(z.re)), __half22float2(as_half2(z.im))};
}

/// exp(-2 pi i numerator / denominator), good to 5e-7, a five-hundredth of half precision's last bit; the denominator
/// is a power of two and the angle is reduced exactly.
__device__ __forceinline__ float2 unit(int numerator, int denominator) {
  const int half = denominator / 2, n = ((numerator + half) & (denominator - 1)) - half;
  float s, c;
  __sincosf(6.283185307f / static_cast<float>(denominator) * static_cast<float>(n), &s, &c);
  return {c, -s};
}
__device__ __forceinline__ Phases phases(int numerator0, int numerator1, int denominator, float scale = 1.f) {
  const float2 a = unit(numerator0, denominator), b = unit(numerator1, denominator);
  return {pack(scale * a.x, scale * b.x), pack(scale * a.y, scale * b.y)};
}
/// cos(2 pi i / 32), 0 <= i <= 8: no instructions where i is known.
__device__ __forceinline__ float cosine_of_32(int i) {
  constexpr float kCosine[9] = {1.f,         0.98078528f, 0.92387953f, 0.83146961f, 0.70710678f,
                                0.55557023f, 0.38268343f, 0.19509032f, 0.f};
  return kCosine[i];
}
/// The same as a half, twice.
__device__ __forceinline__ u32 half_cosine_of_32(int i) {
  constexpr u32 kCosine[9] = {0x3c00, 0x3bd9, 0x3b64, 0x3aa7, 0x39a8, 0x3872, 0x361f, 0x323e, 0};
  return kCosine[i] * 0x10001u;
}
__device__ __forceinline__ WidePhases wide_phases(int numerator0, int numerator1, int denominator) {
  const float2 a = unit(numerator0, denominator), b = unit(numerator1, denominator);
  return {{a.x, b.x}, {a.y, b.y}};
}

/// COUNT constants a lane: in registers, or where there are too many, in shared memory, one copy for all warps.
template <int COUNT, bool SHARED, class Value = Phases>
struct LaneTable {
  static constexpr int kBytes = SHARED ? COUNT * 32 * static_cast<int>(sizeof(Value)) : 0;
  Value held[SHARED ? 1 : COUNT];
  Value* stored;  // [COUNT][32]
  int lane;

  __device__ __forceinline__ LaneTable(int own_lane, void* memory)
      : stored(static_cast<Value*>(memory)), lane(own_lane) {}
  /// Of a shared table, one warp sets the values; a barrier must follow.
  __device__ __forceinline__ void set(int i, Value p, bool writer) {
    if constexpr (!SHARED)
      held[i] = p;
    else if (writer)
      stored[32 * i + lane] = p;
  }
  __device__ __forceinline__ Value get(int i) const {
    if constexpr (SHARED)
      return stored[32 * i + lane];
    else
      return held[i];
  }
};

}  // namespace ffc::cuda
