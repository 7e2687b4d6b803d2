// The public functions of long convolutions: check -> plan -> backend.
#include "algo/check.h"
#include "backend/backend.h"
#include "backend/backend_list.h"
#include "flashfftconv/flashfftconv.h"

namespace ffc {

const Problem& Plan::problem() const { return backend_->problem(); }
Device Plan::device() const { return backend_->device(); }
std::size_t Plan::workspace_bytes(Pass pass) const { return backend_->workspace_bytes(pass); }
Status Plan::supports(Pass pass) const { return backend_->supports(pass); }
std::size_t Plan::spectrum_bytes() const { return backend_->spectrum_bytes(); }
int Plan::workers() const { return backend_->workers(); }
std::string Plan::describe() const { return backend_->describe(); }

Result<Plan> make_plan(const Problem& problem, Device device, PlanOptions options) {
  if (Status s = check_problem(problem); !s) return s;
  return plan_on(device, &Backend::make_plan, problem, options);
}

Status forward(const Plan& plan, const ForwardArguments& arguments, const Execution& execution) {
  if (Status s = check_forward(plan, arguments); !s) return s;
  if (Status s = check_workspace("workspace", execution.workspace, plan.workspace_bytes(Pass::forward)); !s) return s;
  return plan.backend().forward(arguments, execution);
}

Status backward(const Plan& plan, const BackwardArguments& arguments, const Execution& execution) {
  if (Status s = check_backward(plan, arguments); !s) return s;
  if (Status s = plan.supports(Pass::backward); !s) return s;
  if (Status s = check_workspace("workspace", execution.workspace, plan.workspace_bytes(Pass::backward)); !s) return s;
  return plan.backend().backward(arguments, execution);
}

Result<Filter> make_filter(const Plan& plan, const FilterArguments& arguments, const Execution& execution) {
  if (Status s = check_filter(plan, arguments); !s) return s;
  if (Status s = check_workspace("workspace", execution.workspace, plan.workspace_bytes(Pass::forward)); !s) return s;
  if (Status s = plan.backend().prepare(arguments, execution); !s) return s;
  return Filter(plan, arguments.storage.data);
}

std::string describe_cuda([[maybe_unused]] int index) {
#if FFC_CUDA
  return "built for " FFC_CUDA_ARCHITECTURES "; " + cuda::describe_device({DeviceKind::cuda, index});
#else
  return "not built";
#endif
}

}  // namespace ffc
