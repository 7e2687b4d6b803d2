// The table of transform sizes of the CUDA engine: M = outer * radix * 64 points. A new size is one line.
//
//   outer  1: a row lies in the registers of one warp, no exchange
//          8: one radix-8 stage, an exchange through shared memory, then the inner radix * 64 points
//         64: two radix-8 stages, an exchange, the inner radix * 64
#pragma once

namespace ffc::cuda {

struct Size {
  int points;  ///< M
  int outer;   ///< 1, 8 or 64
  int radix;   ///< of the stage between registers that begins the inner transform: 1, 2, 4 or 8
  int warps;   ///< that share a row
};

inline constexpr Size kSizes[] = {
    {64, 1, 1, 1},   {128, 1, 2, 1},   {256, 1, 4, 1},    {512, 8, 1, 1},     {1024, 8, 2, 2},
    {2048, 8, 4, 4}, {4096, 64, 1, 8}, {8192, 64, 2, 16}, {16384, 64, 4, 16}, {32768, 64, 8, 16},
};
inline constexpr int kSizeCount = sizeof(kSizes) / sizeof(kSizes[0]);

inline constexpr int kSmallestPairs = 128;  ///< points of a transform that two rows share

/// Largest transform of which a multiprocessor holds two rows on their way, and the sums in registers. Beyond, rows go
/// one after the other, and sums lie in device memory.
inline constexpr int kLargestStagedBackward = 8192;

}  // namespace ffc::cuda
