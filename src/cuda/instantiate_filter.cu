// The one place where the kernels of filters are instantiated: compiled once for every row of the table, with
// FFC_SIZE_ROW its index.
#include "cuda/instances.h"
#include "cuda/kernels/filter_gradient.cuh"
#include "cuda/kernels/filter_spectrum.cuh"

namespace ffc::cuda {
namespace {

template <int ROW, bool PAIRS>
void add(FilterKernels& kernels) {
  using Spectrum = FilterSpectrum<ROW, PAIRS>;
  using Gradient = FilterGradient<ROW, PAIRS>;
  kernels.spectrum[PAIRS] = {reinterpret_cast<const void*>(&filter_spectrum<ROW, PAIRS>), "filter_spectrum",
                             Spectrum::F::kThreads, Spectrum::kSharedBytes};
  kernels.spectrum[PAIRS].parts = Spectrum::F::kParts;
  kernels.gradient[PAIRS] = {reinterpret_cast<const void*>(&filter_gradient<ROW, PAIRS>), "filter_gradient",
                             Gradient::F::kThreads, Gradient::kSharedBytes};
}

template <int ROW>
FilterKernels make() {
  FilterKernels kernels;
  add<ROW, false>(kernels);
  if constexpr (kSizes[ROW].points >= kSmallestPairs) add<ROW, true>(kernels);
  return kernels;
}

}  // namespace

template <>
const FilterKernels& filter_kernels<FFC_SIZE_ROW>() {
  static const FilterKernels kernels = make<FFC_SIZE_ROW>();
  return kernels;
}

}  // namespace ffc::cuda
