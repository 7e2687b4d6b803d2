// Plans of the CUDA backend: which problems the device code takes, which kernel runs, how a batch is spread over the
// device, where things lie in the workspace, and the launches of a pass.
#include "cuda/cuda_plan.h"

#include <algorithm>
#include <cstdio>
#include <iterator>
#include <string>

#include "backend/backend.h"
#include "cuda/behind.h"
#include "cuda/grid.h"
#include "cuda/sizes.h"
#include "cuda/status.h"

namespace ffc::cuda {
namespace {

constexpr int kOldestDriver = 13000;  // the CUDA version that the runtime linked into us asks for
constexpr int kOldestMajor = 8;  // compute capability 8.0: asynchronous copies, sums over a warp in one instruction
constexpr int kNoDevice = 100;   // cudaErrorNoDevice

// The device code counts rows and channels in 32 bits, and steps beyond the last.
constexpr std::int64_t kMostRows = 1 << 30;

// A backward pass may take this much a point of M and channel, for the spectra of filters and one sum of each, and this
// much more, for further splits of a channel and for what blocks keep. Where they take more, chunks of channels go one
// after another, in the same memory,
constexpr std::int64_t kPointBytes = 8, kMoreBytes = 8 << 20;
// unless that takes this much longer: a chunk may have too few channels for all multiprocessors.
constexpr double kChunksCost = 1.1;
constexpr int kMostChunks = 6;           // each is three launches,
constexpr double kChunkBytes = 1 << 20;  // as long as a block takes for these

std::string version(int cuda) { return std::to_string(cuda / 1000) + "." + std::to_string(cuda % 1000 / 10); }
std::string architecture(const DeviceFacts& facts) {
  return "sm_" + std::to_string(facts.major) + std::to_string(facts.minor);
}

Status check_facts(Device device, const DeviceFacts& facts) {
  if (facts.driver == 0) return unsupported(device, "this machine has no NVIDIA driver");
  if (facts.driver < kOldestDriver)
    return unsupported(device, "the NVIDIA driver of this machine is for CUDA " + version(facts.driver) +
                                   "; the engine needs one for CUDA " + version(kOldestDriver) +
                                   " or newer (release 580): update the driver");
  if (facts.error == kNoDevice || (facts.error == 0 && facts.devices == 0))
    return unsupported(device, "this machine has no GPU that CUDA may use");
  if (device.index < 0 || (facts.devices > 0 && device.index >= facts.devices))
    return {StatusCode::invalid_argument, "device is CUDA " + std::to_string(device.index) + "; this machine has " +
                                              std::to_string(facts.devices) +
                                              (facts.devices == 1 ? " GPU, index 0" : " GPUs, indices from 0")};
  if (facts.error) return failed("asking for CUDA device " + std::to_string(device.index), facts.error);
  if (facts.major < kOldestMajor)
    return unsupported(device, "it is " + architecture(facts) + "; the engine needs sm_80 (Ampere) or newer");
  return {};
}

// The first row of the table of at least, or exactly, so many points; kSizeCount if there is none.
int row_of_at_least(std::int64_t points) {
  return static_cast<int>(
      std::find_if(std::begin(kSizes), std::end(kSizes), [&](const Size& s) { return s.points >= points; }) - kSizes);
}
int row_of_exactly(std::int64_t points) {
  return static_cast<int>(
      std::find_if(std::begin(kSizes), std::end(kSizes), [&](const Size& s) { return s.points == points; }) - kSizes);
}

// What of a problem the engine does not take, whatever the device.
Status check_problem(const Problem& p, Device device) {
  if (p.dtype != DType::f16 && p.dtype != DType::bf16)
    return unsupported(device,
                       std::string("its engine takes rows of float16 and bfloat16; these are ") + name_of(p.dtype));
  if (p.filter_dtype == DType::f64)
    return unsupported(device, "its engine takes taps of float32, float16 and bfloat16; these are float64");
  const int largest = kSizes[kSizeCount - 1].points;
  if (p.length > largest)
    return unsupported(device, "its engine takes rows of up to " + std::to_string(largest) + " samples; these have " +
                                   std::to_string(p.length));
  if (p.batch > kMostRows || p.channels > kMostRows)
    return unsupported(device, "its engine takes up to " + std::to_string(kMostRows) +
                                   " rows a channel and as many channels; batch is " + std::to_string(p.batch) +
                                   ", channels " + std::to_string(p.channels));
  return {};
}

// Which kernel runs. It follows from the row's length and the mode, never from the batch: a prepared filter serves all
// batches. Pairs take N points for two rows where right-angle takes as many for each.
Variant choose_variant(const Problem& p) {
  if (p.mode == Mode::circular && p.fft_size >= kSmallestPairs && 2 * p.length > p.fft_size) {
    const Variant pairs{row_of_exactly(p.fft_size), true, p.dtype};
    if (pairs.row < kSizeCount && blocks_per_multiprocessor(pairs, Task::gated) > 0) return pairs;
  }
  return {row_of_at_least(p.length), false, p.dtype};
}

template <class RowsType>
void resolve(RowsType& rows, const Problem& p) {
  if (rows.channel_stride == kContiguous) rows.channel_stride = p.length;
  if (rows.batch_stride == kContiguous) rows.batch_stride = p.channels * p.length;
}
// From a channel on, of rows or taps whose strides are resolved.
template <class View>
void begin_at(View& view, std::int64_t channel, DType type) {
  view = behind(view, type, channel * view.channel_stride);
}
template <class TapsType>
void resolve_taps(TapsType& taps, std::int64_t count) {
  if (taps.channel_stride == kContiguous) taps.channel_stride = count;
}

constexpr std::size_t align(std::size_t bytes) {
  return (bytes + kWorkspaceAlignment - 1) / kWorkspaceAlignment * kWorkspaceAlignment;
}

class CudaPlan final : public BackendPlan {
 public:
  CudaPlan(const Problem& problem, Device device, const DeviceFacts& facts, const Variant& variant)
      : BackendPlan(problem, device),
        facts_(facts),
        variant_(variant),
        size_(kSizes[variant.row]),
        fold_(make_fold(problem)),
        backward_blocks_(blocks_per_multiprocessor(variant, Task::backward)),
        plain_grid_(forward_grid(Task::plain)),
        gated_grid_(forward_grid(Task::gated)),
        chunk_(problem.channels) {
    if (backward_blocks_) choose_chunk();
  }

