// Small calls of every kernel of the CUDA engine through the C++ API: each size, as pairs and right-angle, with gates
// and without, aligned rows and any, forward and backward, both types. Buffers lie between canaries, outputs begin as
// NaN; results are compared with direct sums. Made for compute-sanitizer, whose tools see every access; useful alone
// too. Exits 77 where there is no usable GPU.
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "cuda/sizes.h"
#include "flashfftconv/flashfftconv.h"

namespace {

constexpr int kSkipped = 77;
constexpr std::size_t kMargin = 512;  // bytes of canary on both sides
int failures = 0;

void check(cudaError_t error, const char* what) {
  if (error == cudaSuccess) return;
  std::fprintf(stderr, "%s: %s: %s\n", what, cudaGetErrorName(error), cudaGetErrorString(error));
  std::exit(1);
}
void check(const ffc::Status& status) {
  if (status) return;
  std::fprintf(stderr, "%s\n", status.message().c_str());
  std::exit(1);
}
void expect(bool right, const std::string& what) {
  if (right) return;
  std::fprintf(stderr, "FAILED: %s\n", what.c_str());
  ++failures;
}

// Device memory of its own allocation, canaries on both sides.
class DeviceBuffer {
 public:
  explicit DeviceBuffer(std::size_t bytes) : bytes_(bytes) {
    check(cudaMalloc(&memory_, bytes + 2 * kMargin), "cudaMalloc");
    check(cudaMemset(memory_, 0x5a, bytes + 2 * kMargin), "cudaMemset");
    check(cudaMemset(data(), 0xff, bytes), "cudaMemset");  // NaN
    check(cudaDeviceSynchronize(), "cudaMemset");          // the streams of the cases do not wait for it
  }
  ~DeviceBuffer() { cudaFree(memory_); }
  DeviceBuffer(const DeviceBuffer&) = delete;
  DeviceBuffer& operator=(const DeviceBuffer&) = delete;

  char* data() const { return static_cast<char*>(memory_) + kMargin; }
  std::size_t bytes() const { return bytes_; }
  bool intact() const {
    for (const char* side : {static_cast<const char*>(memory_), static_cast<const char*>(data()) + bytes_}) {
      unsigned char canary[kMargin];
      check(cudaMemcpy(canary, side, kMargin, cudaMemcpyDeviceToHost), "cudaMemcpy");
      for (unsigned char byte : canary)
        if (byte != 0x5a) return false;
    }
    return true;
  }

 private:
  void* memory_ = nullptr;
  std::size_t bytes_;
};

// A row of host values in a type of the library's, and back.
std::vector<char> encode(const std::vector<float>& values, ffc::DType dtype) {
  std::vector<char> bytes(values.size() * ffc::size_of(dtype));
  for (std::size_t i = 0; i < values.size(); ++i) {
    char* to = bytes.data() + i * ffc::size_of(dtype);
    if (dtype == ffc::DType::f32) {
      std::memcpy(to, &values[i], 4);
    } else if (dtype == ffc::DType::f16) {
      const __half h = __float2half_rn(values[i]);
      std::memcpy(to, &h, 2);
    } else {
      const __nv_bfloat16 h = __float2bfloat16_rn(values[i]);
      std::memcpy(to, &h, 2);
    }
  }
  return bytes;
}
float decode(const char* from, ffc::DType dtype) {
  if (dtype == ffc::DType::f32) {
    float f;
    std::memcpy(&f, from, 4);
    return f;
  }
  if (dtype == ffc::DType::f16) {
    __half h;
    std::memcpy(&h, from, 2);
    return __half2float(h);
  }
  __nv_bfloat16 h;
  std::memcpy(&h, from, 2);
  return __bfloat162float(h);
}

// A tensor on the device, and its values, as rounded, on the host.
struct Tensor {
  Tensor(std::size_t count, ffc::DType type) : dtype(type), values(count), buffer(count * ffc::size_of(type)) {}

