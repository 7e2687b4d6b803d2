// What a backend provides. The list of backends is in backend_list.h; nothing else knows more than one of them.
#pragma once

#include <cstddef>
#include <string>

#include "flashfftconv/execute.h"
#include "flashfftconv/plan.h"

namespace ffc {

/// A plan of one backend. Arguments have been checked by the time they come here.
class BackendPlan {
 public:
  BackendPlan(const Problem& problem, Device device) : problem_(problem), device_(device) {}
  virtual ~BackendPlan() = default;

  const Problem& problem() const { return problem_; }
  Device device() const { return device_; }

  virtual std::size_t workspace_bytes(Pass pass) const = 0;
  virtual std::size_t spectrum_bytes() const = 0;
  virtual Status supports(Pass) const { return {}; }
  virtual int workers() const = 0;
  virtual std::string describe() const = 0;
  virtual Status forward(const ForwardArguments& arguments, const Execution& execution) const = 0;
  virtual Status backward(const BackwardArguments& arguments, const Execution& execution) const = 0;
  virtual Status prepare(const FilterArguments& arguments, const Execution& execution) const = 0;

 private:
  Problem problem_;
  Device device_;
};

/// What this build has of CUDA and whether it runs on the device of that index, in a few words.
std::string describe_cuda(int index);

}  // namespace ffc
