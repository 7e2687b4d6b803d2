// The one place where the kernels of short convolutions are launched.
#include <cuda_runtime.h>

#include "cuda/short/any.cuh"
#include "cuda/short/choice.h"
#include "cuda/short/gate.cuh"
#include "cuda/short/gate_backward.cuh"
#include "cuda/short/short_launch.h"

namespace ffc::cuda {
namespace {

const ShortKernels& kernels_of(DType type) {
  return type == DType::f16    ? short_kernels<DType::f16>()
         : type == DType::bf16 ? short_kernels<DType::bf16>()
                               : short_kernels<DType::f32>();
}

int launch(const ShortKernel& kernel, std::int64_t blocks, const void* parameters, void* stream) {
  if (blocks == 0) return cudaSuccess;
  if (blocks > INT32_MAX) return cudaErrorInvalidConfiguration;
  void* arguments[] = {const_cast<void*>(parameters)};
  const cudaError_t e = cudaLaunchKernel(kernel.function, dim3(static_cast<unsigned>(blocks)), dim3(kernel.threads),
                                         arguments, kernel.shared_bytes, static_cast<cudaStream_t>(stream));
  if (e != cudaSuccess) cudaGetLastError();  // reported here; the next call starts clean
  return e;
}
int launch_threads(const ShortKernel& kernel, std::int64_t threads, const void* parameters, void* stream) {
  return launch(kernel, ceil_divide(threads, kernel.threads), parameters, stream);
}

// The kernel that takes all of a forward pass but for what lies before the first samples, or null.
const ShortKernel* tuned(const ShortForwardJob& job) {
  const ShortShape& s = job.shape;
  if (s.taps > kTunedTaps || s.left >= s.taps || !counts_edges(s)) return nullptr;
  const ShortKernels& kernels = kernels_of(s.dtype);
  const bool active = s.activation != ShortActivation::none;
  if (s.layout == ffc::Layout::blh) {
    const ShortKernel& kernel = kernels.last_forward[s.taps - 1][active];
    return s.channels % kernel.count == 0 && in_chunks(s, job.x, kernel.count) && in_chunks(s, job.y, kernel.count)
               ? &kernel
               : nullptr;
  }
  const int padding = padding_index(s);
  if (padding < 0) return nullptr;
  const ShortKernel& kernel = kernels.first_forward[s.taps - 1][padding][active];
  return s.length % kernel.count == 0 && s.output_length() % kernel.count == 0 && in_chunks(s, job.x, kernel.count) &&
                 in_chunks(s, job.y, kernel.count) && counts_forward(s, kernel)
             ? &kernel
             : nullptr;
}

// Likewise a backward pass.
const ShortKernel* tuned(const ShortBackwardJob& job) {
  const ShortShape& s = job.shape;
  const bool sums = wants_sums(job), active = s.activation != ShortActivation::none;
  if (!is_plain(s) || job.initial_state || job.dfinal_state || job.dinitial_state) return nullptr;
  auto reachable = [&](int count) {
    return in_chunks(s, job.dy, count) && (!(sums || active) || in_chunks(s, job.x, count)) &&
           (!job.dx.data || in_chunks(s, job.dx, count));
  };
  const ShortKernels& kernels = kernels_of(s.dtype);
  if (s.layout == ffc::Layout::blh) {
    const ShortKernel& kernel = kernels.last_backward[s.taps - 1][active];
    return s.channels % kernel.count == 0 && reachable(kernel.count) && !too_many_sums(job, kernel) ? &kernel : nullptr;
  }
  const int padding = padding_index(s);
  if (padding < 0) return nullptr;
  const ShortKernel& kernel = kernels.first_backward[s.taps - 1][padding][active];
  return s.length % kernel.count == 0 && s.output_length() % kernel.count == 0 && reachable(kernel.count) &&
                 counts_backward(s, kernel)
             ? &kernel
             : nullptr;
}

// Likewise the front end of Hyena, whose tensors these are; `counts`: counts_forward or counts_backward.
template <int MOST_TAPS, class... Tensors>
const ShortKernel* tuned_gate(const ShortShape& s, const ShortKernel (&kernels)[MOST_TAPS][kPaddings],
                              bool (*counts)(const ShortShape&, const ShortKernel&), const Tensors&... tensors) {
  const int padding = padding_index(s);
  if (!is_plain(s) || s.taps > MOST_TAPS || padding < 0) return nullptr;
  const ShortKernel& kernel = kernels[s.taps - 1][padding];
  const int count = kernel.count;
  const bool chunks = s.length % count == 0 && s.output_length() % count == 0;
  return chunks && (in_chunks(s, tensors, count) && ...) && counts(s, kernel) ? &kernel : nullptr;
}
const ShortKernel* tuned(const ShortGateJob& job) {
  return tuned_gate(job.shape, kernels_of(job.shape.dtype).gate, counts_forward, job.z, job.x0, job.v);
}
const ShortKernel* tuned(const ShortGateBackwardJob& job) {
  return tuned_gate(job.shape, kernels_of(job.shape.dtype).gate_backward, counts_backward, job.z, job.dx0, job.dv,
                    job.dz);
}

template <class Pointer, class Tensor>
AnyTensor<Pointer> any(const ShortShape& s, const Tensor& t) {
  const bool first = s.layout == ffc::Layout::bhl;
  return {t.data, t.batch_stride, first ? t.line_stride : 1, first ? 1 : t.line_stride};
}
Sequences sequences_of(const ShortShape& s) {
  return {s.sequences ? s.borders : nullptr, static_cast<int>(s.sequences ? s.sequences : 1),
          static_cast<int>(s.length)};
}

// Every output, or those around the beginnings of sequences alone.
CorrelateParameters correlate(const ShortForwardJob& job, bool edges) {
  const ShortShape& s = job.shape;
  CorrelateParameters p{};
  p.x = any<const void*>(s, job.x), p.y = any<void*>(s, job.y);
  p.weights = weights_of(s, job.weight, job.bias), p.activation = s.activation;
  p.taps = static_cast<int>(s.taps), p.left = static_cast<int>(s.left), p.channels = static_cast<int>(s.channels);
  p.sequences = sequences_of(s), p.output_length = static_cast<int>(s.output_length());
  p.state = job.initial_state, p.channels_last = s.layout == ffc::Layout::blh;
  std::int64_t outputs = s.output_length();
  if (edges) {
    // Outputs [-(K - 1 - left), left) around a beginning reach over it.
    p.edge = p.taps - 1, p.edge_before = p.taps - 1 - p.left, p.edge_count = p.sequences.count;
    outputs = static_cast<std::int64_t>(p.edge) * p.edge_count;
  }
  p.outputs = s.batch * s.channels * outputs;
  return p;
}

WeightsView reversed(const ShortShape& s, ConstWeight weight) {
  weight.data = static_cast<const char*>(weight.data) +
                static_cast<std::int64_t>(size_of(s.weight_dtype)) * (s.taps - 1) * weight.tap_stride;
  weight.tap_stride = -weight.tap_stride;
  return weights_of(s, weight, nullptr);
}

// How any_taps shares its work: channels side by side, tiles of outputs, groups of taps.
struct TapsShares {
  int lane_bits, tile, tiles, splits, channel_blocks, tap_groups;

