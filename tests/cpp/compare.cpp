#include "compare.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <limits>

#include "numbers.h"

namespace ffc::test {
namespace {

// Rows shorter than this may be unlucky with their rounding to float16; the bound is about typical rows.
constexpr std::int64_t kTypicalRow = 256;

double norm(const double* x, std::int64_t count) {
  double sum = 0;
  for (std::int64_t i = 0; i < count; ++i) sum += x[i] * x[i];
  return std::sqrt(sum);
}

double bound_of(DType dtype) { return dtype == DType::f64 ? 1e-14 : 1e-6; }

bool is_half(DType dtype) { return dtype == DType::f16 || dtype == DType::bf16; }

reference::Arrays squared(reference::Arrays a) {
  for (auto* array : {&a.u, &a.k, &a.k_rev, &a.pregate, &a.postgate, &a.skip})
    for (double& value : *array) value *= value;
  return a;
}

std::vector<double> squared(std::vector<double> values) {
  for (double& value : values) value *= value;
  return values;
}

}  // namespace

double relative_error(const double* got, const double* exact, std::int64_t count) {
  double sum = 0;
  for (std::int64_t i = 0; i < count; ++i) sum += (got[i] - exact[i]) * (got[i] - exact[i]);
  const double size = norm(exact, count);
  if (std::isnan(sum)) return std::numeric_limits<double>::infinity();
  if (size == 0) return sum == 0 ? 0 : std::numeric_limits<double>::infinity();
  return std::sqrt(sum) / size;
}

double rounding_error(DType dtype, const double* exact, std::int64_t count) {
  std::vector<double> nearest(static_cast<std::size_t>(count));
  for (std::int64_t i = 0; i < count; ++i) nearest[i] = rounded(dtype, exact[i]);
  return relative_error(nearest.data(), exact, count);
}

double allowed_error(DType dtype, DType stored, const double* exact, const double* squares, std::int64_t count) {
  double cancelled = 1;
  if (squares) {
    double sum = 0;
    for (std::int64_t i = 0; i < count; ++i) sum += squares[i];
    cancelled = std::max(1.0, std::sqrt(sum) / norm(exact, count));
  }
  if (!is_half(stored)) return std::max(bound_of(dtype), bound_of(stored)) * cancelled;
  // A result whose error before rounding is 1e-6 lands on another number now and then: at most that much twice.
  const double nearest = 1.05 * rounding_error(stored, exact, count) + 2e-6 * cancelled;
  return stored == DType::f16 && count >= kTypicalRow ? std::min(nearest, 3e-4) : nearest;
}

Verdict judge(const std::string& name, DType dtype, DType stored, const std::vector<double>& got,
              const std::vector<double>& exact, const std::vector<double>& squares, std::int64_t row_length) {
  Verdict worst;
  REQUIRE_MESSAGE(got.size() == exact.size(), name);
  for (std::size_t at = 0; at < exact.size(); at += static_cast<std::size_t>(row_length)) {
    const double error = relative_error(&got[at], &exact[at], row_length);
    const double allowed =
        allowed_error(dtype, stored, &exact[at], squares.empty() ? nullptr : &squares[at], row_length);
    const double excess = error == 0 ? 0 : error / allowed;
    if (excess <= worst.excess) continue;
    char text[160];
    std::snprintf(text, sizeof text, "%s, row %lld: error %.3g, allowed %.3g", name.c_str(),
                  static_cast<long long>(at / static_cast<std::size_t>(row_length)), error, allowed);
    worst = {excess, text};
  }
  return worst;
}

void check_forward_result(const Job& job, const std::vector<double>& got) {
  const Problem& p = job.the_case().problem;
  const std::vector<double> exact = job.expected();
  Verdict verdict = judge("y", p.dtype, p.dtype, got, exact, {}, p.length);
  if (verdict.excess > 1)
    verdict = judge("y", p.dtype, p.dtype, got, exact, reference::forward<double>(p, squared(job.arrays())), p.length);
  CHECK_MESSAGE(verdict.excess <= 1, describe(job.the_case()), ": ", verdict.text);
}

void check_gradients(const Job& job, const reference::Gradients& got) {
  using G = reference::Gradients;
  const Problem& p = job.the_case().problem;
  const G exact = job.expected_gradients();
  const DType compute = compute_type(p.dtype);
  const struct {
    const char* name;
    std::vector<double> G::* of;
    std::int64_t row;
    DType stored;
  } list[] = {{"du", &G::du, p.length, p.dtype},
              {"dpregate", &G::dpregate, p.length, p.dtype},
              {"dpostgate", &G::dpostgate, p.length, p.dtype},
              {"dk", &G::dk, p.filter, p.filter_dtype},
              {"dk_rev", &G::dk_rev, p.filter_reverse, p.filter_dtype},
              {"dskip", &G::dskip, 1, compute}};
  for (const auto& g : list) {
    if ((got.*g.of).empty()) continue;
    Verdict verdict = judge(g.name, p.dtype, g.stored, got.*g.of, exact.*g.of, {}, g.row);
    if (verdict.excess > 1) {
      const G squares = reference::backward<double>(p, squared(job.arrays()), squared(job.upstream()));
      verdict = judge(g.name, p.dtype, g.stored, got.*g.of, exact.*g.of, squares.*g.of, g.row);
    }
    CHECK_MESSAGE(verdict.excess <= 1, describe(job.the_case()), ": ", verdict.text);
  }
}

}  // namespace ffc::test
