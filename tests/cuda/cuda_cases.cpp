// Small calls of every kernel of the CUDA engine through the C++ API: each size, as pairs and right-angle, forward and
// backward, both types. Buffers lie between canaries, outputs begin as NaN; results are compared with direct sums. Made
// for compute-sanitizer, whose tools see every access; useful alone too. Exits 77 where there is no usable GPU.
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
      const __half h = __float2half(values[i]);
      std::memcpy(to, &h, 2);
    } else {
      const __nv_bfloat16 h = __float2bfloat16(values[i]);
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

double relative_error(const float* result, const std::vector<double>& exact) {
  double difference = 0, norm = 0;
  for (std::size_t i = 0; i < exact.size(); ++i) {
    difference += (result[i] - exact[i]) * (result[i] - exact[i]);
    norm += exact[i] * exact[i];
  }
  return std::sqrt(difference / norm);
}

struct Case {
  ffc::Problem problem;
  bool gates, skip;
};

// One call forward, prepared and backward, against sums of the definition where they are not too long.
void run(const Case& c) {
  const ffc::Problem& p = c.problem;
  const ffc::Result<ffc::Plan> plan = ffc::make_plan(p, {ffc::DeviceKind::cuda, 0});
  check(plan.status());
  const std::string name = std::string(ffc::name_of(p.mode)) + " " + std::to_string(p.length) + " of " +
                           std::to_string(p.fft_size) + ", " + ffc::name_of(p.dtype);
  std::printf("%s\n", name.c_str());

  const std::size_t B = p.batch, H = p.channels, L = p.length, K = p.filter, R = p.filter_reverse;
  Tensor u(B * H * L, p.dtype), pre(B * H * L, p.dtype), post(B * H * L, p.dtype), dy(B * H * L, p.dtype),
      y(B * H * L, p.dtype), du(B * H * L, p.dtype), dpre(B * H * L, p.dtype), dpost(B * H * L, p.dtype);
  Tensor k(H * K, p.filter_dtype), k_rev(H * R, p.filter_dtype), dk(H * K, p.filter_dtype),
      dk_rev(H * R, p.filter_dtype), skip(H, ffc::DType::f32), dskip(H, ffc::DType::f32);
  unsigned seed = 1;
  for (Tensor* t : {&u, &pre, &post, &dy, &skip}) t->fill(seed++, 1);
  for (Tensor* t : {&k, &k_rev}) t->fill(seed++, 4 / std::sqrt(static_cast<float>(K)));

  const bool back = plan->supports(ffc::Pass::backward).ok();
  DeviceBuffer forward_space(plan->workspace_bytes(ffc::Pass::forward));
  DeviceBuffer backward_space(plan->workspace_bytes(ffc::Pass::backward));
  DeviceBuffer storage(plan->spectrum_bytes());
  cudaStream_t stream;
  check(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "cudaStreamCreate");
  check(cudaDeviceSynchronize(), "filling");
  const ffc::Execution how{.workspace = {forward_space.data(), forward_space.bytes()}, .stream = stream};

  ffc::ForwardArguments a{.u = u.buffer.data(), .k = k.buffer.data(), .y = y.buffer.data()};
  if (R) a.k_rev = k_rev.buffer.data();
  if (c.gates) a.pregate = pre.buffer.data(), a.postgate = post.buffer.data();
  if (c.skip) a.skip = skip.buffer.data();
  check(ffc::forward(*plan, a, how));
  check(cudaStreamSynchronize(stream), "forward");
  y.fetch();
  const std::vector<float> direct = y.values;

  const ffc::Result<ffc::Filter> filter =
      ffc::make_filter(*plan, {.k = a.k, .k_rev = a.k_rev, .storage = {storage.data(), storage.bytes()}}, how);
  check(filter.status());
  a.k = {}, a.k_rev = {}, a.filter = &*filter;
  check(ffc::forward(*plan, a, how));
  check(cudaStreamSynchronize(stream), "prepared forward");
  y.fetch();
  expect(std::memcmp(direct.data(), y.values.data(), direct.size() * sizeof(float)) == 0, name + ": prepared filter");

  if (back) {
    ffc::BackwardArguments b{.dy = dy.buffer.data(), .u = u.buffer.data(), .k = k.buffer.data()};
    if (R) b.k_rev = k_rev.buffer.data(), b.dk_rev = dk_rev.buffer.data();
    if (c.gates) {
      b.pregate = pre.buffer.data(), b.postgate = post.buffer.data();
      b.dpregate = dpre.buffer.data(), b.dpostgate = dpost.buffer.data();
    }
    if (c.skip) b.skip = skip.buffer.data();
    b.du = du.buffer.data(), b.dk = dk.buffer.data(), b.dskip = dskip.buffer.data();
    check(ffc::backward(*plan, b, {.workspace = {backward_space.data(), backward_space.bytes()}, .stream = stream}));
    check(cudaStreamSynchronize(stream), "backward");
    for (Tensor* t : {&du, &dk, &dskip}) t->fetch();
    for (const Tensor* t : {&du, &dk, &dskip})
      for (float v : t->values)
        if (!std::isfinite(v)) {
          expect(false, name + ": a gradient that is not finite");
          break;
        }
  }
  check(cudaStreamDestroy(stream), "cudaStreamDestroy");

  // The last row of the last channel, lag by lag.
  const std::size_t h = H - 1, row = ((B - 1) * H + h) * L;
  std::vector<double> x(L), exact(L);
  for (std::size_t i = 0; i < L; ++i)
    x[i] = static_cast<double>(u.values[row + i]) * (c.gates ? pre.values[row + i] : 1.0F);
  for (std::size_t i = 0; i < L; ++i) {
    double sum = c.skip ? skip.values[h] * x[i] : 0.0;
    for (std::size_t j = 0; j < K; ++j) {
      std::int64_t from = static_cast<std::int64_t>(i) - static_cast<std::int64_t>(j);
      if (p.mode == ffc::Mode::circular && from < 0) from += p.fft_size;
      if (from >= 0 && from < p.length) sum += k.values[h * K + j] * x[from];
    }
    for (std::size_t j = 0; j < R; ++j) {
      const std::size_t from = i + j + static_cast<std::size_t>(p.reverse_lag);
      if (from < L) sum += k_rev.values[h * R + j] * x[from];
    }
    exact[i] = sum * (c.gates ? post.values[row + i] : 1.0F);
  }
  const double error = relative_error(y.values.data() + row, exact);
  expect(error <= (p.dtype == ffc::DType::f16 ? 1.2e-3 : 4e-3), name + ": error " + std::to_string(error));

  for (const Tensor* t : {&u, &pre, &post, &dy, &y, &du, &dpre, &dpost, &k, &k_rev, &dk, &dk_rev, &skip, &dskip})
    expect(t->buffer.intact(), name + ": a canary of a tensor");
  for (const DeviceBuffer* space : {&forward_space, &backward_space, &storage})
    expect(space->intact(), name + ": a canary of the workspace");
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
      const ffc::Problem base{.batch = 3, .channels = 2, .length = M, .filter = M, .dtype = dtype};
      ffc::Problem pairs = base, causal = base, both = base;
      pairs.mode = ffc::Mode::circular, pairs.fft_size = M;
      causal.length = M - 3, causal.filter = M / 2;
      both.mode = ffc::Mode::bidirectional, both.length = M - 1, both.filter_reverse = M / 3, both.filter = M / 3;
      both.filter_dtype = dtype, both.batch = 1;
      run({pairs, true, true});
      run({causal, false, false});
      run({both, true, false});
    }
  }
  std::printf("a forward call takes the host %.1f us\n", host_cost());
  std::printf(failures ? "%d checks failed\n" : "all right\n", failures);
  return failures != 0;
}
