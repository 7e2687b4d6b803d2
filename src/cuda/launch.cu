// The one place where kernels are launched: arguments as the kernels take them, shared memory, grid.
#include <cuda_runtime.h>

#include <algorithm>
#include <string>
#include <utility>

#include "cuda/instances.h"
#include "cuda/kernels/arguments.cuh"
#include "cuda/kernels/filter_gradient.cuh"
#include "cuda/kernels/filter_spectrum.cuh"
#include "cuda/kernels/warp_forward.cuh"
#include "cuda/launch.h"

namespace ffc::cuda {
namespace {

template <int... ROWS>
const ForwardKernels& forward_of_row(int row, bool aligned, std::integer_sequence<int, ROWS...>) {
  static constexpr const ForwardKernels& (*kRows[][2])() = {
      {&forward_kernels<ROWS, false>, &forward_kernels<ROWS, true>}...};
  return kRows[row][aligned]();
}
template <int... ROWS>
const BackwardKernels& backward_of_row(int row, bool aligned, std::integer_sequence<int, ROWS...>) {
  static constexpr const BackwardKernels& (*kRows[][2])() = {
      {&backward_kernels<ROWS, false>, &backward_kernels<ROWS, true>}...};
  return kRows[row][aligned]();
}
template <int... ROWS>
const FilterKernels& filter_of_row(int row, std::integer_sequence<int, ROWS...>) {
  static constexpr const FilterKernels& (*kRows[])() = {&filter_kernels<ROWS>...};
  return kRows[row]();
}
using AllRows = std::make_integer_sequence<int, kSizeCount>;

const Kernel& forward_of(const Variant& v, bool gated, bool aligned, bool from_taps = false) {
  const ForwardKernels& kernels = forward_of_row(v.row, aligned, AllRows());
  return (from_taps ? kernels.from_taps : kernels.rows)[v.pairs][gated][v.dtype == DType::bf16];
}
const Kernel& backward_of(const Variant& v, bool aligned) {
  return backward_of_row(v.row, aligned, AllRows()).rows[v.pairs][v.dtype == DType::bf16];
}
const Kernel& spectrum_of(const Variant& v) { return filter_of_row(v.row, AllRows()).spectrum[v.pairs]; }
const Kernel& gradient_of(const Variant& v) { return filter_of_row(v.row, AllRows()).gradient[v.pairs]; }
// What a plan goes by. Rows at any address take the same work.
const Kernel& planned(const Variant& v, Task task) {
  return task == Task::backward ? backward_of(v, true) : forward_of(v, task == Task::gated, true);
}

// What DeviceScope has made current in this thread: to ask the runtime at every launch would take longer.
thread_local int current_device = 0;

// On every device once: more than 48 KiB of shared memory must be asked for, and which code runs there is looked up.
cudaError_t prepare(const Kernel& kernel, int device) {
  if (kernel.ready.has(device)) return cudaSuccess;
  cudaFuncAttributes facts{};
  cudaError_t e = cudaFuncGetAttributes(&facts, kernel.function);
  if (e == cudaSuccess && kernel.shared_bytes > 48 * 1024)
    e = cudaFuncSetAttribute(kernel.function, cudaFuncAttributeMaxDynamicSharedMemorySize, kernel.shared_bytes);
  if (e != cudaSuccess) return e;
  if (facts.ptxVersion >= 90) kernel.overlaps.add(device);
  kernel.ready.add(device);
  return cudaSuccess;
}

/// `follows`: the kernel before it on the stream is ours and of the same call. It may then start before that one has
/// ended, and waits in its code for what it reads.
cudaError_t launch_on(const Kernel& kernel, const Grid& grid, const void* parameters, bool follows, void* stream) {
  if (const cudaError_t e = prepare(kernel, current_device)) return e;
  cudaLaunchAttribute attributes[2]{};
  cudaLaunchConfig_t launch{};
  launch.attrs = attributes;
  if (follows && kernel.overlaps.has(current_device)) {
    cudaLaunchAttribute& overlap = attributes[launch.numAttrs++];
    overlap.id = cudaLaunchAttributeProgrammaticStreamSerialization;
    overlap.val.programmaticStreamSerializationAllowed = 1;
  }
  if (grid.together > 1) {
    cudaLaunchAttribute& cluster = attributes[launch.numAttrs++];
    cluster.id = cudaLaunchAttributeClusterDimension;
    cluster.val.clusterDim.x = grid.together, cluster.val.clusterDim.y = cluster.val.clusterDim.z = 1;
  }
  launch.gridDim = dim3(grid.blocks), launch.blockDim = dim3(kernel.threads);
  launch.dynamicSmemBytes = kernel.shared_bytes, launch.stream = static_cast<cudaStream_t>(stream);
  void* arguments[] = {const_cast<void*>(parameters)};
  return cudaLaunchKernelExC(&launch, kernel.function, arguments);
}

int launch(const Kernel& kernel, const Grid& grid, const void* parameters, bool follows, void* stream) {
  if (kernel.function == nullptr) return cudaErrorInvalidDeviceFunction;
  const cudaError_t e = launch_on(kernel, grid, parameters, follows, stream);
  if (e != cudaSuccess) cudaGetLastError();  // reported here; the next call starts clean
  return e;
}

template <class RowsType>
RowsView view(const RowsType& rows) {
  return {const_cast<std::uint16_t*>(static_cast<const std::uint16_t*>(rows.data)), rows.batch_stride,
          rows.channel_stride, static_cast<int>(rows.batch_stride / 8), static_cast<int>(rows.channel_stride / 8)};
}

/// Whether all rows can be read and written 16 bytes at a time.
template <class Job, class... RowsTypes>
bool aligned(const Job& job, const RowsTypes&... all) {
  constexpr std::int64_t kLargest = std::int64_t{8} << 30;  // in chunks the strides are ints
  auto fits = [](std::int64_t stride) { return stride % 8 == 0 && stride <= kLargest && stride >= -kLargest; };
  auto regular = [&](const auto& rows) {
    // The stride of an axis of one element is never used.
    return rows.data == nullptr ||
           (reinterpret_cast<std::uintptr_t>(rows.data) % 16 == 0 && (job.batch == 1 || fits(rows.batch_stride)) &&
            (job.channels == 1 || fits(rows.channel_stride)));
  };
  return job.length % 8 == 0 && (regular(all) && ...);
}

const Kernel& kernel_of(const ForwardJob& job) {
  return forward_of(job.variant, job.pregate.data || job.postgate.data,
                    aligned(job, job.u, job.pregate, job.postgate, job.y), job.filter.has_value());
}
const Kernel& kernel_of(const BackwardJob& job) {
  return backward_of(job.variant,
                     aligned(job, job.dy, job.u, job.pregate, job.postgate, job.du, job.dpregate, job.dpostgate));
}

template <class TapsType>
TapsView view(const TapsType& taps, DType type) {
  return {const_cast<void*>(static_cast<const void*>(taps.data)), taps.channel_stride, static_cast<int>(type)};
}
FoldView view(const Fold& f, bool pairs) {
  // A whole circle: taps stand where they are, and N + negative_hi + 1 is their number.
  const std::int64_t positive = pairs ? f.base + f.negative_hi + 1 : f.positive;
  return {positive, f.negative_lo, f.negative_hi, f.base, f.sign, f.from_reverse};
}

SpectrumParameters parameters(const SpectrumJob& job) {
  return {view(job.k, job.filter_dtype), view(job.k_rev, job.filter_dtype), view(job.fold, job.variant.pairs),
          static_cast<u32*>(job.spectrum.values), job.spectrum.factors};
}

}  // namespace

int launch_spectrum(const SpectrumJob& job, void* stream) {
  const SpectrumParameters p = parameters(job);
  const Kernel& kernel = spectrum_of(job.variant);
  return launch(kernel, {.blocks = static_cast<int>(job.channels) * kernel.parts}, &p, false, stream);
}

int launch_forward(const ForwardJob& job, void* stream) {
  const WarpForwardParameters p{{view(job.u),
                                 view(job.pregate),
                                 view(job.postgate),
                                 view(job.y),
                                 static_cast<const u32*>(job.spectrum.values),
                                 job.spectrum.factors,
                                 job.skip,
                                 {static_cast<int>(job.batch), static_cast<int>(job.channels), job.grid.splits},
                                 static_cast<int>(job.length)},
                                job.filter ? parameters(*job.filter) : SpectrumParameters{}};
  // Kernels that find a spectrum take the first part of it.
  return launch(kernel_of(job), job.grid, static_cast<const ForwardParameters*>(&p), job.follows, stream);
}

int launch_backward(const BackwardJob& job, void* stream) {
  const BackwardParameters p{
      view(job.dy),
      view(job.u),
      view(job.pregate),
      view(job.postgate),
      view(job.du),
      view(job.dpregate),
      view(job.dpostgate),
      static_cast<const u32*>(job.spectrum.values),
      job.spectrum.factors,
      job.skip,
      job.sums,
      job.sum_factors,
      static_cast<uint4*>(job.kept),
      {static_cast<int>(job.batch), static_cast<int>(job.channels), job.grid.splits, job.grid.together},
      static_cast<int>(job.length)};
  return launch(kernel_of(job), job.grid, &p, job.follows, stream);
}

int launch_filter_gradient(const FilterGradientJob& job, void* stream) {
  const GradientParameters p{job.sums,
                             job.factors,
                             job.splits,
                             static_cast<int>(job.channels),
                             view(job.dk, job.filter_dtype),
                             view(job.dk_rev, job.filter_dtype),
                             view(job.fold, job.variant.pairs),
                             job.filter,
                             job.filter_reverse,
                             job.dskip};
  return launch(gradient_of(job.variant), {.blocks = static_cast<int>(job.channels)}, &p, job.splits > 0, stream);
}

// "cudaErrorName: what it means", for the current call of this thread.
const char* error_text(int error) {
  thread_local std::string text;
  const cudaError_t e = static_cast<cudaError_t>(error);
  text = std::string(cudaGetErrorName(e)) + ": " + cudaGetErrorString(e);
  return text.c_str();
}

int blocks_per_multiprocessor(const Variant& variant, Task task) {
  const Kernel& kernel = planned(variant, task);
  int blocks = 0;
  if (kernel.function == nullptr) return 0;
  cudaError_t e = prepare(kernel, current_device);
  if (e == cudaSuccess)
    e = cudaOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, kernel.function, kernel.threads, kernel.shared_bytes);
  cudaGetLastError();
  return e == cudaSuccess ? blocks : 0;
}