  // The spectrum of a plan that got none ready; backward that of a chunk, its sums, and what blocks keep.
  std::size_t workspace_bytes(Pass pass) const override {
    if (pass == Pass::forward) return one_launch(Task::plain) && one_launch(Task::gated) ? 0 : spectrum_bytes();
    if (!backward_blocks_) return 0;
    return kept_offset() + kept_bytes(variant_) * backward_grid_.grid.blocks;
  }
  std::size_t spectrum_bytes() const override { return spectrum_bytes(problem().channels); }
  int workers() const override { return 0; }

  Status supports(Pass pass) const override {
    if (pass == Pass::forward || backward_blocks_) return {};
    return unsupported(device(), "its engine has no backward kernel of " + std::to_string(size_.points) +
                                     " points for " + architecture(facts_));
  }

  Status forward(const ForwardArguments& given, const Execution& execution) const override {
    const Problem& p = problem();
    if (p.batch == 0 || p.channels == 0) return {};
    const DeviceScope scope(device().index);
    if (scope.error()) return failed("switching to the device", scope.error());
    const Task task = given.pregate.data || given.postgate.data ? Task::gated : Task::plain;
    ForwardJob job{.variant = variant_,
                   .grid = forward_choice(task).grid,
                   .batch = p.batch,
                   .channels = p.channels,
                   .length = p.length,
                   .u = given.u,
                   .pregate = given.pregate,
                   .postgate = given.postgate,
                   .skip = static_cast<const float*>(given.skip),
                   .y = given.y};
    if (given.filter) {
      job.spectrum = spectrum_in(given.filter->spectrum(), p.channels);
    } else if (one_launch(task)) {
      job.filter = spectrum_job({}, given.k, given.k_rev, 0, p.channels);
    } else {
      job.spectrum = spectrum_in(execution.workspace.data, p.channels), job.follows = true;
      if (Status s = fill(job.spectrum, given.k, given.k_rev, 0, p.channels, execution.stream); !s) return s;
    }
    for (ConstRows* rows : {&job.u, &job.pregate, &job.postgate}) resolve(*rows, p);
    resolve(job.y, p);
    return launched(launch_forward(job, execution.stream), job);
  }

