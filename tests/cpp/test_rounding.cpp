// float16 and bfloat16 in and out, through a filter of one tap of 1: every bit pattern in, ties and edges out.
#include <doctest/doctest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "compare.h"
#include "numbers.h"

namespace ffc::test {
namespace {

// y = 1 * u (times the gate, times `tap`) for a single row of u.
std::vector<std::uint16_t> pass_through(DType dtype, const std::vector<std::uint16_t>& bits, double tap = 1) {
  const Case c{{.length = static_cast<std::int64_t>(bits.size()), .filter = 1, .dtype = dtype}};
  Job job(c);
  std::memcpy(job.u->buffer.at(0), bits.data(), 2 * bits.size());
  job.k->set(0, 0, tap);
  job.seal();
  job.forward();
  std::vector<std::uint16_t> out(bits.size());
  std::memcpy(out.data(), job.y->buffer.at(0), 2 * out.size());
  return out;
}

TEST_CASE("every 16-bit number comes out as it went in") {
  for (DType dtype : {DType::f16, DType::bf16}) {
    std::vector<std::uint16_t> all(65536);
    for (std::size_t i = 0; i < all.size(); ++i) all[i] = static_cast<std::uint16_t>(i);
    const std::vector<std::uint16_t> out = pass_through(dtype, all);
    for (std::size_t i = 0; i < all.size(); ++i) {
      const double before = decode(dtype, &all[i]), after = decode(dtype, &out[i]);
      if (std::isnan(before)) CHECK_MESSAGE(std::isnan(after), std::string(name_of(dtype)), " bits ", i);
      // The sum starts from zero, so that a negative zero may lose its sign.
      else if (before == 0)
        CHECK_MESSAGE(after == 0, std::string(name_of(dtype)), " bits ", i);
      else
        CHECK_MESSAGE(all[i] == out[i], std::string(name_of(dtype)), " bits ", i);
    }
  }
}

// Floats worth rounding: every tie between two neighbours, what lies one float to either side of it, and the edges.
std::vector<float> awkward(DType dtype) {
  std::vector<float> list;
  for (std::uint32_t code = 0; code < 0x8000; ++code) {
    const std::uint16_t low = static_cast<std::uint16_t>(code), high = static_cast<std::uint16_t>(code + 1);
    const double a = decode(dtype, &low), b = decode(dtype, &high);
    if (!std::isfinite(a)) break;
    // Beyond the largest number the next one would be a power of two.
    const double next = std::isfinite(b) ? b : std::ldexp(1.0, std::ilogb(a) + 1);
    const double middle = (a + next) / 2;
    if (static_cast<double>(static_cast<float>(middle)) != middle) continue;
    const float tie = static_cast<float>(middle);
    for (float value : {tie, std::nextafter(tie, 0.0f), std::nextafter(tie, INFINITY)})
      for (float sign : {1.0f, -1.0f})
        if (code % 16 < 4 || code < 2048 || code > 0x7000) list.push_back(sign * value);
  }
  for (float value : {0.0f, 1e-45f, std::numeric_limits<float>::min(), std::numeric_limits<float>::max(), 65504.0f,
                      65519.996f, 65520.0f, 65536.0f, 1e30f, INFINITY, NAN})
    for (float sign : {1.0f, -1.0f}) list.push_back(sign * value);
  // NaN whose bits would overflow, or lose all of the mantissa, if they were rounded like a number's.
  for (std::uint32_t bits : {0x7fffffffu, 0xffffffffu, 0x7f800001u, 0x7fc00000u})
    list.push_back(std::bit_cast<float>(bits));
  Random random(3);
  for (int i = 0; i < 5000; ++i) {
    const std::uint32_t bits = static_cast<std::uint32_t>(random.bits());
    list.push_back(std::bit_cast<float>(bits));
  }
  return list;
}

// A row of ones times taps of any float: y[0] of channel h is the tap of channel h, rounded once.
TEST_CASE("results are rounded to nearest, ties to even") {
  for (DType dtype : {DType::f16, DType::bf16}) {
    const std::vector<float> values = awkward(dtype);
    const std::int64_t count = static_cast<std::int64_t>(values.size());
    Job job({{.channels = count, .length = 1, .filter = 1, .dtype = dtype}});
    job.u->fill([](auto, auto, auto) { return 1; });
    for (std::int64_t h = 0; h < count; ++h) std::memcpy(job.k->buffer.at(h), &values[h], sizeof(float));
    job.seal();
    job.forward();
    int wrong = 0;
    for (std::int64_t h = 0; h < count; ++h) {
      std::uint16_t got, expected;
      std::memcpy(&got, job.y->buffer.at(h), sizeof got);
      encode(dtype, static_cast<double>(values[h]), &expected);
      const bool fine = std::isnan(values[h]) ? std::isnan(decode(dtype, &got))
                        : values[h] == 0      ? (got & 0x7fff) == 0
                        // what lies below float's normal numbers may be taken for zero on the way
                        : std::fabs(values[h]) < std::numeric_limits<float>::min() ? true
                                                                                   : got == expected;
      if (!fine && ++wrong < 10)
        FAIL_CHECK(std::string(name_of(dtype)), ": ", values[h], " became ", decode(dtype, &got), ", not ",
                   decode(dtype, &expected));
    }
    CHECK(wrong == 0);
  }
}

// The same in whole vectors, as a row: the skip brings floats in, 1 * x.
TEST_CASE("rows of results are rounded to nearest, ties to even") {
  for (DType dtype : {DType::f16, DType::bf16}) {
    // x = 1 + j steps of the type, times (1 + 2^-n): the float product lies on ties for many j.
    const int mantissa = dtype == DType::f16 ? 10 : 7;
    const std::int64_t count = std::int64_t{1} << mantissa;
    for (double tap : {1 + std::ldexp(1.0, -mantissa - 1), 1.5, 0.75, 1 + std::ldexp(1.0, -mantissa), 3.0}) {
      Job job({{.batch = 2, .length = count, .filter = 1, .dtype = dtype}});
      job.u->fill(
          [&](auto b, auto, auto j) { return (b ? -1 : 1) * (1 + std::ldexp(static_cast<double>(j), -mantissa)); });
      job.k->set(0, 0, tap);
      job.seal();
      const std::vector<double> y = job.forward(), u = job.u->dense();
      for (std::size_t i = 0; i < y.size(); ++i)
        CHECK(y[i] == rounded(dtype, static_cast<double>(static_cast<float>(u[i] * tap))));
    }
  }
}

// Gradients of taps stored in 16 bits: dk = sum g x with one product, from float and from double rows. The double's
// must be rounded once, not first to float: 1 + 2^-11 + 2^-40 is above the tie.
TEST_CASE("gradients of 16-bit taps are rounded once") {
  for (DType rows : {DType::f32, DType::f64})
    for (DType taps : {DType::f16, DType::bf16}) {
      const int mantissa = taps == DType::f16 ? 10 : 7;
      std::vector<double> values;
      for (double step : {0.5, 1.5, 2.5, 0.25, 0.75, 100.5, 101.5})
        for (double nudge : {0.0, 0x1p-40, -0x1p-40, 0x1p-22, -0x1p-22})
          values.push_back(1 + std::ldexp(step, -mantissa) + nudge);
      const std::int64_t count = static_cast<std::int64_t>(values.size());
      Job job({{.channels = count, .length = 1, .filter = 1, .dtype = rows, .filter_dtype = taps}});
      job.u->fill([](auto, auto, auto) { return 1; });
      job.dy->fill([&](auto, std::int64_t h, auto) { return values[h]; });
      const std::vector<double> dk = job.backward().dk, dy = job.upstream();
      for (std::int64_t h = 0; h < count; ++h)
        CHECK_MESSAGE(dk[h] == rounded(taps, dy[h]), std::string(name_of(rows)), " rows, ", std::string(name_of(taps)),
                      " taps: ", dy[h] - 1);
    }
}

}  // namespace
}  // namespace ffc::test
