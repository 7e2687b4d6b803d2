// The table of transform sizes: M = root * 4^levels * lanes points, where `lanes` is the width of a vector.
#pragma once

#include <cstdint>

namespace ffc {

// Radices of the root stage, which alone knows the shift of the transform. A new family of sizes is one entry.
inline constexpr int kRoots[] = {3, 4, 5, 6, 7, 8};

struct TransformSize {
  std::int64_t points = 0;
  int root = 0;
  int levels = 0;  // radix-4 levels between the root and the stages inside vectors
};

// The cheapest size of at least `length` points whose blocks of `lanes` points fill whole packets of up to four.
TransformSize choose_size(std::int64_t length, int lanes);

// The size of exactly `points`, or one of 0 points where the table has none.
TransformSize exact_size(std::int64_t points, int lanes);

}  // namespace ffc
