// Plans of recent problems: a model asks for the same few again and again. Nothing of a filter is kept.
#pragma once

#include <string>

#include "flashfftconv/plan.h"

namespace ffc::torch_binding {

struct CachedPlan {
  Result<Plan> plan;  // or why no engine of this build and machine takes the problem
  bool is_new;        // nobody has asked for it lately
};
CachedPlan cached_plan(const Problem& problem, Device device, int workers);

// The instruction set of the CPU engine.
std::string cpu_target();
// What the build has of CUDA, and whether it runs on the device of that index.
std::string describe_cuda(int index);

}  // namespace ffc::torch_binding
