// The CPU backend.
#pragma once

#include "flashfftconv/plan.h"

namespace ffc::cpu {

Result<Plan> make_plan(const Problem& problem, Device device, PlanOptions options);

// The instruction set in use: avx512, avx2, neon or scalar.
const char* target_name();

}  // namespace ffc::cpu
