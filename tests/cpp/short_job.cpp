#include "short_job.h"

#include <doctest/doctest.h>

#include <algorithm>

#include "numbers.h"

namespace ffc::test {
namespace {

constexpr std::int64_t kLineGap = 3, kBatchGap = 5;  // odd, so that lines start at addresses of every alignment

bool is_causal(const ShortProblem& p) { return p.padding_left == p.taps - 1 && p.padding_right == 0; }

// Sequences of 1, 2, 0, 3, .. samples, and the rest.
std::vector<std::int64_t> ends_of(const ShortProblem& p) {
  std::vector<std::int64_t> ends;
  if (p.sequences == 0) return ends;
  ends.push_back(0);
  for (std::int64_t q = 0; q + 1 < p.sequences; ++q)
    ends.push_back(std::min(p.length, ends.back() + (q % 3 == 2 ? 0 : q + 1)));
  ends.push_back(p.length);
  return ends;
}

}  // namespace

std::string describe(const ShortCase& c) {
  auto plan = make_short_plan(c.problem);
  std::string text = plan ? plan->describe() : plan.status().message();
  text.resize(std::min(text.size(), text.find(", on the CPU")));
  if (c.problem.sequences) text += ", packed";
  return text + ", weight " + name_of(c.problem.weight_dtype) + (c.bias ? ", bias" : "") + (c.state ? ", state" : "") +
         (c.spaced ? ", spaced" : "");
}

LayoutTensor::LayoutTensor(const ShortProblem& p, std::int64_t channels, std::int64_t samples, bool spaced, Fence fence,
                           bool output)
    : bhl_(p.layout == Layout::bhl),
      batch_(p.batch),
      channels_(channels),
      samples_(samples),
      line_stride_((bhl_ ? samples : channels) + (spaced ? kLineGap : 0)),
      batch_stride_((bhl_ ? channels : samples) * line_stride_ + (spaced ? kBatchGap : 0)),
      buffer(p.dtype, batch_ * channels * samples == 0 ? 0 : index(batch_ - 1, channels - 1, samples - 1) + 1, fence) {
  if (!output) return;
  for (std::int64_t b = 0; b < batch_; ++b)
    for (std::int64_t h = 0; h < channels_; ++h)
      for (std::int64_t i = 0; i < samples_; ++i) buffer.own(index(b, h, i));
}

std::vector<double> LayoutTensor::dense() const {
  std::vector<double> out;
  for (std::int64_t b = 0; b < batch_; ++b)
    for (std::int64_t h = 0; h < channels_; ++h)
      for (std::int64_t i = 0; i < samples_; ++i) out.push_back(buffer.get(index(b, h, i)));
  return out;
}

ShortJob::ShortJob(const ShortCase& c, const ShortOptions& options)
    : ends(ends_of(c.problem)),
      case_(c),
      options_(options),
      plan_(make_short_plan(c.problem, {}, {.workers = options.workers})) {
  const ShortProblem& p = c.problem;
  REQUIRE_MESSAGE(plan_, plan_.status().message());
  Random random(options.seed);
  auto rows = [&](std::int64_t channels, std::int64_t samples, bool output) {
    auto t = std::make_unique<LayoutTensor>(p, channels, samples, c.spaced, options.fence, output);
    for (std::int64_t b = 0; b < p.batch && !output; ++b)
      for (std::int64_t h = 0; h < channels; ++h)
        for (std::int64_t i = 0; i < samples; ++i) t->set(b, h, i, random.normal());
    return t;
  };
  auto buffer = [&](DType dtype, std::int64_t count, bool output) {
    auto t = std::make_unique<Buffer>(dtype, count, options.fence);
    for (std::int64_t i = 0; i < count; ++i) output ? t->own(i) : t->set(i, random.normal());
    return t;
  };
  const std::int64_t states = p.states() * p.channels * (p.taps - 1);
  x = rows(p.channels, p.length, false), dx = rows(p.channels, p.length, true);
  dy = rows(p.output_channels(), p.output_length(), false), y = rows(p.output_channels(), p.output_length(), true);
  weight = buffer(p.weight_dtype, p.channels * p.taps, false);
  dweight = buffer(p.weight_dtype, p.channels * p.taps, true), dbias = buffer(p.weight_dtype, p.channels, true);
  if (c.bias) bias = buffer(p.weight_dtype, p.channels, false);
  if (c.state) state = buffer(p.dtype, states, false), dstate = buffer(p.dtype, states, true);
  if (is_causal(p)) state_after = buffer(p.dtype, states, true);
  seal();
}

void ShortJob::seal() {
  x->buffer.seal(), dy->buffer.seal();
  for (auto* t : {&weight, &bias, &state})
    if (*t) (*t)->seal();
}

std::vector<double> ShortJob::dense(const Buffer& buffer) const {
  std::vector<double> out;
  for (std::int64_t i = 0; i < buffer.elements(); ++i) out.push_back(buffer.get(i));
  return out;
}

reference::ShortArrays ShortJob::arrays() const {
  auto of = [&](const std::unique_ptr<Buffer>& t) { return t ? dense(*t) : std::vector<double>(); };
  return {x->dense(), of(weight), of(bias), of(state), ends};
}

ShortForwardArguments ShortJob::forward_arguments() {
  return {.x = x->const_sequences(),
          .weight = {weight->at(0)},
          .bias = bias ? bias->at(0) : nullptr,
          .initial_state = state ? state->at(0) : nullptr,
          .cu_seqlens = ends.empty() ? nullptr : ends.data(),
          .y = y->sequences(),
          .final_state = state_after ? state_after->at(0) : nullptr};
}

ShortBackwardArguments ShortJob::backward_arguments() {
  return {.dy = dy->const_sequences(),
          .x = x->const_sequences(),
          .weight = {weight->at(0)},
          .bias = bias ? bias->at(0) : nullptr,
          .initial_state = state ? state->at(0) : nullptr,
          .cu_seqlens = ends.empty() ? nullptr : ends.data(),
          .dx = dx->sequences(),
          .dweight = {dweight->at(0)},
          .dbias = dbias->at(0),
          .dinitial_state = dstate ? dstate->at(0) : nullptr};
}

namespace {

// Every byte is 0xff, NaN in the type that the library computes in.
Buffer workspace_of(const ShortPlan& plan, Pass pass, Fence fence) {
  const std::int64_t count = static_cast<std::int64_t>(plan.workspace_bytes(pass) / 4);
  Buffer workspace(DType::f32, count, fence);
  for (std::int64_t i = 0; i < count; ++i) workspace.own(i);
  return workspace;
}

}  // namespace

std::vector<double> ShortJob::forward() {
  Buffer workspace = workspace_of(*plan_, Pass::forward, options_.fence);
  y->buffer.forget();
  if (state_after) state_after->forget();
  const Execution how{.workspace = {workspace.at(0), plan_->workspace_bytes(Pass::forward)},
                      .parallel = options_.parallel};
  const Status status = short_conv(*plan_, forward_arguments(), how);
  REQUIRE_MESSAGE(status, status.message());
  REQUIRE_MESSAGE(workspace.intact(), "forward wrote outside its workspace");
  check_intact();
  return y->dense();
}

reference::ShortGradients ShortJob::backward() {
  Buffer workspace = workspace_of(*plan_, Pass::backward, options_.fence);
  dx->buffer.forget();
  for (auto* t : {&dweight, &dbias, &dstate})
    if (*t) (*t)->forget();
  const Execution how{.workspace = {workspace.at(0), plan_->workspace_bytes(Pass::backward)},
                      .parallel = options_.parallel};
  const Status status = short_conv_backward(*plan_, backward_arguments(), how);
  REQUIRE_MESSAGE(status, status.message());
  REQUIRE_MESSAGE(workspace.intact(), "backward wrote outside its workspace");
  check_intact();
  return {dx->dense(), dense(*dweight), dense(*dbias), dstate ? dense(*dstate) : std::vector<double>()};
}

void ShortJob::check_intact() const {
  for (const auto* t : {&x, &dy, &y, &dx})
    REQUIRE_MESSAGE((*t)->buffer.intact(), "an input or the memory around a line was written");
  for (const auto* t : {&weight, &bias, &state, &dweight, &dbias, &dstate, &state_after})
    if (*t) REQUIRE_MESSAGE((*t)->intact(), "an input or the memory around weights or states was written");
}

// float64 is held to more digits than sums in double have.
std::vector<double> ShortJob::expected() const {
  if (case_.problem.dtype == DType::f64) return reference::short_forward<long double>(case_.problem, arrays());
  return reference::short_forward<double>(case_.problem, arrays());
}

reference::ShortGradients ShortJob::expected_gradients() const {
  if (case_.problem.dtype == DType::f64)
    return reference::short_backward<long double>(case_.problem, arrays(), dy->dense());
  return reference::short_backward<double>(case_.problem, arrays(), dy->dense());
}

}  // namespace ffc::test
