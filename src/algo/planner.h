// The cost model: operations per output, fitted to measurements, that decide between algorithms and sizes.
#pragma once

#include <cstdint>

#include "algo/fold.h"
#include "algo/sizes.h"
#include "flashfftconv/plan.h"

namespace ffc {

// Vector operations of one forward and one inverse transform. A point costs 2 R at the root, real on one side, each
// way; 6 and 8 a radix-4 level down and up; the stages inside vectors cost about 30 with their transpositions.
inline double transform_cost(const TransformSize& size, int lanes) {
  return static_cast<double>(size.points) / lanes * (4 * size.root + 14 * size.levels + 30);
}

// Vector operations of a row of `length` outputs of `taps` products each: a load and a product share the ports.
inline double direct_cost(std::int64_t length, std::int64_t taps, int lanes) {
  return (static_cast<double>(length) / lanes + 1) * (1.3 * static_cast<double>(taps) + 6);
}

}  // namespace ffc