  explicit TapsShares(const ShortShape& s) {
    lane_bits = s.layout == ffc::Layout::blh ? bits_for(s.channels, 5) : 0;
    tile = 1024;
    tiles = static_cast<int>(ceil_divide(s.output_length(), tile));
    channel_blocks = static_cast<int>(ceil_divide(s.channels, std::int64_t{1} << lane_bits));
    tap_groups = static_cast<int>(ceil_divide(s.taps, kTapGroup));
    const std::int64_t wanted = ceil_divide(kManyBlocks, static_cast<std::int64_t>(channel_blocks) * tap_groups);
    splits = static_cast<int>(std::clamp<std::int64_t>(wanted, 1, std::max<std::int64_t>(1, s.batch * tiles)));
  }
};

// The workspace: sums of splits, then, under an activation, g as floats, contiguous in the shape's layout.
struct BackwardWork {
  const ShortKernel* kernel;
  std::int64_t splits = 0, blocks = 0;
  std::size_t sums_bytes = 0, gradient_bytes = 0;

  explicit BackwardWork(const ShortBackwardJob& job) : kernel(tuned(job)) {
    const ShortShape& s = job.shape;
    if (kernel == nullptr)
      splits = TapsShares(s).splits;
    else if (s.layout == ffc::Layout::bhl)
      splits = fill_first(job, *kernel, blocks).split_count;
    else
      splits = splits_last(job, *kernel);
    if (wants_sums(job)) sums_bytes = sums_size(splits, s.taps, s.channels);
    if (s.activation != ShortActivation::none && kernel == nullptr)
      gradient_bytes = static_cast<std::size_t>(s.batch) * s.channels * s.output_length() * sizeof(float);
  }
};

// dx, dinitial_state and the sums of the taps from g: of the samples' type, or `floats`.
int launch_any_gradients(const ShortBackwardJob& job, const AnyTensor<const void*>& g, bool floats, void* stream) {
  const ShortShape& s = job.shape;
  const ShortKernels& kernels = kernels_of(s.dtype);
  if (job.dx.data) {
    CorrelateParameters p{};
    p.x = g, p.y = any<void*>(s, job.dx), p.weights = reversed(s, job.weight);
    p.taps = static_cast<int>(s.taps), p.left = static_cast<int>(s.taps - 1 - s.left);
    p.channels = static_cast<int>(s.channels);
    p.sequences = sequences_of(s), p.sequences.length = static_cast<int>(s.output_length());
    p.output_length = static_cast<int>(s.length);
    p.last = job.dfinal_state, p.channels_last = s.layout == ffc::Layout::blh;
    p.outputs = s.batch * s.channels * s.length;
    if (int e = launch_threads(kernels.any_dx[floats], p.outputs, &p, stream)) return e;
  }
  if (job.dinitial_state && s.taps > 1) {
    StateParameters p{g,
                      weights_of(s, job.weight, nullptr),
                      static_cast<int>(s.taps),
                      static_cast<int>(s.left),
                      static_cast<int>(s.channels),
                      sequences_of(s),
                      static_cast<int>(s.output_length()),
                      job.dfinal_state,
                      job.dinitial_state,
                      s.states() * s.channels * (s.taps - 1)};
    if (int e = launch_threads(kernels.any_initial_gradient[floats], p.outputs, &p, stream)) return e;
  }
  if (!wants_sums(job)) return cudaSuccess;
  const TapsShares shares(s);
  const TapsParameters p{any<const void*>(s, job.x),
                         g,
                         static_cast<int>(s.taps),
                         static_cast<int>(s.left),
                         static_cast<int>(s.channels),
                         static_cast<int>(s.batch),
                         static_cast<int>(s.output_length()),
                         sequences_of(s),
                         job.initial_state,
                         static_cast<float*>(job.workspace),
                         shares.lane_bits,
                         shares.tile,
                         shares.tiles,
                         shares.splits,
                         shares.channel_blocks,
                         shares.tap_groups};
  return launch(kernels.any_taps[floats],
                static_cast<std::int64_t>(shares.channel_blocks) * shares.tap_groups * shares.splits, &p, stream);
}

int launch_any_backward(const ShortBackwardJob& job, const BackwardWork& work, void* stream) {
  const ShortShape& s = job.shape;
  const AnyTensor<const void*> dy = any<const void*>(s, job.dy);
  if (s.activation == ShortActivation::none) return launch_any_gradients(job, dy, false, stream);
  ShortForwardJob forward{.shape = s, .x = job.x, .weight = job.weight, .bias = job.bias};
  forward.initial_state = job.initial_state;
  forward.y = {static_cast<char*>(job.workspace) + work.sums_bytes, s.channels * s.output_length(),
               s.layout == ffc::Layout::bhl ? s.output_length() : s.channels};
  CorrelateParameters p = correlate(forward, false);
  p.dy = dy;
  if (int e = launch_threads(kernels_of(s.dtype).any_gradient, p.outputs, &p, stream)) return e;
  return launch_any_gradients(job, any<const void*>(s, forward.y), true, stream);
}

// The gradients of the front end as those of a convolution of 3 D channels, but for dy.
ShortBackwardJob of_three_parts(const ShortGateBackwardJob& job) {
  ShortBackwardJob all{.shape = job.shape, .x = job.z, .weight = job.weight, .bias = job.bias};
  all.shape.channels *= 3;
  all.dx = job.dz, all.dweight = job.dweight, all.dbias = job.dbias, all.workspace = job.workspace;
  return all;
}

// The workspace: sums of splits, then, without a tuned kernel, g as floats.
struct GateWork {
  const ShortKernel* kernel;
  std::int64_t splits = 0, blocks = 0;
  std::size_t sums_bytes = 0, gradient_bytes = 0;
  ChannelsFirstBackward rows{};

