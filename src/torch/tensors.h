// What the operators have in common: types, places, memory, and the calls of what Python implements.
#pragma once

#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>
#include <torch/headeronly/core/ScalarType.h>
#include <torch/headeronly/util/Exception.h>

#include <algorithm>
#include <array>
#include <optional>

#include "flashfftconv/flashfftconv.h"

namespace ffc::torch_binding {

using torch::headeronly::ScalarType;
using torch::stable::Tensor;
using MaybeTensor = std::optional<Tensor>;

DType dtype_of(const char* name, const Tensor& t);
ScalarType scalar_type_of(DType dtype);

// Where the tensors of a call are, and how memory is got there.
class Place {
 public:
  // That of a tensor whose name is said where it is neither.
  Place(const char* name, const Tensor& t);
  // As the operators without tensors name it: a CUDA ordinal, or -1 for the CPU.
  explicit Place(int64_t device) : is_cuda_(device >= 0), index_(is_cuda_ ? static_cast<int>(device) : 0) {}

  bool is_cuda() const { return is_cuda_; }
  bool holds(const Tensor& t) const { return is_cuda_ ? t.is_cuda() && t.get_device_index() == index_ : t.is_cpu(); }
  Device device() const { return {is_cuda_ ? DeviceKind::cuda : DeviceKind::cpu, index_}; }

  // Fresh memory, contiguous.
  template <std::size_t n>
  Tensor empty(const std::array<int64_t, n>& sizes, ScalarType type) const {
    return empty(sizes.data(), n, type);
  }
  void* stream() const;

 private:
  Tensor empty(const int64_t* sizes, std::size_t dimensions, ScalarType type) const;
  bool is_cuda_;
  int index_;
};

// Calls an operator that Python implements; what it returns is at the front of the stack.
template <std::size_t returned, class... Values>
auto call(const char* name, const Values&... values) {
  std::array<StableIValue, std::max(returned, sizeof...(values))> stack{torch::stable::detail::from(values)...};
  // The exception's type and text do not come through the stable ABI: ops.py raises it again when it sees this one.
  STD_TORCH_CHECK(torch_call_dispatcher(name, "", stack.data(), TORCH_ABI_VERSION) == 0, name, " failed");
  return stack;
}

void check(const Status& status);

// A CUDA tensor whose problem is sound, but not for an engine of this build and machine.
bool goes_to_torch(const Place& place, const Status& status);

Tensor on_huge_pages(Tensor t);

// Workspace, if there is to be any, and the part of it that begins where it must.
MaybeTensor scratch(const Place& place, std::size_t bytes);
Execution execution_of(const Place& place, const MaybeTensor& workspace);

}  // namespace ffc::torch_binding
