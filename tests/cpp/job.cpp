#include "job.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

#include "numbers.h"

namespace ffc::test {
namespace {

std::string str(std::int64_t value) { return std::to_string(value); }

// Odd gaps, so that rows start at addresses of every alignment.
constexpr std::int64_t kRowGap = 3, kBatchGap = 5;

}  // namespace

std::string describe(const Case& c) {
  const Problem& p = c.problem;
  std::string text = std::string(name_of(p.mode)) + " [" + str(p.batch) + ", " + str(p.channels) + ", " +
                     str(p.length) + "] * " + str(p.filter);
  if (p.mode == Mode::bidirectional) text += " and " + str(p.filter_reverse) + " at lag -" + str(p.reverse_lag);
  if (p.mode == Mode::circular) text += " mod " + str(p.fft_size);
  text += std::string(", ") + name_of(p.dtype) + ", taps " + name_of(p.filter_dtype);
  if (c.pregate) text += ", pregate";
  if (c.postgate) text += ", postgate";
  if (c.skip) text += ", skip";
  const char* const names[] = {"", "spaced", "transposed", "reversed", "same for the batch", "same for channels"};
  if (c.inputs != Arrangement::contiguous) text += std::string(", ") + names[static_cast<int>(c.inputs)];
  return text;
}

Buffer RowsTensor::allocate(const Problem& p, DType dtype, Arrangement arrangement, Fence fence) {
  const std::int64_t row = p.length;
  switch (arrangement) {
    case Arrangement::contiguous: channel_stride_ = row, batch_stride_ = p.channels * row; break;
    case Arrangement::spaced:
      channel_stride_ = row + kRowGap, batch_stride_ = p.channels * (row + kRowGap) + kBatchGap;
      break;
    case Arrangement::transposed: batch_stride_ = row, channel_stride_ = p.batch * row; break;
    case Arrangement::reversed: channel_stride_ = -row, batch_stride_ = -p.channels * row; break;
    case Arrangement::same_for_batch: channel_stride_ = row, batch_stride_ = 0; break;
    case Arrangement::same_for_channels: channel_stride_ = 0, batch_stride_ = row; break;
  }
  if (p.batch == 0 || p.channels == 0) return Buffer(dtype, 0, fence);
  const std::int64_t last_batch = (p.batch - 1) * batch_stride_, last_channel = (p.channels - 1) * channel_stride_;
  origin_ = -std::min<std::int64_t>(0, last_batch) - std::min<std::int64_t>(0, last_channel);
  return Buffer(dtype, std::abs(last_batch) + std::abs(last_channel) + row, fence);
}

RowsTensor::RowsTensor(const Problem& p, DType dtype, Arrangement arrangement, Fence fence, bool output)
    : batch_(p.batch), channels_(p.channels), length_(p.length), buffer(allocate(p, dtype, arrangement, fence)) {
  if (!output) return;
  for (std::int64_t b = 0; b < batch_; ++b)
    for (std::int64_t h = 0; h < channels_; ++h)
      for (std::int64_t i = 0; i < length_; ++i) buffer.own(index(b, h, i));
}

void RowsTensor::fill(const std::function<double(std::int64_t, std::int64_t, std::int64_t)>& value) {
  for (std::int64_t b = 0; b < batch_; ++b)
    for (std::int64_t h = 0; h < channels_; ++h)
      for (std::int64_t i = 0; i < length_; ++i) set(b, h, i, value(b, h, i));
  buffer.seal();
}

std::vector<double> RowsTensor::dense() const {
  std::vector<double> out;
  out.reserve(static_cast<std::size_t>(batch_ * channels_ * length_));
  for (std::int64_t b = 0; b < batch_; ++b)
    for (std::int64_t h = 0; h < channels_; ++h)
      for (std::int64_t i = 0; i < length_; ++i) out.push_back(buffer.get(index(b, h, i)));
  return out;
}

TapsTensor::TapsTensor(std::int64_t channels, std::int64_t count, DType dtype, Arrangement arrangement, Fence fence,
                       bool output)
    : channels_(channels),
      count_(count),
      stride_(arrangement == Arrangement::contiguous                     ? count
              : arrangement == Arrangement::same_for_channels && !output ? 0
                                                                         : count + kRowGap),
      buffer(dtype, channels == 0 ? 0 : (channels - 1) * stride_ + count, fence) {
  if (!output) return;
  for (std::int64_t h = 0; h < channels_; ++h)
    for (std::int64_t j = 0; j < count_; ++j) buffer.own(h * stride_ + j);
}

std::vector<double> TapsTensor::dense() const {
  std::vector<double> out;
  for (std::int64_t h = 0; h < channels_; ++h)
    for (std::int64_t j = 0; j < count_; ++j) out.push_back(buffer.get(h * stride_ + j));
  return out;
}

Job::Job(const Case& c, const Options& options)
    : case_(c), options_(options), plan_(make_plan(c.problem, {}, {.workers = options.workers})) {
  const Problem& p = c.problem;
  REQUIRE_MESSAGE(plan_, plan_.status().message());
  Random random(options.seed);
  const Arrangement inputs = options.inputs == Arrangement::contiguous ? c.inputs : options.inputs;
  auto rows = [&](Arrangement arrangement, bool output) {
    return std::make_unique<RowsTensor>(p, p.dtype, arrangement, options.fence, output);
  };
  auto input = [&] {
    auto tensor = rows(inputs, false);
    tensor->fill([&](auto, auto, auto) { return random.normal(); });
    return tensor;
  };
  u = input(), dy = input();
  if (c.pregate) pregate = input();
  if (c.postgate) postgate = input();
  for (auto* tensor : {&y, &du}) *tensor = rows(options.outputs, true);
  if (c.pregate) dpregate = rows(options.outputs, true);
  if (c.postgate) dpostgate = rows(options.outputs, true);

  auto taps = [&](std::int64_t count, DType dtype, bool output) {
    return std::make_unique<TapsTensor>(p.channels, count, dtype, output ? options.outputs : inputs, options.fence,
                                        output);
  };
  // Taps that fade as learned ones do, to 1/50 of the first at the row's end.
  auto fill = [&](TapsTensor& tensor, std::int64_t count) {
    for (std::int64_t h = 0; h < p.channels; ++h)
      for (std::int64_t j = 0; j < count; ++j)
        tensor.set(h, j, random.normal() * std::exp(-4.0 * static_cast<double>(j) / static_cast<double>(p.length)));
    tensor.buffer.seal();
  };
  fill(*(k = taps(p.filter, p.filter_dtype, false)), p.filter);
  dk = taps(p.filter, p.filter_dtype, true);
  if (p.mode == Mode::bidirectional) {
    fill(*(k_rev = taps(p.filter_reverse, p.filter_dtype, false)), p.filter_reverse);
    dk_rev = taps(p.filter_reverse, p.filter_dtype, true);
  }
  const DType compute = compute_type(p.dtype);
  auto per_channel = [&](bool output) {
    return std::make_unique<TapsTensor>(p.channels, 1, compute, Arrangement::contiguous, options.fence, output);
  };
  dskip = per_channel(true);
  if (c.skip) {
    skip = per_channel(false);
    for (std::int64_t h = 0; h < p.channels; ++h) skip->set(h, 0, random.normal());
    skip->buffer.seal();
  }
}

reference::Arrays Job::arrays() const {
  auto rows = [](const auto& tensor) { return tensor ? tensor->dense() : std::vector<double>(); };
  return {rows(u), rows(k), rows(k_rev), rows(pregate), rows(postgate), rows(skip)};
}

void Job::seal() {
  for (auto* tensor : {&u, &pregate, &postgate, &dy})
    if (*tensor) (*tensor)->buffer.seal();
  for (auto* tensor : {&k, &k_rev, &skip})
    if (*tensor) (*tensor)->buffer.seal();
}

Buffer Job::make_workspace(Pass pass) const {
  const std::size_t bytes = plan_->workspace_bytes(pass);
  // Every byte is 0xff, NaN in the type that the library computes in.
  Buffer workspace(DType::f32, static_cast<std::int64_t>(bytes / 4), options_.fence);
  for (std::size_t i = 0; i < bytes / 4; ++i) workspace.own(static_cast<std::int64_t>(i));
  return workspace;
}

Execution Job::execution(Buffer& workspace, Pass pass) const {
  return {.workspace = {workspace.at(0), plan_->workspace_bytes(pass)}, .parallel = options_.parallel};
}

const Filter* Job::prepare(const Execution& execution) {
  if (!options_.prepared) return nullptr;
  const std::size_t bytes = plan_->spectrum_bytes();
  storage_ = std::make_unique<Buffer>(DType::f32, static_cast<std::int64_t>(bytes / 4), options_.fence);
  for (std::size_t i = 0; i < bytes / 4; ++i) storage_->own(static_cast<std::int64_t>(i));
  FilterArguments a{.k = k->const_taps(), .storage = {storage_->at(0), bytes}};
  if (k_rev) a.k_rev = k_rev->const_taps();
  Result<Filter> filter = make_filter(*plan_, a, execution);
  REQUIRE_MESSAGE(filter, filter.status().message());
  REQUIRE(storage_->intact());
  filter_ = std::make_unique<Filter>(*filter);
  return filter_.get();
}

std::vector<double> Job::forward() {
  Buffer workspace = make_workspace(Pass::forward);
  const Execution how = execution(workspace, Pass::forward);
  y->buffer.forget();
  ForwardArguments a{.u = u->const_rows(), .filter = prepare(how), .y = y->rows()};
  if (!a.filter) {
    a.k = k->const_taps();
    if (k_rev) a.k_rev = k_rev->const_taps();
  } else {
    workspace.forget();
  }
  if (pregate) a.pregate = pregate->const_rows();
  if (postgate) a.postgate = postgate->const_rows();
  if (skip) a.skip = skip->buffer.at(0);
  const Status status = ffc::forward(*plan_, a, how);
  REQUIRE_MESSAGE(status, status.message());
  REQUIRE_MESSAGE(workspace.intact(), "forward wrote outside its workspace");
  check_intact();
  return y->dense();
}

reference::Gradients Job::backward(const Wanted& wanted) {
  const std::size_t prepare_bytes = plan_->workspace_bytes(Pass::forward);
  Buffer for_filter = make_workspace(Pass::forward), workspace = make_workspace(Pass::backward);
  BackwardArguments a{.dy = dy->const_rows(), .u = u->const_rows()};
  if (options_.prepared) {
    a.filter = prepare({.workspace = {for_filter.at(0), prepare_bytes}, .parallel = options_.parallel});
  } else {
    a.k = k->const_taps();
    if (k_rev) a.k_rev = k_rev->const_taps();
  }
  if (pregate) a.pregate = pregate->const_rows();
  if (postgate) a.postgate = postgate->const_rows();
  if (skip) a.skip = skip->buffer.at(0);

  for (auto* tensor : {&du, &dpregate, &dpostgate})
    if (*tensor) (*tensor)->buffer.forget();
  for (auto* tensor : {&dk, &dk_rev, &dskip})
    if (*tensor) (*tensor)->buffer.forget();
  if (wanted.du) a.du = du->rows();
  if (wanted.dk) a.dk = dk->taps();
  if (wanted.dk_rev && dk_rev) a.dk_rev = dk_rev->taps();
  if (wanted.dpregate && dpregate) a.dpregate = dpregate->rows();
  if (wanted.dpostgate && dpostgate) a.dpostgate = dpostgate->rows();
  if (wanted.dskip) a.dskip = dskip->buffer.at(0);
  const Status status = ffc::backward(*plan_, a, execution(workspace, Pass::backward));
  REQUIRE_MESSAGE(status, status.message());
  REQUIRE_MESSAGE(workspace.intact(), "backward wrote outside its workspace");
  check_intact();

  reference::Gradients out;
  if (a.du.data) out.du = du->dense();
  if (a.dk.data) out.dk = dk->dense();
  if (a.dk_rev.data) out.dk_rev = dk_rev->dense();
  if (a.dpregate.data) out.dpregate = dpregate->dense();
  if (a.dpostgate.data) out.dpostgate = dpostgate->dense();
  if (a.dskip) out.dskip = dskip->dense();
  return out;
}

void Job::check_intact() const {
  for (const auto* tensor : {&u, &pregate, &postgate, &dy, &y, &du, &dpregate, &dpostgate})
    if (*tensor) REQUIRE_MESSAGE((*tensor)->buffer.intact(), "an input or the memory around a row was written");
  for (const auto* tensor : {&k, &k_rev, &skip, &dk, &dk_rev, &dskip})
    if (*tensor) REQUIRE_MESSAGE((*tensor)->buffer.intact(), "an input or the memory around taps was written");
}

// float64 rows are held to 1e-14: the sums they are compared with need more digits than double has.
std::vector<double> Job::expected() const {
  if (case_.problem.dtype == DType::f64) return reference::forward<long double>(case_.problem, arrays());
  return reference::forward<double>(case_.problem, arrays());
}

reference::Gradients Job::expected_gradients() const {
  if (case_.problem.dtype == DType::f64) return reference::backward<long double>(case_.problem, arrays(), upstream());
  return reference::backward<double>(case_.problem, arrays(), upstream());
}

}  // namespace ffc::test