  void fill(unsigned seed, float scale) {
    for (float& v : values) {
      seed = seed * 1664525u + 1013904223u;
      v = scale * (static_cast<float>(seed >> 8) / (1 << 23) - 1);
    }
    const std::vector<char> bytes = encode(values, dtype);
    for (std::size_t i = 0; i < values.size(); ++i) values[i] = decode(bytes.data() + i * ffc::size_of(dtype), dtype);
    check(cudaMemcpy(buffer.data(), bytes.data(), bytes.size(), cudaMemcpyHostToDevice), "cudaMemcpy");
  }
  void fetch() {
    std::vector<char> bytes(buffer.bytes());
    check(cudaMemcpy(bytes.data(), buffer.data(), bytes.size(), cudaMemcpyDeviceToHost), "cudaMemcpy");
    for (std::size_t i = 0; i < values.size(); ++i) values[i] = decode(bytes.data() + i * ffc::size_of(dtype), dtype);
  }

  ffc::DType dtype;
  std::vector<float> values;
  DeviceBuffer buffer;
};

// All indices below `count`, or of many so many, spread over all remainders.
std::vector<std::int64_t> sampled(std::int64_t count) {
  constexpr std::int64_t kMost = 1024;
  std::vector<std::int64_t> indices;
  for (std::int64_t i = 0; i < std::min(count, kMost); ++i)
    indices.push_back(count <= kMost ? i : i * (count * 5 / 8 | 1) % count);
  return indices;
}

// Of result[i] against exact(i), i sampled.
template <class Function>
double relative_error(const float* result, std::int64_t count, Function exact) {
  double difference = 0, norm = 0;
  for (const std::int64_t i : sampled(count)) {
    const double value = exact(i);
    difference += (result[i] - value) * (result[i] - value), norm += value * value;
  }
  return std::sqrt(difference / norm);
}

struct Case {
  ffc::Problem problem;
  bool gates, skip;

  std::string name() const {
    return std::string(ffc::name_of(problem.mode)) + " " + std::to_string(problem.length) + " of " +
           std::to_string(problem.fft_size) + (gates ? ", gated, " : ", ") + ffc::name_of(problem.dtype);
  }
};

// What goes in and what comes out.
struct Tensors {
  std::size_t rows, taps, taps_reverse, channels;
  ffc::DType type, tap_type;
  Tensor u{rows, type}, pre{rows, type}, post{rows, type}, dy{rows, type};
  Tensor y{rows, type}, du{rows, type}, dpre{rows, type}, dpost{rows, type};
  Tensor k{taps, tap_type}, k_rev{taps_reverse, tap_type}, dk{taps, tap_type}, dk_rev{taps_reverse, tap_type};
  Tensor skip{channels, ffc::DType::f32}, dskip{channels, ffc::DType::f32};