  Status backward(const BackwardArguments& given, const Execution& execution) const override {
    const Problem& p = problem();
    if (p.channels == 0) return {};
    const DeviceScope scope(device().index);
    if (scope.error()) return failed("switching to the device", scope.error());
    const bool rows_wanted = given.du.data || given.dpregate.data || given.dpostgate.data;
    const bool filter_wanted = given.dk.data || given.dk_rev.data || given.dskip;
    if (!rows_wanted && !filter_wanted) return {};
    char* workspace = static_cast<char*>(execution.workspace.data);
    for (std::int64_t first = 0; first < p.channels; first += chunk_) {
      const std::int64_t channels = std::min(chunk_, p.channels - first);
      Spectrum spectrum = spectrum_in(workspace, chunk_);
      if (given.filter)
        spectrum = part_of(spectrum_in(given.filter->spectrum(), p.channels), first);
      else if (p.batch != 0)
        if (Status s = fill(spectrum, given.k, given.k_rev, first, channels, execution.stream); !s) return s;
      if (Status s = backward_of(given, spectrum, first, filter_wanted, workspace, execution.stream); !s) return s;
    }
    return {};
  }

  Status prepare(const FilterArguments& given, const Execution& execution) const override {
    if (problem().channels == 0) return {};
    const DeviceScope scope(device().index);
    if (scope.error()) return failed("switching to the device", scope.error());
    const std::int64_t channels = problem().channels;
    return fill(spectrum_in(given.storage.data, channels), given.k, given.k_rev, 0, channels, execution.stream);
  }

  std::string describe() const override {
    const Problem& p = problem();
    auto str = [](auto value) { return std::to_string(value); };
    const std::string points = str(size_.points);
    std::string text = std::string(name_of(p.mode)) + " convolution [" + str(p.batch) + ", " + str(p.channels) + ", " +
                       str(p.length) + "] * " + str(p.filter) + " taps, " + name_of(p.dtype) + ", on CUDA " +
                       str(device().index) + " (" + architecture(facts_) + ", " + str(facts_.multiprocessors) +
                       " multiprocessors)\n";
    text += "  algorithm: " + std::string(variant_.pairs ? "pairs of rows" : "right-angle") + " transform of " +
            points + " points\n  stages: " + str(size_.outer) + " x " + str(size_.radix) + " x 64, a row in " +
            str(size_.warps) + (size_.warps == 1 ? " warp\n" : " warps\n");
    text += "  forward, plain: " + task_text(Task::plain, plain_grid_, p.channels);
    text += "  forward, gated: " + task_text(Task::gated, gated_grid_, p.channels);
    text += "  backward: " + (backward_blocks_ ? task_text(Task::backward, backward_grid_, chunk_)
                                               : "none of " + points + " points for " + architecture(facts_) + "\n");
    text += "  workspace: " + str(workspace_bytes(Pass::forward)) + " bytes forward, " +
            str(workspace_bytes(Pass::backward)) + " backward; a prepared filter: " + str(spectrum_bytes()) + "\n";
    if (variant_.pairs)
      text += "  why: two rows share " + points + " points; a right-angle transform takes " +
              str(kSizes[row_of_at_least(p.length)].points) + " for each\n";
    else
      text += "  why: the smallest transform of at least " + str(p.length) + " points, one row at a time" +
              (p.mode == Mode::circular ? "; pairs of rows need fft_size among the sizes from " + str(kSmallestPairs) +
                                              " on, and below twice the length\n"
                                        : ", needs no padding\n");
    return text;
  }

