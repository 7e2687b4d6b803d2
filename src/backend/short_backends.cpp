// The public functions of short convolutions: check -> plan -> backend.
#include "algo/check.h"
#include "algo/short_check.h"
#include "backend/backend_list.h"
#include "backend/short_backend.h"

namespace ffc {

const ShortProblem& ShortPlan::problem() const { return backend_->problem(); }
Device ShortPlan::device() const { return backend_->device(); }
std::size_t ShortPlan::workspace_bytes(Pass pass) const { return backend_->workspace_bytes(pass); }
int ShortPlan::workers() const { return backend_->workers(); }
std::string ShortPlan::describe() const { return backend_->describe(); }

Result<ShortPlan> make_short_plan(const ShortProblem& problem, Device device, PlanOptions options) {
  if (Status s = check_short_problem(problem); !s) return s;
  return plan_on(device, &Backend::make_short_plan, problem, options);
}

Status short_conv(const ShortPlan& plan, const ShortForwardArguments& arguments, const Execution& execution) {
  if (Status s = check_short_forward(plan.problem(), arguments); !s) return s;
  if (Status s = check_workspace("workspace", execution.workspace, plan.workspace_bytes(Pass::forward)); !s) return s;
  return plan.backend().forward(arguments, execution);
}

Status short_conv_backward(const ShortPlan& plan, const ShortBackwardArguments& arguments, const Execution& execution) {
  if (Status s = check_short_backward(plan.problem(), arguments); !s) return s;
  if (Status s = check_workspace("workspace", execution.workspace, plan.workspace_bytes(Pass::backward)); !s) return s;
  return plan.backend().backward(arguments, execution);
}

}  // namespace ffc
