// The two ways in which a CUDA plan says no.
#pragma once

#include <string>

#include "cuda/launch.h"
#include "flashfftconv/status.h"

namespace ffc::cuda {

inline Status unsupported(Device device, const std::string& why) {
  return {StatusCode::unsupported, "device is CUDA " + std::to_string(device.index) + "; " + why};
}
/// `error`: a cudaError_t.
inline Status failed(const std::string& what, int error) {
  return {StatusCode::internal, what + " failed: " + error_text(error)};
}

}  // namespace ffc::cuda