 private:
  std::size_t values_bytes(std::int64_t channels) const { return align(std::size_t{4} * size_.points * channels); }
  std::size_t spectrum_bytes(std::int64_t channels) const {
    return values_bytes(channels) + align(sizeof(float) * channels);
  }
  std::size_t sum_bytes() const { return std::size_t{4} * size_.points + sizeof(float); }
  // A block that keeps its sums may put them where its channel's filter has been, unless that is another split's too.
  bool in_place(std::int64_t splits) const { return splits == 1 && kept_bytes(variant_) > 0; }
  // Of the splits of a channel.
  std::int64_t sums_bytes(std::int64_t splits) const {
    return static_cast<std::int64_t>(sum_bytes()) * (in_place(splits) ? 0 : splits);
  }
  // Behind the spectrum: the sums' factors, the sums, what blocks keep.
  std::int64_t sums() const { return chunk_ * backward_grid_.grid.splits; }
  std::size_t factors_offset() const { return spectrum_bytes(chunk_); }
  std::size_t sums_offset() const { return factors_offset() + align(sizeof(float) * sums()); }
  std::size_t kept_offset() const {
    return sums_offset() + (in_place(backward_grid_.grid.splits) ? 0 : values_bytes(sums()));
  }
  // What a backward pass may take, unless it would be much slower.
  std::int64_t room() const { return kMoreBytes + kPointBytes * size_.points * problem().channels; }

  // All channels at once, if there is room for them and for as many splits as their kernel wants; else the chunks that
  // are cheapest, of those that have such room, or room for half as many splits, and so on.
  void choose_chunk() {
    const std::int64_t channels = problem().channels;
    backward_grid_ = backward_grid(channels);
    const bool whole = fits(channels, backward_grid_);
    for (std::int64_t splits = wanted_splits();; splits = (splits + 1) / 2) {
      if (whole && backward_grid_.grid.splits >= splits) return;
      if (choose_chunk(splits) || splits <= 1) return;
    }
  }
  bool choose_chunk(std::int64_t least_splits) {
    const std::int64_t all = problem().channels, fewest = (all + kMostChunks - 1) / kMostChunks;
    GridProblem unbounded = backward_problem(all);
    unbounded.most_splits = unbounded.kernel.splits = static_cast<int>(least_splits);
    const double most = kChunksCost * choose_grid(unbounded).cost;
    double least = 0;
    for (std::int64_t channels = all - 1; channels >= fewest; --channels) {
      const GridChoice grid = backward_grid(channels);
      if (!fits(channels, grid) || grid.grid.splits < least_splits) continue;
      double cost = static_cast<double>(all / channels) * grid.cost + backward_grid(all % channels).cost;
      if (cost > most) continue;
      cost += kChunkBytes * static_cast<double>((all + channels - 1) / channels);
      if (chunk_ < all && cost >= least) continue;
      least = cost, chunk_ = channels, backward_grid_ = grid;
    }
    return chunk_ < all;
  }
  // Splits of a channel that the backward kernel is faster with, or needs so that not too many rows are in a sum.
  std::int64_t wanted_splits() const {
    const BlockWork work = block_work(variant_, Task::backward);
    const std::int64_t batch = problem().batch, groups = (batch + work.rows - 1) / work.rows;
    return std::min<std::int64_t>(
        groups, std::max<std::int64_t>(work.splits, (batch + work.rows_in_sum - 1) / work.rows_in_sum));
  }
  // Of a chunk of channels.
  std::int64_t pass_bytes(std::int64_t channels, std::int64_t splits, std::int64_t blocks) const {
    return (static_cast<std::int64_t>(sum_bytes()) + sums_bytes(splits)) * channels +
           static_cast<std::int64_t>(kept_bytes(variant_)) * blocks;
  }
  bool fits(std::int64_t channels, const GridChoice& choice) const {
    return pass_bytes(channels, choice.grid.splits, choice.grid.blocks) <= room();
  }

  // The values of some channels, then their factors.
  Spectrum spectrum_in(const void* storage, std::int64_t channels) const {
    char* bytes = static_cast<char*>(const_cast<void*>(storage));  // the device code only reads a prepared filter
    return {bytes, reinterpret_cast<float*>(bytes + values_bytes(channels))};
  }
  // That from a channel on.
  Spectrum part_of(const Spectrum& spectrum, std::int64_t first) const {
    return {static_cast<char*>(spectrum.values) + std::int64_t{4} * size_.points * first, spectrum.factors + first};
  }

