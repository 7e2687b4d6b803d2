// The list of backends; a new one is one line. backends.cpp and short_backends.cpp make their plans by it.
#pragma once

#include <new>
#include <string>

#include "cpu/cpu_plan.h"
#include "cpu/short_plan.h"
#include "flashfftconv/plan.h"
#include "flashfftconv/short_conv.h"
#if FFC_CUDA
#include "cuda/cuda_plan.h"
#include "cuda/short_plan.h"
#endif

namespace ffc {

template <class AnyPlan, class AnyProblem>
using MakePlan = Result<AnyPlan> (*)(const AnyProblem&, Device, PlanOptions);

struct Backend {
  DeviceKind kind;
  MakePlan<Plan, Problem> make_plan;
  MakePlan<ShortPlan, ShortProblem> make_short_plan;
};

inline constexpr Backend kBackends[] = {
    {DeviceKind::cpu, &cpu::make_plan, &cpu::make_short_plan},
#if FFC_CUDA
    {DeviceKind::cuda, &cuda::make_plan, &cuda::make_short_plan},
#endif
};

/// A plan of a checked problem, by the backend of `device`.
template <class AnyPlan, class AnyProblem>
Result<AnyPlan> plan_on(Device device, MakePlan<AnyPlan, AnyProblem> Backend::* make, const AnyProblem& problem,
                        PlanOptions options) try {
  if (options.workers < 0)
    return Status(StatusCode::invalid_argument,
                  "workers is " + std::to_string(options.workers) + "; it must be at least 0");
  for (const Backend& backend : kBackends)
    if (backend.kind == device.kind) return (backend.*make)(problem, device, options);
  return Status(
      StatusCode::unsupported,
      "device is CUDA " + std::to_string(device.index) +
          "; this build has no CUDA engine (it was made without a CUDA compiler of version 13, or with FFC_CUDA=off)");
} catch (const std::bad_alloc&) {
  return Status(StatusCode::internal, "not enough memory for the plan and its tables");
}

}  // namespace ffc
