// The cost model: operations per output, fitted to measurements, that decide between algorithms and sizes.
#pragma once

#include <cstdint>

#include "algo/fold.h"
#include "algo/sizes.h"
#include "flashfftconv/plan.h"

namespace ffc {

// Vector operations of one forward and one inverse transform. A point costs 2 R at the root, real on one side, each
// way; 6 and 7 a radix-4 level down and up; the stages inside vectors, the product and the passes over memory about 30.
inline double transform_cost(const TransformSize& size, int lanes) {
  return static_cast<double>(size.points) / lanes * (4 * size.root + 13 * size.levels + 30);
}

// Vector operations of a row of `length` outputs of `taps` products each. A load and a product share the ports; the
// filter's gradient, which a backward pass adds, costs more than the sums, and weighs half here.
inline double direct_cost(std::int64_t length, std::int64_t taps, int lanes) {
  return (static_cast<double>(length) / lanes + 1) * (1.8 * static_cast<double>(taps) + 6);
}

}  // namespace ffc