  GridProblem grid_problem(Task task, int blocks_per_multiprocessor, std::int64_t channels, int tensors) const {
    const Problem& p = problem();
    GridProblem g;
    g.batch = p.batch, g.channels = channels;
    g.kernel = block_work(variant_, task);
    g.row_bytes = tensors * static_cast<std::int64_t>(size_of(p.dtype)) * p.length;
    g.split_bytes = 4LL * size_.points;
    g.slots =
        std::max<std::int64_t>(1, std::int64_t{facts_.multiprocessors} * blocks_per_multiprocessor) * g.kernel.workers;
    g.most_splits = p.batch;
    return g;
  }
  const GridChoice& forward_choice(Task task) const { return task == Task::gated ? gated_grid_ : plain_grid_; }
  // Whether the rows' kernel makes the spectrum too. That saves the host a launch, half of its time, where the device
  // has little to do. Where rows fill the device it costs 3 to 7 us more than a kernel of its own.
  bool one_launch(Task task) const {
    return makes_spectrum(variant_) && forward_choice(task).grid.blocks <= facts_.multiprocessors;
  }
  GridChoice forward_grid(Task task) const {
    return choose_grid(
        grid_problem(task, blocks_per_multiprocessor(variant_, task), problem().channels, task == Task::gated ? 4 : 2));
  }
  GridProblem backward_problem(std::int64_t channels) const {
    GridProblem g = grid_problem(Task::backward, backward_blocks_, channels, 3);  // tensors, at least
    g.sum_bytes = static_cast<std::int64_t>(sum_bytes());
    g.split_bytes += g.sum_bytes;
    g.kernel.splits = static_cast<int>(wanted_splits());
    return g;
  }
  GridChoice backward_grid(std::int64_t channels) const {
    GridProblem g = backward_problem(channels);
    // Blocks that share an item keep more, which may be too much of few channels.
    if (pass_bytes(channels, 1, std::min(channels * g.kernel.together, g.slots)) > room()) g.kernel.together = 1;
    auto bytes = [&](std::int64_t splits) {
      const std::int64_t together = blocks_together(g.kernel, g.slots, g.batch, splits);
      return pass_bytes(channels, splits, std::min(channels * splits * together, g.slots) / g.kernel.workers);
    };
    if (channels > 0) {
      const std::int64_t left = room() - pass_bytes(channels, 0, g.slots / g.kernel.workers);  // if all are busy
      g.most_splits = std::max<std::int64_t>(1, left / (g.sum_bytes * channels));
      while (g.most_splits < g.batch && bytes(g.most_splits + 1) <= room()) ++g.most_splits;
    }
    return choose_grid(g);
  }

  // A chunk of channels, and their spectrum.
  Status backward_of(const BackwardArguments& given, const Spectrum& spectrum, std::int64_t first, bool filter_wanted,
                     char* workspace, void* stream) const {
    const Problem& p = problem();
    const std::int64_t channels = std::min(chunk_, p.channels - first);
    const Spectrum sums{in_place(backward_grid_.grid.splits) ? workspace : workspace + sums_offset(),
                        reinterpret_cast<float*>(workspace + factors_offset())};
    if (p.batch > 0) {
      BackwardJob job{.variant = variant_,
                      .grid = backward_grid_.grid,
                      .batch = p.batch,
                      .channels = channels,
                      .length = p.length,
                      .dy = given.dy,
                      .u = given.u,
                      .pregate = given.pregate,
                      .postgate = given.postgate,
                      .skip = given.skip ? static_cast<const float*>(given.skip) + first : nullptr,
                      .spectrum = spectrum,
                      .follows = !given.filter,
                      .du = given.du,
                      .dpregate = given.dpregate,
                      .dpostgate = given.dpostgate,
                      .sums = filter_wanted ? static_cast<std::uint32_t*>(sums.values) : nullptr,
                      .sum_factors = filter_wanted ? sums.factors : nullptr,
                      .kept = filter_wanted && kept_bytes(variant_) ? workspace + kept_offset() : nullptr};
      for (ConstRows* rows : {&job.dy, &job.u, &job.pregate, &job.postgate})
        resolve(*rows, p), begin_at(*rows, first, p.dtype);
      for (Rows* rows : {&job.du, &job.dpregate, &job.dpostgate}) resolve(*rows, p), begin_at(*rows, first, p.dtype);
      if (Status s = launched(launch_backward(job, stream), job); !s) return s;
    }
    if (!filter_wanted) return {};
    FilterGradientJob job{.variant = variant_,
                          .fold = fold_,
                          .channels = channels,
                          .filter = p.filter,
                          .filter_reverse = p.filter_reverse,
                          .splits = p.batch == 0 ? 0 : backward_grid_.grid.splits,  // no rows: the sum of none
                          .sums = static_cast<const std::uint32_t*>(sums.values),
                          .factors = sums.factors,
                          .dk = given.dk,
                          .dk_rev = given.dk_rev,
                          .filter_dtype = p.filter_dtype,
                          .dskip = given.dskip ? static_cast<float*>(given.dskip) + first : nullptr};
    resolve_taps(job.dk, p.filter), resolve_taps(job.dk_rev, p.filter_reverse);
    for (Taps* taps : {&job.dk, &job.dk_rev}) begin_at(*taps, first, p.filter_dtype);
    const int error = launch_filter_gradient(job, stream);
    return error ? failed("the CUDA kernel of the filter's gradient", error) : Status();
  }

