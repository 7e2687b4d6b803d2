// New memory on the CPU.
#pragma once

#include <torch/csrc/inductor/aoti_torch/c/shim.h>
#include <torch/csrc/stable/tensor.h>
#include <torch/headeronly/core/ScalarType.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

namespace ffc::torch_binding {

// A contiguous tensor. torch::stable::empty looks its operator up by name, a microsecond each time, and a backward pass
// makes seven tensors; this calls the C function below it.
template <std::size_t n>
torch::stable::Tensor fresh(const std::array<std::int64_t, n>& sizes, torch::headeronly::ScalarType type) {
  std::array<std::int64_t, n> strides;
  std::int64_t stride = 1;
  for (std::size_t i = n; i-- > 0; stride *= std::max<std::int64_t>(1, sizes[i])) strides[i] = stride;
  AtenTensorHandle made;
  STABLE_TORCH_ERROR_CODE_CHECK(aoti_torch_empty_strided(
      n, sizes.data(), strides.data(), torch::stable::detail::to<std::int32_t>(torch::stable::detail::from(type)),
      aoti_torch_device_type_cpu(), 0, &made));
  return torch::stable::Tensor(made);
}

}  // namespace ffc::torch_binding
