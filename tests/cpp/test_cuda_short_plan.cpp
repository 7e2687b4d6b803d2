// Plans of short convolutions of the CUDA engine, without a GPU: the device code is pretended
// (tests/cuda/fake_launch.h).
#include <doctest/doctest.h>

#include <cstdint>
#include <string>
#include <vector>

#include "fake_launch.h"
#include "flashfftconv/flashfftconv.h"

namespace ffc::cuda {
namespace {

constexpr Device kGpu{DeviceKind::cuda, 1};
constexpr std::size_t kNeeded = 1344;  // the most that the pretended kernels ask for, in multiples of 64

struct Fixture {
  Fixture() { fake::machine() = {}; }
  ~Fixture() { fake::machine() = {}; }
  template <class Job>
  const Job& job() {
    REQUIRE(fake::machine().launches.size() == 1);
    CHECK(fake::machine().launches[0].device == 1);
    REQUIRE(std::holds_alternative<Job>(fake::machine().launches[0].job));
    return std::get<Job>(fake::machine().launches[0].job);
  }
};

ShortProblem causal(Layout layout = Layout::bhl) {
  return {.batch = 2,
          .channels = 6,
          .length = 50,
          .taps = 4,
          .padding_left = 3,
          .layout = layout,
          .epilogue = Epilogue::silu,
          .dtype = DType::bf16};
}

alignas(64) char memory[4096];
void* at(int place) { return memory + 64 * place; }

TEST_CASE_FIXTURE(Fixture, "short: a forward pass is one launch with what the call says") {
  for (Layout layout : {Layout::bhl, Layout::blh}) {
    fake::machine() = {};
    const auto plan = make_short_plan(causal(layout), kGpu);
    REQUIRE_MESSAGE(plan, plan.status().message());
    CHECK(plan->workspace_bytes() == 0);
    CHECK(plan->workers() == 0);
    const ShortForwardArguments a{.x = {at(1), 999, 77},
                                  .weight = {at(2), 1, 6},
                                  .bias = at(3),
                                  .initial_state = at(4),
                                  .y = {at(5)},
                                  .final_state = at(6)};
    REQUIRE(short_conv(*plan, a, {.stream = at(7)}));
    CHECK(fake::machine().launches[0].stream == at(7));
    const ShortForwardJob& j = job<ShortForwardJob>();
    CHECK((j.shape.batch == 2 && j.shape.channels == 6 && j.shape.length == 50 && j.shape.taps == 4));
    CHECK((j.shape.left == 3 && j.shape.right == 0 && j.shape.activation == ShortActivation::silu));
    CHECK((j.shape.dtype == DType::bf16 && j.shape.weight_dtype == DType::f32 && j.shape.sequences == 0));
    CHECK(j.shape.layout == layout);
    CHECK((j.x.data == at(1) && j.x.batch_stride == 999 && j.x.line_stride == 77));
    CHECK((j.weight.data == at(2) && j.weight.channel_stride == 1 && j.weight.tap_stride == 6));
    CHECK((j.bias == at(3) && j.initial_state == at(4) && j.final_state == at(6)));
    CHECK((j.y.data == at(5) && j.y.batch_stride == 300 && j.y.line_stride == (layout == Layout::bhl ? 50 : 6)));
  }
}

TEST_CASE_FIXTURE(Fixture, "short: a backward pass has the workspace that any of its kernels may need") {
  ShortProblem p = causal();
  p.epilogue = Epilogue::gelu, p.batch = 1, p.sequences = 3;
  const auto plan = make_short_plan(p, kGpu);
  REQUIRE(plan);
  CHECK(plan->workspace_bytes(Pass::backward) == kNeeded);
  static const std::int64_t ends[] = {0, 4, 9, 50};
  ShortBackwardArguments a{.dy = {at(1)}, .x = {at(2)}, .weight = {at(3)}};
  a.cu_seqlens = ends, a.dx = {at(4)}, a.dweight = {at(5)}, a.dbias = at(6);
  const std::size_t bytes = plan->workspace_bytes(Pass::backward);
  REQUIRE(short_conv_backward(*plan, a, {.workspace = {at(8), bytes}, .stream = at(7)}));
  const ShortBackwardJob& j = job<ShortBackwardJob>();
  CHECK((j.shape.sequences == 3 && j.shape.borders == ends && j.shape.activation == ShortActivation::gelu));
  CHECK((j.dy.data == at(1) && j.x.data == at(2) && j.weight.data == at(3) && j.bias == nullptr));
  CHECK((j.weight.channel_stride == 4 && j.weight.tap_stride == 1));
  CHECK((j.dx.data == at(4) && j.dx.batch_stride == 300 && j.dx.line_stride == 50));
  CHECK((j.dweight.data == at(5) && j.dweight.channel_stride == 4 && j.dweight.tap_stride == 1));
  CHECK((j.dbias == at(6) && j.dinitial_state == nullptr && j.dfinal_state == nullptr && j.workspace == at(8)));
  CHECK(short_conv_backward(*plan, a, {.workspace = {at(8), bytes - 1}}).code() == StatusCode::workspace);
}

TEST_CASE_FIXTURE(Fixture, "short: the gate is a launch of its own, whose outputs lie one behind the other") {
  ShortProblem p = causal();
  p.epilogue = Epilogue::gate;
  const auto plan = make_short_plan(p, kGpu);
  REQUIRE(plan);
  REQUIRE(short_conv(*plan, {.x = {at(1)}, .weight = {at(2)}, .y = {at(5)}}, {}));
  const ShortGateJob& j = job<ShortGateJob>();
  CHECK((j.shape.channels == 2 && j.z.batch_stride == 300 && j.z.line_stride == 50));
  CHECK((j.x0.data == at(5) && j.x0.batch_stride == 200 && j.x0.line_stride == 50));
  CHECK((j.v.data == static_cast<char*>(at(5)) + 2 * 2 * 50 && j.v.batch_stride == 200 && j.v.line_stride == 50));
  CHECK(plan->describe().find("fake_gate, backward fake_gate_backward") != std::string::npos);
  const Status with_state =
      short_conv(*plan, {.x = {at(1)}, .weight = {at(2)}, .initial_state = at(3), .y = {at(5)}}, {});
  CHECK(with_state.code() == StatusCode::unsupported);
  CHECK(with_state.message().find("initial_state") != std::string::npos);
  p.layout = Layout::blh;
  CHECK(make_short_plan(p, kGpu).status().code() == StatusCode::unsupported);
}

TEST_CASE_FIXTURE(Fixture, "short: the gate's gradients are a launch of their own, dy as its outputs lie") {
  ShortProblem p = causal();
  p.epilogue = Epilogue::gate;
  const auto plan = make_short_plan(p, kGpu);
  REQUIRE(plan);
  const std::size_t bytes = plan->workspace_bytes(Pass::backward);
  CHECK(bytes == 512);
  ShortBackwardArguments a{.dy = {at(1)}, .x = {at(2)}, .weight = {at(3)}, .bias = at(4)};
  a.dx = {at(5)}, a.dweight = {at(6)}, a.dbias = at(9);
  REQUIRE(short_conv_backward(*plan, a, {.workspace = {at(8), bytes}, .stream = at(7)}));
  const ShortGateBackwardJob& j = job<ShortGateBackwardJob>();
  CHECK((j.shape.channels == 2 && j.z.data == at(2) && j.z.batch_stride == 300 && j.z.line_stride == 50));
  CHECK((j.dx0.data == at(1) && j.dx0.batch_stride == 200 && j.dx0.line_stride == 50));
  CHECK((j.dv.data == static_cast<char*>(at(1)) + 2 * 2 * 50 && j.dv.batch_stride == 200 && j.dv.line_stride == 50));
  CHECK((j.dz.data == at(5) && j.dz.batch_stride == 300 && j.dz.line_stride == 50));
  CHECK((j.weight.data == at(3) && j.bias == at(4) && j.dweight.data == at(6) && j.dweight.channel_stride == 4));
  CHECK((j.dbias == at(9) && j.workspace == at(8)));
  a.initial_state = at(10);
  CHECK(short_conv_backward(*plan, a, {.workspace = {at(8), bytes}}).code() == StatusCode::unsupported);
}

TEST_CASE_FIXTURE(Fixture, "short: behind a tensor that is absent lies nothing") {
  ShortProblem p = causal();
  p.epilogue = Epilogue::gate, p.batch = 0;
  const auto plan = make_short_plan(p, kGpu);
  REQUIRE(plan);
  ShortBackwardArguments a{.weight = {at(3)}};
  a.dweight = {at(6)};
  REQUIRE(short_conv_backward(*plan, a, {.workspace = {at(8), plan->workspace_bytes(Pass::backward)}}));
  const ShortGateBackwardJob& j = job<ShortGateBackwardJob>();
  CHECK((j.dx0.data == nullptr && j.dv.data == nullptr));
}

TEST_CASE_FIXTURE(Fixture, "short: what the engine does not take is unsupported, and says why") {
  auto refused = [&](auto change, std::initializer_list<const char*> words) {
    ShortProblem p = causal();
    change(p);
    const auto plan = make_short_plan(p, kGpu);
    CHECK(plan.status().code() == StatusCode::unsupported);
    for (const char* word : words) CHECK(plan.status().message().find(word) != std::string::npos);
  };
  using P = ShortProblem;
  refused([](P& p) { p.dtype = DType::f64; }, {"CUDA 1", "float64"});
  refused([](P& p) { p.weight_dtype = DType::f16; }, {"weights", "float16"});
  refused([](P& p) { p.weight_dtype = DType::f64; }, {"weights", "float64"});
  refused([](P& p) { p.padding_left = 1LL << 40; }, {"2^30", "length"});
  refused([](P& p) { p.channels = 1LL << 31; }, {"2^30", "channels", "2147483648"});
  refused([](P& p) { p.batch = 1, p.sequences = (1LL << 30) + 1; }, {"2^30", "sequences is 1073741825"});
  fake::machine().facts.major = 7;
  refused([](P&) {}, {"CUDA 1"});
}

TEST_CASE_FIXTURE(Fixture, "short: a launch that fails is told, and nothing is launched for nothing") {
  auto plan = make_short_plan(causal(), kGpu);
  REQUIRE(plan);
  fake::machine().failing_launch = 0;
  const ShortForwardArguments a{.x = {at(1)}, .weight = {at(2)}, .y = {at(5)}};
  const Status status = short_conv(*plan, a);
  CHECK(status.code() == StatusCode::internal);
  CHECK(status.message().find("illegal memory access") != std::string::npos);
  fake::machine() = {};
  ShortProblem none = causal();
  none.batch = 0;
  plan = make_short_plan(none, kGpu);
  REQUIRE(plan);
  CHECK(short_conv(*plan, {}));
  CHECK(fake::machine().launches.empty());
  for (const char* word : {"fake_short_forward", "fake_short_backward", "CUDA 1", "silu", "bfloat16"})
    CHECK_MESSAGE(plan->describe().find(word) != std::string::npos, std::string(word));
}

}  // namespace
}  // namespace ffc::cuda
