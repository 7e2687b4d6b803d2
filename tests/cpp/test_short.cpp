// Short convolutions: every case against the oracle, memory, threads, algebra, states and packed sequences.
#include <doctest/doctest.h>

#include <atomic>
#include <cmath>
#include <limits>
#include <numeric>
#include <thread>

#include "cases.h"
#include "compare.h"
#include "numbers.h"
#include "short_job.h"

namespace ffc::test {
namespace {

using reference::ShortArrays;
using reference::ShortGradients;

// Rows of so many numbers have typical errors; shorter ones may be unlucky with their rounding.
constexpr std::int64_t kTypicalRow = 256, kFewNumbers = 16;

// The bound of a row's error, `cancelled` times as much where its products cancel.
double allowed(DType dtype, DType stored, const double* exact, std::int64_t count, double cancelled) {
  const double unlucky = count < kFewNumbers ? 2 : 1;
  const double computed = (dtype == DType::f64 && stored == DType::f64 ? 1e-15 : 3e-7) * cancelled * unlucky;
  if (stored == DType::f64 || stored == DType::f32) return computed;
  const double rounded = 1.05 * rounding_error(stored, exact, count) + 2 * computed;
  return stored == DType::f16 && count >= kTypicalRow ? std::min(rounded, 3e-4) : rounded;
}

double norm(const double* x, std::int64_t count) { return std::sqrt(std::inner_product(x, x + count, x, 0.0)); }
double dot(const std::vector<double>& a, const std::vector<double>& b) {
  return std::inner_product(a.begin(), a.end(), b.begin(), 0.0);
}

// `squares`: sums of squared products behind the exact numbers, so that what cancels is judged by what it consists of.
void check_rows(const char* name, DType dtype, DType stored, const std::vector<double>& got,
                const std::vector<double>& exact, const std::vector<double>& squares, std::int64_t row) {
  REQUIRE_MESSAGE(got.size() == exact.size(), name);
  if (row == 0) return;
  for (std::size_t at = 0; at < exact.size(); at += static_cast<std::size_t>(row)) {
    const double error = relative_error(&got[at], &exact[at], row);
    if (error == 0) continue;
    double sum = 0;
    for (std::int64_t i = 0; i < row; ++i) sum += squares[at + static_cast<std::size_t>(i)];
    const double cancelled = std::max(1.0, std::sqrt(sum) / std::max(norm(&exact[at], row), 1e-300));
    const double bound = allowed(dtype, stored, &exact[at], row, cancelled);
    CHECK_MESSAGE(error <= bound, std::string(name), ", row ", at / static_cast<std::size_t>(row), ": error ", error,
                  ", allowed ", bound);
  }
}

std::vector<double> squared(std::vector<double> values) {
  for (double& value : values) value *= value;
  return values;
}

// Sums of squared products; a gate's factors are squared as they are. Through an activation the rounding of z itself,
// in proportion to z, the sum of taps + 1 numbers, moves the derivative.
struct Squares {
  ShortProblem p;
  ShortArrays a;
  ShortGradients gradients(const std::vector<double>& dy) const {
    ShortGradients out = reference::short_backward<double>(p, a, squared(dy));
    for (auto* array : {&out.dx, &out.dweight, &out.dbias, &out.dstate})
      for (double& value : *array) value *= turned;
    return out;
  }
  double turned = 1;
  explicit Squares(const ShortJob& job) : p(job.the_case().problem), a(job.arrays()) {
    for (auto* array : {&a.x, &a.weight, &a.bias, &a.state}) *array = squared(*array);
    if (p.epilogue == Epilogue::gate || p.epilogue == Epilogue::none) return;
    p.epilogue = Epilogue::none;
    turned = std::max(1.0, static_cast<double>(p.taps + 1) / 4);
  }
};

void check_case(const ShortCase& c, const ShortOptions& options = {}) {
  INFO(describe(c));
  ShortJob job(c, options);
  const ShortProblem& p = c.problem;
  const Squares squares(job);
  check_rows("y", p.dtype, p.dtype, job.forward(), job.expected(),
             reference::short_forward<double>(squares.p, squares.a), p.output_length());
  if (job.state_after) CHECK(job.final_state() == reference::final_state(p, job.arrays()));
  const ShortGradients got = job.backward(), exact = job.expected_gradients();
  const ShortGradients sums = squares.gradients(job.dy->dense());
  check_rows("dx", p.dtype, p.dtype, got.dx, exact.dx, sums.dx, p.length);
  check_rows("dweight", p.dtype, p.weight_dtype, got.dweight, exact.dweight, sums.dweight, p.taps);
  check_rows("dbias", p.dtype, p.weight_dtype, got.dbias, exact.dbias, sums.dbias, 1);
  check_rows("dstate", p.dtype, p.dtype, got.dstate, exact.dstate, sums.dstate, p.taps - 1);
}

TEST_CASE("short: forward and backward agree with the definition") {
  std::uint64_t seed = 0;
  for (const ShortCase& c : short_cases()) check_case(c, {.seed = ++seed});
}

TEST_CASE("short: random problems agree with the definition") {
  for (int turn = 0; turn < (quick() ? 100 : 600); ++turn) {
    Random random(static_cast<std::uint64_t>(turn) + 77);
    ShortCase c;
    ShortProblem& p = c.problem;
    p.batch = 1 + random.below(3), p.length = 1 + random.below(random.below(2) ? 30 : 300);
    p.taps = 1 + random.below(random.below(4) ? 9 : 60);
    p.channels = 1 + random.below(random.below(2) ? 5 : 40);
    p.layout = static_cast<Layout>(random.below(2));
    p.epilogue = static_cast<Epilogue>(random.below(4));
    if (p.epilogue == Epilogue::gate) p.channels = 3 * (1 + p.channels / 3);
    p.dtype = static_cast<DType>(random.below(4)), p.weight_dtype = static_cast<DType>(random.below(4));
    p.padding_left = random.below(2) ? p.taps - 1 : random.below(2 * p.taps);
    p.padding_right = random.below(2) ? 0 : random.below(2 * p.taps);
    if (random.below(4) == 0) {
      p.batch = 1, p.sequences = 1 + random.below(9);
      p.padding_right = p.taps - 1 - std::min(p.padding_left, p.taps - 1);
      p.padding_left = p.taps - 1 - p.padding_right;
    }
    if (p.output_length() < 1) continue;
    c.bias = random.below(2), c.spaced = random.below(2);
    c.state = p.padding_left == p.taps - 1 && p.padding_right == 0 && random.below(2);
    check_case(c, {.workers = 1 + static_cast<int>(random.below(4)), .seed = static_cast<std::uint64_t>(turn)});
  }
}

// ---- memory

TEST_CASE("short: nothing beyond a buffer is touched, on either side") {
  for (const ShortCase& c : short_samples())
    for (Fence fence : {Fence::page_after, Fence::page_before}) check_case(c, {.fence = fence});
}

TEST_CASE("short: gradients that nobody asks for are not computed, the others have the same bits") {
  for (const ShortCase& c : short_samples()) {
    INFO(describe(c));
    ShortJob job(c);
    const ShortGradients all = job.backward();
    Buffer workspace(DType::f32, static_cast<std::int64_t>(job.plan().workspace_bytes(Pass::backward) / 4));
    const Execution how{.workspace = {workspace.at(0), job.plan().workspace_bytes(Pass::backward)}};
    for (int wanted = 0; wanted < 16; ++wanted) {
      ShortBackwardArguments a = job.backward_arguments();
      if (!(wanted & 1)) a.dx = {};
      if (!(wanted & 2)) a.dweight = {};
      if (!(wanted & 4)) a.dbias = nullptr;
      if (!(wanted & 8)) a.dinitial_state = nullptr;
      job.dx->buffer.forget(), job.dweight->forget(), job.dbias->forget();
      if (job.dstate) job.dstate->forget();
      REQUIRE(short_conv_backward(job.plan(), a, how));
      auto is = [&](bool asked, const std::vector<double>& got, const std::vector<double>& expected) {
        for (std::size_t i = 0; i < expected.size(); ++i)
          if (asked ? got[i] != expected[i] : !std::isnan(got[i])) return false;
        return true;
      };
      CHECK(is(wanted & 1, job.dx->dense(), all.dx));
      std::vector<double> dweight, dbias;
      for (std::int64_t i = 0; i < job.dweight->elements(); ++i) dweight.push_back(job.dweight->get(i));
      for (std::int64_t i = 0; i < job.dbias->elements(); ++i) dbias.push_back(job.dbias->get(i));
      CHECK(is(wanted & 2, dweight, all.dweight));
      CHECK(is(wanted & 4, dbias, all.dbias));
    }
  }
}

TEST_CASE("short: a weight that is stored tap by tap is read as it lies") {
  const ShortCase c{{.batch = 2, .channels = 5, .length = 40, .taps = 4, .padding_left = 3}};
  ShortJob job(c), other(c);
  for (std::int64_t h = 0; h < 5; ++h)
    for (std::int64_t j = 0; j < 4; ++j) other.weight->set(j * 5 + h, job.weight->get(h * 4 + j));
  other.seal();
  const std::vector<double> expected = job.forward();
  Buffer workspace(DType::f32, static_cast<std::int64_t>(job.plan().workspace_bytes() / 4));
  ShortForwardArguments a = other.forward_arguments();
  a.weight.channel_stride = 1, a.weight.tap_stride = 5;
  REQUIRE(short_conv(other.plan(), a, {.workspace = {workspace.at(0), job.plan().workspace_bytes()}}));
  CHECK(other.y->dense() == expected);
}

TEST_CASE("short: empty batches and channels") {
  for (std::int64_t batch : {0, 2})
    for (Layout layout : {Layout::bhl, Layout::blh}) {
      const std::int64_t channels = batch == 0 ? 3 : 0;
      ShortJob job(
          {{.batch = batch, .channels = channels, .length = 9, .taps = 4, .padding_left = 3, .layout = layout}});
      CHECK(job.forward().empty());
      const ShortGradients g = job.backward();
      CHECK(g.dweight == std::vector<double>(static_cast<std::size_t>(4 * channels), 0.0));
      CHECK(g.dbias == std::vector<double>(static_cast<std::size_t>(channels), 0.0));
    }
}

// ---- threads

TEST_CASE("short: the same bits for any number of workers, whoever runs them") {
  std::atomic<int> calls{0};
  const auto on_threads = [](void* context, int workers, void (*body)(void*, int), void* argument) {
    ++*static_cast<std::atomic<int>*>(context);
    std::vector<std::thread> threads;
    for (int worker = 0; worker < workers; ++worker) threads.emplace_back(body, argument, worker);
    for (std::thread& thread : threads) thread.join();
  };
  int shared = 0;
  std::vector<ShortCase> list = {
      {{.batch = 3, .channels = 7, .length = 5000, .taps = 4, .padding_left = 3}, true},
      {{.batch = 1, .channels = 1, .length = 90000, .taps = 7, .padding_left = 3, .padding_right = 3}, true},
      {{.batch = 9, .channels = 30, .length = 700, .taps = 3, .padding_left = 2, .layout = Layout::blh}, true},
      {{.batch = 1,
        .channels = 6,
        .length = 20000,
        .taps = 4,
        .padding_left = 3,
        .layout = Layout::blh,
        .epilogue = Epilogue::gate}},
      {{.batch = 1, .channels = 6, .length = 20000, .taps = 4, .padding_left = 3, .sequences = 9}, false, true},
  };
  for (const ShortCase& c : list) {
    INFO(describe(c));
    ShortJob one(c);
    const std::vector<double> y = one.forward();
    const ShortGradients g = one.backward();
    for (int workers : {2, 3, 7, 64}) {
      ShortJob many(c, {.workers = workers, .parallel = {on_threads, &calls}});
      CHECK(many.plan().workers() <= workers);
      shared += many.plan().workers() > 1;
      CHECK(many.forward() == y);
      const ShortGradients h = many.backward();
      CHECK((h.dx == g.dx && h.dweight == g.dweight && h.dbias == g.dbias && h.dstate == g.dstate));
    }
  }
  CHECK(shared >= 15);
  CHECK(calls > 0);
}

// ---- algebra

ShortCase in_double(ShortCase c) {
  c.problem.dtype = c.problem.weight_dtype = DType::f64;
  if (c.problem.epilogue != Epilogue::gate) c.problem.epilogue = Epilogue::none;
  return c;
}

// <A x, v> = <x, A' v>, for the samples and states, and for weight and bias.
TEST_CASE("short: gradients are adjoints of the forward pass") {
  for (const ShortCase& sample : short_samples()) {
    const ShortCase c = in_double(sample);
    if (c.problem.epilogue == Epilogue::gate) continue;
    INFO(describe(c));
    ShortJob job(c);
    const std::vector<double> y = job.forward(), v = job.dy->dense();
    const ShortGradients g = job.backward();
    const ShortArrays a = job.arrays();
    const double scale = 1e-14 * std::sqrt(dot(y, y) * dot(v, v)), bias = a.bias.empty() ? 0 : dot(a.bias, g.dbias);
    CHECK(std::fabs(dot(y, v) - dot(a.weight, g.dweight) - bias) <= scale);
    CHECK(std::fabs(dot(y, v) - dot(a.x, g.dx) - (a.state.empty() ? 0 : dot(a.state, g.dstate)) - bias) <= scale);
  }
}

TEST_CASE("short: an impulse brings out the weights, the last first") {
  for (Layout layout : {Layout::bhl, Layout::blh}) {
    ShortJob job({{.batch = 1, .channels = 3, .length = 50, .taps = 6, .padding_left = 5, .layout = layout}});
    for (std::int64_t h = 0; h < 3; ++h)
      for (std::int64_t i = 0; i < 50; ++i) job.x->set(0, h, i, i == 7 + h);
    job.seal();
    const std::vector<double> y = job.forward(), w = job.arrays().weight;
    for (std::int64_t h = 0; h < 3; ++h)
      for (std::int64_t i = 0; i < 50; ++i) {
        const std::int64_t j = 5 - (i - 7 - h);
        CHECK(y[h * 50 + i] == (j >= 0 && j < 6 ? w[h * 6 + j] : 0));
      }
  }
}

TEST_CASE("short: causal outputs depend on no later sample, packed ones on no other sequence") {
  for (Layout layout : {Layout::bhl, Layout::blh})
    for (std::int64_t sequences : {0, 5}) {
      const ShortCase c{{.batch = 1,
                         .channels = 4,
                         .length = 60,
                         .taps = 4,
                         .padding_left = 3,
                         .sequences = sequences,
                         .layout = layout}};
      ShortJob job(c);
      const std::vector<double> before = job.forward();
      const std::int64_t from = sequences ? job.ends[4] : 20;
      for (std::int64_t h = 0; h < 4; ++h)
        for (std::int64_t i = from; i < 60; ++i) job.x->set(0, h, i, std::numeric_limits<double>::quiet_NaN());
      job.seal();
      const std::vector<double> after = job.forward();
      for (std::int64_t h = 0; h < 4; ++h)
        for (std::int64_t i = 0; i < 60; ++i)
          CHECK((i < from ? after[h * 60 + i] == before[h * 60 + i] : std::isnan(after[h * 60 + i])));
    }
}

TEST_CASE("short: pieces of a stream, each with the state of the one before, are the whole, bit by bit") {
  for (Layout layout : {Layout::bhl, Layout::blh})
    for (DType dtype : {DType::f32, DType::bf16}) {
      ShortCase c{
          {.batch = 2, .channels = 5, .length = 100, .taps = 6, .padding_left = 5, .layout = layout, .dtype = dtype}};
      c.bias = true;
      ShortJob whole(c);
      const std::vector<double> y = whole.forward(), x = whole.x->dense();
      std::vector<double> state(2 * 5 * 5, 0.0);
      c.state = true;
      std::int64_t at = 0;
      for (std::int64_t length : {1, 2, 30, 3, 64}) {
        c.problem.length = length;
        ShortJob part(c);
        for (std::int64_t i = 0; i < 30; ++i) part.weight->set(i, whole.weight->get(i));
        for (std::int64_t h = 0; h < 5; ++h) part.bias->set(h, whole.bias->get(h));
        for (std::int64_t i = 0; i < 50; ++i) part.state->set(i, state[i]);
        for (std::int64_t r = 0; r < 10; ++r)
          for (std::int64_t i = 0; i < length; ++i) part.x->set(r / 5, r % 5, i, x[r * 100 + at + i]);
        part.seal();
        const std::vector<double> z = part.forward();
        for (std::int64_t r = 0; r < 10; ++r)
          for (std::int64_t i = 0; i < length; ++i) CHECK(z[r * length + i] == y[r * 100 + at + i]);
        state = part.final_state(), at += length;
      }
      CHECK(at == 100);
      CHECK(state == whole.final_state());
    }
}

TEST_CASE("short: activations far from zero") {
  for (Epilogue epilogue : {Epilogue::silu, Epilogue::gelu})
    for (DType dtype : {DType::f32, DType::f64}) {
      const std::vector<double> at = {-1e30, -1000, -101, -99, -50, -20, -9, -5, -1, 0, 1, 5, 9, 50, 1000, 1e30};
      ShortJob job({{.batch = 1,
                     .channels = 1,
                     .length = static_cast<std::int64_t>(at.size()),
                     .taps = 1,
                     .epilogue = epilogue,
                     .dtype = dtype}});
      for (std::size_t i = 0; i < at.size(); ++i) {
        job.x->set(0, 0, static_cast<std::int64_t>(i), at[i]);
        job.dy->set(0, 0, static_cast<std::int64_t>(i), 1);
      }
      job.weight->set(0, 1);
      job.seal();
      const std::vector<double> y = job.forward(), exact = job.expected(), dx = job.backward().dx;
      for (std::size_t i = 0; i < at.size(); ++i) {
        CHECK(std::fabs(y[i] - exact[i]) <= 1e-7 * std::max(1.0, std::fabs(exact[i])));
        CHECK(std::fabs(dx[i] - (at[i] > 20 ? 1 : at[i] < -20 ? 0 : job.expected_gradients().dx[i])) <= 3e-7);
      }
    }
}

TEST_CASE("short: a NaN reaches the outputs that read it, and no others") {
  for (Layout layout : {Layout::bhl, Layout::blh}) {
    ShortJob job({{.batch = 2,
                   .channels = 3,
                   .length = 40,
                   .taps = 3,
                   .padding_left = 1,
                   .padding_right = 1,
                   .layout = layout}});
    job.x->set(1, 2, 20, std::numeric_limits<double>::quiet_NaN());
    job.seal();
    const std::vector<double> y = job.forward();
    for (std::size_t i = 0; i < y.size(); ++i) {
      const std::size_t at = (3 + 2) * 40 + 20;
      CHECK(std::isnan(y[i]) == (i >= at - 1 && i <= at + 1));
    }
    const ShortGradients g = job.backward();
    for (const double value : g.dx) CHECK_FALSE(std::isnan(value));
    for (std::size_t i = 0; i < 9; ++i) CHECK(std::isnan(g.dweight[i]) == (i >= 6));
  }
}

// ---- refusals: the code, and that the message names the argument and the value

void check_refused(const Status& status, StatusCode code, std::initializer_list<const char*> words) {
  CHECK(status.code() == code);
  for (const char* word : words)
    CHECK_MESSAGE(status.message().find(word) != std::string::npos, "'", status.message(), "' does not say '",
                  std::string(word), "'");
}

TEST_CASE("short: problems that make no sense are refused, with the argument and its value") {
  const ShortProblem good{.batch = 2, .channels = 3, .length = 16, .taps = 4, .padding_left = 3};
  REQUIRE(make_short_plan(good));
  auto refused = [&](auto change, std::initializer_list<const char*> words) {
    ShortProblem p = good;
    change(p);
    check_refused(make_short_plan(p).status(), StatusCode::invalid_argument, words);
  };
  using P = ShortProblem;
  constexpr std::int64_t kMost = std::numeric_limits<std::int64_t>::max();
  refused([](P& p) { p.batch = -7; }, {"batch", "-7", "at least 0"});
  refused([](P& p) { p.channels = -2; }, {"channels", "-2", "at least 0"});
  refused([](P& p) { p.length = 0; }, {"length", "0", "at least 1"});
  refused([](P& p) { p.taps = 0; }, {"taps", "0", "at least 1"});
  refused([](P& p) { p.padding_left = -1; }, {"padding_left", "-1", "at least 0"});
  refused([](P& p) { p.padding_right = -1; }, {"padding_right", "-1", "at least 0"});
  refused([](P& p) { p.length = kMost; }, {"length", "9223372036854775807", "2^48"});
  refused([](P& p) { p.taps = kMost; }, {"taps", "9223372036854775807", "2^48"});
  refused([](P& p) { p.padding_left = kMost; }, {"padding_left", "2^48"});
  refused([](P& p) { p.padding_right = kMost; }, {"padding_right", "2^48"});
  refused([](P& p) { p.taps = 20; }, {"length", "16", "20 taps", "at least 17"});
  refused([](P& p) { p.channels = kMost / 2; }, {"channels", "64 bits"});
  refused([](P& p) { p.sequences = -1; }, {"sequences", "-1", "at least 0"});
  refused([](P& p) { p.sequences = 2; }, {"batch", "2", "batch of 1"});
  refused([](P& p) { p.sequences = 2, p.batch = 1, p.padding_left = 1; }, {"padding", "1", "taps - 1, 3"});
  refused([](P& p) { p.epilogue = Epilogue::gate, p.channels = 4; }, {"channels", "4", "multiple of 3"});
  refused([](P& p) { p.epilogue = static_cast<Epilogue>(9); }, {"epilogue", "9", "gelu"});
  refused([](P& p) { p.layout = static_cast<Layout>(2); }, {"layout", "2", "bhl", "blh"});
  refused([](P& p) { p.dtype = static_cast<DType>(9); }, {"dtype", "9", "f16"});
  refused([](P& p) { p.weight_dtype = static_cast<DType>(-1); }, {"weight_dtype", "-1", "f16"});
  check_refused(make_short_plan(good, {DeviceKind::cuda, 3}).status(), StatusCode::unsupported, {"CUDA", "3"});
  check_refused(make_short_plan(good, {DeviceKind::cpu, 1}).status(), StatusCode::invalid_argument, {"device", "1"});
  check_refused(make_short_plan(good, {}, {.workers = -2}).status(), StatusCode::invalid_argument, {"workers", "-2"});
}

TEST_CASE("short: arguments that make no sense are refused, and nothing is written") {
  ShortCase c{{.batch = 1, .channels = 3, .length = 16, .taps = 4, .padding_left = 3, .sequences = 3}, true, true};
  ShortJob job(c), plain({{.batch = 1, .channels = 3, .length = 16, .taps = 3, .padding_left = 1}});
  const std::size_t bytes = job.plan().workspace_bytes(Pass::backward);
  Buffer space(DType::f32, static_cast<std::int64_t>(bytes / 4 + 64));
  const Execution how{.workspace = {space.at(0), bytes}};
  auto forward = [&](auto change, StatusCode code, std::initializer_list<const char*> words, ShortJob* of = nullptr) {
    ShortForwardArguments a = (of ? *of : job).forward_arguments();
    Execution execution = how;
    change(a, execution);
    check_refused(short_conv((of ? *of : job).plan(), a, execution), code, words);
  };
  auto backward = [&](auto change, StatusCode code, std::initializer_list<const char*> words) {
    ShortBackwardArguments a = job.backward_arguments();
    Execution execution = how;
    change(a, execution);
    check_refused(short_conv_backward(job.plan(), a, execution), code, words);
  };
  using F = ShortForwardArguments;
  using B = ShortBackwardArguments;
  const StatusCode bad = StatusCode::invalid_argument;
  static float number = 0;
  static std::int64_t ends[4];
  auto ends_are = [&](std::int64_t a, std::int64_t b, std::int64_t c, std::int64_t d) {
    ends[0] = a, ends[1] = b, ends[2] = c, ends[3] = d;
  };
  forward([](F& a, auto&) { a.x = {}; }, bad, {"x is null"});
  forward([](F& a, auto&) { a.weight = {}; }, bad, {"weight is null"});
  forward([](F& a, auto&) { a.y = {}; }, bad, {"y is null"});
  forward([](F& a, auto&) { a.cu_seqlens = nullptr; }, bad, {"cu_seqlens is null"});
  ends_are(1, 2, 3, 16), forward([](F& a, auto&) { a.cu_seqlens = ends; }, bad, {"cu_seqlens[0] is 1"});
  ends_are(0, 9, 8, 16), forward([](F& a, auto&) { a.cu_seqlens = ends; }, bad, {"cu_seqlens[2] is 8", "9"});
  ends_are(0, 9, 9, 17), forward([](F& a, auto&) { a.cu_seqlens = ends; }, bad, {"cu_seqlens[3] is 17", "16"});
  backward([](B& a, auto&) { a.cu_seqlens = ends; }, bad, {"cu_seqlens[3] is 17", "16"});
  ends_are(0, 9, 9, 12), forward([](F& a, auto&) { a.cu_seqlens = ends; }, bad, {"cu_seqlens[3] is 12", "16"});
  forward([](F& a, auto&) { a.cu_seqlens = ends; }, bad, {"cu_seqlens is given", "sequences = 0"}, &plain);
  forward([](F& a, auto&) { a.initial_state = &number; }, bad, {"initial_state", "taps - 1, 2"}, &plain);
  forward([](F& a, auto&) { a.final_state = &number; }, bad, {"final_state", "taps - 1, 2"}, &plain);
  backward([](B& a, auto&) { a.dy = {}; }, bad, {"dy is null"});
  backward([](B& a, auto&) { a.x = {}; }, bad, {"x is null"});
  backward([](B& a, auto&) { a.initial_state = nullptr; }, bad, {"dinitial_state", "initial_state is null"});
  const StatusCode workspace = StatusCode::workspace;
  forward([](F&, auto& e) { e.workspace = {}; }, workspace, {"workspace is null"});
  backward([](B&, auto& e) { e.workspace.bytes -= 1; }, workspace, {"workspace has"});
  forward([](F&, auto& e) { e.workspace.data = static_cast<char*>(e.workspace.data) + 4; }, workspace, {"aligned"});
  for (const double value : job.y->dense()) CHECK(std::isnan(value));
  CHECK(job.dweight->intact());
}

TEST_CASE("short: a plan says what it is") {
  const auto plan = make_short_plan({.batch = 2,
                                     .channels = 6,
                                     .length = 50,
                                     .taps = 4,
                                     .padding_left = 3,
                                     .layout = Layout::blh,
                                     .epilogue = Epilogue::gate,
                                     .dtype = DType::bf16});
  REQUIRE(plan);
  for (const char* word :
       {"blh", "channels 6", "length 50", "4 taps", "padding 3 and 0", "gate", "bfloat16", "CPU", "workspace"})
    CHECK_MESSAGE(plan->describe().find(word) != std::string::npos, std::string(word));
  CHECK(plan->device().kind == DeviceKind::cpu);
}

}  // namespace
}  // namespace ffc::test