  SpectrumJob spectrum_job(const Spectrum& spectrum, const ConstTaps& k, const ConstTaps& k_rev, std::int64_t first,
                           std::int64_t channels) const {
    const Problem& p = problem();
    SpectrumJob job{.variant = variant_,
                    .fold = fold_,
                    .k = k,
                    .k_rev = k_rev,
                    .filter_dtype = p.filter_dtype,
                    .channels = channels,
                    .spectrum = spectrum};
    resolve_taps(job.k, p.filter), resolve_taps(job.k_rev, p.filter_reverse);
    for (ConstTaps* taps : {&job.k, &job.k_rev}) begin_at(*taps, first, p.filter_dtype);
    return job;
  }
  Status fill(const Spectrum& spectrum, const ConstTaps& k, const ConstTaps& k_rev, std::int64_t first,
              std::int64_t channels, void* stream) const {
    const int error = launch_spectrum(spectrum_job(spectrum, k, k_rev, first, channels), stream);
    return error ? failed("the CUDA kernel of the filter's spectrum", error) : Status();
  }

  template <class Job>
  static Status launched(int error, const Job& job) {
    return error ? failed(std::string("CUDA kernel ") + kernel_name(job), error) : Status();
  }

  std::string task_text(Task task, const GridChoice& choice, std::int64_t channels) const {
    char waves[32];
    std::snprintf(waves, sizeof waves, "%.2f", choice.waves);
    return std::string(kernel_name(variant_, task)) + ", " + std::to_string(channels) + " channels x " +
           std::to_string(choice.grid.splits) + " splits of up to " + std::to_string(choice.rows_per_split) +
           " rows on " + std::to_string(choice.grid.blocks) + " blocks" +
           (choice.grid.together > 1 ? " in clusters of " + std::to_string(choice.grid.together) : std::string()) +
           (task != Task::backward && one_launch(task) ? ", which make the spectrum too" : "") + " (" + waves +
           " waves)" + (channels < problem().channels ? ", chunk after chunk\n" : "\n");
  }

  DeviceFacts facts_;
  Variant variant_;
  Size size_;
  Fold fold_;
  int backward_blocks_;
  GridChoice plain_grid_, gated_grid_;
  std::int64_t chunk_;        // channels that a backward launch takes
  GridChoice backward_grid_;  // of a chunk
};

}  // namespace

Result<Plan> make_plan(const Problem& problem, Device device, PlanOptions) {
  if (Status s = check_problem(problem, device); !s) return s;
  const DeviceFacts facts = query_device(device.index);
  if (Status s = check_facts(device, facts); !s) return s;
  const DeviceScope scope(device.index);
  if (scope.error()) return failed("switching to the device", scope.error());
  const Variant variant = choose_variant(problem);
  if (blocks_per_multiprocessor(variant, Task::gated) == 0)
    return unsupported(device, "its engine has no kernel of " + std::to_string(kSizes[variant.row].points) +
                                   " points for " + architecture(facts));
  return Plan(std::make_shared<CudaPlan>(problem, device, facts, variant));
}

Status check_device(Device device) { return check_facts(device, query_device(device.index)); }

std::string describe_device(Device device) {
  const DeviceFacts facts = query_device(device.index);
  if (Status s = check_facts(device, facts); !s) return s.message();
  return "CUDA " + std::to_string(device.index) + " is " + architecture(facts) + " with " +
         std::to_string(facts.multiprocessors) + " multiprocessors, driver for CUDA " + version(facts.driver);
}

}  // namespace ffc::cuda
