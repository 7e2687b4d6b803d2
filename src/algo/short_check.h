// Argument checks of short convolutions, shared by all backends.
#pragma once

#include "flashfftconv/short_conv.h"

namespace ffc {

Status check_short_problem(const ShortProblem& problem);
Status check_short_forward(const ShortProblem& problem, const ShortForwardArguments& arguments);
Status check_short_backward(const ShortProblem& problem, const ShortBackwardArguments& arguments);
/// What cu_seqlens holds; for memory that the host can read.
Status check_cu_seqlens(const ShortProblem& problem, const std::int64_t* cu_seqlens);

}  // namespace ffc
