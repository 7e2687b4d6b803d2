// How far a result may be from the exact one.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "job.h"

namespace ffc::test {

/// norm(got - exact) / norm(exact); infinite if anything is NaN, or if only the exact answer is zero.
double relative_error(const double* got, const double* exact, std::int64_t count);

/// What rounding the exact answer to `dtype` costs, relative to it.
double rounding_error(DType dtype, const double* exact, std::int64_t count);

/// The error a row of results may have, for results of type `stored` computed from rows of type `dtype`. `squares`, if
/// given, are the sums of the squared products behind each exact number: a row whose products cancel is judged by what
/// they would amount to with random signs.
double allowed_error(DType dtype, DType stored, const double* exact, const double* squares, std::int64_t count);

/// The worst row.
struct Verdict {
  double excess = 0;  // error / allowed: at most 1 passes
  std::string text;
};
Verdict judge(const std::string& name, DType dtype, DType stored, const std::vector<double>& got,
              const std::vector<double>& exact, const std::vector<double>& squares, std::int64_t row_length);

/// Checks that every row of y, or of every gradient that is not empty, is within bounds.
void check_forward_result(const Job& job, const std::vector<double>& got);
void check_gradients(const Job& job, const reference::Gradients& got);

}  // namespace ffc::test
