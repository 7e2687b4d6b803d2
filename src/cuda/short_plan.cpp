// Plans of short convolutions on a GPU: which problems the device code takes, and its jobs (cuda/short/short_launch.h).
#include "cuda/short_plan.h"

#include <algorithm>
#include <cstdint>
#include <string>

#include "backend/short_backend.h"
#include "cuda/behind.h"
#include "cuda/cuda_plan.h"
#include "cuda/short/short_launch.h"
#include "cuda/status.h"

namespace ffc::cuda {
namespace {

// The device code counts batches, channels, samples, taps and sequences in 32 bits, and steps beyond the last.
constexpr std::int64_t kMost = 1 << 30;

// What of a problem the engine does not take, whatever the device.
Status check_problem(const ShortProblem& p, Device device) {
  if (p.dtype == DType::f64) return unsupported(device, "its engine takes float16, bfloat16 and float32; x is float64");
  if (p.weight_dtype != p.dtype && p.weight_dtype != DType::f32)
    return unsupported(device, std::string("its engine takes weights of the type of x or float32; these are ") +
                                   name_of(p.weight_dtype));
  if (p.epilogue == Epilogue::gate && (p.layout != Layout::bhl || p.sequences > 0))
    return unsupported(device, "its engine takes the gate in layout bhl, without packed sequences");
  for (const auto& [name, value] : {std::pair{"batch", p.batch}, std::pair{"channels", p.channels},
                                    std::pair{"length", p.length + p.padding_left + p.padding_right},
                                    std::pair{"taps", p.taps}, std::pair{"sequences", p.sequences}})
    if (value > kMost)
      return unsupported(
          device, std::string("its engine takes up to 2^30 each of batch, channels, samples, taps and sequences; ") +
                      name + " is " + std::to_string(value));
  return {};
}

ShortShape shape_of(const ShortProblem& p, const std::int64_t* borders) {
  return {.batch = p.batch,
          .channels = p.epilogue == Epilogue::gate ? p.channels / 3 : p.channels,
          .length = p.length,
          .taps = p.taps,
          .left = p.padding_left,
          .right = p.padding_right,
          .layout = p.layout,
          .activation = p.epilogue == Epilogue::silu   ? ShortActivation::silu
                        : p.epilogue == Epilogue::gelu ? ShortActivation::gelu
                                                       : ShortActivation::none,
          .dtype = p.dtype,
          .weight_dtype = p.weight_dtype,
          .sequences = p.sequences,
          .borders = borders};
}

// A tensor with the strides of a contiguous one where none are given.
template <class Tensor>
Tensor resolved(Tensor tensor, Layout layout, std::int64_t channels, std::int64_t samples) {
  if (tensor.batch_stride == kContiguous) tensor.batch_stride = channels * samples;
  if (tensor.line_stride == kContiguous) tensor.line_stride = layout == Layout::bhl ? samples : channels;
  return tensor;
}
// Likewise weights.
template <class Weights>
Weights resolved(Weights weight, std::int64_t taps) {
  if (weight.channel_stride == kContiguous) weight.channel_stride = taps;
  return weight;
}

class CudaShortPlan final : public ShortBackendPlan {
 public:
  CudaShortPlan(const ShortProblem& problem, Device device) : ShortBackendPlan(problem, device) {}

  std::size_t workspace_bytes(Pass pass) const override {
    const ShortProblem& p = problem();
    if (pass == Pass::forward || p.channels == 0) return 0;
    // Which kernel runs depends on where tensors lie and on states: enough for any.
    std::size_t most = 0;
    for (std::uintptr_t address : {std::uintptr_t{4096}, std::uintptr_t{4096 + 2}})
      for (bool state : {false, true}) {
        void* somewhere = reinterpret_cast<void*>(address);
        ShortBackwardArguments a{.dy = {somewhere}, .x = {somewhere}, .weight = {somewhere}};
        a.initial_state = a.dinitial_state = state ? somewhere : nullptr;
        a.bias = a.dbias = somewhere;
        a.dx = {somewhere}, a.dweight = {somewhere};
        most = std::max(most, is_gate() ? short_workspace_bytes(gate_job_of(a, nullptr))
                                        : short_workspace_bytes(job_of(a, nullptr)));
      }
    return (most + kWorkspaceAlignment - 1) / kWorkspaceAlignment * kWorkspaceAlignment;
  }
  int workers() const override { return 0; }

