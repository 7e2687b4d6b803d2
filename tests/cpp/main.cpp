// Runs the tests on one instruction set: the best of the machine, or the one that FFC_CPU_TARGET names. One that this
// machine lacks is not a failure but skipped.
#define DOCTEST_CONFIG_IMPLEMENT
#include <doctest/doctest.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

#include "flashfftconv/flashfftconv.h"

namespace {

constexpr int kSkipped = 77;  // what CTest's SKIP_RETURN_CODE is set to

// FFC_CPU_TARGET names no instruction set at all: every plan is refused, with the name and those that exist.
int check_refusal(const std::string& target) {
  for (ffc::DType dtype : {ffc::DType::f32, ffc::DType::f64}) {
    const auto plan = ffc::make_plan({.length = 8, .filter = 8, .dtype = dtype});
    const std::string& message = plan.status().message();
    if (plan || plan.status().code() != ffc::StatusCode::unsupported || message.find(target) == std::string::npos ||
        message.find("FFC_CPU_TARGET") == std::string::npos || message.find("have: ") + 6 >= message.size()) {
      std::fprintf(stderr, "FFC_CPU_TARGET=%s: '%s'\n", target.c_str(), message.c_str());
      return 1;
    }
  }
  // The choice stands when the variable is gone.
  unsetenv("FFC_CPU_TARGET");
  return ffc::make_plan({.length = 8, .filter = 8}).status().code() == ffc::StatusCode::unsupported ? 0 : 1;
}

}  // namespace

int main(int count, char** arguments) {
  const char* target = std::getenv("FFC_CPU_TARGET");
  if (count > 1 && !std::strcmp(arguments[1], "--refusal")) return check_refusal(target ? std::string(target) : "");

  const auto plan = ffc::make_plan({.length = 8, .filter = 8});
  if (!plan) {
    std::fprintf(stderr, "skipped: %s\n", plan.status().message().c_str());
    return plan.status().code() == ffc::StatusCode::unsupported ? kSkipped : 1;
  }
  std::string what = plan->describe();
  std::fprintf(stderr, "%s", what.c_str());
  // The tests must not pass on another instruction set than the one asked for.
  if (target && *target && what.find(std::string("(").append(target).append(",")) == std::string::npos) {
    std::fprintf(stderr, "asked for %s, which is not what runs\n", target);
    return 1;
  }
  return doctest::Context(count, arguments).run();
}