  explicit Tensors(const ffc::Problem& p)
      : rows(p.batch * p.channels * p.length),
        taps(p.channels * p.filter),
        taps_reverse(p.channels * p.filter_reverse),
        channels(p.channels),
        type(p.dtype),
        tap_type(p.filter_dtype) {
    unsigned seed = 1;
    for (Tensor* t : {&u, &pre, &post, &dy, &skip}) t->fill(seed++, 1);
    for (Tensor* t : {&k, &k_rev}) t->fill(seed++, 4 / std::sqrt(static_cast<float>(p.filter)));
  }
  bool intact() const {
    for (const Tensor* t : {&u, &pre, &post, &dy, &y, &du, &dpre, &dpost, &k, &k_rev, &dk, &dk_rev, &skip, &dskip})
      if (!t->buffer.intact()) return false;
    return true;
  }
};

// y, with the filter prepared and without: the same bits.
void run_forward(const Case& c, const ffc::Plan& plan, Tensors& t, const ffc::Execution& how) {
  const auto wait = [&] { check(cudaStreamSynchronize(static_cast<cudaStream_t>(how.stream)), "forward"); };
  ffc::ForwardArguments a{.u = t.u.buffer.data(), .k = t.k.buffer.data(), .y = t.y.buffer.data()};
  if (t.taps_reverse) a.k_rev = t.k_rev.buffer.data();
  if (c.gates) a.pregate = t.pre.buffer.data(), a.postgate = t.post.buffer.data();
  if (c.skip) a.skip = t.skip.buffer.data();
  check(ffc::forward(plan, a, how));
  wait();
  t.y.fetch();
  const std::vector<float> direct = t.y.values;

  DeviceBuffer storage(plan.spectrum_bytes());
  const ffc::Result<ffc::Filter> filter =
      ffc::make_filter(plan, {.k = a.k, .k_rev = a.k_rev, .storage = {storage.data(), storage.bytes()}}, how);
  check(filter.status());
  a.k = {}, a.k_rev = {}, a.filter = &*filter;
  check(ffc::forward(plan, a, how));
  wait();
  t.y.fetch();
  expect(std::memcmp(direct.data(), t.y.values.data(), direct.size() * sizeof(float)) == 0,
         c.name() + ": prepared filter");
  expect(storage.intact(), c.name() + ": a canary of the prepared filter");
}

// Every gradient that there is; the others stay as they are.
void run_backward(const Case& c, const ffc::Plan& plan, Tensors& t, const ffc::Execution& how) {
  ffc::BackwardArguments b{.dy = t.dy.buffer.data(), .u = t.u.buffer.data(), .k = t.k.buffer.data()};
  if (t.taps_reverse) b.k_rev = t.k_rev.buffer.data(), b.dk_rev = t.dk_rev.buffer.data();
  if (c.gates) {
    b.pregate = t.pre.buffer.data(), b.postgate = t.post.buffer.data();
    b.dpregate = t.dpre.buffer.data(), b.dpostgate = t.dpost.buffer.data();
  }
  if (c.skip) b.skip = t.skip.buffer.data();
  b.du = t.du.buffer.data(), b.dk = t.dk.buffer.data(), b.dskip = t.dskip.buffer.data();
  check(ffc::backward(plan, b, how));
  check(cudaStreamSynchronize(static_cast<cudaStream_t>(how.stream)), "backward");
  for (Tensor* gradient : {&t.du, &t.dpre, &t.dpost, &t.dk, &t.dk_rev, &t.dskip}) {
    gradient->fetch();
    const bool asked_for = c.gates || (gradient != &t.dpre && gradient != &t.dpost);
    const auto right = [&](float v) { return std::isfinite(v) == asked_for; };
    expect(std::all_of(gradient->values.begin(), gradient->values.end(), right),
           c.name() + ": a gradient that is not finite, or one that nobody asked for");
  }
}

// The definition, for the last row of the last channel and that channel's taps.
class Definition {
 public:
  Definition(const Case& c, const Tensors& t)
      : p_(c.problem), c_(c), t_(t), last_channel_(p_.channels - 1), last_((p_.batch * p_.channels - 1) * p_.length) {}

  std::int64_t last_row() const { return last_; }
  double y(std::int64_t i) const { return convolved(i) * gate(t_.post, last_ + i); }
  double du(std::int64_t i) const { return correlated(i) * gate(t_.pre, last_ + i); }
  double dpregate(std::int64_t i) const { return correlated(i) * t_.u.values[last_ + i]; }
  double dpostgate(std::int64_t i) const { return convolved(i) * t_.dy.values[last_ + i]; }
  double dk(std::int64_t j) const {
    return tap_gradient([&](auto i) { return source(i, j); });
  }
  double dk_rev(std::int64_t j) const {
    return tap_gradient([&](auto i) { return source_reverse(i, j); });
  }
  double dskip() const {
    return tap_gradient([](auto i) { return i; });
  }
  // The square root of the sum of the squares of what dskip adds up.
  double dskip_norm() const {
    double sum = 0;
    for (std::int64_t row = last_channel_ * p_.length; row <= last_; row += p_.channels * p_.length)
      for (std::int64_t i = row; i < row + p_.length; ++i) sum += g(i) * x(i) * g(i) * x(i);
    return std::sqrt(sum);
  }

 private:
  float gate(const Tensor& values, std::int64_t i) const { return c_.gates ? values.values[i] : 1.0F; }
  double x(std::int64_t i) const { return static_cast<double>(t_.u.values[i]) * gate(t_.pre, i); }
  double g(std::int64_t i) const { return static_cast<double>(t_.dy.values[i]) * gate(t_.post, i); }
  double skip() const { return c_.skip ? t_.skip.values[last_channel_] : 0.0; }

