// The one place where forward kernels are instantiated: compiled for every row of the table, with FFC_SIZE_ROW its
// index, once for rows aligned to 16 bytes, FFC_ALIGNED, and once for any.
#include "cuda/instances.h"
#include "cuda/kernels/staged_forward.cuh"
#include "cuda/kernels/streamed_forward.cuh"
#include "cuda/kernels/warp_forward.cuh"

namespace ffc::cuda {
namespace {

using Access = std::conditional_t<FFC_ALIGNED, Aligned, Any>;

template <int ROW, bool PAIRS, bool GATED, bool FROM_TAPS, class Type, class Access>
Kernel warp_forward_kernel() {
  if constexpr (kSizes[ROW].outer == 1) {
    using K = WarpForward<ROW, PAIRS, FROM_TAPS>;
    return {reinterpret_cast<const void*>(&warp_forward<ROW, PAIRS, GATED, FROM_TAPS, Type, Access>),
            "warp_forward",
            K::kThreads,
            K::kSharedBytes,
            WarpTransform<ROW, PAIRS>::kRows * WarpTransform<ROW, PAIRS>::kSlots,
            K::kThreads / 32};
  } else {
    return {};
  }
}

template <int ROW, bool PAIRS, bool GATED, class Type, class Access>
Kernel forward_kernel() {
  if constexpr (kSizes[ROW].outer == 1) {
    return warp_forward_kernel<ROW, PAIRS, GATED, false, Type, Access>();
  } else if constexpr (streams(kSizes[ROW], PAIRS, GATED)) {
    using K = StreamedForward<ROW, PAIRS, GATED, Type, Access>;
    return {reinterpret_cast<const void*>(&streamed_forward<ROW, PAIRS, GATED, Type, Access>),
            "streamed_forward",
            K::kThreads,
            K::kSharedBytes,
            K::kRows,
            1,
            1,
            kForwardSplits<GATED>};
  } else {
    using K = StagedForward<ROW, PAIRS, GATED, Type, Access>;
    return {reinterpret_cast<const void*>(&staged_forward<ROW, PAIRS, GATED, Type, Access>),
            "staged_forward",
            K::kThreads,
            K::kSharedBytes,
            K::kRows * K::kTeams,
            1,
            1,
            K::kShare.splits,
            K::kShare.one_item};
  }
}

template <int ROW, bool PAIRS, class Type>
void add_rows(ForwardKernels& kernels) {
  constexpr int kType = Type::kIsHalf ? 0 : 1;
  Kernel &plain = kernels.rows[PAIRS][false][kType], &gated = kernels.rows[PAIRS][true][kType];
  Kernel &plain_from_taps = kernels.from_taps[PAIRS][false][kType],
         &gated_from_taps = kernels.from_taps[PAIRS][true][kType];
  gated = forward_kernel<ROW, PAIRS, true, Type, Access>();
  gated_from_taps = warp_forward_kernel<ROW, PAIRS, true, true, Type, Access>();
  if constexpr (FFC_ALIGNED) {
    plain = forward_kernel<ROW, PAIRS, false, Type, Access>();
    plain_from_taps = warp_forward_kernel<ROW, PAIRS, false, true, Type, Access>();
  } else {
    plain = gated, plain_from_taps = gated_from_taps;  // one kernel for both
  }
}

template <int ROW>
ForwardKernels make() {
  ForwardKernels kernels;
  add_rows<ROW, false, Half>(kernels), add_rows<ROW, false, BFloat>(kernels);
  if constexpr (kSizes[ROW].points >= kSmallestPairs)
    add_rows<ROW, true, Half>(kernels), add_rows<ROW, true, BFloat>(kernels);
  return kernels;
}

}  // namespace

template <>
const ForwardKernels& forward_kernels<FFC_SIZE_ROW, FFC_ALIGNED>() {
  static const ForwardKernels kernels = make<FFC_SIZE_ROW>();
  return kernels;
}

}  // namespace ffc::cuda
