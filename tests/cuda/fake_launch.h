// The device code, pretended on the host: launch.h whose jobs are recorded and whose memory is written, so that plans
// can be tested without a GPU.
#pragma once

#include <variant>
#include <vector>

#include "cuda/launch.h"
#include "cuda/short/short_launch.h"

namespace ffc::cuda::fake {

using Job = std::variant<SpectrumJob, ForwardJob, BackwardJob, FilterGradientJob, ShortForwardJob, ShortBackwardJob,
                         ShortGateJob, ShortGateBackwardJob>;

struct Launch {
  Job job;
  void* stream = nullptr;
  int device = 0;  ///< current when it was launched
};

/// What the pretended machine is and does; tests change it.
struct Machine {
  DeviceFacts facts{.devices = 2, .driver = 13000, .major = 9, .minor = 0, .multiprocessors = 132};
  bool has_pairs = true;
  int blocks = 2;       ///< a multiprocessor holds of every kernel
  int largest = 32768;  ///< points that a kernel exists for
  int largest_backward = 32768;
  int failing_launch = -1;  ///< index of the launch that fails
  int failing_switch = 0;   ///< error of every DeviceScope
  int error = 700;          ///< with which it fails
  int current_device = 0;
  std::vector<Launch> launches;
};

Machine& machine();

}  // namespace ffc::cuda::fake
