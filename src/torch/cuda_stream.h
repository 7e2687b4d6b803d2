// torch's current CUDA stream.
#pragma once

namespace ffc::torch_binding {

/// A cudaStream_t. Throws if this torch has no CUDA.
void* current_cuda_stream(int device);

}  // namespace ffc::torch_binding
