#include "algo/sizes.h"

#include <algorithm>

#include "algo/planner.h"

namespace ffc {
namespace {

// Calls visit(size) for every size of the table up to 8 times `limit`.
template <typename Visit>
void for_each_size(std::int64_t limit, int lanes, Visit visit) {
  for (int root : kRoots) {
    std::int64_t blocks = root;
    for (int levels = 0; levels < 30; ++levels, blocks *= 4) {
      if (blocks % std::min(lanes, 4) == 0) visit(TransformSize{blocks * lanes, root, levels});
      if (blocks * lanes > limit) break;
    }
  }
}

}  // namespace

TransformSize choose_size(std::int64_t length, int lanes) {
  TransformSize best;
  for_each_size(16 * length + 16LL * lanes * lanes, lanes, [&](TransformSize size) {
    if (size.points < length) return;
    if (best.points == 0 || transform_cost(size, lanes) < transform_cost(best, lanes)) best = size;
  });
  return best;
}

TransformSize exact_size(std::int64_t points, int lanes) {
  TransformSize found;
  for_each_size(points, lanes, [&](TransformSize size) {
    if (size.points == points) found = size;
  });
  return found;
}

}  // namespace ffc
