// Tasks that workers share.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>

#include "cpu/thread_pool.h"
#include "flashfftconv/execute.h"

namespace ffc::cpu {

// Calls task(index, worker) for every index in [0, count). Every worker has a range of its own and helps with the
// others' when that is done: a call finds most of what it reads in the cache where the call before left it, and a
// worker that starts late or is slow holds nobody up.
template <class Task>
void parallel_tasks(const Execution& execution, int workers, std::int64_t count, Task&& task) {
  constexpr int kRanges = 64;  // workers beyond that share them
  struct alignas(64) Range {
    std::atomic<std::int64_t> next;
    std::int64_t end;
  };
  struct Shared {
    Range ranges[kRanges];
    int used;
    Task& task;
  } shared{{}, static_cast<int>(std::min<std::int64_t>({workers, count, kRanges})), task};
  for (int r = 0; r < shared.used; ++r) {
    shared.ranges[r].next.store(count * r / shared.used, std::memory_order_relaxed);
    shared.ranges[r].end = count * (r + 1) / shared.used;
  }
  auto body = [](void* argument, int worker) {
    Shared& s = *static_cast<Shared*>(argument);
    for (int r = 0; r < s.used; ++r) {
      Range& range = s.ranges[(worker + r) % s.used];
      for (std::int64_t i; (i = range.next.fetch_add(1, std::memory_order_relaxed)) < range.end;) s.task(i, worker);
    }
  };
  workers = static_cast<int>(std::min<std::int64_t>(workers, count));
  if (count == 0) return;
  if (workers > 1 && execution.parallel.run)
    execution.parallel.run(execution.parallel.context, workers, body, &shared);
  else
    run_on_own_threads(workers, body, &shared);
}

}  // namespace ffc::cpu
