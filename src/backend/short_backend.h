// What a backend provides for short convolutions.
#pragma once

#include <cstddef>
#include <string>

#include "flashfftconv/short_conv.h"

namespace ffc {

/// A plan of one backend. Arguments have been checked by the time they come here.
class ShortBackendPlan {
 public:
  ShortBackendPlan(const ShortProblem& problem, Device device) : problem_(problem), device_(device) {}
  virtual ~ShortBackendPlan() = default;

  const ShortProblem& problem() const { return problem_; }
  Device device() const { return device_; }

  virtual std::size_t workspace_bytes(Pass pass) const = 0;
  virtual int workers() const = 0;
  virtual std::string describe() const = 0;
  virtual Status forward(const ShortForwardArguments& arguments, const Execution& execution) const = 0;
  virtual Status backward(const ShortBackwardArguments& arguments, const Execution& execution) const = 0;

 private:
  ShortProblem problem_;
  Device device_;
};

}  // namespace ffc
