#include "device.h"

#include <ucontext.h>

#include <algorithm>
#include <cstring>
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
  unsigned cluster_turn = 0;  // that it has come to
};
struct Barrier {
  int arrived = 0;
  unsigned generation = 0;
};
struct Warp {
  Barrier barrier;
  alignas(16) unsigned char slots[32][256];
};

/// A block of the cluster in hand; what lies in its shared memory while another one runs.
struct Block {
  std::vector<Thread> threads;
  std::vector<Warp> warps;
  Barrier barriers[16];
  std::vector<unsigned char> memory;
};

ucontext_t scheduler;
std::vector<Block> cluster;
Block* block = nullptr;  // that runs
Barrier cluster_barrier;
const std::function<void()>* running = nullptr;
bool moved = false;  // some thread got on since this was last cleared
// A warp runs as far as it gets, to a barrier of the block, before the next one does, in an order that is another one
// every time, and so do the blocks of a cluster: what it writes too early, others find.
std::minstd_rand random_order;

void yield() {
  const int self = thread_index.x;
  swapcontext(&block->threads[self].context, &scheduler);
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
  block->threads[thread_index.x].done = true;
  moved = true;
}

void begin_block(Block& of) {
  const int count = block_size.x;
  if (static_cast<int>(of.threads.size()) < count) of.threads.resize(count);  // stacks serve again
  of.warps.assign(count / 32, {});
  for (Barrier& barrier : of.barriers) barrier = {};
  for (int i = 0; i < count; ++i) {
    Thread& thread = of.threads[i];
    thread.done = false;
    getcontext(&thread.context);
    thread.context.uc_stack.ss_sp = thread.stack.data(), thread.context.uc_stack.ss_size = kStack;
    thread.context.uc_link = &scheduler;
    makecontext(&thread.context, run_thread, 0);
  }
}

std::vector<int> shuffled(std::size_t count) {
  std::vector<int> order(count);
  std::iota(order.begin(), order.end(), 0);
  std::shuffle(order.begin(), order.end(), random_order);
  return order;
}

/// Every warp of the block as far as it gets; whether one moved. `any`: there are threads that are not done.
bool run_warps(bool& any) {
  bool progress = false;
  for (int warp : shuffled(block->warps.size())) {
    do {
      moved = false;
      for (int i = 32 * warp; i < 32 * warp + 32; ++i) {
        if (block->threads[i].done) continue;
        any = true, thread_index.x = i;
        swapcontext(&scheduler, &block->threads[i].context);
      }
      progress |= moved;
    } while (moved);
  }
  return progress;
}

/// Of blocks first, first + 1, ..
void run_cluster(int first) {
  for (Block& of : cluster) begin_block(of);
  cluster_barrier = {};
  const bool alone = cluster.size() == 1;
  for (Block& of : cluster) of.memory.assign(alone ? 0 : sizeof ffc::cuda::shared, 0xff);
  for (bool any = true; any;) {
    any = false;
    bool progress = false;
    for (int i : shuffled(cluster.size())) {
      block = &cluster[i], block_index.x = first + i;
      if (!alone) std::memcpy(ffc::cuda::shared, block->memory.data(), block->memory.size());
      progress |= run_warps(any);
      if (!alone) std::memcpy(block->memory.data(), ffc::cuda::shared, block->memory.size());
    }
    if (any && !progress) throw std::runtime_error("the threads of a cluster wait for each other for ever");
  }
}

}  // namespace

void launch(int blocks, int threads, const std::function<void()>& kernel, int blocks_of_cluster) {
  running = &kernel;
  grid_size.x = blocks, block_size.x = threads;
  cluster.resize(blocks_of_cluster);
  for (int first = 0; first < blocks; first += blocks_of_cluster) run_cluster(first);
}

void warp_barrier() { arrive(block->warps[thread_index.x / 32].barrier, 32); }
void block_barrier(int id, int threads) { arrive(block->barriers[id], threads); }
void cluster_arrive() {
  block->threads[thread_index.x].cluster_turn = cluster_barrier.generation;
  moved = true;
  if (++cluster_barrier.arrived == block_size.x * static_cast<int>(cluster.size()))
    cluster_barrier.arrived = 0, ++cluster_barrier.generation;
}
void cluster_wait() {
  while (cluster_barrier.generation == block->threads[thread_index.x].cluster_turn) yield();
}
void* lane_slot(int lane) { return block->warps[thread_index.x / 32].slots[lane]; }
int lane() { return thread_index.x % 32; }

}  // namespace emulated
