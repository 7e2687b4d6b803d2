// The kernels of short convolutions and their launch point on an emulated block of threads (emulated/device.h), against
// direct sums in float64: taps, paddings, layouts, types, alignments, activations, states, packed sequences, gradients.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <vector>

#ifdef FFC_EMULATED_QUICK  // one type of samples, in this object: enough for faults to be noticed
                           // (tests/mutants/cuda.py)
#include "cuda/short/instantiate.cu"

namespace ffc::cuda {
template <>
const ShortKernels& short_kernels<DType::bf16>() {
  std::abort();
}
template <>
const ShortKernels& short_kernels<DType::f32>() {
  std::abort();
}
}  // namespace ffc::cuda
#endif
#include "cuda/short/launch.cu"
#include "emulated_short_problem.h"

namespace ffc::cuda {
namespace {

void check_forward(const Case& c) {
  CAPTURE(text_of(c));
  Problem p(c);
  const ShortForwardJob job = p.forward_job();
  if (c.forward) CHECK(std::string(short_kernel_name(job)) == c.forward);
  REQUIRE(launch_short_forward(job, nullptr) == 0);
  Error error(c.dtype);
  for (int b = 0; b < c.batch; ++b)
    for (int d = 0; d < c.channels; ++d)
      for (int l = 0; l < p.out; ++l) error.add(p.y.at(p.index(p.out, b, d, l)), act(p.sum(b, d, l), c.activation));
  CHECK(error.small());
  if (c.gap == 0) CHECK(p.y.margins_untouched());
  if (c.states) {
    p.check_final(p.final);
    CHECK(p.final.margins_untouched());
  }
}

struct Output {
  const char* name;
  Memory Problem::* of;
};
const Output kOutputs[] = {
    {"dx", &Problem::dx}, {"dweight", &Problem::dweight}, {"dbias", &Problem::dbias}, {"dinitial", &Problem::dinitial}};

// Of a backward pass for one output alone, `part`, and one for all of them.
void check_alone(Problem& all, Problem& part, const Output& wanted) {
  const std::string alone = wanted.name;
  for (const Output& output : kOutputs) {
    CAPTURE("only " + alone + " is wanted; this is " + output.name);
    Memory& got = part.*output.of;
    if (output.of == wanted.of)
      CHECK(got.same_as(all.*output.of));
    else
      CHECK(got.untouched());
  }
}

void check_backward(const Case& c) {
  CAPTURE(text_of(c));
  Problem p(c);
  ShortBackwardJob job = p.backward_job();
  if (c.backward) CHECK(std::string(short_kernel_name(job)) == c.backward);
  Workspace workspace(short_workspace_bytes(job));
  job.workspace = workspace.data();
  REQUIRE(launch_short_backward(job, nullptr) == 0);
  CHECK(workspace.end_untouched());

  Values dx(p.x.count), dweight(c.channels * c.taps), dbias(c.channels), dinitial(p.initial.count);
  for (int b = 0; b < c.batch; ++b)
    for (int d = 0; d < c.channels; ++d)
      for (int l = 0; l < p.out; ++l) {
        const double g = p.dy.at(p.index(p.out, b, d, l)) * act_slope(p.sum(b, d, l), c.activation);
        dbias[d] += g;
        p.reach(b, d, l, [&](int j, std::int64_t input, std::int64_t state) {
          const double w = p.weight.at(p.weight_index(d, j));
          dweight[p.weight_index(d, j)] += g * (input >= 0 ? p.x.at(input) : p.initial.at(state));
          (input >= 0 ? dx[input] : dinitial[state]) += g * w;
        });
      }
  if (c.states)
    for (int s = 0; s < p.state_count; ++s)
      for (int d = 0; d < c.channels; ++d)
        for (int m = 0; m < c.taps - 1; ++m) {
          const int low = c.borders.empty() ? 0 : int(c.borders[s]),
                    high = c.borders.empty() ? c.length : int(c.borders[s + 1]), at = high - low - (c.taps - 1) + m;
          (at >= 0 ? dx[p.index(c.length, c.borders.empty() ? s : 0, d, low + at)]
                   : dinitial[p.state_index(s, d, c.taps - 1 + at)]) += p.dfinal.at(p.state_index(s, d, m));
        }

  auto compare = [&](const char* what, Memory& got, const Values& exact, DType type) {
    CAPTURE(what);
    Error error(type);
    for (std::size_t i = 0; i < exact.size(); ++i) error.add(got.at(i), exact[i]);
    CHECK(error.small());
    CHECK(got.margins_untouched());
  };
  Error error(c.dtype);
  for (int b = 0; b < c.batch; ++b)
    for (int d = 0; d < c.channels; ++d)
      for (int l = 0; l < c.length; ++l) error.add(p.dx.at(p.index(c.length, b, d, l)), dx[p.index(c.length, b, d, l)]);
  CHECK(error.small());
  if (c.gap == 0) CHECK(p.dx.margins_untouched());
  compare("dweight", p.dweight, dweight, c.weight_dtype);
  if (c.bias) compare("dbias", p.dbias, dbias, c.weight_dtype);
  if (c.states) compare("dinitial", p.dinitial, dinitial, c.dtype);

  // Each output alone: it is the same, bit for bit, and nothing else is written.
  for (const Output& wanted : kOutputs) {
    if ((wanted.of == &Problem::dbias && !c.bias) || (wanted.of == &Problem::dinitial && !c.states)) continue;
    Problem part(c);
    job = part.backward_job();
    if (wanted.of != &Problem::dx) job.dx.data = nullptr;
    if (wanted.of != &Problem::dweight) job.dweight.data = nullptr;
    if (wanted.of != &Problem::dbias) job.dbias = nullptr;
    if (wanted.of != &Problem::dinitial) job.dinitial_state = nullptr;
    Workspace own(short_workspace_bytes(job));
    job.workspace = own.data();
    REQUIRE(launch_short_backward(job, nullptr) == 0);
    CHECK(own.end_untouched());
    check_alone(p, part, wanted);
    for (Memory Problem::* input :
         {&Problem::x, &Problem::dy, &Problem::weight, &Problem::bias, &Problem::initial, &Problem::dfinal})
      CHECK((part.*input).same_as(p.*input));
  }
}

// Gradients through the front end of Hyena: the case has the 3 D channels of z.
void check_gate_backward(Problem& p, int channels) {
  const Case& c = p.c;
  std::mt19937 random(c.taps);
  Memory dx0(c.dtype, std::int64_t(c.batch) * channels * p.out), dv(dx0);
  dx0.fill(random), dv.fill(random);
  const ShortBackwardJob all = p.backward_job();
  ShortGateBackwardJob job{.shape = p.shape, .z = all.x, .weight = all.weight, .bias = all.bias};
  job.shape.channels = channels;
  job.dx0 = {dx0.data(), std::int64_t(channels) * p.out, p.out}, job.dv = {dv.data(), job.dx0.batch_stride, p.out};
  job.dz = all.dx, job.dweight = all.dweight, job.dbias = all.dbias;
  const int whole = c.dtype == DType::f32 ? 4 : 8;
  const bool tuned = c.taps <= kGateTaps && c.length % whole == 0 && p.out % whole == 0;
  CHECK(std::string(short_kernel_name(job)) == (tuned ? "gate_backward" : "any_gate_gradient"));
  Workspace workspace(short_workspace_bytes(job));
  job.workspace = workspace.data();
  REQUIRE(launch_short_gate_backward(job, nullptr) == 0);
  CHECK(workspace.end_untouched());

  Values dz(p.x.count), dweight(c.channels * c.taps), dbias(c.channels);
  for (int b = 0; b < c.batch; ++b)
    for (int d = 0; d < channels; ++d)
      for (int l = 0; l < p.out; ++l) {
        const std::int64_t at = (std::int64_t(b) * channels + d) * p.out + l;
        const double g[3] = {dx0.at(at), dv.at(at) * p.sum(b, 2 * channels + d, l),
                             dv.at(at) * p.sum(b, channels + d, l)};
        for (int k = 0; k < 3; ++k) {
          const int row = k * channels + d;
          dbias[row] += g[k];
          p.reach(b, row, l, [&](int j, std::int64_t input, std::int64_t) {
            dweight[p.weight_index(row, j)] += g[k] * p.x.at(input);
            dz[input] += g[k] * p.weight.at(p.weight_index(row, j));
          });
        }
      }
  auto compare = [&](const char* what, Memory& got, const Values& exact, DType type) {
    CAPTURE(what);
    Error error(type);
    for (std::size_t i = 0; i < exact.size(); ++i) error.add(got.at(i), exact[i]);
    CHECK(error.small(1e-6));  // sums of thousands of products may cancel
    CHECK(got.margins_untouched());
  };
  compare("dz", p.dx, dz, c.dtype);
  compare("dweight", p.dweight, dweight, c.weight_dtype);
  compare("dbias", p.dbias, dbias, c.weight_dtype);

  for (const Output& wanted : kOutputs) {
    if (wanted.of == &Problem::dinitial || (wanted.of == &Problem::dbias && !c.bias)) continue;
    Problem part(c);
    job.dz.data = wanted.of == &Problem::dx ? part.dx.data() : nullptr;
    job.dweight.data = wanted.of == &Problem::dweight ? part.dweight.data() : nullptr;
    job.dbias = wanted.of == &Problem::dbias ? part.dbias.data() : nullptr;
    Workspace own(short_workspace_bytes(job));
    job.workspace = own.data();
    REQUIRE(launch_short_gate_backward(job, nullptr) == 0);
    CHECK(own.end_untouched());
    check_alone(p, part, wanted);
  }
}

void check(const Case& c) {
  check_forward(c);
  check_backward(c);
}

#ifdef FFC_EMULATED_QUICK
const DType kTypes[] = {DType::f16};
#else
const DType kTypes[] = {DType::f16, DType::bf16, DType::f32};
#endif
const ffc::Layout kLayouts[] = {ffc::Layout::bhl, ffc::Layout::blh};

}  // namespace

TEST_CASE("every number of taps, causal and centred") {
  for (ffc::Layout layout : kLayouts)
    for (DType dtype : kTypes)
      for (int taps : {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 31}) {
        Case c;
        c.layout = layout, c.dtype = dtype, c.weight_dtype = taps % 2 ? DType::f32 : dtype, c.taps = taps;
        c.taps_last = taps % 3 != 0;
        c.length = 40, c.left = taps - 1;
        const bool tuned = taps <= kTunedTaps;
        const bool first = layout == ffc::Layout::bhl;
        c.forward = !tuned ? "any_correlate" : first ? "channels_first_forward" : "channels_last_forward";
        c.backward = !tuned ? "any_correlate" : first ? "channels_first_backward" : "channels_last_backward";
        check(c);
        c.left = (taps - 1) / 2, c.right = taps - 1 - c.left, c.bias = false;
        check(c);
      }
}

TEST_CASE("paddings") {
  for (ffc::Layout layout : kLayouts)
    for (int taps : {3, 4, 7})
      for (int left = 0; left <= taps + 2; ++left) {
        Case c;
        c.layout = layout, c.taps = taps, c.left = left, c.dtype = c.weight_dtype = kTypes[taps % std::size(kTypes)];
        for (int right : {0, left, taps + 2}) {
          c.right = right, c.length = 24;
          check(c);
          c.length = 23 + taps - left - right;  // y of whole chunks
          if (c.length >= 1 && c.length + left + right - taps + 1 >= 1) check(c);
        }
      }
}

TEST_CASE("lengths and alignments") {
  for (ffc::Layout layout : kLayouts)
    for (DType dtype : kTypes) {
      for (int length : {1, 2, 7, 8, 9, 16, 63, 64, 129}) {
        Case c;
        c.layout = layout, c.dtype = dtype, c.weight_dtype = dtype, c.length = length, c.batch = 3;
        check(c);
        c.channels = 5, c.offset = 1;
        check(c);
        c.offset = 0, c.gap = 8;
        check(c);
      }
    }
}

TEST_CASE("long rows and many channels") {
  for (DType dtype : kTypes) {
    Case c;
    c.dtype = dtype, c.weight_dtype = DType::f32, c.batch = 1, c.channels = 2, c.length = 4096 + 24, c.taps = 5,
    c.left = 4;
    check(c);
    c.layout = ffc::Layout::blh, c.channels = 8, c.length = 700;
    check(c);
    c.channels = 520, c.length = 33, c.left = 2, c.right = 2;
    check(c);
    c.batch = 5, c.channels = 24, c.length = 150;
    check(c);
  }
}

// Segments of 32 lanes, which exchange chunks and weights.
TEST_CASE("rows of whole segments") {
  for (DType dtype : kTypes)
    for (int taps = 1; taps <= kTunedTaps; ++taps)
      for (int left : {taps - 1, (taps - 1) / 2}) {
        Case c;
        c.dtype = dtype, c.weight_dtype = taps % 2 ? DType::f32 : dtype, c.taps = taps, c.left = left;
        c.batch = 1, c.channels = 2, c.length = 2048, c.right = taps - 1 - left, c.taps_last = taps % 4 != 3;
        c.bias = taps % 3 != 1;
        check(c);
        c.activation = ShortActivation::silu, c.length = 1024;
        check_forward(c);
      }
}

TEST_CASE("a sample that is not finite reaches no further than the taps") {
  for (ffc::Layout layout : kLayouts)
    for (int length : {40, 1024})
      for (int at : {0, 17, length - 1}) {
        Case c;
        c.layout = layout, c.length = length;
        Problem p(c);
        p.x.set(p.index(length, 1, 3, at), INFINITY);
        REQUIRE(launch_short_forward(p.forward_job(), nullptr) == 0);
        bool as_expected = true;
        for (int b = 0; b < c.batch; ++b)
          for (int d = 0; d < c.channels; ++d)
            for (int l = 0; l < p.out; ++l) {
              const bool reached = b == 1 && d == 3 && l >= at && l < at + c.taps;
              as_expected = as_expected && std::isfinite(p.y.at(p.index(p.out, b, d, l))) == !reached;
            }
        CHECK(as_expected);
      }
}

TEST_CASE("no batch") {
  for (ffc::Layout layout : kLayouts)
    for (int taps : {4, 10}) {
      Case c;
      c.layout = layout, c.batch = 0, c.taps = taps, c.left = taps - 1;
      check(c);
    }
}

TEST_CASE("activations") {
  for (ffc::Layout layout : kLayouts)
    for (DType dtype : kTypes)
      for (ShortActivation activation : {ShortActivation::silu, ShortActivation::gelu})
        for (int taps : {1, 4, 7, 10}) {
          Case c;
          c.layout = layout, c.dtype = dtype, c.weight_dtype = dtype, c.activation = activation;
          c.taps = taps, c.left = taps - 1, c.length = 48;
          check(c);
          c.left = (taps - 1) / 2, c.right = taps - 1 - c.left, c.length = 31;
          check(c);
        }
}

TEST_CASE("states and packed sequences") {
  for (ffc::Layout layout : kLayouts)
    for (DType dtype : kTypes)
      for (int taps : {1, 4, 7, 11})
        for (bool active : {false, true}) {
          Case c;
          c.layout = layout, c.dtype = dtype, c.weight_dtype = DType::f32, c.taps = taps, c.left = taps - 1;
          c.activation = active ? ShortActivation::silu : ShortActivation::none;
          for (int length : {1, 3, 48}) {
            c.length = length, c.batch = 3, c.states = true;
            check(c);
          }
          c.batch = 1, c.length = 48, c.borders = {0, 3, 3, 17, 18, 40, 48};
          check(c);
          c.left = (taps - 1) / 2, c.right = taps - 1 - c.left;
          check(c);
          c.states = false;
          check(c);
          c.left = taps - 1, c.right = 0;
          check(c);
        }
}

TEST_CASE("the front end of Hyena") {
  for (DType dtype : kTypes)
    for (int taps : {1, 3, 4, 7, 9})
      for (int length : {1, 40, 43, 2056}) {
        const int channels = length > 100 ? 1 : 3, batch = 2;
        Case c;
        c.dtype = dtype, c.weight_dtype = DType::f32, c.channels = 3 * channels, c.taps = taps, c.length = length;
        for (int left : {taps - 1, (taps - 1) / 2}) {
          c.left = left, c.right = taps - 1 - left;
          CAPTURE(text_of(c));
          Problem p(c);
          Memory x0(dtype, batch * channels * length), v(x0);
          ShortGateJob job{.shape = p.shape};
          job.shape.channels = channels;
          job.z = p.forward_job().x, job.weight = p.forward_job().weight, job.bias = p.forward_job().bias;
          job.x0 = {x0.data(), channels * length, length}, job.v = {v.data(), channels * length, length};
          REQUIRE(launch_short_gate(job, nullptr) == 0);
          Error error_x0(dtype), error_v(dtype);
          for (int b = 0; b < batch; ++b)
            for (int d = 0; d < channels; ++d)
              for (int l = 0; l < length; ++l) {
                const std::int64_t at = (std::int64_t(b) * channels + d) * length + l;
                error_x0.add(x0.at(at), p.sum(b, d, l));
                error_v.add(v.at(at), p.sum(b, channels + d, l) * p.sum(b, 2 * channels + d, l));
              }
          CHECK(error_x0.small());
          CHECK(error_v.small());
          CHECK(x0.margins_untouched());
          CHECK(v.margins_untouched());
          check_gate_backward(p, channels);
        }
      }
}

// Nothing of these is launched: which kernel takes them, and what memory it asks for, is arithmetic.
template <class Job>
std::string kernel_of(const ShortShape& shape) {
  return short_kernel_name(Job{.shape = shape});
}
// Of all gradients.
ShortBackwardJob all_gradients(const ShortShape& shape) {
  static float somewhere[4];
  ShortBackwardJob job{.shape = shape};
  job.dweight.data = job.dbias = somewhere;
  return job;
}

TEST_CASE("counts that do not fit the tuned kernels' integers are left to those that count in 64 bits") {
  ShortShape s{.batch = 1 << 29, .channels = 4, .length = 8, .taps = 4, .left = 3};  // 2^31 rows, a thread each
  CHECK(kernel_of<ShortForwardJob>(s) == "channels_first_forward");
  CHECK(kernel_of<ShortGateJob>(s) == "gate_forward");
  s.channels = 5;
  CHECK(kernel_of<ShortForwardJob>(s) == "any_correlate");
  CHECK(kernel_of<ShortGateJob>(s) == "any_gate");
  s.batch = 1 << 27, s.length = 512, s.channels = 1;  // 2^27 rows of 32 threads
  CHECK(kernel_of<ShortForwardJob>(s) == "channels_first_forward");
  CHECK(kernel_of<ShortGateJob>(s) == "gate_forward");
  s.batch += 1;
  CHECK(kernel_of<ShortForwardJob>(s) == "any_correlate");
  CHECK(kernel_of<ShortGateJob>(s) == "any_gate");

  s.batch = 1 << 30;  // of one channel, one segment each, or two
  s.length = 512;
  CHECK(kernel_of<ShortBackwardJob>(s) == "channels_first_backward");
  s.length = 520;
  CHECK(kernel_of<ShortBackwardJob>(s) == "any_correlate");
  s.length = 256;
  CHECK(kernel_of<ShortGateBackwardJob>(s) == "gate_backward");
  s.length = 264;
  CHECK(kernel_of<ShortGateBackwardJob>(s) == "any_gate_gradient");

  for (ffc::Layout layout : kLayouts) {  // outputs around the sequences' beginnings
    ShortShape packed{.batch = 1, .channels = 8, .length = 1 << 20, .taps = 4, .left = 3, .layout = layout};
    packed.sequences = INT32_MAX / 3;
    CHECK(kernel_of<ShortForwardJob>(packed) != "any_correlate");
    packed.sequences += 1;
    CHECK(kernel_of<ShortForwardJob>(packed) == "any_correlate");
  }
}

TEST_CASE("gradients of short and many sequences take no more memory than the sequences") {
  for (ffc::Layout layout : kLayouts)
    for (DType dtype : kTypes)
      for (ShortActivation activation : {ShortActivation::none, ShortActivation::silu})
        for (int taps : {1, 4, 16, 40})
          for (int length : {1, 2, 4, 8, 16, 24, 64})
            for (std::int64_t batch : {1, 64, 4096, 65536, 1 << 20})
              for (int channels : {8, 96, 2048}) {
                ShortShape s{.batch = batch, .channels = channels, .length = length, .taps = taps, .left = taps - 1};
                s.layout = layout, s.activation = activation, s.dtype = s.weight_dtype = dtype;
                CAPTURE(text_of({.dtype = dtype,
                                 .layout = layout,
                                 .batch = static_cast<int>(batch),
                                 .channels = channels,
                                 .length = length,
                                 .taps = taps}));
                // Under an activation the general kernels keep g as floats.
                const bool active = activation != ShortActivation::none;
                const std::size_t tensor = batch * channels * length * (active ? sizeof(float) : size_of(dtype));
                const std::size_t least = 64 << 20, few_splits = 8 << 20;
                CHECK(short_workspace_bytes(all_gradients(s)) <= std::max(tensor, least) + few_splits);
              }
}

TEST_CASE("usual sizes have the tuned kernels") {
  for (DType dtype : kTypes)
    for (bool active : {false, true})
      for (std::int64_t batch = 1; batch <= 64; ++batch)
        for (std::int64_t channels : {8, 64, 96, 768, 2048, 8192})
          for (std::int64_t length : {128, 129, 136, 200, 255, 256, 512, 1000, 1024, 2047, 2048, 8192})
            for (std::int64_t taps = 1; taps <= kTunedTaps; ++taps) {
              ShortShape s{.batch = batch, .channels = channels, .length = length, .taps = taps, .left = taps - 1};
              s.activation = active ? ShortActivation::silu : ShortActivation::none;
              s.dtype = s.weight_dtype = dtype, s.layout = ffc::Layout::blh;
              bool tuned = kernel_of<ShortForwardJob>(s) == "channels_last_forward" &&
                           short_kernel_name(all_gradients(s)) == std::string("channels_last_backward");
              s.layout = ffc::Layout::bhl;
              if (length % 8 == 0)
                tuned = tuned && kernel_of<ShortForwardJob>(s) == "channels_first_forward" &&
                        short_kernel_name(all_gradients(s)) == std::string("channels_first_backward");
              s.activation = ShortActivation::none;
              if (length % 8 == 0 && taps <= kGateTaps)
                tuned = tuned && kernel_of<ShortGateJob>(s) == "gate_forward" &&
                        kernel_of<ShortGateBackwardJob>(s) == "gate_backward";
              if (!tuned)
                FAIL_CHECK(std::string(name_of(dtype)) << ": " << batch << " x " << channels << " x " << length
                                                       << ", taps " << taps << (active ? ", active" : ""));
            }
}

}  // namespace ffc::cuda
