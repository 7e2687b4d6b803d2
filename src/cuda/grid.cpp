#include "cuda/grid.h"

#include <algorithm>

namespace ffc::cuda {
namespace {

// More items than this many waves fill the device evenly enough; further splits would only reload the spectrum.
constexpr std::int64_t kWaves = 8;

std::int64_t divide_up(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

// Of workers that take items in turn, no more than the waves need, where that leaves few places idle: the others have
// the second-level cache to themselves. (768 items on 66 clusters are 12 waves, as on 64.)
std::int64_t as_many_as_needed(std::int64_t items, std::int64_t most, std::int64_t waves) {
  const std::int64_t needed = divide_up(items, waves);
  return 16 * needed >= 15 * most ? needed : most;
}

}  // namespace

int blocks_together(const BlockWork& kernel, std::int64_t slots, std::int64_t batch, std::int64_t splits) {
  return slots >= kernel.together && divide_up(batch, kernel.rows) >= kernel.together * splits ? kernel.together : 1;
}

GridChoice choose_grid(const GridProblem& p) {
  GridChoice best;
  if (p.batch == 0 || p.channels == 0) return best;
  const std::int64_t group = p.kernel.rows, workers = p.kernel.workers;
  const std::int64_t groups = divide_up(p.batch, group),
                     most = std::min(groups, std::max<std::int64_t>(1, p.most_splits));
  const std::int64_t wanted = std::min<std::int64_t>(most, p.kernel.splits);
  const std::int64_t first = divide_up(groups, divide_up(groups, wanted));  // splits of the same size
  const std::int64_t limit = std::max(first, std::min(most, divide_up(kWaves * p.slots, p.channels)));
  double least = 0;
  for (std::int64_t splits = first; splits <= limit; ++splits) {
    const std::int64_t groups_per_split = divide_up(groups, splits);
    if (divide_up(groups, groups_per_split) != splits) continue;  // fewer splits of the same size do
    const std::int64_t together = blocks_together(p.kernel, p.slots, p.batch, splits);
    const std::int64_t slots = std::max<std::int64_t>(1, p.slots / together);
    const std::int64_t items = p.channels * splits, waves = divide_up(items, slots);
    const std::int64_t groups_of_block = divide_up(groups_per_split, together);
    const double item = static_cast<double>(p.split_bytes / together + groups_of_block * group * p.row_bytes);
    const double reduction = static_cast<double>(items) / static_cast<double>(p.slots) * p.sum_bytes;
    const double cost = static_cast<double>(waves) * item + reduction;
    if (splits > first && cost >= least) continue;
    least = best.cost = cost;
    const std::int64_t at_once = p.kernel.one_item ? std::min<std::int64_t>(items, INT32_MAX)
                                                   : as_many_as_needed(items, std::min(items, slots), waves);
    best.grid = {static_cast<int>(splits), static_cast<int>(divide_up(at_once, workers) * together),
                 static_cast<int>(together)};
    best.items = items;
    best.rows_per_split = std::min(groups_per_split * group, p.batch);
    best.waves = static_cast<double>(items) / static_cast<double>(slots);
  }
  return best;
}

}  // namespace ffc::cuda
