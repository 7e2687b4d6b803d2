// The CUDA backend of short convolutions.
#pragma once

#include "flashfftconv/short_conv.h"

namespace ffc::cuda {

Result<ShortPlan> make_short_plan(const ShortProblem& problem, Device device, PlanOptions options);

}  // namespace ffc::cuda
