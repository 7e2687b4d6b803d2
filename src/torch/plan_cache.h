// Plans of recent problems: a model asks for the same few again and again. Nothing of a filter is kept.
#pragma once

#include <string>

#include "flashfftconv/plan.h"

namespace ffc::torch_binding {

Result<Plan> cached_plan(const Problem& problem, int workers);

// The instruction set of the CPU engine.
std::string cpu_target();

}  // namespace ffc::torch_binding
