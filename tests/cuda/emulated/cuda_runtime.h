// Launching on emulated threads: the few names of the CUDA runtime that host code needs for it.
#pragma once

#include <cstddef>

#include "cuda/short/kernel_address.h"
#include "device.h"

enum cudaError_t { cudaSuccess = 0, cudaErrorInvalidConfiguration = 9 };
using cudaStream_t = void*;
struct dim3 {
  unsigned x;
  explicit dim3(unsigned count) : x(count) {}
};

inline cudaError_t cudaGetLastError() { return cudaSuccess; }
inline cudaError_t cudaLaunchKernel(const void* function, dim3 blocks, dim3 threads, void** arguments, std::size_t,
                                    cudaStream_t) {
  const auto* kernel = static_cast<const emulated::AnyKernel*>(function);
  emulated::launch(static_cast<int>(blocks.x), static_cast<int>(threads.x),
                   [&] { kernel->call(kernel->kernel, arguments[0]); });
  return cudaSuccess;
}
