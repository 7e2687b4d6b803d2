// The vocabulary of the library: element types, modes, devices.
#pragma once

#include <cstddef>
#include <cstdint>

namespace ffc {

/// Element types.
enum class DType : std::int32_t { f16, bf16, f32, f64 };

/// Bytes of one element.
constexpr std::size_t size_of(DType dtype) { return dtype == DType::f64 ? 8 : dtype == DType::f32 ? 4 : 2; }

/// The type in which sums are formed: f64 for f64, f32 for everything else.
constexpr DType compute_type(DType dtype) { return dtype == DType::f64 ? DType::f64 : DType::f32; }

/// As in NumPy and PyTorch.
constexpr const char* name_of(DType dtype) {
  switch (dtype) {
    case DType::f16: return "float16";
    case DType::bf16: return "bfloat16";
    case DType::f32: return "float32";
    case DType::f64: return "float64";
  }
  return "unknown";
}

/// Which lags the sum y[i] = sum_lag t[lag] x[i - lag] runs over.
enum class Mode : std::int32_t {
  circular,       ///< indices mod fft_size; input and filter zero-extended to it, output cropped to the input's length
  causal,         ///< lags >= 0, from k
  bidirectional,  ///< lags >= 0 from k; k_rev[j] acts at lag -(j + reverse_lag)
};

/// As in Python.
constexpr const char* name_of(Mode mode) {
  switch (mode) {
    case Mode::circular: return "circular";
    case Mode::causal: return "causal";
    case Mode::bidirectional: return "bidirectional";
  }
  return "unknown";
}

/// Kinds of devices.
enum class DeviceKind : std::int32_t { cpu, cuda };

/// Where the data lies. `index` is the CUDA ordinal; it is 0 on a CPU.
struct Device {
  DeviceKind kind = DeviceKind::cpu;  ///< CPU or GPU
  int index = 0;                      ///< the CUDA ordinal
};

}  // namespace ffc
