// Argument checks shared by all backends: each message names the argument, what came and what is allowed.
#include "algo/check.h"

#include <algorithm>
#include <cstdint>
#include <string>

namespace ffc {
namespace {

std::string str(std::int64_t value) { return std::to_string(value); }

Status invalid(std::string message) { return {StatusCode::invalid_argument, std::move(message)}; }

// Whether the bytes of a [a, b, c] tensor fit in int64.
bool fits(std::int64_t a, std::int64_t b, std::int64_t c) {
  std::int64_t product = 8;
  return !__builtin_mul_overflow(product, a, &product) && !__builtin_mul_overflow(product, b, &product) &&
         !__builtin_mul_overflow(product, c, &product);
}

Status check_sizes(const Problem& p) {
  if (p.batch < 0) return invalid("batch is " + str(p.batch) + "; it must be at least 0");
  if (p.channels < 0) return invalid("channels is " + str(p.channels) + "; it must be at least 0");
  if (p.length < 1) return invalid("length is " + str(p.length) + "; it must be at least 1");
  if (p.filter < 1) return invalid("filter is " + str(p.filter) + " taps; it must be at least 1");
  if (p.filter_reverse < 0)
    return invalid("filter_reverse is " + str(p.filter_reverse) + " taps; it must be at least 0");
  const std::int64_t rows = std::max<std::int64_t>(p.batch, 1);  // strides are formed for an empty batch too
  if (!fits(rows, p.channels, p.length) || !fits(p.channels, p.filter, 1) || !fits(p.channels, p.filter_reverse, 1) ||
      !fits(p.length, 64, 1) || !fits(p.filter, 64, 1) || !fits(p.filter_reverse, 64, 1))
    return invalid("batch x channels x length is " + str(p.batch) + " x " + str(p.channels) + " x " + str(p.length) +
                   ", filter " + str(p.filter) + ", filter_reverse " + str(p.filter_reverse) +
                   ": more bytes than 64 bits can count");
  return {};
}

Status check_mode(const Problem& p) {
  if (p.mode == Mode::circular) {
    if (p.fft_size < 1) return invalid("fft_size is " + str(p.fft_size) + "; circular mode needs at least 1");
    if (p.length > p.fft_size)
      return invalid("length is " + str(p.length) + "; circular mode allows at most fft_size, " + str(p.fft_size));
    if (p.filter > p.fft_size)
      return invalid("filter is " + str(p.filter) + " taps; circular mode allows at most fft_size, " + str(p.fft_size));
  } else if (p.fft_size != 0) {
    return invalid("fft_size is " + str(p.fft_size) + "; it belongs to circular mode, " + name_of(p.mode) +
                   " mode takes 0");
  }
  if (p.mode == Mode::bidirectional) {
    if (p.filter_reverse < 1) return invalid("k_rev has 0 taps; bidirectional mode needs at least 1");
    if (p.reverse_lag != 0 && p.reverse_lag != 1)
      return invalid("reverse_lag is " + str(p.reverse_lag) + "; it must be 0 or 1");
  } else if (p.filter_reverse != 0) {
    return invalid("k_rev has " + str(p.filter_reverse) + " taps; only bidirectional mode takes k_rev, not " +
                   name_of(p.mode));
  }
  return {};
}

bool known(DType d) { return d == DType::f16 || d == DType::bf16 || d == DType::f32 || d == DType::f64; }

Status missing(const char* name) { return invalid(std::string(name) + " is null; it is required"); }

// k and k_rev, or a filter prepared from them.
Status check_taps(const Plan& plan, const ConstTaps& k, const ConstTaps& k_rev) {
  if (!k.data) return missing("k");
  const bool wanted = plan.problem().mode == Mode::bidirectional;
  if (wanted && !k_rev.data) return missing("k_rev");
  if (!wanted && k_rev.data) return invalid("k_rev is given; only bidirectional mode takes it");
  return {};
}

bool same_filter(const Problem& a, const Problem& b) {
  return a.channels == b.channels && a.length == b.length && a.filter == b.filter &&
         a.filter_reverse == b.filter_reverse && a.fft_size == b.fft_size && a.reverse_lag == b.reverse_lag &&
         a.mode == b.mode && a.dtype == b.dtype;
}

Status check_filter_or_taps(const Plan& plan, const Filter* filter, const ConstTaps& k, const ConstTaps& k_rev) {
  if (!filter) return check_taps(plan, k, k_rev);
  if (k.data || k_rev.data) return invalid("both filter and taps are given; pass one of them");
  if (!same_filter(filter->plan().problem(), plan.problem()) ||
      filter->plan().spectrum_bytes() != plan.spectrum_bytes())
    return invalid("filter was made by a plan of another problem: channels, length, taps, mode and types must agree");
  const Device made = filter->plan().device(), wanted = plan.device();
  if (made.kind != wanted.kind || made.index != wanted.index) return invalid("filter was made on another device");
  return {};
}

bool empty(const Problem& p) { return p.batch == 0 || p.channels == 0; }

}  // namespace

Status check_problem(const Problem& p) {
  if (!known(p.dtype))
    return invalid("dtype is " + str(static_cast<int>(p.dtype)) + "; f16, bf16, f32 and f64 are known");
  if (!known(p.filter_dtype))
    return invalid("filter_dtype is " + str(static_cast<int>(p.filter_dtype)) + "; f16, bf16, f32 and f64 are known");
  if (p.mode != Mode::circular && p.mode != Mode::causal && p.mode != Mode::bidirectional)
    return invalid("mode is " + str(static_cast<int>(p.mode)) + "; circular, causal and bidirectional are known");
  if (Status s = check_sizes(p); !s) return s;
  return check_mode(p);
}

Status check_forward(const Plan& plan, const ForwardArguments& a) {
  if (empty(plan.problem())) return {};
  if (!a.u.data) return missing("u");
  if (!a.y.data) return missing("y");
  return check_filter_or_taps(plan, a.filter, a.k, a.k_rev);
}

Status check_backward(const Plan& plan, const BackwardArguments& a) {
  if (plan.problem().channels == 0) return {};
  if (plan.problem().batch != 0) {
    if (!a.dy.data) return missing("dy");
    if (!a.u.data) return missing("u");
  }
  if (Status s = check_filter_or_taps(plan, a.filter, a.k, a.k_rev); !s) return s;
  if (a.dpregate.data && !a.pregate.data) return invalid("dpregate is asked for, but pregate is null");
  if (a.dpostgate.data && !a.postgate.data) return invalid("dpostgate is asked for, but postgate is null");
  if (a.dk_rev.data && plan.problem().mode != Mode::bidirectional)
    return invalid("dk_rev is asked for; only bidirectional mode has k_rev");
  return {};
}

Status check_filter(const Plan& plan, const FilterArguments& a) {
  if (plan.problem().channels == 0) return {};
  if (Status s = check_taps(plan, a.k, a.k_rev); !s) return s;
  return check_workspace("storage", a.storage, plan.spectrum_bytes());
}

Status check_workspace(const char* name, const Workspace& w, std::size_t needed) {
  if (needed == 0) return {};
  const std::string want = std::to_string(needed) + " bytes";
  if (!w.data) return {StatusCode::workspace, std::string(name) + " is null; " + want + " are needed"};
  if (w.bytes < needed)
    return {StatusCode::workspace,
            std::string(name) + " has " + std::to_string(w.bytes) + " bytes; " + want + " are needed"};
  if (reinterpret_cast<std::uintptr_t>(w.data) % kWorkspaceAlignment)
    return {StatusCode::workspace,
            std::string(name) + " is not aligned to " + std::to_string(kWorkspaceAlignment) + " bytes"};
  return {};
}

}  // namespace ffc