  std::string describe() const override {
    const ShortProblem& p = problem();
    std::string text = "short convolution, layout " + std::string(name_of(p.layout)) + ", batch " +
                       std::to_string(p.batch) + ", channels " + std::to_string(p.channels) + ", length " +
                       std::to_string(p.length) + ", " + std::to_string(p.taps) + " taps, padding " +
                       std::to_string(p.padding_left) + " and " + std::to_string(p.padding_right) + ", epilogue " +
                       name_of(p.epilogue) + ", " + name_of(p.dtype) + ", on CUDA " + std::to_string(device().index) +
                       "\n";
    const ShortForwardArguments a{};
    const ShortBackwardArguments b{};
    text += std::string("  algorithm: sums over the taps, kernel ") +
            (is_gate() ? short_kernel_name(gate_job_of(a)) : short_kernel_name(job_of(a))) + ", backward " +
            (is_gate() ? short_kernel_name(gate_job_of(b, nullptr)) : short_kernel_name(job_of(b, nullptr))) + "\n";
    return text + "  workspace: 0 bytes forward, " + std::to_string(workspace_bytes(Pass::backward)) + " backward\n";
  }

  Status forward(const ShortForwardArguments& a, const Execution& execution) const override {
    const ShortProblem& p = problem();
    if (Status s = check_state(a.initial_state); !s) return s;
    if (p.batch == 0 || p.channels == 0) return {};
    const DeviceScope scope(device().index);
    if (scope.error()) return failed("switching to the device", scope.error());
    const int error = is_gate() ? launch_short_gate(gate_job_of(a), execution.stream)
                                : launch_short_forward(job_of(a), execution.stream);
    return error ? failed("launching the short convolution", error) : Status();
  }

  Status backward(const ShortBackwardArguments& a, const Execution& execution) const override {
    if (Status s = check_state(a.initial_state); !s) return s;
    if (problem().channels == 0) return {};
    const DeviceScope scope(device().index);
    if (scope.error()) return failed("switching to the device", scope.error());
    void* workspace = execution.workspace.data;
    const int error = is_gate() ? launch_short_gate_backward(gate_job_of(a, workspace), execution.stream)
                                : launch_short_backward(job_of(a, workspace), execution.stream);
    return error ? failed("launching the gradient of the short convolution", error) : Status();
  }

 private:
  bool is_gate() const { return problem().epilogue == Epilogue::gate; }
  Status check_state(const void* initial_state) const {
    return is_gate() && initial_state ? unsupported(device(), "its engine has the gate without initial_state")
                                      : Status();
  }

  ShortForwardJob job_of(const ShortForwardArguments& a) const {
    const ShortProblem& p = problem();
    return {.shape = shape_of(p, a.cu_seqlens),
            .x = resolved(a.x, p.layout, p.channels, p.length),
            .weight = resolved(a.weight, p.taps),
            .bias = a.bias,
            .initial_state = a.initial_state,
            .y = resolved(a.y, p.layout, p.output_channels(), p.output_length()),
            .final_state = a.final_state};
  }

  ShortBackwardJob job_of(const ShortBackwardArguments& a, void* workspace) const {
    const ShortProblem& p = problem();
    return {.shape = shape_of(p, a.cu_seqlens),
            .x = resolved(a.x, p.layout, p.channels, p.length),
            .dy = resolved(a.dy, p.layout, p.output_channels(), p.output_length()),
            .weight = resolved(a.weight, p.taps),
            .bias = a.bias,
            .initial_state = a.initial_state,
            .dx = resolved(a.dx, p.layout, p.channels, p.length),
            .dweight = resolved(a.dweight, p.taps),
            .dbias = a.dbias,
            .dinitial_state = a.dinitial_state,
            .workspace = workspace};
  }

  // Of the gate y and dy have two thirds, one behind the other: x0 and v.
  ShortGateJob gate_job_of(const ShortForwardArguments& a) const {
    const ShortForwardJob all = job_of(a);
    return {.shape = all.shape,
            .z = all.x,
            .weight = all.weight,
            .bias = all.bias,
            .x0 = all.y,
            .v = behind(all.y, problem().dtype, all.shape.channels * all.y.line_stride)};
  }
  ShortGateBackwardJob gate_job_of(const ShortBackwardArguments& a, void* workspace) const {
    const ShortBackwardJob all = job_of(a, workspace);
    return {.shape = all.shape,
            .z = all.x,
            .weight = all.weight,
            .bias = all.bias,
            .dx0 = all.dy,
            .dv = behind(all.dy, problem().dtype, all.shape.channels * all.dy.line_stride),
            .dz = all.dx,
            .dweight = all.dweight,
            .dbias = all.dbias,
            .workspace = workspace};
  }
};

}  // namespace

Result<ShortPlan> make_short_plan(const ShortProblem& problem, Device device, PlanOptions) {
  if (Status s = check_device(device); !s) return s;
  if (Status s = check_problem(problem, device); !s) return s;
  return ShortPlan(std::make_shared<CudaShortPlan>(problem, device));
}

}  // namespace ffc::cuda
