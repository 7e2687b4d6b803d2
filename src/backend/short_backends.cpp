// The list of backends of short convolutions, and their public functions: check -> plan -> backend.
#include <new>

#include "algo/check.h"
#include "algo/short_check.h"
#include "backend/short_backend.h"
#include "cpu/short_plan.h"
#if FFC_CUDA
#include "cuda/short_plan.h"
#endif

namespace ffc {
namespace {

using MakePlan = Result<ShortPlan> (*)(const ShortProblem&, Device, PlanOptions);

struct Backend {
  DeviceKind kind;
  MakePlan make_plan;
};

constexpr Backend kBackends[] = {
    {DeviceKind::cpu, &cpu::make_short_plan},
#if FFC_CUDA
    {DeviceKind::cuda, &cuda::make_short_plan},
#endif
};

}  // namespace

const ShortProblem& ShortPlan::problem() const { return backend_->problem(); }
Device ShortPlan::device() const { return backend_->device(); }
std::size_t ShortPlan::workspace_bytes(Pass pass) const { return backend_->workspace_bytes(pass); }
Status ShortPlan::supports(Pass pass) const { return backend_->supports(pass); }
int ShortPlan::workers() const { return backend_->workers(); }
std::string ShortPlan::describe() const { return backend_->describe(); }

Result<ShortPlan> make_short_plan(const ShortProblem& problem, Device device, PlanOptions options) try {
  if (Status s = check_short_problem(problem); !s) return s;
  if (options.workers < 0)
    return Status(StatusCode::invalid_argument,
                  "workers is " + std::to_string(options.workers) + "; it must be at least 0");
  for (const Backend& backend : kBackends)
    if (backend.kind == device.kind) return backend.make_plan(problem, device, options);
  return Status(
      StatusCode::unsupported,
      "device is CUDA " + std::to_string(device.index) +
          "; this build has no CUDA engine (it was made without a CUDA compiler of version 13, or with FFC_CUDA=off)");
} catch (const std::bad_alloc&) {
  return Status(StatusCode::internal, "not enough memory for the plan");
}

Status short_conv(const ShortPlan& plan, const ShortForwardArguments& arguments, const Execution& execution) {
  if (Status s = check_short_forward(plan.problem(), arguments); !s) return s;
  if (Status s = check_workspace("workspace", execution.workspace, plan.workspace_bytes(Pass::forward)); !s) return s;
  return plan.backend().forward(arguments, execution);
}

Status short_conv_backward(const ShortPlan& plan, const ShortBackwardArguments& arguments, const Execution& execution) {
  if (Status s = check_short_backward(plan.problem(), arguments); !s) return s;
  if (Status s = plan.supports(Pass::backward); !s) return s;
  if (Status s = check_workspace("workspace", execution.workspace, plan.workspace_bytes(Pass::backward)); !s) return s;
  return plan.backend().backward(arguments, execution);
}

}  // namespace ffc
