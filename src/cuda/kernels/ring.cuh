// Rows on their way from device memory through a ring of slots of shared memory, in the order in which they are used.
// A thread copies what it will read itself, so it waits for its own copies and for nobody else.
//
// The segments of a row (in pairs of two) come one after the other; a segment is one tensor, or two that take turns,
// piece by piece. A step is a piece, some chunks of a thread, of one of them, and fills a slot. Where a step has been
// taken out, the one comes that is as many steps ahead as there are slots: of the same row, or of the next.
#pragma once

#include <type_traits>
#include <utility>

#include "cuda/kernels/cursor.cuh"
#include "cuda/kernels/staged.cuh"

namespace ffc::cuda {

/// TENSORS: of each segment. `Row`: of Samples.
template <class At, class Row, int FREE_BYTES, int... TENSORS>
struct RingShape {
  static constexpr int kRows = Row::kRows, kGroups = Row::kGroupsPerThread, kChunks = Row::kTogether;
  static constexpr int kPieces = kRows * kGroups;  // of a tensor
  static constexpr int kSteps = (TENSORS + ...) * kPieces;
  static constexpr int kSlotBytes = 16 * kChunks * At::kThreads;
  /// So that a step's slot is the same for every row.
  static constexpr int kSlots = [] {
    int slots = FREE_BYTES / kSlotBytes < kSteps ? FREE_BYTES / kSlotBytes : kSteps;
    while (kSteps % slots != 0) --slots;
    return slots;
  }();
  static constexpr int kBytes = kSlots * kSlotBytes;
  static_assert(kSlots >= 2, "two tensors take turns");

  /// Tensors of the segments before one; in it.
  __host__ __device__ static constexpr int tensors_before(int segment) {
    constexpr int kTensors[] = {TENSORS...};
    int sum = 0;
    for (int i = 0; i < segment; ++i) sum += kTensors[i];
    return sum;
  }
  __host__ __device__ static constexpr int tensors_of(int segment) {
    return tensors_before(segment + 1) - tensors_before(segment);
  }

  /// Which tensor of all, in order, and which piece of it a step is.
  struct Step {
    int tensor, row, group;
  };
  __host__ __device__ static constexpr Step step_of(int step) {
    int segment = 0;
    while (step >= tensors_before(segment + 1) * kPieces) ++segment;
    const int within = step - tensors_before(segment) * kPieces, turns = tensors_of(segment), piece = within / turns;
    return {tensors_before(segment) + within % turns, piece / kGroups, piece % kGroups};
  }
  __host__ __device__ static constexpr int first_step(int segment, int row, int group) {
    return tensors_before(segment) * kPieces + (row * kGroups + group) * tensors_of(segment);
  }
};

/// Where the tensors of a row, or of a pair, lie, in shared memory: one thread looks each up, for all.
///
/// `Views`: of(i), the rows of tensor i, null data where they are not wanted; kRead that are read, in the order of the
/// ring, then kWritten that are written.
template <class Access, class Views, int ROWS>
struct RowTable {
  struct __align__(16) Entry {
    std::uint16_t* row;  // null: not wanted
    int length;          // 0: not wanted, or a row of a pair that there is not
    int unused;
  };
  struct __align__(8) Item {
    int index, channel;  // that the row belongs to (cursor.cuh); of none: -1
  };
  static constexpr int kTensors = Views::kRead + Views::kWritten, kEntries = kTensors * ROWS;
  /// Behind the entries and the item there is room for what a kernel has to remember of a row.
  static constexpr int kItem = 16 * kEntries, kState = kItem + 16, kStateBytes = 32, kBytes = kState + kStateBytes;

  /// `h`: the item's channel.
  __device__ static __forceinline__ void set(u32 table, const Views& views, const Cursor& item, int h, int length,
                                             int thread) {
    if (thread > kEntries) return;
    if (thread == kEntries) {
      shared_at<Item>(table + kItem) = item.done() ? Item{-1, -1} : Item{item.item, h};
      return;
    }
    const int b = item.b + thread % ROWS;
    const RowsView rows = views.of(thread / ROWS);
    const bool present = rows.data != nullptr && !item.done() && b < item.work.batch;
    shared_at<Entry>(table + 16 * thread) = {present ? Access::row(rows, b, h) : nullptr, present ? length : 0, 0};
  }
  __device__ static __forceinline__ Entry get(u32 table, int tensor, int r) {
    return shared_at<Entry>(table + 16 * (tensor * ROWS + r));
  }
  __device__ static __forceinline__ Item item(u32 table) { return shared_at<Item>(table + kItem); }
};

template <class At, class Access, class Shape, class Views>
struct Ring {
  using Table = RowTable<Access, Views, Shape::kRows>;
  static constexpr int kWords = 4 * Shape::kChunks;
  // Of the row in hand, the next one, the one after, and the one before, which other warps may still have in hand.
  static constexpr int kTables = 4, kTableBytes = kTables * Table::kBytes;

  const Views& view;
  int length, thread;
  u32 slots;  // the first one
  u32 tables;
  u32 turn = 0;  // the table of the row in hand
  Cursor ahead;  // the row after the next one

