// Plans of the CUDA engine, without a GPU: the device code is pretended on the host (tests/cuda/fake_launch.h).
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "cuda/cuda_plan.h"
#include "cuda/grid.h"
#include "cuda/sizes.h"
#include "fake_launch.h"
#include "flashfftconv/flashfftconv.h"

namespace ffc::cuda {
namespace {

constexpr Device kGpu{DeviceKind::cuda, 1};

// The pretended machine as it is at first, again when a test ends.
struct Fixture {
  Fixture() { fake::machine() = {}; }
  ~Fixture() { fake::machine() = {}; }
  fake::Machine& machine = fake::machine();

  template <class Job>
  const Job& job(std::size_t index) {
    REQUIRE(index < machine.launches.size());
    REQUIRE(std::holds_alternative<Job>(machine.launches[index].job));
    return std::get<Job>(machine.launches[index].job);
  }
};

Problem causal(std::int64_t length, DType dtype = DType::f16) {
  return {.batch = 4, .channels = 3, .length = length, .filter = length, .dtype = dtype};
}
Problem circular(std::int64_t length, std::int64_t size) {
  return {.batch = 4,
          .channels = 3,
          .length = length,
          .filter = length,
          .fft_size = size,
          .mode = Mode::circular,
          .dtype = DType::bf16};
}

void check_refused(const Status& status, StatusCode code, std::initializer_list<const char*> words) {
  CHECK(status.code() == code);
  for (const char* word : words)
    CHECK_MESSAGE(status.message().find(word) != std::string::npos, "'", status.message(), "' does not say '",
                  std::string(word), "'");
}

// Memory of exactly so many bytes, with margins whose change is noticed.
class Memory {
 public:
  explicit Memory(std::size_t bytes)
      : bytes_(bytes), data_(static_cast<std::byte*>(std::aligned_alloc(64, (bytes + 64 + 63) / 64 * 64)), &std::free) {
    std::memset(data_.get(), kMargin, (bytes + 64 + 63) / 64 * 64);
  }
  ~Memory() {
    for (std::size_t i = bytes_; i < bytes_ + 64; ++i) CHECK(std::to_integer<int>(data_[i]) == kMargin);
  }
  Workspace workspace() const { return {data_.get(), bytes_}; }
  const std::byte* begin() const { return data_.get(); }
  bool holds(const void* pointer, std::size_t bytes) const {
    const auto* p = static_cast<const std::byte*>(pointer);
    return p >= begin() && p + bytes <= begin() + bytes_;
  }