  // The sample that tap j of k, or of k_rev, takes for output i, -1 if there is none; and the output that takes sample
  // i.
  std::int64_t inside(std::int64_t i) const { return i >= 0 && i < p_.length ? i : -1; }
  std::int64_t source(std::int64_t i, std::int64_t j) const {
    return inside(p_.mode == ffc::Mode::circular && i < j ? i - j + p_.fft_size : i - j);
  }
  std::int64_t source_reverse(std::int64_t i, std::int64_t j) const { return inside(i + j + p_.reverse_lag); }
  std::int64_t target(std::int64_t i, std::int64_t j) const {
    return inside(p_.mode == ffc::Mode::circular && i + j >= p_.fft_size ? i + j - p_.fft_size : i + j);
  }
  std::int64_t target_reverse(std::int64_t i, std::int64_t j) const { return inside(i - j - p_.reverse_lag); }

  template <class Place, class Value>
  double over_taps(const Tensor& taps, std::int64_t count, Place place, Value value) const {
    double sum = 0;
    for (std::int64_t j = 0; j < count; ++j)
      if (const std::int64_t m = place(j); m >= 0) sum += taps.values[last_channel_ * count + j] * value(last_ + m);
    return sum;
  }
  double convolved(std::int64_t i) const {
    const auto value = [&](std::int64_t m) { return x(m); };
    return skip() * x(last_ + i) +
           over_taps(
               t_.k, p_.filter, [&](auto j) { return source(i, j); }, value) +
           over_taps(t_.k_rev, p_.filter_reverse, [&](auto j) { return source_reverse(i, j); }, value);
  }
  double correlated(std::int64_t i) const {
    const auto value = [&](std::int64_t m) { return g(m); };
    return skip() * g(last_ + i) +
           over_taps(
               t_.k, p_.filter, [&](auto j) { return target(i, j); }, value) +
           over_taps(t_.k_rev, p_.filter_reverse, [&](auto j) { return target_reverse(i, j); }, value);
  }
  template <class Place>
  double tap_gradient(Place place) const {
    double sum = 0;
    for (std::int64_t row = last_channel_ * p_.length; row <= last_; row += p_.channels * p_.length)
      for (std::int64_t i = 0; i < p_.length; ++i)
        if (const std::int64_t m = place(i); m >= 0) sum += g(row + i) * x(row + m);
    return sum;
  }

