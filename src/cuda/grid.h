// How the rows of a batch are spread over the blocks that a device holds.
#pragma once

#include <cstdint>

#include "cuda/launch.h"

namespace ffc::cuda {

/// What the choice of a grid weighs: memory traffic, in bytes.
struct GridProblem {
  std::int64_t batch = 0, channels = 0;
  std::int64_t row_bytes = 0;    ///< read and written for a row
  std::int64_t split_bytes = 0;  ///< read and written once a split: the spectrum, and the sums of a backward pass
  std::int64_t sum_bytes = 0;    ///< of a split's sums, which a reduction reads again
  std::int64_t slots = 1;        ///< workers that run at a time; of blocks that work together, blocks
  std::int64_t most_splits = 1;  ///< that the workspace has room for
  BlockWork kernel{};            ///< what the kernel itself asks for
};

struct GridChoice {
  Grid grid{};
  std::int64_t items = 0;           ///< channels x splits: what workers take one after another
  std::int64_t rows_per_split = 0;  ///< at most
  double waves = 0;                 ///< items per slot
  double cost = 0;                  ///< in bytes, of the slot with most to do
};

/// Blocks that share an item: all that may, if each has rows of every item.
int blocks_together(const BlockWork& kernel, std::int64_t slots, std::int64_t batch, std::int64_t splits);

/// The cheapest number of splits: enough items to fill the device and a short last wave, few reloads of the spectrum.
GridChoice choose_grid(const GridProblem& problem);

}  // namespace ffc::cuda
