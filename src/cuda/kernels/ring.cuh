// Rows on their way from device memory through a ring of slots of shared memory, in the order in which they are used.
// A thread copies what it will read itself, so it waits for its own copies and for nobody else.
//
// An item's segments come one after the other; a segment is one tensor, or two that take turns, piece by piece. A step
// is a piece, some chunks of a thread, of one of them, and fills a slot. Where a step has been taken out, the one comes
// that is as many steps ahead as there are slots: of the same item, or of the next.
#pragma once

#include <type_traits>
#include <utility>

#include "cuda/kernels/cursor.cuh"
#include "cuda/kernels/staged.cuh"

namespace ffc::cuda {

/// body(integral_constant 0), .., body(integral_constant COUNT - 1): what an index decides is decided when compiling.
template <int COUNT, class Body>
__device__ __forceinline__ void unrolled(Body body) {
  [&]<int... I>(std::integer_sequence<int, I...>) {
    (body(std::integral_constant<int, I>()), ...);
  }(std::make_integer_sequence<int, COUNT>());
}

/// TENSORS: of each segment. `Row`: of Samples.
template <class At, class Row, int FREE_BYTES, int... TENSORS>
struct RingShape {
  static constexpr int kRows = Row::kRows, kGroups = Row::kGroupsPerThread, kChunks = Row::kTogether;
  static constexpr int kPieces = kRows * kGroups;  // of a tensor
  static constexpr int kSteps = (TENSORS + ...) * kPieces;
  static constexpr int kSlotBytes = 16 * kChunks * At::kThreads;
  static constexpr int kSlots = FREE_BYTES / kSlotBytes < kSteps ? FREE_BYTES / kSlotBytes : kSteps;
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

/// The passes over each row, or pair.
struct Passes {
  int first, last;
};

/// Where the work is.
struct PassCursor : Cursor {
  Passes passes;
  int pass;

  __device__ __forceinline__ PassCursor(const Cursor& start, Passes p) : Cursor(start), passes(p), pass(p.first) {}
  __device__ __forceinline__ void advance() {
    if (pass++ < passes.last) return;
    pass = passes.first;
    Cursor::advance();
  }
};

/// `Views`: view.get<I>(pass), the rows of tensor I in a pass, null data where they are not wanted.
template <class At, class Access, class Shape, class Views>
struct Ring {
  const Views& view;
  int batch, length, thread;
  u32 first, filling, taking;  // slots, this thread's place in them
  PassCursor item, next;       // in hand, and the one after

  __device__ __forceinline__ Ring(const Views& views, const Cursor& start, int row_length, u32 memory, int own_thread)
      : view(views),
        batch(start.work.batch),
        length(row_length),
        thread(own_thread),
        first(memory + 16 * own_thread),
        filling(first),
        taking(first),
        item(start, views.passes()),
        next(item) {
    unrolled<Shape::kSlots>([&](auto step) { fill<step.value>(item); });
    next.advance();
  }
  __device__ __forceinline__ bool done() const { return item.done(); }
  __device__ __forceinline__ void advance() {
    item = next;
    next.advance();
  }

  /// The COUNT steps from `step` on, of this thread: x[i], chunks in words. refill() must follow, once x has been used.
  template <int COUNT>
  __device__ __forceinline__ void take(u32 (&x)[COUNT][4 * Shape::kChunks]) {
    copy_async_wait<Shape::kSlots - COUNT>();
#pragma unroll
    for (int i = 0; i < COUNT; ++i) {
#pragma unroll
      for (int j = 0; j < Shape::kChunks; ++j) split(shared_at<uint4>(taking + 16 * At::kThreads * j), x[i], j);
      to_next(taking);
    }
  }
  /// Replaces them.
  template <int COUNT, int STEP>
  __device__ __forceinline__ void refill() {
    unrolled<COUNT>([&](auto i) {
      constexpr int kAhead = STEP + i.value + Shape::kSlots;
      fill<kAhead % Shape::kSteps>(kAhead < Shape::kSteps ? item : next);
    });
  }

 private:
  __device__ __forceinline__ void to_next(u32& slot) const {
    slot += Shape::kSlotBytes;
    if (slot == first + Shape::kBytes) slot = first;
  }
  template <int STEP>
  __device__ __forceinline__ void fill(const PassCursor& of) {
    constexpr auto kStep = Shape::step_of(STEP);
    const RowsView rows = view.template get<kStep.tensor>(of.pass);
    if (rows.data != nullptr && !of.done()) {
      const int b = opaque(of.b) + kStep.row;  // addresses are computed anew, which costs less than to keep them
      const bool present = b < batch;
      const std::uint16_t* from = Access::row(rows, present ? b : of.b, of.h) + 8 * thread;
      const int left = present ? length - 8 * thread : 0;
#pragma unroll
      for (int j = 0; j < Shape::kChunks; ++j)
        Access::copy(filling + 16 * At::kThreads * j, from, 8 * At::kThreads * (kStep.group * Shape::kChunks + j),
                     left);
    }
    copy_async_commit();
    to_next(filling);
  }
};

}  // namespace ffc::cuda
