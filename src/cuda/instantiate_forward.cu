// The one place where forward kernels are instantiated: compiled once for every row of the table, with FFC_SIZE_ROW its
// index.
#include "cuda/instances.h"
#include "cuda/kernels/filter_spectrum.cuh"
#include "cuda/kernels/staged_forward.cuh"
#include "cuda/kernels/streamed_forward.cuh"
#include "cuda/kernels/warp_forward.cuh"

namespace ffc::cuda {
namespace {

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
  auto& plain = kernels.rows[PAIRS][false][kType];
  auto& gated = kernels.rows[PAIRS][true][kType];
  plain[0] = forward_kernel<ROW, PAIRS, false, Type, Aligned>();
  gated[0] = forward_kernel<ROW, PAIRS, true, Type, Aligned>();
  plain[1] = gated[1] = forward_kernel<ROW, PAIRS, true, Type, Any>();  // rows at any address: one kernel for both
  auto& plain_from_taps = kernels.from_taps[PAIRS][false][kType];
  auto& gated_from_taps = kernels.from_taps[PAIRS][true][kType];
  plain_from_taps[0] = warp_forward_kernel<ROW, PAIRS, false, true, Type, Aligned>();
  gated_from_taps[0] = warp_forward_kernel<ROW, PAIRS, true, true, Type, Aligned>();
  plain_from_taps[1] = gated_from_taps[1] = warp_forward_kernel<ROW, PAIRS, true, true, Type, Any>();
}

template <int ROW, bool PAIRS>
void add_rows(ForwardKernels& kernels) {
  add_rows<ROW, PAIRS, Half>(kernels), add_rows<ROW, PAIRS, BFloat>(kernels);
  using Spectrum = FilterSpectrum<ROW, PAIRS>;
  kernels.spectrum[PAIRS] = {reinterpret_cast<const void*>(&filter_spectrum<ROW, PAIRS>), "filter_spectrum",
                             Spectrum::F::kThreads, Spectrum::kSharedBytes};
  kernels.spectrum[PAIRS].parts = Spectrum::F::kParts;
}

template <int ROW>
ForwardKernels make() {
  ForwardKernels kernels;
  add_rows<ROW, false>(kernels);
  if constexpr (kSizes[ROW].points >= kSmallestPairs) add_rows<ROW, true>(kernels);
  return kernels;
}

}  // namespace

template <>
const ForwardKernels& forward_kernels<FFC_SIZE_ROW>() {
  static const ForwardKernels kernels = make<FFC_SIZE_ROW>();
  return kernels;
}

}  // namespace ffc::cuda
