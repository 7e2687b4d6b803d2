// How a CPU plan begins: device, workers, and the kernels of the instruction set that was chosen.
#pragma once

#include <cstdlib>
#include <memory>
#include <string>

#include "cpu/chosen.h"
#include "cpu/thread_pool.h"
#include "flashfftconv/plan.h"

namespace ffc::cpu {

template <class T, template <class> class Kernels, template <class> class CpuPlan, class AnyPlan, class AnyProblem>
Result<AnyPlan> make_plan_of(const AnyProblem& problem, Device device, int workers) {
  const Kernels<T>* kernels = chosen<Kernels<T>>();
  if (!kernels) {
    // The choice was made once, at the first plan; the variable may be gone by now.
    const char* name = std::getenv("FFC_CPU_TARGET");
    return Status(StatusCode::unsupported, std::string("FFC_CPU_TARGET is '") + (name ? name : "") +
                                               "'; this machine and build have: " + target_names<Kernels<T>>());
  }
  return AnyPlan(std::make_shared<CpuPlan<T>>(problem, device, workers, *kernels));
}

/// AnyPlan, a CpuPlan<float> or of float64 a CpuPlan<double>, with Kernels<T>.
template <template <class> class Kernels, template <class> class CpuPlan, class AnyPlan, class AnyProblem>
Result<AnyPlan> make_cpu_plan(const AnyProblem& problem, Device device, PlanOptions options) {
  if (device.index != 0)
    return Status(StatusCode::invalid_argument,
                  "device index is " + std::to_string(device.index) + "; a CPU has index 0 only");
  const int workers = options.workers ? options.workers : hardware_workers();
  if (problem.dtype == DType::f64) return make_plan_of<double, Kernels, CpuPlan, AnyPlan>(problem, device, workers);
  return make_plan_of<float, Kernels, CpuPlan, AnyPlan>(problem, device, workers);
}

}  // namespace ffc::cpu
