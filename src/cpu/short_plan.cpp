// Plans of short convolutions on the CPU: blocks of channels, slices of pieces, and the layout of the workspace.
//
// A task is a block of channels and a slice of the pieces. Slices follow from the problem alone, and their sums are
// added in their order, so the number of threads never changes a bit.
#include "cpu/short_plan.h"

#include <algorithm>
#include <cstring>
#include <string>

#include "algo/short_check.h"
#include "backend/short_backend.h"
#include "cpu/kernels.h"
#include "cpu/make_plan.h"
#include "cpu/short_kernels.h"
#include "cpu/tasks.h"
#include "cpu/thread_pool.h"

namespace ffc::cpu {
namespace {

// Samples of a piece in bhl: few, so that the loads of one overlap with the stores of the one before; longer ones take
// a third longer where memory is contended. In blh as many as leave a block's lines in the second cache.
constexpr std::int64_t kTile = 512, kTileNumbers = 32768, kLeastTile = 16;
// Channels of a block in blh: adjacent for kilobytes, and most lines are whole. With many taps, whose lines stay too,
// fewer.
constexpr std::int64_t kBlock = 1024;

// Tasks that keep a large machine busy, numbers worth a task, and the memory that sums of slices may take.
constexpr std::int64_t kTasks = 64, kTaskNumbers = 8192, kSumsBytes = 32 << 20;
// Numbers worth waking another thread for, some ten microseconds.
constexpr std::int64_t kWorthThread = 16384;

std::int64_t round_up(std::int64_t value, std::int64_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

ShortShape make_shape(const ShortProblem& p, int lanes) {
  ShortShape s;
  s.problem = p;
  s.groups = p.epilogue == Epilogue::gate ? 3 : 1;
  s.group_channels = p.channels / s.groups;
  if (p.layout == Layout::bhl) {
    s.tile = std::max(kTile, 2 * p.taps);
  } else {
    const std::int64_t most =
        std::max<std::int64_t>(lanes, std::min(kBlock, kTileNumbers / std::max(kLeastTile, 2 * p.taps)));
    const std::int64_t blocks = (s.group_channels + most - 1) / most;  // all about as wide
    s.block = blocks == 0 ? 1 : std::min(s.group_channels, round_up((s.group_channels + blocks - 1) / blocks, lanes));
    s.width = round_up(s.block, lanes);
    s.tile = std::max({kLeastTile, kTileNumbers / s.width, 2 * p.taps});
  }
  const std::int64_t row = p.length + p.padding_left + p.padding_right;
  s.tile = std::min(s.tile, row);
  s.weights_size = array_size((p.taps + 1) * s.width);
  // A piece, taps - 1 samples before and behind it that it takes in at the ends of a row, as many that it reads beyond,
  // and what whole vectors touch behind the last.
  s.array_size = array_size((s.tile + 4 * p.taps) * s.width + 4 * lanes);
  return s;
}

void resolve(std::int64_t& batch_stride, std::int64_t& line_stride, Layout layout, std::int64_t channels,
             std::int64_t samples) {
  if (line_stride == kContiguous) line_stride = layout == Layout::bhl ? samples : channels;
  if (batch_stride == kContiguous) batch_stride = channels * samples;
}

template <typename T>
class CpuShortPlan final : public ShortBackendPlan {
 public:
  CpuShortPlan(const ShortProblem& p, Device device, int workers, const ShortKernels<T>& kernels)
      : ShortBackendPlan(p, device), kernels_(kernels), shape_(make_shape(p, kernels.lanes)) {
    const std::int64_t blocks = std::max<std::int64_t>(1, shape_.blocks());
    const std::int64_t all = p.batch == 0 ? 0 : pieces(shape_, false);
    const std::int64_t numbers = std::max<std::int64_t>(1, std::min(shape_.tile, p.length) * shape_.block);
    // Slices that make tasks enough, each of numbers enough, with sums that fit.
    std::int64_t wanted = std::min((kTasks + blocks - 1) / blocks, all * numbers / kTaskNumbers);
    const std::int64_t sums = blocks * shape_.sums_size() * static_cast<std::int64_t>(sizeof(double));
    wanted = std::min(wanted, kSumsBytes / std::max<std::int64_t>(1, sums));
    slices_ = std::max<std::int64_t>(1, wanted);
    const double work = static_cast<double>(p.batch) * static_cast<double>(p.length) * static_cast<double>(p.channels);
    workers_ = static_cast<int>(
        std::max(1.0, std::min({double(workers), double(blocks) * double(slices_), 1 + work / kWorthThread})));
  }

  std::size_t workspace_bytes(Pass pass) const override {
    if (problem().channels == 0) return 0;
    std::size_t bytes = sizeof(T) * static_cast<std::size_t>(workers_) * static_cast<std::size_t>(per_worker(pass));
    if (pass == Pass::backward) bytes += sums_bytes();
    return bytes;
  }
  int workers() const override { return workers_; }

  Status forward(const ShortForwardArguments& given, const Execution& execution) const override {
    const ShortProblem& p = problem();
    if (p.batch == 0 || p.channels == 0) return {};
    if (Status s = check_cu_seqlens(p, given.cu_seqlens); !s) return s;
    ShortForwardArguments a = given;
    resolve_inputs(a);
    resolve(a.y.batch_stride, a.y.line_stride, p.layout, p.output_channels(), p.output_length());
    T* memory = static_cast<T*>(execution.workspace.data);
    for_each_task(execution, a.initial_state,
                  [&](std::int64_t block, std::int64_t begin, std::int64_t end, std::int64_t, int worker) {
                    kernels_.forward(shape_, a, block, begin, end, memory + worker * per_worker(Pass::forward));
                  });
    if (a.final_state) write_final_states(a);
    return {};
  }

  Status backward(const ShortBackwardArguments& given, const Execution& execution) const override {
    const ShortProblem& p = problem();
    if (p.channels == 0) return {};
    if (Status s = check_cu_seqlens(p, given.cu_seqlens); !s) return s;
    ShortBackwardArguments a = given;
    resolve_inputs(a);
    resolve(a.dy.batch_stride, a.dy.line_stride, p.layout, p.output_channels(), p.output_length());
    resolve(a.dx.batch_stride, a.dx.line_stride, p.layout, p.channels, p.length);
    if (a.dweight.channel_stride == kContiguous) a.dweight.channel_stride = p.taps;
    if (a.dinitial_state && p.sequences > 0) forget_empty_sequences(a);
    double* sums = static_cast<double*>(execution.workspace.data);
    T* memory = reinterpret_cast<T*>(static_cast<char*>(execution.workspace.data) + sums_bytes());
    for_each_task(execution, a.initial_state,
                  [&](std::int64_t block, std::int64_t begin, std::int64_t end, std::int64_t task, int worker) {
                    kernels_.backward(shape_, a, block, begin, end, sums + task * shape_.sums_size(),
                                      memory + worker * per_worker(Pass::backward));
                  });
    if (a.dweight.data || a.dbias)
      parallel_tasks(execution, workers_, shape_.blocks(), [&](std::int64_t block, int) {
        kernels_.finish(shape_, a, block, sums + block * slices_ * shape_.sums_size(), slices_);
      });
    return {};
  }

  std::string describe() const override {
    const ShortProblem& p = problem();
    auto str = [](auto value) { return std::to_string(value); };
    std::string text = "short convolution, layout " + std::string(name_of(p.layout)) + ", batch " + str(p.batch) +
                       ", channels " + str(p.channels) + ", length " + str(p.length) + ", " + str(p.taps) +
                       " taps, padding " + str(p.padding_left) + " and " + str(p.padding_right) + ", epilogue " +
                       name_of(p.epilogue) + ", " + name_of(p.dtype) + ", on the CPU (" + kernels_.target + ", " +
                       str(workers_) + (workers_ == 1 ? " worker)\n" : " workers)\n");
    if (p.sequences > 0) text += "  packed sequences: " + str(p.sequences) + "\n";
    text += "  algorithm: sums over the taps, " + str(shape_.block) + (shape_.block == 1 ? " channel" : " channels") +
            " x " + str(shape_.tile) + " samples at a time\n";
    text += "  workspace: " + str(workspace_bytes(Pass::forward)) + " bytes forward, " +
            str(workspace_bytes(Pass::backward)) + " backward\n";
    return text;
  }

 private:
  std::int64_t tasks() const { return shape_.blocks() * slices_; }
  std::size_t sums_bytes() const {
    return sizeof(double) * static_cast<std::size_t>(array_size(tasks() * shape_.sums_size()));
  }
  std::int64_t per_worker(Pass pass) const { return scratch_size(shape_, pass); }

  template <class Arguments>
  void resolve_inputs(Arguments& a) const {
    const ShortProblem& p = problem();
    resolve(a.x.batch_stride, a.x.line_stride, p.layout, p.channels, p.length);
    if (a.weight.channel_stride == kContiguous) a.weight.channel_stride = p.taps;
  }

  // Calls run(block, first piece, last piece, task, worker).
  template <class Run>
  void for_each_task(const Execution& execution, bool has_state, Run run) const {
    const std::int64_t all = problem().batch == 0 ? 0 : pieces(shape_, has_state);
    parallel_tasks(execution, workers_, tasks(), [&](std::int64_t task, int worker) {
      const std::int64_t block = task / slices_, slice = task % slices_;
      run(block, all * slice / slices_, all * (slice + 1) / slices_, task, worker);
    });
  }

  // Elements are copied as they are.
  void write_final_states(const ShortForwardArguments& a) const {
    const ShortProblem& p = problem();
    const std::int64_t history = p.taps - 1;
    const std::size_t bytes = size_of(p.dtype);
    const bool bhl = p.layout == Layout::bhl;
    const char* x = static_cast<const char*>(a.x.data);
    const char* before = static_cast<const char*>(a.initial_state);
    char* to = static_cast<char*>(a.final_state);
    for (std::int64_t state = 0; state < p.states(); ++state) {
      const std::int64_t offset = p.sequences ? a.cu_seqlens[state] : 0, batch = p.sequences ? 0 : state;
      const std::int64_t length = p.sequences ? a.cu_seqlens[state + 1] - offset : p.length;
      for (std::int64_t h = 0; h < p.channels; ++h)
        for (std::int64_t m = 0; m < history; ++m, to += bytes) {
          const std::int64_t n = length - history + m, line = bhl ? h : offset + n, within = bhl ? offset + n : h;
          if (n >= 0)
            std::memcpy(to, x + (batch * a.x.batch_stride + line * a.x.line_stride + within) * std::ptrdiff_t(bytes),
                        bytes);
          else if (before)
            std::memcpy(to, before + ((state * p.channels + h + 1) * history + n) * std::ptrdiff_t(bytes), bytes);
          else
            std::memset(to, 0, bytes);
        }
    }
  }

  // No piece has them: no output depends on their states.
  void forget_empty_sequences(const ShortBackwardArguments& a) const {
    const std::size_t bytes =
        static_cast<std::size_t>(problem().channels * (problem().taps - 1)) * size_of(problem().dtype);
    for (std::int64_t q = 0; q < problem().sequences; ++q)
      if (a.cu_seqlens[q] == a.cu_seqlens[q + 1])
        std::memset(static_cast<char*>(a.dinitial_state) + static_cast<std::size_t>(q) * bytes, 0, bytes);
  }

  const ShortKernels<T>& kernels_;
  ShortShape shape_;
  std::int64_t slices_ = 1;
  int workers_ = 1;
};

}  // namespace

Result<ShortPlan> make_short_plan(const ShortProblem& problem, Device device, PlanOptions options) {
  return make_cpu_plan<ShortKernels, CpuShortPlan, ShortPlan>(problem, device, options);
}

}  // namespace ffc::cpu