 private:
  static constexpr int kMargin = 0x5a;
  std::size_t bytes_;
  std::unique_ptr<std::byte[], decltype(&std::free)> data_;
};

// Pointers that the host never follows.
void* device_pointer(std::uintptr_t number) { return reinterpret_cast<void*>(number << 20); }

ForwardArguments forward_arguments() {
  return {.u = device_pointer(1), .k = device_pointer(2), .y = device_pointer(3)};
}
BackwardArguments backward_arguments() {
  BackwardArguments a{.dy = device_pointer(4), .u = device_pointer(1), .k = device_pointer(2)};
  a.du = device_pointer(5), a.dk = device_pointer(6);
  return a;
}

TEST_CASE_FIXTURE(Fixture, "devices that cannot run the engine are refused with the reason") {
  auto refusal = [&](const DeviceFacts& facts) {
    machine.facts = facts;
    return ffc::make_plan(causal(1024), kGpu).status();
  };
  check_refused(refusal({.error = 35, .driver = 0}), StatusCode::unsupported, {"CUDA 1", "no NVIDIA driver"});
  check_refused(refusal({.error = 35, .driver = 12040}), StatusCode::unsupported,
                {"CUDA 12.4", "CUDA 13.0", "update the driver"});
  check_refused(refusal({.error = 100, .driver = 13000}), StatusCode::unsupported, {"no GPU"});
  check_refused(refusal({.devices = 0, .driver = 13000}), StatusCode::unsupported, {"no GPU"});
  check_refused(refusal({.devices = 1, .driver = 13000, .major = 9}), StatusCode::invalid_argument,
                {"CUDA 1", "1 GPU"});
  check_refused(refusal({.devices = 2, .driver = 13000, .major = 7, .minor = 5}), StatusCode::unsupported,
                {"sm_75", "sm_80"});
  check_refused(refusal({.error = 999, .devices = 2, .driver = 13000}), StatusCode::internal, {"cudaError"});
  CHECK(refusal({.devices = 2, .driver = 13010, .major = 8, .minor = 0, .multiprocessors = 108}).ok());
  CHECK(refusal({.devices = 2, .driver = 14000, .major = 12, .minor = 0, .multiprocessors = 148}).ok());
}

TEST_CASE_FIXTURE(Fixture, "a device is described, or what is missing") {
  CHECK(describe_device(kGpu).find("132 multiprocessors") != std::string::npos);
  machine.facts.major = 7;
  CHECK(describe_device(kGpu).find("sm_70") != std::string::npos);
}

TEST_CASE_FIXTURE(Fixture, "types and sizes that the engine does not take are refused") {
  auto refusal = [](const Problem& p) { return ffc::make_plan(p, kGpu).status(); };
  check_refused(refusal(causal(1024, DType::f32)), StatusCode::unsupported, {"CUDA 1", "float32", "float16"});
  check_refused(refusal(causal(1024, DType::f64)), StatusCode::unsupported, {"float64"});
  Problem wide = causal(1024);
  wide.filter_dtype = DType::f64;
  check_refused(refusal(wide), StatusCode::unsupported, {"taps", "float64"});
  for (DType dtype : {DType::f32, DType::f16, DType::bf16}) {
    wide.filter_dtype = dtype;
    CHECK(refusal(wide).ok());
  }
  CHECK(refusal(causal(32768)).ok());
  check_refused(refusal(causal(32769)), StatusCode::unsupported, {"32769", "32768"});
  CHECK(refusal(circular(32768, 65536)).ok());
  check_refused(refusal(circular(40000, 65536)), StatusCode::unsupported, {"40000", "32768"});
  Problem vast = causal(1);
  vast.channels = 1LL << 50;
  check_refused(refusal(vast), StatusCode::unsupported, {"channels", "1125899906842624"});
  vast.channels = 1, vast.batch = 1LL << 40;
  check_refused(refusal(vast), StatusCode::unsupported, {"batch", "1099511627776"});
  machine.largest = 1024;
  check_refused(refusal(causal(2000)), StatusCode::unsupported, {"2048", "sm_90"});
}

TEST_CASE_FIXTURE(Fixture, "every row of the table serves the lengths above the row before") {
  int before = 0;
  for (int row = 0; row < kSizeCount; ++row) {
    const int points = kSizes[row].points;
    CHECK(points == kSizes[row].outer * kSizes[row].radix * 64);
    for (int length : {before + 1, points}) {
      machine.launches.clear();
      const auto plan = ffc::make_plan(causal(length), kGpu);
      REQUIRE(plan);
      const Memory memory(plan->workspace_bytes());
      REQUIRE(ffc::forward(*plan, forward_arguments(), {.workspace = memory.workspace()}));
      const auto& rows = job<ForwardJob>(machine.launches.size() - 1);
      CHECK(rows.variant.row == row);
      CHECK_FALSE(rows.variant.pairs);
      CHECK(plan->describe().find(std::to_string(points) + " points") != std::string::npos);
    }
    before = points;
  }
}

TEST_CASE_FIXTURE(Fixture, "pairs of rows where the size is one of the table and the row longer than half of it") {
  auto text = [](const Problem& p) { return ffc::make_plan(p, kGpu)->describe(); };
  auto says = [&](const Problem& p, const char* words) { return text(p).find(words) != std::string::npos; };
  CHECK(says(circular(1024, 1024), "pairs of rows transform of 1024 points"));
  CHECK(says(circular(513, 1024), "pairs of rows transform of 1024 points"));
  CHECK(says(circular(512, 1024), "right-angle transform of 512 points"));
  CHECK(says(circular(128, 128), "pairs of rows transform of 128 points"));
  CHECK(says(circular(64, 64), "right-angle transform of 64 points"));
  CHECK(says(circular(1000, 1000), "right-angle transform of 1024 points"));
  CHECK(says(circular(32768, 32768), "pairs of rows transform of 32768 points"));
  CHECK(says(causal(1024), "right-angle transform of 1024 points"));
  // A prepared filter serves every batch: the batch must not choose.
  Problem single = circular(1024, 1024);
  single.batch = 1;
  CHECK(says(single, "pairs of rows"));
  machine.has_pairs = false;
  CHECK(says(circular(1024, 1024), "right-angle transform of 1024 points"));
}

TEST_CASE_FIXTURE(Fixture, "forward: the filter's spectrum, then the rows, in memory of their own") {
  Problem p = circular(800, 1000);
  p.filter = 700;
  const auto plan = ffc::make_plan(p, kGpu);
  REQUIRE(plan);
  CHECK(plan->device().index == 1);
  const Memory memory(plan->workspace_bytes(Pass::forward));
  CHECK(plan->workspace_bytes(Pass::forward) == 4 * 1024 * 3 + 64);
  CHECK(plan->spectrum_bytes() == plan->workspace_bytes(Pass::forward));
  ForwardArguments a = forward_arguments();
  a.pregate = {device_pointer(7), 5000, -900};
  a.skip = device_pointer(8);
  int stream = 0;
  REQUIRE(ffc::forward(*plan, a, {.workspace = memory.workspace(), .stream = &stream}));
  REQUIRE(machine.launches.size() == 2);
  for (const fake::Launch& launch : machine.launches) {
    CHECK(launch.stream == &stream);
    CHECK(launch.device == 1);
  }
  CHECK(machine.current_device == 0);

  const auto& spectrum = job<SpectrumJob>(0);
  CHECK(spectrum.channels == 3);
  CHECK(spectrum.k.data == a.k.data);
  CHECK(spectrum.k.channel_stride == 700);
  CHECK(spectrum.fold.negative_lo == -799);
  CHECK(spectrum.fold.negative_hi == 699 - 1000);
  CHECK(spectrum.filter_dtype == DType::f32);
  CHECK(memory.holds(spectrum.spectrum.values, 4 * 1024 * 3));
  CHECK(memory.holds(spectrum.spectrum.factors, 4 * 3));

  const auto& rows = job<ForwardJob>(1);
  CHECK(rows.spectrum.values == spectrum.spectrum.values);
  CHECK(rows.spectrum.factors == spectrum.spectrum.factors);
  CHECK(rows.u.data == a.u.data);
  CHECK(rows.u.channel_stride == 800);
  CHECK(rows.u.batch_stride == 2400);
  CHECK(rows.pregate.batch_stride == 5000);
  CHECK(rows.pregate.channel_stride == -900);
  CHECK(rows.postgate.data == nullptr);
  CHECK(rows.skip == a.skip);
  CHECK(rows.y.data == a.y.data);
  CHECK(rows.y.batch_stride == 2400);
  CHECK(rows.length == 800);
  CHECK(rows.variant.dtype == DType::bf16);
  // What the launches wrote did not overlap: the factors came second, and the values are whole.
  const auto* values = static_cast<const std::byte*>(spectrum.spectrum.values);
  for (int i = 0; i < 4 * 1024 * 3; ++i) REQUIRE(std::to_integer<int>(values[i]) == 0x11);
}

TEST_CASE_FIXTURE(Fixture, "forward: few short rows take one launch, which makes the spectrum too") {
  Problem p = causal(200);
  const auto plan = ffc::make_plan(p, kGpu);
  REQUIRE(plan);
  CHECK(plan->workspace_bytes(Pass::forward) == 0);
  CHECK(plan->describe().find("which make the spectrum too") != std::string::npos);
  ForwardArguments a = forward_arguments();
  REQUIRE(ffc::forward(*plan, a, {}));
  REQUIRE(machine.launches.size() == 1);
  const auto& rows = job<ForwardJob>(0);
  REQUIRE(rows.filter);
  CHECK(rows.filter->k.data == a.k.data);
  CHECK(rows.filter->k.channel_stride == 200);
  CHECK(rows.filter->fold.positive == 200);
  CHECK_FALSE(rows.follows);
  CHECK(rows.spectrum.values == nullptr);

  // A prepared filter is used as it is.
  const Memory storage(plan->spectrum_bytes());
  const auto filter = ffc::make_filter(*plan, {.k = device_pointer(2), .storage = storage.workspace()}, {});
  REQUIRE(filter);
  a.k = {}, a.filter = &*filter;
  machine.launches.clear();
  REQUIRE(ffc::forward(*plan, a, {}));
  REQUIRE(machine.launches.size() == 1);
  CHECK_FALSE(job<ForwardJob>(0).filter);
  CHECK(storage.holds(job<ForwardJob>(0).spectrum.values, 4 * 256 * 3));

  // Many rows fill the device; then every block would make the spectrum for itself.
  p.batch = 64, p.channels = 768;
  const auto many = ffc::make_plan(p, kGpu);
  REQUIRE(many);
  const Memory memory(many->workspace_bytes(Pass::forward));
  machine.launches.clear();
  REQUIRE(ffc::forward(*many, forward_arguments(), {.workspace = memory.workspace()}));
  REQUIRE(machine.launches.size() == 2);
  CHECK_FALSE(job<ForwardJob>(1).filter);
  CHECK(job<ForwardJob>(1).follows);
}

TEST_CASE_FIXTURE(Fixture, "backward: spectrum, rows, and the filter's gradient only where it is wanted") {
  Problem p = causal(2000);
  p.batch = 300, p.channels = 2;
  const auto plan = ffc::make_plan(p, kGpu);
  REQUIRE(plan);
  const Memory memory(plan->workspace_bytes(Pass::backward));
  const Execution how{.workspace = memory.workspace()};
  REQUIRE(ffc::backward(*plan, backward_arguments(), how));
  REQUIRE(machine.launches.size() == 3);
  const auto& spectrum = job<SpectrumJob>(0);
  const auto& rows = job<BackwardJob>(1);
  const auto& filter = job<FilterGradientJob>(2);
  CHECK(rows.grid.splits > 1);
  CHECK(filter.splits == rows.grid.splits);
  CHECK(filter.sums == rows.sums);
  CHECK(filter.factors == rows.sum_factors);
  CHECK(memory.holds(rows.sums, std::size_t{4} * 2048 * 2 * rows.grid.splits));
  CHECK(memory.holds(rows.sum_factors, sizeof(float) * 2 * rows.grid.splits));
  CHECK(reinterpret_cast<std::uintptr_t>(rows.sums) % 64 == 0);
  CHECK(filter.dk.channel_stride == 2000);
  CHECK(filter.filter == 2000);
  CHECK(filter.dskip == nullptr);
  CHECK(rows.du.batch_stride == 4000);
  CHECK(rows.dpregate.data == nullptr);
  // Sums begin behind the factors, which are whole; and so are the sums, and their factors behind them.
  auto holds_only = [](const void* memory_of, std::size_t bytes, int value) {
    const auto* at = static_cast<const std::byte*>(memory_of);
    return std::all_of(at, at + bytes, [&](std::byte b) { return std::to_integer<int>(b) == value; });
  };
  CHECK(holds_only(spectrum.spectrum.factors, sizeof(float) * 2, 0x22));
  CHECK(holds_only(rows.sums, std::size_t{4} * 2048 * 2 * rows.grid.splits, 0x33));
  CHECK(holds_only(rows.sum_factors, sizeof(float) * 2 * rows.grid.splits, 0x55));

  machine.launches.clear();
  BackwardArguments only_du = backward_arguments();
  only_du.dk = {};
  REQUIRE(ffc::backward(*plan, only_du, how));
  REQUIRE(machine.launches.size() == 2);
  CHECK(job<BackwardJob>(1).sums == nullptr);

  machine.launches.clear();
  BackwardArguments only_skip = only_du;
  only_skip.du = {}, only_skip.dskip = device_pointer(9);
  REQUIRE(ffc::backward(*plan, only_skip, how));
  REQUIRE(machine.launches.size() == 3);
  CHECK(job<BackwardJob>(1).sums != nullptr);
  CHECK(job<FilterGradientJob>(2).dskip == only_skip.dskip);

  machine.launches.clear();
  BackwardArguments nothing = only_du;
  nothing.du = {};
  REQUIRE(ffc::backward(*plan, nothing, how));
  CHECK(machine.launches.empty());
}

TEST_CASE_FIXTURE(Fixture, "sizes whose backward pass the device does not take say so") {
  CHECK(ffc::make_plan(causal(kSizes[kSizeCount - 1].points), kGpu)->supports(Pass::backward).ok());
  machine.largest_backward = 8192;
  const auto plan = ffc::make_plan(causal(16384), kGpu);
  REQUIRE(plan);
  CHECK(plan->supports(Pass::forward).ok());
  check_refused(plan->supports(Pass::backward), StatusCode::unsupported, {"backward", "16384", "sm_90"});
  CHECK(plan->workspace_bytes(Pass::backward) == 0);
  check_refused(ffc::backward(*plan, backward_arguments(), {}), StatusCode::unsupported, {"backward"});
  CHECK(machine.launches.empty());
  CHECK(plan->describe().find("backward: none") != std::string::npos);
  CHECK(ffc::make_plan(causal(8192), kGpu)->supports(Pass::backward).ok());
}

TEST_CASE_FIXTURE(Fixture, "a spectrum that waits has memory behind the sums, in every block; channels go in chunks") {
  for (Problem p : {causal(32768), circular(32768, 32768)}) {
    CAPTURE(static_cast<int>(p.mode));
    p.channels = 300, p.batch = 121, p.filter = 32768;
    machine.launches.clear();
    const auto plan = ffc::make_plan(p, kGpu);
    REQUIRE(plan);
    CHECK(plan->describe().find("chunk after chunk") != std::string::npos);
    const Memory memory(plan->workspace_bytes(Pass::backward));
    BackwardArguments a = backward_arguments();
    a.skip = device_pointer(7), a.dskip = device_pointer(8);
    REQUIRE(ffc::backward(*plan, a, {.workspace = memory.workspace()}));
    REQUIRE(machine.launches.size() % 3 == 0);
    std::int64_t first = 0;  // channels of the chunks before
    for (int i = 0; i < static_cast<int>(machine.launches.size()); i += 3) {
      const auto& spectrum = job<SpectrumJob>(i);
      const auto& rows = job<BackwardJob>(i + 1);
      const auto& filter = job<FilterGradientJob>(i + 2);
      const std::size_t channels = rows.channels, sums = channels * rows.grid.splits;
      CHECK(spectrum.channels == rows.channels);
      CHECK(filter.channels == rows.channels);
      CHECK(spectrum.k.data == static_cast<float*>(device_pointer(2)) + 32768 * first);
      CHECK(rows.dy.data == static_cast<std::uint16_t*>(device_pointer(4)) + 32768 * first);
      CHECK(rows.skip == static_cast<float*>(device_pointer(7)) + first);
      CHECK(filter.dskip == static_cast<float*>(device_pointer(8)) + first);
      CHECK(rows.batch == 121);
      CHECK(rows.follows);
      CHECK(rows.spectrum.values == spectrum.spectrum.values);
      CHECK(filter.splits == rows.grid.splits);
      // Everything lies behind what comes before it.
      CHECK(memory.holds(spectrum.spectrum.values, std::size_t{4} * 32768 * channels));
      CHECK(static_cast<std::byte*>(spectrum.spectrum.values) + std::size_t{4} * 32768 * channels <=
            reinterpret_cast<std::byte*>(spectrum.spectrum.factors));
      CHECK(reinterpret_cast<std::byte*>(spectrum.spectrum.factors + channels) <=
            reinterpret_cast<std::byte*>(rows.sum_factors));
      CHECK(reinterpret_cast<std::byte*>(rows.sum_factors + sums) <= reinterpret_cast<std::byte*>(rows.sums));
      CHECK(reinterpret_cast<std::byte*>(rows.sums) + std::size_t{4} * 32768 * sums <=
            static_cast<std::byte*>(rows.kept));
      CHECK(memory.holds(rows.kept, kept_bytes(rows.variant) * rows.grid.blocks));
      CHECK(reinterpret_cast<std::uintptr_t>(rows.kept) % 16 == 0);
      first += rows.channels;
    }
    CHECK(first == 300);

    machine.launches.clear();
    a.dk = {}, a.dskip = nullptr;
    REQUIRE(ffc::backward(*plan, a, {.workspace = memory.workspace()}));
    CHECK(job<BackwardJob>(1).kept == nullptr);
    CHECK(job<BackwardJob>(1).sums == nullptr);
  }
  machine.launches.clear();
  const auto shorter = ffc::make_plan(causal(8192), kGpu);
  const Memory less(shorter->workspace_bytes(Pass::backward));
  REQUIRE(ffc::backward(*shorter, backward_arguments(), {.workspace = less.workspace()}));
  CHECK(job<BackwardJob>(1).kept == nullptr);
}

TEST_CASE_FIXTURE(Fixture,
                  "sums that blocks keep take the place of the spectrum in the end, if it is no other split's") {
  for (std::int64_t batch : {16, 61}) {
    CAPTURE(batch);
    Problem p = causal(32768);
    p.channels = 768, p.batch = batch, p.filter = 32768;
    const auto plan = ffc::make_plan(p, kGpu);
    const Memory memory(plan->workspace_bytes(Pass::backward));
    BackwardArguments a = backward_arguments();
    machine.launches.clear();
    REQUIRE(ffc::backward(*plan, a, {.workspace = memory.workspace()}));
    const auto& rows = job<BackwardJob>(1);
    const bool one = rows.grid.splits == 1;
    CHECK(one == (batch == 16));
    CHECK((static_cast<void*>(rows.sums) == rows.spectrum.values) == one);
    if (one) CHECK(rows.channels == 768);
    CHECK(job<FilterGradientJob>(2).sums == rows.sums);
    CHECK(job<FilterGradientJob>(2).factors == rows.sum_factors);
    CHECK(rows.sum_factors >= rows.spectrum.factors + rows.channels);

    // A prepared filter stays as it is.
    const Memory storage(plan->spectrum_bytes());
    const auto filter =
        ffc::make_filter(*plan, {.k = a.k, .storage = storage.workspace()}, {.workspace = memory.workspace()});
    REQUIRE(filter);
    a.k = {}, a.filter = &*filter;
    machine.launches.clear();
    REQUIRE(ffc::backward(*plan, a, {.workspace = memory.workspace()}));
    CHECK(memory.holds(job<BackwardJob>(0).sums, std::size_t{4} * 32768 * job<BackwardJob>(0).channels));
  }
}

TEST_CASE_FIXTURE(Fixture, "a sum in halves takes sixteen rows, or pairs, where memory has room for so many sums") {
  for (Problem p : {causal(16384), circular(16384, 16384)}) {
    const int together = p.mode == Mode::circular ? 2 : 1;
    p.channels = 768, p.batch = 64 * together, p.filter = 16384;
    const auto plan = ffc::make_plan(p, kGpu);
    const Memory memory(plan->workspace_bytes(Pass::backward));
    machine.launches.clear();
    REQUIRE(ffc::backward(*plan, backward_arguments(), {.workspace = memory.workspace()}));
    CHECK(job<BackwardJob>(1).grid.splits >= 4);
  }
}

TEST_CASE_FIXTURE(Fixture, "a backward pass takes 8 MiB and 8 bytes a point and channel, where channels are many") {
  for (std::int64_t points : {4096, 8192, 16384, 32768})
    for (Problem p : {causal(points), circular(points, points)}) {
      CAPTURE(points);
      p.channels = 768, p.batch = 16;
      const auto plan = ffc::make_plan(p, kGpu);
      REQUIRE(plan);
      CHECK(plan->workspace_bytes(Pass::backward) <= (std::size_t{8} << 20) + std::size_t{8} * points * 768 + 4096);
    }
}

TEST_CASE_FIXTURE(Fixture, "many channels go at once: spectra and sums take what they may") {
  Problem p = circular(4000, 8192);
  p.filter = 4096, p.channels = 1055, p.filter_dtype = DType::f16;
  BackwardArguments a = backward_arguments();
  a.u = {device_pointer(1), 5000, -500}, a.skip = device_pointer(7), a.dskip = device_pointer(8);
  for (std::int64_t batch : {16, 0}) {
    p.batch = batch;
    machine.launches.clear();
    const auto plan = ffc::make_plan(p, kGpu);
    REQUIRE(plan);
    const Memory memory(plan->workspace_bytes(Pass::backward));
    REQUIRE(ffc::backward(*plan, a, {.workspace = memory.workspace()}));
    REQUIRE(machine.launches.size() == (batch ? 3 : 1));
    const auto& filter = job<FilterGradientJob>(batch ? 2 : 0);
    CHECK(filter.channels == 1055);
    CHECK(filter.dk.data == device_pointer(6));
    CHECK(filter.dk_rev.data == nullptr);
    CHECK(filter.dskip == device_pointer(8));
    CHECK(memory.holds(filter.sums, std::size_t{4} * 4096 * 1055));
    CHECK(memory.holds(filter.factors, sizeof(float) * 1055));
    if (batch == 0) continue;
    const auto& rows = job<BackwardJob>(1);
    CHECK(rows.channels == 1055);
    CHECK(rows.grid.splits == 1);
    CHECK(rows.follows);
    CHECK(rows.u.data == a.u.data);
    CHECK(rows.u.batch_stride == 5000);
    CHECK(rows.dy.batch_stride == 4000 * 1055);
    CHECK(rows.pregate.data == nullptr);
    CHECK(rows.skip == a.skip);
    CHECK(memory.holds(rows.spectrum.values, std::size_t{4} * 4096 * 1055));
    CHECK(rows.sums == filter.sums);
    CHECK(rows.sum_factors == filter.factors);
  }
  p.batch = 16;
  const auto plan = ffc::make_plan(p, kGpu);
  CHECK(plan->describe().find("1055 channels x 1 splits") != std::string::npos);
  machine.launches.clear();
  const Memory storage(plan->spectrum_bytes()), memory(plan->workspace_bytes(Pass::backward));
  const Execution how{.workspace = memory.workspace()};
  const auto filter = ffc::make_filter(*plan, {.k = device_pointer(2), .storage = storage.workspace()}, how);
  REQUIRE(filter);
  a.k = {}, a.filter = &*filter;
  REQUIRE(ffc::backward(*plan, a, how));
  REQUIRE(machine.launches.size() == 3);
  CHECK(job<BackwardJob>(1).spectrum.values == job<SpectrumJob>(0).spectrum.values);
  CHECK(job<BackwardJob>(1).spectrum.factors == job<SpectrumJob>(0).spectrum.factors);
  CHECK(!job<BackwardJob>(1).follows);
}

TEST_CASE_FIXTURE(Fixture, "channels that are not enough for the device twice stay together") {
  Problem p = causal(32768);
  p.channels = 128, p.batch = 1;
  CHECK(ffc::make_plan(p, kGpu)->describe().find("backward: fake_backward_32768, 128 channels x 1") !=
        std::string::npos);
}

TEST_CASE_FIXTURE(Fixture, "a prepared filter is computed once and read where it lies") {
  const auto plan = ffc::make_plan(causal(300), kGpu);
  REQUIRE(plan);
  const Memory storage(plan->spectrum_bytes()), memory(plan->workspace_bytes(Pass::backward));
  const Execution how{.workspace = memory.workspace()};
  const auto filter = ffc::make_filter(*plan, {.k = device_pointer(2), .storage = storage.workspace()}, how);
  REQUIRE(filter);
  REQUIRE(machine.launches.size() == 1);
  CHECK(storage.holds(job<SpectrumJob>(0).spectrum.values, 4 * 512 * 3));
  CHECK(storage.holds(job<SpectrumJob>(0).spectrum.factors, 4 * 3));

  Problem other = causal(300);
  other.batch = 77;
  const auto larger = ffc::make_plan(other, kGpu);
  const Memory larger_memory(larger->workspace_bytes());
  ForwardArguments a = forward_arguments();
  a.k = {}, a.filter = &*filter;
  REQUIRE(ffc::forward(*larger, a, {.workspace = larger_memory.workspace()}));
  REQUIRE(machine.launches.size() == 2);
  CHECK(job<ForwardJob>(1).spectrum.values == storage.begin());

  BackwardArguments b = backward_arguments();
  b.k = {}, b.filter = &*filter;
  REQUIRE(ffc::backward(*plan, b, how));
  CHECK(machine.launches.size() == 4);
  CHECK(!job<BackwardJob>(2).follows);  // what came before may write what it reads

  const auto elsewhere = ffc::make_plan(causal(300), {DeviceKind::cuda, 0});
  check_refused(ffc::forward(*elsewhere, a, how), StatusCode::invalid_argument, {"filter", "another device"});
}

TEST_CASE_FIXTURE(Fixture, "empty batches launch nothing but the zeros of the filter's gradient") {
  Problem p = causal(300);
  p.batch = 0;
  const auto plan = ffc::make_plan(p, kGpu);
  REQUIRE(plan);
  const Memory memory(plan->workspace_bytes(Pass::backward));
  REQUIRE(ffc::forward(*plan, {}, {.workspace = memory.workspace()}));
  CHECK(machine.launches.empty());
  BackwardArguments b = backward_arguments();
  b.u = b.dy = {};
  REQUIRE(ffc::backward(*plan, b, {.workspace = memory.workspace()}));
  REQUIRE(machine.launches.size() == 1);
  CHECK(job<FilterGradientJob>(0).splits == 0);

  machine.launches.clear();
  p.batch = 4, p.channels = 0;
  const auto none = ffc::make_plan(p, kGpu);
  REQUIRE(none);
  CHECK(none->workspace_bytes(Pass::backward) == 0);
  REQUIRE(ffc::forward(*none, {}));
  REQUIRE(ffc::backward(*none, {}));
  REQUIRE(ffc::make_filter(*none, {}));
  CHECK(machine.launches.empty());
}

TEST_CASE_FIXTURE(Fixture, "a launch that fails gives its error's name, and the next call works") {
  const auto plan = ffc::make_plan(causal(300), kGpu);
  REQUIRE(plan);
  const Memory memory(plan->workspace_bytes(Pass::backward)), storage(plan->spectrum_bytes());
  const Execution how{.workspace = memory.workspace()};
  auto run = [&](int failing, bool back) {
    machine.launches.clear();
    machine.failing_launch = failing;
    return back ? ffc::backward(*plan, backward_arguments(), how) : ffc::forward(*plan, forward_arguments(), how);
  };
  for (const bool back : {false, true}) {
    for (int failing = 0; failing < (back ? 3 : 2); ++failing) {
      check_refused(run(failing, back), StatusCode::internal, {"CUDA", "cudaErrorIllegalAddress", "illegal memory"});
      CHECK(machine.launches.size() == static_cast<std::size_t>(failing + 1));  // nothing after a failure
      CHECK(machine.current_device == 0);
    }
    CHECK(run(-1, back).ok());
  }
  check_refused(run(1, false), StatusCode::internal, {"fake_forward_512"});
  check_refused(run(1, true), StatusCode::internal, {"fake_backward_512"});
  machine.launches.clear(), machine.failing_launch = 0;
  CHECK(ffc::make_filter(*plan, {.k = device_pointer(2), .storage = storage.workspace()}, how).status().code() ==
        StatusCode::internal);
  machine.failing_switch = 101;
  check_refused(run(-1, false), StatusCode::internal, {"device", "cudaError"});
  check_refused(run(-1, true), StatusCode::internal, {"device", "cudaError"});
  CHECK(ffc::make_plan(causal(300), kGpu).status().code() == StatusCode::internal);
}

TEST_CASE("where every warp takes items for itself, there are items for all of them") {
  const GridProblem p{.batch = 64,
                      .channels = 768,
                      .row_bytes = 512,
                      .split_bytes = 512,
                      .slots = 264 * 8,
                      .most_splits = 64,
                      .kernel = {.workers = 8, .rows = 4}};
  const GridChoice c = choose_grid(p);
  CHECK(c.items >= p.slots);
  CHECK(c.grid.blocks == 256);  // of 264: no more than the waves need
}

TEST_CASE("a grid covers all rows, keeps groups whole, and fits the device and the workspace") {
  for (std::int64_t batch : {1, 2, 3, 16, 31, 1000})
    for (std::int64_t channels : {1, 7, 131, 132, 133, 768, 5000})
      for (int group : {1, 2, 4, 32})
        for (int wanted : {1, 2, 4})
          for (std::int64_t most : {1, 5, 1000}) {
            GridProblem p{.batch = batch, .channels = channels, .row_bytes = 4000, .split_bytes = 4096};
            p.slots = 264, p.most_splits = most, p.kernel = {.rows = group, .splits = wanted};
            const GridChoice c = choose_grid(p);
            CAPTURE(batch);
            CAPTURE(channels);
            CAPTURE(group);
            CAPTURE(wanted);
            CAPTURE(most);
            CHECK(c.grid.splits >= 1);
            CHECK(c.grid.splits <= most);
            if (batch >= 4 * group * wanted && most >= wanted) CHECK(c.grid.splits >= wanted);
            const std::int64_t places = std::min<std::int64_t>(264, c.items);
            CHECK(c.grid.blocks <= places);
            CHECK(16 * c.grid.blocks >= 15 * places);
            CHECK((c.items + c.grid.blocks - 1) / c.grid.blocks == (c.items + places - 1) / places);  // no more waves
            CHECK(c.items == channels * c.grid.splits);
            CHECK((c.rows_per_split % group == 0 || c.grid.splits == 1));
            CHECK(c.rows_per_split * c.grid.splits >= batch);
            CHECK(c.rows_per_split * (c.grid.splits - 1) < batch);
            p.kernel.one_item = true;
            CHECK(choose_grid(p).grid.blocks == choose_grid(p).items);
          }
}

TEST_CASE("grids: of workers that take items in turn, no more than the waves need") {
  GridProblem p{.batch = 8, .channels = 768, .row_bytes = 4000, .split_bytes = 4096, .slots = 66, .most_splits = 1};
  CHECK(choose_grid(p).grid.blocks == 64);  // 12 waves, as with 66
  p.channels = 100;
  CHECK(choose_grid(p).grid.blocks == 66);  // 50 would do, but leave a quarter of the device idle
}

TEST_CASE("grids: splits fill a device that channels alone do not, and only then") {
  GridProblem p{.batch = 64, .channels = 1, .row_bytes = 16384, .split_bytes = 16384, .slots = 264};
  p.most_splits = p.batch;
  CHECK(choose_grid(p).grid.splits == 64);
  p.batch = 10000, p.most_splits = p.batch;
  CHECK(choose_grid(p).grid.splits >= 132);  // at least half the slots at work
  CHECK(choose_grid(p).grid.splits <= 264);  // and no second wave of reloads
  p.channels = 264, p.batch = 64;
  CHECK(choose_grid(p).grid.splits == 1);
  p.channels = 4096;
  CHECK(choose_grid(p).grid.splits == 1);
  // A tail: 265 channels would take two waves, the second for one channel.
  p.channels = 265;
  CHECK(choose_grid(p).grid.splits > 1);
  // Sums that must be written and added make further splits dearer.
  GridProblem sums = p;
  sums.sum_bytes = 1 << 20, sums.split_bytes += sums.sum_bytes;
  CHECK(choose_grid(sums).grid.splits <= choose_grid(p).grid.splits);
  p.batch = 0;
  CHECK(choose_grid(p).items == 0);
}

TEST_CASE_FIXTURE(Fixture, "beyond the spectrum: 4 bytes a point and channel, and a few megabytes") {
  for (std::int64_t channels : {1, 2, 16, 64, 130, 768, 769})
    for (std::int64_t length : {64, 1024, 2048, 4096, 16384, 32768})
      for (std::int64_t batch : {1, 16, 4096}) {
        CAPTURE(channels);
        CAPTURE(length);
        Problem p = causal(length);
        p.batch = batch, p.channels = channels;
        const auto plan = ffc::make_plan(p, kGpu);
        REQUIRE(plan);
        // With factors, and what aligns them; a spectrum for every block that runs at a time, where that is more.
        const std::int64_t sums = (4 * length + 4) * channels + 256, kept = length > 16384 ? 264 * 4 * length : 0;
        const auto extra = static_cast<std::int64_t>(plan->workspace_bytes(Pass::backward) - plan->spectrum_bytes());
        CHECK(extra <= sums + std::max<std::int64_t>(8 << 20, kept));
      }
}

TEST_CASE_FIXTURE(Fixture, "a plan says what it will do") {
  Problem p = circular(4096, 4096);
  p.batch = 9, p.channels = 100;
  const std::string text = ffc::make_plan(p, kGpu)->describe();
  for (const char* word :
       {"circular convolution [9, 100, 4096] * 4096 taps, bfloat16, on CUDA 1 (sm_90, 132 multiprocessors)",
        "pairs of rows transform of 4096 points", "64 x 1 x 64", "8 warps", "fake_forward_4096_pairs",
        "fake_backward_4096_pairs", "100 channels x", "blocks", "waves", "workspace", "why: "})
    CHECK_MESSAGE(text.find(word) != std::string::npos, text, " does not say ", std::string(word));
}

TEST_CASE_FIXTURE(Fixture, "the CPU stays beside") {
  Problem p = causal(300, DType::f32);
  CHECK(ffc::make_plan(p)->describe().find("on the CPU") != std::string::npos);
  CHECK(ffc::make_plan(p)->supports(Pass::backward).ok());
}

}  // namespace
}  // namespace ffc::cuda
