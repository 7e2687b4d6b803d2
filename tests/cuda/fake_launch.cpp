#include "fake_launch.h"

#include <cstdint>
#include <cstring>
#include <string>

#include "cuda/sizes.h"

namespace ffc::cuda {
namespace fake {

Machine& machine() {
  static Machine the_machine;
  return the_machine;
}

namespace {

template <class JobType>
int record(const JobType& job, void* stream) {
  Machine& m = machine();
  const bool fails = static_cast<int>(m.launches.size()) == m.failing_launch;
  m.launches.push_back({job, stream, m.current_device});
  return fails ? m.error : 0;
}

std::size_t points(const Variant& variant) { return static_cast<std::size_t>(kSizes[variant.row].points); }

}  // namespace
}  // namespace fake

// Each launch writes all that the real one would, with bytes of its own.

int launch_spectrum(const SpectrumJob& job, void* stream) {
  const std::size_t channels = static_cast<std::size_t>(job.channels);
  std::memset(job.spectrum.values, 0x11, 4 * fake::points(job.variant) * channels);
  std::memset(job.spectrum.factors, 0x22, sizeof(float) * channels);
  return fake::record(job, stream);
}

int launch_forward(const ForwardJob& job, void* stream) { return fake::record(job, stream); }

int launch_backward(const BackwardJob& job, void* stream) {
  const std::size_t sums = static_cast<std::size_t>(job.grid.splits) * job.channels;
  if (job.sums) {
    std::memset(job.sums, 0x33, 4 * fake::points(job.variant) * sums);
    std::memset(job.sum_factors, 0x55, sizeof(float) * sums);
  }
  if (job.kept) std::memset(job.kept, 0x44, kept_bytes(job.variant) * job.grid.blocks);
  return fake::record(job, stream);
}

int launch_filter_gradient(const FilterGradientJob& job, void* stream) { return fake::record(job, stream); }

int launch_short_forward(const ShortForwardJob& job, void* stream) { return fake::record(job, stream); }
int launch_short_backward(const ShortBackwardJob& job, void* stream) { return fake::record(job, stream); }
int launch_short_gate(const ShortGateJob& job, void* stream) { return fake::record(job, stream); }
int launch_short_gate_backward(const ShortGateBackwardJob& job, void* stream) { return fake::record(job, stream); }

// A kernel of its own for tensors that are aligned, and for states.
std::size_t short_workspace_bytes(const ShortBackwardJob& job) {
  const bool aligned = reinterpret_cast<std::uintptr_t>(job.x.data) % 16 == 0;
  return (aligned ? 100u : 300u) + (job.initial_state ? 1000u : 0u) + (job.dweight.data ? 7u : 0u);
}
std::size_t short_workspace_bytes(const ShortGateBackwardJob& job) {
  return reinterpret_cast<std::uintptr_t>(job.z.data) % 16 == 0 ? 200 : 500;
}
const char* short_kernel_name(const ShortForwardJob&) { return "fake_short_forward"; }
const char* short_kernel_name(const ShortBackwardJob&) { return "fake_short_backward"; }
const char* short_kernel_name(const ShortGateJob&) { return "fake_gate"; }
const char* short_kernel_name(const ShortGateBackwardJob&) { return "fake_gate_backward"; }

const char* error_text(int error) {
  return error == 700 ? "cudaErrorIllegalAddress: an illegal memory access was encountered"
                      : "cudaErrorInvalidValue: invalid argument";
}

int blocks_per_multiprocessor(const Variant& variant, Task task) {
  const fake::Machine& m = fake::machine();
  if (variant.pairs && !m.has_pairs) return 0;
  return static_cast<int>(fake::points(variant)) <= (task == Task::backward ? m.largest_backward : m.largest) ? m.blocks
                                                                                                              : 0;
}

BlockWork block_work(const Variant& variant, Task task) {
  // As the kernels do it: every warp for itself up to 256 points, a block together above; sums in halves of the
  // longest.
  BlockWork work{.workers = fake::points(variant) <= 256 ? 8 : 1, .rows = variant.pairs ? 2 : 1};
  if (task == Task::backward && fake::points(variant) > 8192) work.together = 2, work.rows_in_sum = 16 * work.rows;
  return work;
}

std::size_t kept_bytes(const Variant& variant) {
  return fake::points(variant) <= 8192 ? 0 : (fake::points(variant) > 16384 ? 8 : 4) * fake::points(variant);
}

const char* kernel_name(const Variant& variant, Task task) {
  static std::string name;
  name = std::string(task == Task::backward ? "fake_backward_" : "fake_forward_") +
         std::to_string(fake::points(variant)) + (variant.pairs ? "_pairs" : "");
  return name.c_str();
}
const char* kernel_name(const ForwardJob& job) { return kernel_name(job.variant, Task::plain); }
const char* kernel_name(const BackwardJob& job) { return kernel_name(job.variant, Task::backward); }

DeviceFacts query_device(int) { return fake::machine().facts; }

DeviceScope::DeviceScope(int index)
    : before_(fake::machine().current_device), error_(fake::machine().failing_switch), switched_(before_ != index) {
  fake::machine().current_device = index;
}
DeviceScope::~DeviceScope() {
  if (switched_) fake::machine().current_device = before_;
}

}  // namespace ffc::cuda