BlockWork block_work(const Variant& variant, Task task) {
  const Kernel& kernel = planned(variant, task);
  return {.workers = std::max(1, kernel.workers),
          .together = kernel.overlaps.has(current_device) ? kernel.together : 1,
          .rows = std::max(1, kernel.rows),
          .splits = kernel.splits,
          .one_item = kernel.one_item,
          .rows_in_sum = kernel.rows_in_sum ? kernel.rows_in_sum : INT32_MAX};
}

std::size_t kept_bytes(const Variant& variant) { return planned(variant, Task::backward).kept_bytes; }

const char* kernel_name(const Variant& variant, Task task) { return planned(variant, task).name; }
const char* kernel_name(const ForwardJob& job) { return kernel_of(job).name; }
const char* kernel_name(const BackwardJob& job) { return kernel_of(job).name; }

DeviceFacts query_device(int index) {
  DeviceFacts facts;
  cudaDriverGetVersion(&facts.driver);
  facts.error = cudaGetDeviceCount(&facts.devices);
  if (facts.error == 0 && index >= 0 && index < facts.devices) {
    auto get = [&](cudaDeviceAttr attribute) {
      int value = 0;
      if (const cudaError_t e = cudaDeviceGetAttribute(&value, attribute, index)) facts.error = e;
      return value;
    };
    facts.major = get(cudaDevAttrComputeCapabilityMajor), facts.minor = get(cudaDevAttrComputeCapabilityMinor);
    facts.multiprocessors = get(cudaDevAttrMultiProcessorCount);
  }
  cudaGetLastError();
  return facts;
}

DeviceScope::DeviceScope(int index) {
  error_ = cudaGetDevice(&before_);
  if (error_ == 0 && before_ != index) {
    error_ = cudaSetDevice(index);
    switched_ = error_ == 0;
  }
  if (error_) cudaGetLastError();
  current_device = index;
}
DeviceScope::~DeviceScope() {
  if (switched_) cudaSetDevice(before_);
}

}  // namespace ffc::cuda
