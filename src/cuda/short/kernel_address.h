// A kernel as cudaLaunchKernel takes it. (tests/cuda/emulated has one for kernels that run on the CPU.)
#pragma once

namespace ffc::cuda {

template <class Parameters>
const void* kernel_address(void (*kernel)(Parameters)) {
  return reinterpret_cast<const void*>(kernel);
}

}  // namespace ffc::cuda
