// The CPU backend of short convolutions.
#pragma once

#include "flashfftconv/short_conv.h"

namespace ffc::cpu {

Result<ShortPlan> make_short_plan(const ShortProblem& problem, Device device, PlanOptions options);

}  // namespace ffc::cpu
