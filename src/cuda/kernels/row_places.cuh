// The tensors of a backward pass and where a team's rows of them lie, looked up once a row for all threads.
#pragma once

#include <cstddef>

#include "cuda/kernels/arguments.cuh"

namespace ffc::cuda {

/// The tensors of a row in the order of the parameters: those that are read, which get room in shared memory in this
/// order, and the gradients.
enum BackwardTensor { kDy, kU, kPregate, kPostgate, kRead, kDu = kRead, kDpregate, kDpostgate, kTensors };
static_assert(offsetof(BackwardParameters, dpostgate) == kDpostgate * sizeof(RowsView), "tensors stand in this order");

/// Where a team's rows lie in device memory, in shared memory: a thread looks up one tensor of one row for all. Of the
/// row in hand those that are written, and of the one whose samples are asked for, AHEAD rows later, those that are
/// read.
template <class Access, int ROWS, int AHEAD>
struct RowPlaces {
  struct __align__(16) Item {
    int item, h, b;
  };
  static constexpr int kEntries = kTensors * ROWS, kItems = (8 * kEntries + 15) / 16 * 16;
  static constexpr int kBytes = kItems + 16 * AHEAD;
  static_assert(kEntries < 32, "a warp looks them up");

  u32 table;

  /// Null: not wanted, or there is no such row.
  __device__ __forceinline__ std::uint16_t* row(int tensor, int r) const {
    return shared_at<std::uint16_t*>(table + 8 * (tensor * ROWS + r));
  }
  /// The row in hand, after the look-up the next one; and that which is asked for.
  __device__ __forceinline__ int item() const { return shared_at<Item>(table + kItems).item; }
  __device__ __forceinline__ int item_ahead() const { return shared_at<Item>(table + kItems + 16 * (AHEAD - 1)).item; }

  /// Before the first row, which is asked for.
  __device__ __forceinline__ void set_first(const BackwardParameters& p, const Cursor& first, int thread) const {
    if (thread < 32) set(p, first, first, first, thread);
  }
  /// Where two rows are on their way, before the second one is.
  __device__ __forceinline__ void set_second(const BackwardParameters& p, const Cursor& first, int thread) const {
    Cursor second = first;
    second.advance();
    if (thread < 32) set(p, first, first, second, thread);
  }
  /// For the row in hand: when all have done with the row before, and its samples, or those of the next, have come.
  __device__ __forceinline__ void set_next(const BackwardParameters& p, const Cursor& any, int thread) const {
    if (thread >= 32) return;
    const Cursor in_hand = cursor(any, 0), last = cursor(any, AHEAD - 1);
    __syncwarp();
    Cursor next = last;
    next.advance();
    set(p, in_hand, AHEAD == 2 ? last : next, next, thread);
  }

 private:
  __device__ __forceinline__ Cursor cursor(Cursor at, int i) const {
    const Item item = shared_at<Item>(table + kItems + 16 * i);
    at.item = item.item, at.h = item.h, at.b = item.b;
    return at;
  }
  __device__ __forceinline__ void set(const BackwardParameters& p, const Cursor& written, const Cursor& in_hand,
                                      const Cursor& read, int thread) const {
    if (thread < kEntries) {
      const bool is_read = thread < kRead * ROWS;
      const int b = (is_read ? read.b : written.b) + thread % ROWS, h = is_read ? read.h : written.h;
      const RowsView& rows = reinterpret_cast<const RowsView*>(&p)[thread / ROWS];
      const bool present = rows.data != nullptr && !(is_read && read.done()) && b < p.work.batch;
      shared_at<std::uint16_t*>(table + 8 * thread) = present ? Access::row(rows, b, h) : nullptr;
    } else if (thread == kEntries) {
      shared_at<Item>(table + kItems) = {in_hand.item, in_hand.h, in_hand.b};
      shared_at<Item>(table + kItems + 16 * (AHEAD - 1)) = {read.item, read.h, read.b};
    }
  }
};

}  // namespace ffc::cuda
