#include "device.h"

#include <ucontext.h>

#include <algorithm>
#include <numeric>
#include <random>
#include <stdexcept>
#include <vector>

namespace ffc::cuda {
alignas(1024) unsigned char shared[232448];
}

namespace emulated {

Index thread_index, block_index, block_size, grid_size;

namespace {

constexpr std::size_t kStack = 256 * 1024;

struct Thread {
  ucontext_t context{};
  std::vector<char> stack = std::vector<char>(kStack);
  bool done = false;
};
struct Barrier {
  int arrived = 0;
  unsigned generation = 0;
};
struct Warp {
  Barrier barrier;
  alignas(16) unsigned char slots[32][256];
};

ucontext_t scheduler;
std::vector<Thread> threads_of_block;
std::vector<Warp> warps;
Barrier barriers[16];
const std::function<void()>* running = nullptr;
bool moved = false;  // some thread got on since this was last cleared
// A warp runs as far as it gets, to a barrier of the block, before the next one does, in an order that is another one
// every time: what it writes too early, others find.
std::minstd_rand random_order;

void yield() {
  const int self = thread_index.x;
  swapcontext(&threads_of_block[self].context, &scheduler);
  thread_index.x = self;
}

void arrive(Barrier& barrier, int threads) {
  const unsigned generation = barrier.generation;
  moved = true;
  if (++barrier.arrived == threads)
    barrier.arrived = 0, ++barrier.generation;
  else
    while (barrier.generation == generation) yield();
}

void run_thread() {
  (*running)();
  threads_of_block[thread_index.x].done = true;
  moved = true;
}

void run_block() {
  const int count = block_size.x;
  if (static_cast<int>(threads_of_block.size()) < count) threads_of_block.resize(count);  // stacks serve again
  warps.assign(count / 32, {});
  for (Barrier& barrier : barriers) barrier = {};
  for (int i = 0; i < count; ++i) {
    Thread& thread = threads_of_block[i];
    thread.done = false;
    getcontext(&thread.context);
    thread.context.uc_stack.ss_sp = thread.stack.data(), thread.context.uc_stack.ss_size = kStack;
    thread.context.uc_link = &scheduler;
    makecontext(&thread.context, run_thread, 0);
  }
  std::vector<int> order(count / 32);
  std::iota(order.begin(), order.end(), 0);
  for (bool any = true; any;) {
    any = false;
    bool progress = false;
    std::shuffle(order.begin(), order.end(), random_order);
    for (int warp : order) {
      do {
        moved = false;
        for (int i = 32 * warp; i < 32 * warp + 32; ++i) {
          if (threads_of_block[i].done) continue;
          any = true, thread_index.x = i;
          swapcontext(&scheduler, &threads_of_block[i].context);
        }
        progress |= moved;
      } while (moved);
    }
    if (any && !progress) throw std::runtime_error("the threads of a block wait for each other for ever");
  }
}

}  // namespace

void launch(int blocks, int threads, const std::function<void()>& kernel) {
  running = &kernel;
  grid_size.x = blocks, block_size.x = threads;
  for (block_index.x = 0; block_index.x < blocks; ++block_index.x) run_block();
}

void warp_barrier() { arrive(warps[thread_index.x / 32].barrier, 32); }
void block_barrier(int id, int threads) { arrive(barriers[id], threads); }
void* lane_slot(int lane) { return warps[thread_index.x / 32].slots[lane]; }
int lane() { return thread_index.x % 32; }

}  // namespace emulated