  explicit GateWork(const ShortGateBackwardJob& job) : kernel(tuned(job)) {
    const ShortShape& s = job.shape;
    if (kernel) {
      ShortBackwardJob part = of_three_parts(job);
      part.shape.channels = s.channels, part.dy = job.dv;
      rows = fill_first(part, *kernel, blocks);
      splits = rows.split_count;
    } else {
      splits = TapsShares(of_three_parts(job).shape).splits;
      gradient_bytes = static_cast<std::size_t>(s.batch) * 3 * s.channels * s.output_length() * sizeof(float);
    }
    if (wants_sums(job)) sums_bytes = sums_size(splits, s.taps, 3 * s.channels);
  }
};

int launch_any_gate_backward(const ShortGateBackwardJob& job, const GateWork& work, void* stream) {
  const ShortShape& s = job.shape;
  const ShortForwardJob forward{.shape = s, .x = job.z, .weight = job.weight, .bias = job.bias};
  float* g = reinterpret_cast<float*>(static_cast<char*>(job.workspace) + work.sums_bytes);
  const AnyGateGradientParameters p{correlate(forward, false), any<const void*>(s, job.dx0),
                                    any<const void*>(s, job.dv), g};
  if (int e = launch_threads(kernels_of(s.dtype).any_gate_gradient, p.rows.outputs, &p, stream)) return e;
  const std::int64_t length = s.output_length();
  return launch_any_gradients(of_three_parts(job), {g, 3 * s.channels * length, length, 1}, true, stream);
}

// dweight and dbias from the sums.
int launch_add_splits(const ShortBackwardJob& job, std::int64_t splits, void* stream) {
  const ShortShape& s = job.shape;
  const int channel_blocks = static_cast<int>(ceil_divide(s.channels, 32));
  const SumsParameters p{static_cast<const float*>(job.workspace),
                         static_cast<int>(splits),
                         static_cast<int>(s.taps),
                         static_cast<int>(s.channels),
                         job.dweight,
                         job.dbias,
                         s.weight_dtype == DType::f32,
                         channel_blocks};
  return launch(kernels_of(s.dtype).add_splits, (s.taps + 1) * channel_blocks, &p, stream);
}

}  // namespace

int launch_short_forward(const ShortForwardJob& job, void* stream) {
  const ShortShape& s = job.shape;
  if (s.channels == 0 || s.states() == 0) return cudaSuccess;
  const ShortKernels& kernels = kernels_of(s.dtype);
  const ShortKernel* kernel = tuned(job);
  std::int64_t blocks = 0;
  if (kernel && s.layout == ffc::Layout::bhl) {
    const ChannelsFirstForward p = fill(job, *kernel, blocks);
    if (int e = launch(*kernel, blocks, &p, stream)) return e;
  } else if (kernel) {
    const ChannelsLastForward p = fill_last(job, *kernel, blocks);
    if (int e = launch(*kernel, blocks, &p, stream)) return e;
  }
  if (!kernel || ((s.sequences || job.initial_state) && s.taps > 1)) {
    const CorrelateParameters p = correlate(job, kernel != nullptr);
    if (int e = launch_threads(kernels.any_output, p.outputs, &p, stream)) return e;
  }
  if (job.final_state == nullptr || s.taps == 1) return cudaSuccess;
  const StateParameters p{any<const void*>(s, job.x),
                          {},
                          static_cast<int>(s.taps),
                          static_cast<int>(s.left),
                          static_cast<int>(s.channels),
                          sequences_of(s),
                          static_cast<int>(s.output_length()),
                          job.initial_state,
                          job.final_state,
                          s.states() * s.channels * (s.taps - 1)};
  return launch_threads(kernels.any_final_state, p.outputs, &p, stream);
}

int launch_short_backward(const ShortBackwardJob& job, void* stream) {
  const ShortShape& s = job.shape;
  if (s.channels == 0) return cudaSuccess;
  const BackwardWork work(job);
  std::int64_t blocks = 0;
  int error;
  if (work.kernel && s.layout == ffc::Layout::bhl) {
    const ChannelsFirstBackward p = fill_first(job, *work.kernel, blocks);
    error = launch(*work.kernel, blocks, &p, stream);
  } else if (work.kernel) {
    const ChannelsLastBackward p = fill_last(job, *work.kernel, blocks);
    error = launch(*work.kernel, blocks, &p, stream);
  } else {
    error = launch_any_backward(job, work, stream);
  }
  if (error || !wants_sums(job)) return error;
  return launch_add_splits(job, work.splits, stream);
}

int launch_short_gate(const ShortGateJob& job, void* stream) {
  const ShortShape& s = job.shape;
  if (s.batch == 0 || s.channels == 0) return cudaSuccess;
  const ShortForwardJob forward{.shape = s, .x = job.z, .weight = job.weight, .bias = job.bias, .y = job.v};
  if (const ShortKernel* kernel = tuned(job)) {
    std::int64_t blocks = 0;
    const GateParameters p{fill(forward, *kernel, blocks), tensor_of(job.x0)};
    return launch(*kernel, blocks, &p, stream);
  }
  const AnyGateParameters p{correlate(forward, false), any<void*>(s, job.x0)};
  return launch_threads(kernels_of(s.dtype).any_gate, p.rows.outputs, &p, stream);
}

int launch_short_gate_backward(const ShortGateBackwardJob& job, void* stream) {
  if (job.shape.channels == 0) return cudaSuccess;
  const GateWork work(job);
  const GateBackwardParameters p{work.rows, tensor_of(job.dx0)};
  const int error =
      work.kernel ? launch(*work.kernel, work.blocks, &p, stream) : launch_any_gate_backward(job, work, stream);
  if (error || !wants_sums(job)) return error;
  return launch_add_splits(of_three_parts(job), work.splits, stream);
}

std::size_t short_workspace_bytes(const ShortBackwardJob& job) {
  const BackwardWork work(job);
  return work.sums_bytes + work.gradient_bytes;
}
std::size_t short_workspace_bytes(const ShortGateBackwardJob& job) {
  const GateWork work(job);
  return work.sums_bytes + work.gradient_bytes;
}

const char* short_kernel_name(const ShortForwardJob& job) {
  const ShortKernel* kernel = tuned(job);
  return kernel ? kernel->name : kernels_of(job.shape.dtype).any_output.name;
}
const char* short_kernel_name(const ShortBackwardJob& job) {
  const ShortKernel* kernel = tuned(job);
  return kernel ? kernel->name : kernels_of(job.shape.dtype).any_dx[0].name;
}
const char* short_kernel_name(const ShortGateJob& job) {
  const ShortKernel* kernel = tuned(job);
  return kernel ? kernel->name : kernels_of(job.shape.dtype).any_gate.name;
}
const char* short_kernel_name(const ShortGateBackwardJob& job) {
  const ShortKernel* kernel = tuned(job);
  return kernel ? kernel->name : kernels_of(job.shape.dtype).any_gate_gradient.name;
}

}  // namespace ffc::cuda
