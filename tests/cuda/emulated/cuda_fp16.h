// Half precision as the kernels use it, on the CPU: every operation rounds once, to nearest even.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#include "device.h"

using __half = _Float16;
struct __half2 {
  __half x, y;
};

inline __half __float2half_rn(float a) { return static_cast<__half>(a); }
inline float __half2float(__half a) { return static_cast<float>(a); }
inline __half __ushort_as_half(unsigned short bits) {
  __half a;
  std::memcpy(&a, &bits, 2);
  return a;
}
inline __half2 __floats2half2_rn(float a, float b) { return {static_cast<__half>(a), static_cast<__half>(b)}; }
inline float2 __half22float2(__half2 a) { return {static_cast<float>(a.x), static_cast<float>(a.y)}; }

namespace emulated {
inline __half rounded(double a) { return static_cast<__half>(a); }
inline double wide(__half a) { return static_cast<double>(a); }
}  // namespace emulated

inline __half2 __hadd2(__half2 a, __half2 b) {
  return {emulated::rounded(emulated::wide(a.x) + emulated::wide(b.x)),
          emulated::rounded(emulated::wide(a.y) + emulated::wide(b.y))};
}
inline __half2 __hneg2(__half2 a) { return {-a.x, -a.y}; }
inline __half2 __hsub2(__half2 a, __half2 b) { return __hadd2(a, __hneg2(b)); }
inline __half2 __hmul2(__half2 a, __half2 b) {
  return {emulated::rounded(emulated::wide(a.x) * emulated::wide(b.x)),
          emulated::rounded(emulated::wide(a.y) * emulated::wide(b.y))};
}
inline __half2 __hfma2(__half2 a, __half2 b, __half2 c) {
  return {emulated::rounded(emulated::wide(a.x) * emulated::wide(b.x) + emulated::wide(c.x)),
          emulated::rounded(emulated::wide(a.y) * emulated::wide(b.y) + emulated::wide(c.y))};
}
inline __half2 __habs2(__half2 a) {
  return {std::signbit(float(a.x)) ? -a.x : a.x, std::signbit(float(a.y)) ? -a.y : a.y};
}
inline __half2 __hmax2_nan(__half2 a, __half2 b) {
  auto larger = [](__half p, __half q) { return p != p ? p : q != q ? q : p > q ? p : q; };
  return {larger(a.x, b.x), larger(a.y, b.y)};
}
