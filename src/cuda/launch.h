// What a plan asks of the device code: plain structs in, a CUDA error code out. Host types only; no CUDA header.
//
//   taps --launch_spectrum--> spectrum --launch_forward--> y    (of short rows: taps --launch_forward--> y)
//                                      --launch_backward--> du, dpregate, dpostgate, sums --launch_filter_gradient-->
//                                      dk
//
// Nothing here allocates or synchronises. Strides are in elements, samples and taps adjacent.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>

#include "algo/fold.h"
#include "cuda/sizes.h"
#include "flashfftconv/execute.h"

namespace ffc::cuda {

/// Which instantiation runs: a row of the table in sizes.h, one row or two as one complex sequence, the type of the
/// rows.
struct Variant {
  int row = 0;         ///< index into kSizes
  bool pairs = false;  ///< circular with N = M points: two rows as one complex sequence
  DType dtype = DType::f16;
};

/// A variant's kernels: forward without gates, forward with one or two, backward.
enum class Task { plain, gated, backward };

/// How the work of a batch is spread: `splits` workers, blocks, clusters of them or warps, share the rows of one
/// channel; the launch has so many blocks.
struct Grid {
  int splits = 1;
  int blocks = 1;
  int together = 1;  ///< blocks of a cluster that share an item
};

/// A filter's spectrum: [channels][points] complex half, in the order of the stages, times factors[channel].
struct Spectrum {
  void* values = nullptr;
  float* factors = nullptr;
};

/// h = fold(k, k_rev), its transform in fp32, scaled by a power of two a channel so that sum |h| is in (1/2, 1], and
/// |H| at most 1.
struct SpectrumJob {
  Variant variant{};
  Fold fold{};
  ConstTaps k{}, k_rev{};
  DType filter_dtype = DType::f32;
  std::int64_t channels = 0;
  Spectrum spectrum{};
};

/// y = postgate * (conv(pregate * u, h) + skip pregate * u). Either launch_spectrum has made the spectrum, or the rows'
/// kernel makes it on its way (`makes_spectrum`) from what `filter` names, and none is stored.
struct ForwardJob {
  Variant variant{};
  Grid grid{};
  std::int64_t batch = 0, channels = 0, length = 0;
  ConstRows u{}, pregate{}, postgate{};
  const float* skip = nullptr;  ///< [channels]
  Spectrum spectrum{};
  std::optional<SpectrumJob> filter{};
  bool follows = false;  ///< launch_spectrum was the last launch on the stream
  Rows y{};
};

/// du, dpregate, dpostgate, and sums[split][channel][points] = sum_b G conj X, complex half, as a Spectrum's values,
/// times sum_factors[split][channel].
struct BackwardJob {
  Variant variant{};
  Grid grid{};
  std::int64_t batch = 0, channels = 0, length = 0;
  ConstRows dy{}, u{}, pregate{}, postgate{};
  const float* skip = nullptr;
  Spectrum spectrum{};
  bool follows = false;  ///< launch_spectrum was the last launch on the stream
  Rows du{}, dpregate{}, dpostgate{};
  std::uint32_t* sums = nullptr;  ///< null: no gradient of filter or skip is wanted
  float* sum_factors = nullptr;
  void* kept = nullptr;  ///< kept_bytes a block, if there are sums
};

/// dk, dk_rev, dskip from the sums: C = inverse(sum over splits), then the fold's adjoint. Null outputs are left out.
/// With splits, launch_backward was the last launch on the stream; without, nothing has been summed.
struct FilterGradientJob {
  Variant variant{};
  Fold fold{};
  std::int64_t channels = 0, filter = 0, filter_reverse = 0;
  int splits = 1;
  const std::uint32_t* sums = nullptr;
  const float* factors = nullptr;  ///< of the sums
  Taps dk{}, dk_rev{};
  DType filter_dtype = DType::f32;
  float* dskip = nullptr;
};

/// cudaError_t as an int; 0 is success. The name and text of a failure come from error_text. `stream` is a
/// cudaStream_t; the caller holds a DeviceScope of the stream's device.
int launch_spectrum(const SpectrumJob& job, void* stream);
int launch_forward(const ForwardJob& job, void* stream);
int launch_backward(const BackwardJob& job, void* stream);
int launch_filter_gradient(const FilterGradientJob& job, void* stream);
const char* error_text(int error);

/// Whether a variant's forward kernels can do without launch_spectrum.
constexpr bool makes_spectrum(const Variant& variant) { return kSizes[variant.row].outer == 1; }

/// Blocks of a variant's kernel that one multiprocessor of the DeviceScope's device holds; 0 if the device code has no
/// such kernel.
int blocks_per_multiprocessor(const Variant& variant, Task task);
/// How a block of a variant's kernel takes work: its `workers` take items (a channel and a split) each for itself, and
/// of an item's rows so many at a time; a split of fewer leaves a worker partly idle. One item: a block is given no
/// second one. Together: so many blocks of one worker share an item where each of them has rows of it. Splits: at least
/// so many are faster, where the batch has them. Rows in a sum: with more of them its rounding is felt.
struct BlockWork {
  int workers = 1;
  int together = 1;
  int rows = 1;
  int splits = 1;
  bool one_item = false;
  int rows_in_sum = INT32_MAX;
};
BlockWork block_work(const Variant& variant, Task task);
/// Device memory in which a block of a backward launch keeps the sum of its rows, and a spectrum until it meets
/// another; 0 if its kernel has both at hand. Sums that are kept may end in the place of the spectrum, if there is one
/// split.
std::size_t kept_bytes(const Variant& variant);
/// The name under which a kernel is known to profilers, for logs, errors and tests: that of a variant, for rows aligned
/// to 16 bytes, and that of a launch.
const char* kernel_name(const Variant& variant, Task task);
const char* kernel_name(const ForwardJob& job);
const char* kernel_name(const BackwardJob& job);

/// A device, as a plan sees it.
struct DeviceFacts {
  int error = 0;    ///< cudaError_t of the query; major, minor and multiprocessors hold only if 0
  int devices = 0;  ///< how many there are
  int driver = 0;   ///< CUDA version of the driver, 13000 for 13.0; 0: no driver
  int major = 0, minor = 0;
  int multiprocessors = 0;
};
DeviceFacts query_device(int index);

/// Makes a device current for a scope, and the one before it again after. One at a time in a thread.
class DeviceScope {
 public:
  explicit DeviceScope(int index);
  ~DeviceScope();
  DeviceScope(const DeviceScope&) = delete;
  DeviceScope& operator=(const DeviceScope&) = delete;
  int error() const { return error_; }

 private:
  int before_ = -1;
  int error_ = 0;
  bool switched_ = false;
};

}  // namespace ffc::cuda
