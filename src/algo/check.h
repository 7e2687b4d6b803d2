// Argument checks shared by all backends.
#pragma once

#include "flashfftconv/execute.h"
#include "flashfftconv/plan.h"

namespace ffc {

Status check_problem(const Problem& problem);
Status check_forward(const Plan& plan, const ForwardArguments& arguments);
Status check_backward(const Plan& plan, const BackwardArguments& arguments);
Status check_filter(const Plan& plan, const FilterArguments& arguments);
Status check_workspace(const char* name, const Workspace& workspace, std::size_t needed);

}  // namespace ffc
