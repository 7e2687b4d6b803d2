// A kernel of one argument as the emulated cudaLaunchKernel takes it: what it is, and how to call it.
#pragma once

#include <map>

namespace emulated {

struct AnyKernel {
  void (*call)(void (*kernel)(), const void* argument);
  void (*kernel)();
};

}  // namespace emulated

namespace ffc::cuda {

template <class Parameters>
const void* kernel_address(void (*kernel)(Parameters)) {
  static std::map<void (*)(Parameters), emulated::AnyKernel> known;
  auto call = [](void (*f)(), const void* argument) {
    reinterpret_cast<void (*)(Parameters)>(f)(*static_cast<const Parameters*>(argument));
  };
  return &known.try_emplace(kernel, emulated::AnyKernel{call, reinterpret_cast<void (*)()>(kernel)}).first->second;
}

}  // namespace ffc::cuda