  const ffc::Problem& p_;
  const Case& c_;
  const Tensors& t_;
  std::int64_t last_channel_, last_;
};

void compare(const Case& c, const Tensors& t, bool with_gradients) {
  const ffc::Problem& p = c.problem;
  const Definition exact(c, t);
  const double bound = p.dtype == ffc::DType::f16 ? 1.2e-3 : 4e-3;
  const double tap_bound = 2.5e-3 + (p.filter_dtype == ffc::DType::f32 ? 0 : bound);
  const auto check_against = [&](const char* what, const float* result, std::int64_t count, double limit, auto value) {
    const double error = relative_error(result, count, value);
    expect(error <= limit, c.name() + ": " + what + ", error " + std::to_string(error));
  };
  const auto row = [&](const char* what, const Tensor& result, auto value) {
    check_against(what, result.values.data() + exact.last_row(), p.length, bound, value);
  };
  const auto channel = [&](const char* what, const Tensor& result, std::int64_t count, auto value) {
    check_against(what, result.values.data() + (p.channels - 1) * count, count, tap_bound, value);
  };
  row("y", t.y, [&](auto i) { return exact.y(i); });
  if (!with_gradients) return;
  row("du", t.du, [&](auto i) { return exact.du(i); });
  if (c.gates) row("dpregate", t.dpre, [&](auto i) { return exact.dpregate(i); });
  if (c.gates) row("dpostgate", t.dpost, [&](auto i) { return exact.dpostgate(i); });
  channel("dk", t.dk, p.filter, [&](auto j) { return exact.dk(j); });
  const double off = std::abs(t.dskip.values[p.channels - 1] - exact.dskip());
  expect(off <= 1e-2 * exact.dskip_norm(), c.name() + ": dskip is off by " + std::to_string(off));
  if (p.filter_reverse) channel("dk_rev", t.dk_rev, p.filter_reverse, [&](auto j) { return exact.dk_rev(j); });
}

// One call forward, prepared and backward, against sums of the definition.
void run(const Case& c) {
  const ffc::Result<ffc::Plan> plan = ffc::make_plan(c.problem, {ffc::DeviceKind::cuda, 0});
  check(plan.status());
  std::printf("%s\n", c.name().c_str());

  Tensors t(c.problem);
  DeviceBuffer forward_space(plan->workspace_bytes(ffc::Pass::forward));
  DeviceBuffer backward_space(plan->workspace_bytes(ffc::Pass::backward));
  cudaStream_t stream;
  check(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "cudaStreamCreate");
  check(cudaDeviceSynchronize(), "filling");
  const bool back = plan->supports(ffc::Pass::backward).ok();
  run_forward(c, *plan, t, {.workspace = {forward_space.data(), forward_space.bytes()}, .stream = stream});
  if (back) run_backward(c, *plan, t, {.workspace = {backward_space.data(), backward_space.bytes()}, .stream = stream});
  check(cudaStreamDestroy(stream), "cudaStreamDestroy");

  compare(c, t, back);
  expect(t.intact(), c.name() + ": a canary of a tensor");
  expect(forward_space.intact() && backward_space.intact(), c.name() + ": a canary of the workspace");
}

// What a forward call costs the host, in microseconds: the least of some bursts, short enough for the launch queue.
double host_cost() {
  constexpr int kBursts = 40, kCalls = 50, L = 128;
  const ffc::Problem p{.batch = 1, .channels = 1, .length = L, .filter = L, .dtype = ffc::DType::f16};
  const ffc::Result<ffc::Plan> plan = ffc::make_plan(p, {ffc::DeviceKind::cuda, 0});
  check(plan.status());
  Tensor u(L, p.dtype), y(L, p.dtype), k(L, p.filter_dtype);
  u.fill(1, 1), k.fill(2, 1);
  DeviceBuffer space(plan->workspace_bytes(ffc::Pass::forward));
  const ffc::ForwardArguments a{.u = u.buffer.data(), .k = k.buffer.data(), .y = y.buffer.data()};
  double least = 1e9;
  for (int burst = 0; burst < kBursts; ++burst) {
    check(cudaDeviceSynchronize(), "a burst of calls");
    const auto start = std::chrono::steady_clock::now();
    for (int i = 0; i < kCalls; ++i) check(ffc::forward(*plan, a, {.workspace = {space.data(), space.bytes()}}));
    const std::chrono::duration<double, std::micro> took = std::chrono::steady_clock::now() - start;
    least = std::min(least, took.count() / kCalls);
  }
  check(cudaDeviceSynchronize(), "calls");
  return least;
}

}  // namespace

// With an argument: only transforms of up to that many points, for tools that are slow.
int main(int count, char** arguments) {
  const std::int64_t most = count > 1 ? std::atoll(arguments[1]) : INT64_MAX;
  const auto probe = ffc::make_plan({.length = 64, .filter = 1, .dtype = ffc::DType::f16}, {ffc::DeviceKind::cuda, 0});
  if (!probe) {
    std::fprintf(stderr, "skipped: %s\n", probe.status().message().c_str());
    return probe.status().code() == ffc::StatusCode::unsupported ? kSkipped : 1;
  }
  for (const ffc::cuda::Size& size : ffc::cuda::kSizes) {
    const std::int64_t M = size.points;
    if (M > most) break;
    for (const ffc::DType dtype : {ffc::DType::f16, ffc::DType::bf16}) {
      const std::int64_t channels = size.outer == 1 ? 9 : 2;  // of short rows, for every warp of a block, and one more
      const ffc::Problem causal{.batch = 3, .channels = channels, .length = M, .filter = M, .dtype = dtype};
      ffc::Problem pairs = causal, causal_any = causal, pairs_any = causal, both = causal;
      pairs.mode = pairs_any.mode = ffc::Mode::circular, pairs.fft_size = pairs_any.fft_size = M;
      causal_any.length = M - 3, causal_any.filter = M / 2, pairs_any.length = M - 1;
      both.mode = ffc::Mode::bidirectional, both.length = M - 1, both.filter_reverse = M / 3, both.filter = M / 3;
      both.filter_dtype = dtype, both.batch = 1;
      for (const bool gates : {false, true})
        for (const ffc::Problem& p : {causal, pairs, causal_any, pairs_any}) run({p, gates, gates});
      run({both, true, false});
    }
  }
  std::printf("a forward call takes the host %.1f us\n", host_cost());
  std::printf(failures ? "%d checks failed\n" : "all right\n", failures);
  return failures != 0;
}
