// Element types as the standards define them, written without the library: decoding is exact, encoding rounds the exact
// double once, to nearest, ties to even.
#pragma once

#include <cstdint>

#include "flashfftconv/types.h"

namespace ffc::test {

double decode(DType dtype, const void* from);
void encode(DType dtype, double value, void* to);

/// The nearest number of that type.
double rounded(DType dtype, double value);

/// Reproducible numbers, the same on every machine and standard library.
class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(seed * 0x9e3779b97f4a7c15u + 0x2545f4914f6cdd1du) {}
  std::uint64_t bits();
  double uniform();  // in [0, 1)
  double normal();   // mean 0, variance 1
  std::int64_t below(std::int64_t limit) { return static_cast<std::int64_t>(uniform() * static_cast<double>(limit)); }

 private:
  std::uint64_t state_;
};

}  // namespace ffc::test
