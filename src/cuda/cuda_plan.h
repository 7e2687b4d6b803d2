// The CUDA backend: plans of rows whose transform fits one multiprocessor.
#pragma once

#include <string>

#include "cuda/launch.h"
#include "flashfftconv/plan.h"

namespace ffc::cuda {

Result<Plan> make_plan(const Problem& problem, Device device, PlanOptions options);

/// Whether this engine runs on a device: ok, or what is missing.
Status check_device(Device device);

/// The device and its driver in a few words, or what is missing.
std::string describe_device(Device device);

}  // namespace ffc::cuda
