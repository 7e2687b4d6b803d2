// The one place where backward kernels are instantiated: compiled once for every row of the table, with FFC_SIZE_ROW
// its index.
#include "cuda/instances.h"
#include "cuda/kernels/filter_gradient.cuh"
#include "cuda/kernels/staged_backward.cuh"
#include "cuda/kernels/streamed_backward.cuh"
#include "cuda/kernels/warp_backward.cuh"

namespace ffc::cuda {
namespace {

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

template <int ROW, bool PAIRS, class Type>
void add_rows(BackwardKernels& kernels) {
  auto& rows = kernels.rows[PAIRS][Type::kIsHalf ? 0 : 1];
  rows[0] = backward_kernel<ROW, PAIRS, Type, Aligned>();
  rows[1] = backward_kernel<ROW, PAIRS, Type, Any>();
}

template <int ROW, bool PAIRS>
void add_rows(BackwardKernels& kernels) {
  add_rows<ROW, PAIRS, Half>(kernels), add_rows<ROW, PAIRS, BFloat>(kernels);
  using Gradient = FilterGradient<ROW, PAIRS>;
  kernels.gradient[PAIRS] = {reinterpret_cast<const void*>(&filter_gradient<ROW, PAIRS>), "filter_gradient",
                             Gradient::F::kThreads, Gradient::kSharedBytes};
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
const BackwardKernels& backward_kernels<FFC_SIZE_ROW>() {
  static const BackwardKernels kernels = make<FFC_SIZE_ROW>();
  return kernels;
}

}  // namespace ffc::cuda
