// Each message names the argument, what came and what is allowed.
#include "algo/short_check.h"

#include <algorithm>
#include <cstdint>
#include <string>

namespace ffc {
namespace {

std::string str(std::int64_t value) { return std::to_string(value); }

Status invalid(std::string message) { return {StatusCode::invalid_argument, std::move(message)}; }
Status missing(const char* name) { return invalid(std::string(name) + " is null; it is required"); }

// Numbers that 64 bits can count the bytes of, the working memory included.
bool fits(std::int64_t a, std::int64_t b, std::int64_t c) {
  std::int64_t product = 8;
  return !__builtin_mul_overflow(product, a, &product) && !__builtin_mul_overflow(product, b, &product) &&
         !__builtin_mul_overflow(product, c, &product);
}

constexpr std::int64_t kMostSamples = std::int64_t{1} << 48;  // of a row, taps and padding

Status check_sizes(const ShortProblem& p) {
  if (p.batch < 0) return invalid("batch is " + str(p.batch) + "; it must be at least 0");
  if (p.channels < 0) return invalid("channels is " + str(p.channels) + "; it must be at least 0");
  if (p.length < 1) return invalid("length is " + str(p.length) + "; it must be at least 1");
  if (p.taps < 1) return invalid("taps is " + str(p.taps) + "; it must be at least 1");
  if (p.padding_left < 0) return invalid("padding_left is " + str(p.padding_left) + "; it must be at least 0");
  if (p.padding_right < 0) return invalid("padding_right is " + str(p.padding_right) + "; it must be at least 0");
  for (const auto& [name, value] :
       {std::pair{"length", p.length}, std::pair{"taps", p.taps}, std::pair{"padding_left", p.padding_left},
        std::pair{"padding_right", p.padding_right}})
    if (value > kMostSamples) return invalid(std::string(name) + " is " + str(value) + "; it must be at most 2^48");
  if (p.output_length() < 1)
    return invalid("length is " + str(p.length) + "; with paddings of " + str(p.padding_left) + " and " +
                   str(p.padding_right) + ", " + str(p.taps) + " taps need at least " +
                   str(p.taps - p.padding_left - p.padding_right));
  const std::int64_t rows = std::max<std::int64_t>(p.batch, 1);  // strides are formed for an empty batch too
  if (!fits(rows, p.channels, p.length + p.padding_left + p.padding_right) || !fits(p.channels, p.taps, 64))
    return invalid("batch x channels x length is " + str(p.batch) + " x " + str(p.channels) + " x " + str(p.length) +
                   ", taps " + str(p.taps) + ": more bytes than 64 bits can count");
  return {};
}

Status check_sequences(const ShortProblem& p) {
  if (p.sequences < 0) return invalid("sequences is " + str(p.sequences) + "; it must be at least 0");
  if (p.sequences == 0) return {};
  if (p.batch != 1) return invalid("batch is " + str(p.batch) + "; packed sequences lie in a batch of 1");
  if (p.output_length() != p.length)
    return invalid("padding_left + padding_right is " + str(p.padding_left + p.padding_right) +
                   "; packed sequences need taps - 1, " + str(p.taps - 1) + ", so that outputs are as long as they");
  return {};
}

bool known(DType d) { return d == DType::f16 || d == DType::bf16 || d == DType::f32 || d == DType::f64; }

Status check_types(const ShortProblem& p) {
  if (!known(p.dtype))
    return invalid("dtype is " + str(static_cast<int>(p.dtype)) + "; f16, bf16, f32 and f64 are known");
  if (!known(p.weight_dtype))
    return invalid("weight_dtype is " + str(static_cast<int>(p.weight_dtype)) + "; f16, bf16, f32 and f64 are known");
  if (p.layout != Layout::bhl && p.layout != Layout::blh)
    return invalid("layout is " + str(static_cast<int>(p.layout)) + "; bhl and blh are known");
  if (p.epilogue < Epilogue::none || p.epilogue > Epilogue::gate)
    return invalid("epilogue is " + str(static_cast<int>(p.epilogue)) + "; none, silu, gelu and gate are known");
  return {};
}

// What both passes are given.
template <class Arguments>
Status check_inputs(const ShortProblem& p, const Arguments& a) {
  if (!a.x.data && p.batch != 0) return missing("x");
  if (!a.weight.data) return missing("weight");
  const bool causal = p.padding_left == p.taps - 1 && p.padding_right == 0;
  if (a.initial_state && !causal)
    return invalid("initial_state is given; padding_left is " + str(p.padding_left) + " and padding_right " +
                   str(p.padding_right) + ", but a state needs taps - 1, " + str(p.taps - 1) + ", and 0");
  if (p.sequences > 0 && !a.cu_seqlens) return missing("cu_seqlens");
  if (p.sequences == 0 && a.cu_seqlens) return invalid("cu_seqlens is given; the plan was made for sequences = 0");
  return {};
}

}  // namespace

Status check_short_problem(const ShortProblem& p) {
  if (Status s = check_types(p); !s) return s;
  if (Status s = check_sizes(p); !s) return s;
  if (p.epilogue == Epilogue::gate && p.channels % 3 != 0)
    return invalid("channels is " + str(p.channels) + "; with the gate it must be a multiple of 3");
  return check_sequences(p);
}

Status check_short_forward(const ShortProblem& p, const ShortForwardArguments& a) {
  if (p.batch == 0 || p.channels == 0) return {};
  if (Status s = check_inputs(p, a); !s) return s;
  if (!a.y.data) return missing("y");
  if (a.final_state && (p.padding_left != p.taps - 1 || p.padding_right != 0))
    return invalid("final_state is asked for; padding_left is " + str(p.padding_left) + " and padding_right " +
                   str(p.padding_right) + ", but a state needs taps - 1, " + str(p.taps - 1) + ", and 0");
  return {};
}

Status check_short_backward(const ShortProblem& p, const ShortBackwardArguments& a) {
  if (p.channels == 0) return {};
  if (p.batch != 0 && !a.dy.data) return missing("dy");
  if (Status s = check_inputs(p, a); !s) return s;
  if (a.dinitial_state && !a.initial_state) return invalid("dinitial_state is asked for, but initial_state is null");
  return {};
}

Status check_cu_seqlens(const ShortProblem& p, const std::int64_t* ends) {
  if (p.sequences == 0) return {};
  if (ends[0] != 0) return invalid("cu_seqlens[0] is " + str(ends[0]) + "; it must be 0");
  for (std::int64_t s = 0; s < p.sequences; ++s)
    if (ends[s + 1] < ends[s])
      return invalid("cu_seqlens[" + str(s + 1) + "] is " + str(ends[s + 1]) + ", less than " + str(ends[s]) +
                     " before it; it must not decrease");
  if (ends[p.sequences] != p.length)
    return invalid("cu_seqlens[" + str(p.sequences) + "] is " + str(ends[p.sequences]) +
                   "; the last must be the length, " + str(p.length));
  return {};
}

}  // namespace ffc
