#include "numbers.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

namespace ffc::test {
namespace {

// A 16-bit format: one sign bit, then exponent, then mantissa.
struct Format {
  int mantissa_bits, bias;
  int exponent_mask() const { return (1 << (15 - mantissa_bits)) - 1; }
};
constexpr Format kFloat16{10, 15};
constexpr Format kBfloat16{7, 127};

double decode_bits(Format f, std::uint16_t bits) {
  const double sign = bits & 0x8000 ? -1 : 1;
  const int exponent = bits >> f.mantissa_bits & f.exponent_mask();
  const int mantissa = bits & ((1 << f.mantissa_bits) - 1);
  if (exponent == f.exponent_mask())
    return mantissa ? std::numeric_limits<double>::quiet_NaN() : sign * std::numeric_limits<double>::infinity();
  if (exponent == 0) return sign * std::ldexp(mantissa, 1 - f.bias - f.mantissa_bits);
  return sign * std::ldexp(mantissa + (1 << f.mantissa_bits), exponent - f.bias - f.mantissa_bits);
}

std::uint16_t encode_bits(Format f, double value) {
  const std::uint16_t sign = std::signbit(value) ? 0x8000 : 0;
  const std::uint16_t infinite = static_cast<std::uint16_t>(f.exponent_mask() << f.mantissa_bits);
  if (std::isnan(value)) return infinite | 1 << (f.mantissa_bits - 1);
  if (std::isinf(value)) return sign | infinite;
  if (value == 0) return sign;
  // Spacing of the format's numbers around the value; below the smallest normal number it no longer shrinks.
  const int least = 1 - f.bias;
  const int exponent = std::max(std::ilogb(value), least);
  const double spacing = std::ldexp(1.0, exponent - f.mantissa_bits);
  const auto steps = static_cast<std::int64_t>(std::nearbyint(std::fabs(value) / spacing));
  // Steps count mantissa and exponent together: a carry out of the mantissa is the next exponent.
  const std::int64_t code = steps + (static_cast<std::int64_t>(exponent - least) << f.mantissa_bits);
  return sign | (code >= infinite ? infinite : static_cast<std::uint16_t>(code));
}

template <typename T>
T read(const void* from) {
  T value;
  std::memcpy(&value, from, sizeof value);
  return value;
}

}  // namespace

double decode(DType dtype, const void* from) {
  switch (dtype) {
    case DType::f16: return decode_bits(kFloat16, read<std::uint16_t>(from));
    case DType::bf16: return decode_bits(kBfloat16, read<std::uint16_t>(from));
    case DType::f32: return read<float>(from);
    case DType::f64: return read<double>(from);
  }
  return 0;
}

void encode(DType dtype, double value, void* to) {
  if (dtype == DType::f64) {
    std::memcpy(to, &value, sizeof value);
  } else if (dtype == DType::f32) {
    const float narrow = static_cast<float>(value);
    std::memcpy(to, &narrow, sizeof narrow);
  } else {
    const std::uint16_t bits = encode_bits(dtype == DType::f16 ? kFloat16 : kBfloat16, value);
    std::memcpy(to, &bits, sizeof bits);
  }
}

double rounded(DType dtype, double value) {
  double bits = 0;
  encode(dtype, value, &bits);
  return decode(dtype, &bits);
}

std::uint64_t Random::bits() {
  state_ += 0x9e3779b97f4a7c15u;
  std::uint64_t z = state_;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

double Random::uniform() { return static_cast<double>(bits() >> 11) * 0x1p-53; }

double Random::normal() {
  // Irwin-Hall: twelve uniform numbers. Its tails end at 6, which suits inputs of unit scale.
  double sum = -6;
  for (int i = 0; i < 12; ++i) sum += uniform();
  return sum;
}

}  // namespace ffc::test
