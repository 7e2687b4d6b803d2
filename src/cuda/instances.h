// The kernels of one row of the table, compiled in instantiate_forward.cu, instantiate_backward.cu,
// instantiate_filter.cu; launched in launch.cu.
#pragma once

#include <atomic>
#include <cstdint>

#include "cuda/sizes.h"

namespace ffc::cuda {

/// A set of devices, for what must be asked for on every device once. Indices from 64 on are never in it.
class DeviceSet {
 public:
  DeviceSet() = default;
  DeviceSet(const DeviceSet& other) : bits_(other.bits_.load()) {}
  DeviceSet& operator=(const DeviceSet& other) {
    bits_ = other.bits_.load();
    return *this;
  }
  bool has(int device) const { return device < 64 && bits_.load(std::memory_order_acquire) >> device & 1; }
  void add(int device) {
    if (device < 64) bits_.fetch_or(std::uint64_t{1} << device, std::memory_order_release);
  }

 private:
  std::atomic<std::uint64_t> bits_{0};
};

struct Kernel {
  const void* function = nullptr;
  const char* name = "";
  int threads = 0;
  int shared_bytes = 0;
  int rows = 1;                  // that a worker takes at once
  int workers = 1;               // of a block, each with items of its own
  int together = 1;              // blocks of a cluster that may share an item, where its rows are enough for all
  int splits = 1;                // of a channel's rows: at least so many are faster
  bool one_item = false;         // a block is given one item: new blocks take up what finished ones leave
  int rows_in_sum = 0;           // of a split that adds in halves; 0: any
  int kept_bytes = 0;            // of device memory that a block needs
  int parts = 1;                 // of a channel's spectrum, each for a block of its own
  mutable DeviceSet ready{};     // where it may be launched
  mutable DeviceSet overlaps{};  // of those, where its code waits for the kernel before by itself (sm_90)
};

/// Of rows aligned to 16 bytes, or of any.
struct ForwardKernels {
  Kernel rows[2][2][2], from_taps[2][2][2];  // [right-angle, pairs][plain, gated][fp16, bf16]; of short rows from taps
};
struct BackwardKernels {
  Kernel rows[2][2];  // [right-angle, pairs][fp16, bf16]
};
struct FilterKernels {
  Kernel spectrum[2], gradient[2];  // [right-angle, pairs]
};

/// A function each for a row of the table of sizes, each in its own object file.
template <int ROW, bool ALIGNED>
const ForwardKernels& forward_kernels();
template <int ROW, bool ALIGNED>
const BackwardKernels& backward_kernels();
template <int ROW>
const FilterKernels& filter_kernels();

}  // namespace ffc::cuda
