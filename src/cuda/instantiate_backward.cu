// The one place where backward kernels are instantiated: compiled for every row of the table, with FFC_SIZE_ROW its
// index, once for rows aligned to 16 bytes, FFC_ALIGNED, and once for any.
#include "cuda/instances.h"
#include "cuda/kernels/staged_backward.cuh"
#include "cuda/kernels/streamed_backward.cuh"
#include "cuda/kernels/warp_backward.cuh"

namespace ffc::cuda {
namespace {

using Access = std::conditional_t<FFC_ALIGNED, Aligned, Any>;

template <int ROW, bool PAIRS, class Type, class Access>
Kernel backward_kernel() {
  if constexpr (kSizes[ROW].outer == 1) {
    using K = WarpBackward<ROW, PAIRS>;
    return {reinterpret_cast<const void*>(&warp_backward<ROW, PAIRS, Type, Access>),
            "warp_backward",
            K::kThreads,
            K::kSharedBytes,
            WarpTransform<ROW, PAIRS>::kRows * K::kSlots,
            K::kThreads / 32};
  } else if constexpr (kSizes[ROW].points <= kLargestStagedBackward) {
    using K = StagedBackward<ROW, PAIRS, Type, Access>;
    return {reinterpret_cast<const void*>(&staged_backward<ROW, PAIRS, Type, Access>),
            "staged_backward",
            K::kThreads,
            K::kSharedBytes,
            K::kRows * K::kTeams,
            1};
  } else {
    using K = StreamedBackward<ROW, PAIRS, Type, Access>;
    return {reinterpret_cast<const void*>(&streamed_backward<ROW, PAIRS, Type, Access>),
            "streamed_backward",
            K::kThreads,
            K::kSharedBytes,
            K::kRows,
            1,
            kBlocksTogether,
            1,
            false,
            kMostInSum * K::kRows,
            KeptSum<ROW>::kBytes};
  }
}

template <int ROW, bool PAIRS>
void add_rows(BackwardKernels& kernels) {
  kernels.rows[PAIRS][0] = backward_kernel<ROW, PAIRS, Half, Access>();
  kernels.rows[PAIRS][1] = backward_kernel<ROW, PAIRS, BFloat, Access>();
}

template <int ROW>
BackwardKernels make() {
  BackwardKernels kernels;
  add_rows<ROW, false>(kernels);
  if constexpr (kSizes[ROW].points >= kSmallestPairs) add_rows<ROW, true>(kernels);
  return kernels;
}

}  // namespace

template <>
const BackwardKernels& backward_kernels<FFC_SIZE_ROW, FFC_ALIGNED>() {
  static const BackwardKernels kernels = make<FFC_SIZE_ROW>();
  return kernels;
}

}  // namespace ffc::cuda
