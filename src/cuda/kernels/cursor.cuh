// How blocks share the work: items (channel, split), and the rows of the channel that belong to the split.
#pragma once

namespace ffc::cuda {

struct Work {
  int batch, channels, splits;
  int together = 1;  // blocks, a cluster, that share an item
};

/// A team's way through the rows: items `worker`, worker + workers, ..; of an item's rows the teams of the worker and
/// the splits of the channel take turns.
struct Cursor {
  Work work;
  int workers, first, stride;  // rows: the first of this team, those that a worker takes at once
  int item, h = 0, b = 0;

  /// `rows`: how many a team takes at once.
  __device__ __forceinline__ Cursor(const Work& w, int worker, int worker_count, int team, int teams, int rows)
      : work(w), workers(worker_count), first(rows * team), stride(rows * teams), item(worker) {
    settle();
  }
  /// h, where an item is looked at so seldom that a quotient costs less than a register.
  __device__ __forceinline__ int channel() const { return item / work.splits; }
  __device__ __forceinline__ bool done() const { return item >= work.channels * work.splits; }
  __device__ __forceinline__ void advance() {
    b += stride * work.splits;
    if (b < work.batch) return;
    item += workers;
    settle();
  }

 private:
  // The first row of the item, or of the next one that has rows for this team.
  __device__ __forceinline__ void settle() {
    for (; !done(); item += workers) {
      h = item / work.splits;
      b = item % work.splits * stride + first;
      if (b < work.batch) return;
    }
  }
};

}  // namespace ffc::cuda