  /// `tables`: kTableBytes of shared memory. A barrier.
  __device__ __forceinline__ Ring(const Views& views, const Cursor& start, int row_length, u32 memory, u32 table_memory,
                                  int own_thread)
      : view(views), length(row_length), thread(own_thread), slots(memory), tables(table_memory), ahead(start) {
    look_ahead(0);
    ahead.advance(), look_ahead(1);
    ahead.advance(), look_ahead(2);
    __syncthreads();
    unrolled<Shape::kSlots>([&](auto step) { fill<step.value>(table(0)); });
  }
  /// The item in hand.
  __device__ __forceinline__ typename Table::Item item() const { return Table::item(table(0)); }
  /// Whether the next row is of another item.
  __device__ __forceinline__ bool item_ends() const { return Table::item(table(1)).index != item().index; }
  /// What is remembered of the item in hand, and of the one before it.
  template <class State>
  __device__ __forceinline__ State& state() const {
    static_assert(sizeof(State) <= Table::kStateBytes, "room for a state");
    return shared_at<State>(table(0) + Table::kState);
  }
  template <class State>
  __device__ __forceinline__ State& state_before() const {
    return shared_at<State>(table(kTables - 1) + Table::kState);
  }
  __device__ __forceinline__ void advance() {
    turn = (turn + 1) % kTables;
    ahead.advance(), look_ahead(2);
  }

  /// Addresses are computed anew from here on, which costs less than to spill them. `same_thread`: the compiler does
  /// not know that it is.
  __device__ __forceinline__ void renew(int same_thread) { thread = same_thread; }

  /// The COUNT steps from STEP on, of this thread: x[i], chunks in words. refill() must follow, once x has been used.
  template <int COUNT, int STEP>
  __device__ __forceinline__ void take(u32 (&x)[COUNT][kWords]) const {
    copy_async_wait<Shape::kSlots - COUNT>();
#pragma unroll
    for (int i = 0; i < COUNT; ++i)
#pragma unroll
      for (int j = 0; j < Shape::kChunks; ++j) split(shared_at<uint4>(slot(STEP + i) + 16 * At::kThreads * j), x[i], j);
  }
  /// Replaces them.
  template <int COUNT, int STEP>
  __device__ __forceinline__ void refill() const {
    unrolled<COUNT>([&](auto i) {
      constexpr int kAhead = STEP + i.value + Shape::kSlots;
      fill<kAhead % Shape::kSteps>(table(kAhead < Shape::kSteps ? 0 : 1));
    });
  }
  /// Leaves out a segment, whose tensors are not wanted. What is on its way to its slots arrives first: between two
  /// copies to one place there is no order.
  template <int SEGMENT>
  __device__ __forceinline__ void skip() const {
    constexpr int kTensors = Shape::tensors_of(SEGMENT);
    unrolled<Shape::kPieces>([&](auto piece) {
      copy_async_wait<Shape::kSlots - kTensors>();
      refill<kTensors, Shape::first_step(SEGMENT, piece.value / Shape::kGroups, piece.value % Shape::kGroups)>();
    });
  }

  /// A piece of a row of the item in hand, straight from memory.
  __device__ __forceinline__ void load(int tensor, int r, int group, u32 (&x)[kWords]) const {
    const auto entry = Table::get(table(0), tensor, r);
#pragma unroll
    for (int j = 0; j < Shape::kChunks; ++j)
      split(Access::load(entry.row + 8 * thread, 8 * At::kThreads * (group * Shape::kChunks + j),
                         entry.length - 8 * thread),
            x, j);
  }
  /// A row that is written; null: not wanted. A piece of it.
  __device__ __forceinline__ std::uint16_t* row(int tensor, int r) const { return Table::get(table(0), tensor, r).row; }
  __device__ __forceinline__ void store(std::uint16_t* row, int group, const u32 (&x)[kWords]) const {
#pragma unroll
    for (int j = 0; j < Shape::kChunks; ++j)
      Access::store(row + 8 * thread, 8 * At::kThreads * (group * Shape::kChunks + j), length - 8 * thread,
                    make_uint4(x[4 * j], x[4 * j + 1], x[4 * j + 2], x[4 * j + 3]));
  }

 private:
  __device__ __forceinline__ u32 table(int after) const { return tables + (turn + after) % kTables * Table::kBytes; }
  // A register holds the channel only where there is one to spare.
  static constexpr bool kChannelHeld = At::R == 8 && std::is_same_v<Access, Aligned>;
  __device__ __forceinline__ void look_ahead(int after) {
    Table::set(table(after), view, ahead, kChannelHeld ? ahead.h : ahead.channel(), length, thread);
  }
  __device__ __forceinline__ u32 slot(int step) const {
    return slots + 16 * thread + step % Shape::kSlots * Shape::kSlotBytes;
  }
  template <int STEP>
  __device__ __forceinline__ void fill(u32 rows) const {
    constexpr auto kStep = Shape::step_of(STEP);
    const auto entry = Table::get(rows, kStep.tensor, kStep.row);
#pragma unroll
    for (int j = 0; j < Shape::kChunks; ++j)
      Access::copy(slot(STEP) + 16 * At::kThreads * j, entry.row + 8 * thread,
                   8 * At::kThreads * (kStep.group * Shape::kChunks + j), entry.length - 8 * thread);
    copy_async_commit();
  }
};

}  // namespace ffc::cuda
