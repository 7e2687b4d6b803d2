#include "torch/cuda_stream.h"

#include <dlfcn.h>
#include <torch/headeronly/util/Exception.h>

#include <cstdint>

namespace ffc::torch_binding {
namespace {

using GetStream = std::int32_t (*)(std::int32_t device, void** stream);

// Torch without CUDA lacks the function: found at run time, one library serves both.
GetStream find_function() {
  constexpr const char* kName = "aoti_torch_get_current_cuda_stream";
  void* found = dlsym(RTLD_DEFAULT, kName);
  if (!found)
    if (void* library = dlopen("libtorch_cuda.so", RTLD_LAZY | RTLD_NOLOAD)) found = dlsym(library, kName);
  return reinterpret_cast<GetStream>(found);
}

}  // namespace

void* current_cuda_stream(int device) {
  static const GetStream get_stream = find_function();
  STD_TORCH_CHECK(get_stream, "this torch has no CUDA");
  void* stream = nullptr;
  STD_TORCH_CHECK(get_stream(device, &stream) == 0, "torch has no current stream on CUDA device ", device);
  return stream;
}

}  // namespace ffc::torch_binding
