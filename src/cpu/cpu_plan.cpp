// Plans of the CPU backend: the choice of algorithm, the layout of the workspace, and the tasks that threads share.
//
// A task is one channel and a range of its rows (a slice). One slice a channel: its filter is prepared in the worker's
// scratch and its gradients finished there. Several (few channels, many rows): the filters are prepared first, the
// slices' sums are added in their order last. Slices of a backward pass follow from the problem alone, so the number of
// threads never changes a bit.
#include "cpu/cpu_plan.h"

#include <algorithm>
#include <cstdio>
#include <string>

#include "algo/planner.h"
#include "backend/backend.h"
#include "cpu/chosen.h"
#include "cpu/kernels.h"
#include "cpu/make_plan.h"
#include "cpu/tasks.h"
#include "cpu/thread_pool.h"

namespace ffc::cpu {
namespace {

// Vector operations worth waking another thread for, some ten microseconds.
constexpr double kWorthThread = 30000;

// Tasks that keep a large machine busy, and the memory that sums of slices may take for it.
constexpr std::int64_t kTasks = 64;
constexpr std::int64_t kSumsBytes = 32 << 20;

template <typename T>
Shape<T> choose_shape(const Problem& p, int lanes, std::shared_ptr<const Tables<T>>& tables, double& row_cost) {
  Shape<T> s;
  s.problem = p;
  s.fold = make_fold(p);
  const TransformSize whole =
      p.mode == Mode::circular && 2 * p.length > p.fft_size ? exact_size(p.fft_size, lanes) : TransformSize{};
  const TransformSize folded = choose_size(p.length, lanes);
  // A pair's root is complex on both sides, and carries two rows.
  const double pairs =
      whole.points ? (transform_cost(whole, lanes) + 4.0 * whole.root * whole.points / lanes) / 2 : 1e300;
  const double right_angle = transform_cost(folded, lanes);
  const double direct = direct_cost(p.length, s.fold.span(), lanes);
  row_cost = std::min({direct, pairs, right_angle});
  if (row_cost == direct) {
    s.algorithm = Algorithm::direct;
    s.points = s.fold.span();
  } else {
    const bool paired = pairs < right_angle;
    s.algorithm = paired ? Algorithm::pairs : Algorithm::right_angle;
    tables = make_tables<T>(paired ? whole : folded, lanes, paired ? 0 : 0.25);
    s.tables = tables.get();
    s.points = tables->size.points;
  }
  set_sizes(s);
  return s;
}

template <class RowsType>
void resolve(RowsType& rows, const Problem& p) {
  if (rows.channel_stride == kContiguous) rows.channel_stride = p.length;
  if (rows.batch_stride == kContiguous) rows.batch_stride = p.channels * p.length;
}
template <class TapsType>
void resolve_taps(TapsType& taps, std::int64_t count) {
  if (taps.channel_stride == kContiguous) taps.channel_stride = count;
}

template <typename T>
class CpuPlan final : public BackendPlan {
 public:
  CpuPlan(const Problem& problem, Device device, int workers, const Kernels<T>& kernels)
      : BackendPlan(problem, device),
        kernels_(kernels),
        shape_(choose_shape<T>(problem, kernels.lanes, tables_, row_cost_)) {
    const std::int64_t B = problem.batch, H = std::max<std::int64_t>(problem.channels, 1);
    const double rows = static_cast<double>(B) * static_cast<double>(problem.channels);
    workers_ = static_cast<int>(std::max(1.0, std::min({double(workers), rows, 1 + rows * row_cost_ / kWorthThread})));
    forward_slice_ = slice_rows((4 * workers_ + H - 1) / H);
    std::int64_t wanted = (kTasks + H - 1) / H;
    while (wanted > 1 && H * wanted * shape_.sums_size * static_cast<std::int64_t>(sizeof(T)) > kSumsBytes) --wanted;
    backward_slice_ = slice_rows(wanted);
  }

  std::size_t workspace_bytes(Pass pass) const override { return layout(pass).bytes; }
  std::size_t spectrum_bytes() const override {
    return sizeof(T) * static_cast<std::size_t>(shape_.spectrum_size) * problem().channels;
  }
  int workers() const override { return workers_; }

  Status forward(const ForwardArguments& given, const Execution& execution) const override {
    const Problem& p = problem();
    if (p.batch == 0 || p.channels == 0) return {};
    ForwardArguments a = given;
    resolve_taps(a.k, p.filter), resolve_taps(a.k_rev, p.filter_reverse);
    for (ConstRows* rows : {&a.u, &a.pregate, &a.postgate}) resolve(*rows, p);
    resolve(a.y, p);

    const Layout at = layout(Pass::forward);
    T* memory = static_cast<T*>(execution.workspace.data);
    const T* ready = ready_spectra(a.filter, a, at, memory, execution);
    parallel_tasks(execution, workers_, p.channels * at.slices, [&](std::int64_t task, int worker) {
      const std::int64_t h = task / at.slices, begin = task % at.slices * forward_slice_;
      T* scratch = memory + at.scratch + worker * at.per_worker;
      const T* spectrum = spectrum_of(ready, a, h, scratch, at);
      kernels_.forward(shape_, a, h, begin, std::min(begin + forward_slice_, p.batch), spectrum, scratch);
    });
    return {};
  }

  Status backward(const BackwardArguments& given, const Execution& execution) const override {
    const Problem& p = problem();
    if (p.channels == 0) return {};
    BackwardArguments a = given;
    resolve_taps(a.k, p.filter), resolve_taps(a.k_rev, p.filter_reverse);
    resolve_taps(a.dk, p.filter), resolve_taps(a.dk_rev, p.filter_reverse);
    for (ConstRows* rows : {&a.dy, &a.u, &a.pregate, &a.postgate}) resolve(*rows, p);
    for (Rows* rows : {&a.du, &a.dpregate, &a.dpostgate}) resolve(*rows, p);

    const Layout at = layout(Pass::backward);
    T* memory = static_cast<T*>(execution.workspace.data);
    const T* ready = ready_spectra(a.filter, a, at, memory, execution);
    parallel_tasks(execution, workers_, p.channels * at.slices, [&](std::int64_t task, int worker) {
      const std::int64_t h = task / at.slices, begin = task % at.slices * backward_slice_;
      T* scratch = memory + at.scratch + worker * at.per_worker;
      const T* spectrum = spectrum_of(ready, a, h, scratch, at);
      T* sums = at.slices > 1 ? memory + at.sums + task * shape_.sums_size : scratch + at.worker_sums;
      kernels_.backward(shape_, a, h, begin, std::min(begin + backward_slice_, p.batch), spectrum, sums, scratch);
      if (at.slices == 1) kernels_.finish(shape_, a, h, sums, 1);
    });
    if (at.slices > 1)
      parallel_tasks(execution, workers_, p.channels, [&](std::int64_t h, int) {
        kernels_.finish(shape_, a, h, memory + at.sums + h * at.slices * shape_.sums_size, at.slices);
      });
    return {};
  }

  Status prepare(const FilterArguments& given, const Execution& execution) const override {
    const Problem& p = problem();
    FilterArguments a = given;
    resolve_taps(a.k, p.filter), resolve_taps(a.k_rev, p.filter_reverse);
    prepare_all(a.k, a.k_rev, static_cast<T*>(a.storage.data), layout(Pass::forward), execution);
    return {};
  }

  std::string describe() const override {
    const Problem& p = problem();
    const TransformSize* size = shape_.tables ? &shape_.tables->size : nullptr;
    std::string text = std::string(name_of(p.mode)) + " convolution [" + std::to_string(p.batch) + ", " +
                       std::to_string(p.channels) + ", " + std::to_string(p.length) + "] * " +
                       std::to_string(p.filter) + " taps, " + name_of(p.dtype) + ", on the CPU (" + kernels_.target +
                       ", " + std::to_string(workers_) + (workers_ == 1 ? " worker)\n" : " workers)\n");
    text += "  algorithm: ";
    if (!size) {
      text += "direct sums over " + std::to_string(shape_.points) + " lags\n  why: ";
    } else {
      text += std::string(shape_.algorithm == Algorithm::pairs ? "pairs of rows" : "right-angle") + " transform of " +
              std::to_string(size->points) + " points\n  stages: root " + std::to_string(size->root);
      for (int i = 0; i < size->levels; ++i) text += " x 4";
      text += " x " + std::to_string(kernels_.lanes) + " in vectors\n  why: ";
    }
    char cost[160];
    const double transform = transform_cost(choose_size(p.length, kernels_.lanes), kernels_.lanes);
    std::snprintf(cost, sizeof cost, "direct sums cost %.3g vector operations a row, a right-angle transform %.3g%s\n",
                  direct_cost(p.length, shape_.fold.span(), kernels_.lanes), transform,
                  shape_.algorithm == Algorithm::pairs ? ", half of one over two rows less" : "");
    text += cost;
    text += "  workspace: " + std::to_string(workspace_bytes(Pass::forward)) + " bytes forward, " +
            std::to_string(workspace_bytes(Pass::backward)) +
            " backward; a prepared filter: " + std::to_string(spectrum_bytes()) + "\n";
    return text;
  }

 private:
  // Where things lie in the workspace, in elements of T.
  struct Layout {
    std::int64_t slices;      // a channel
    std::int64_t per_worker;  // scratch, then a spectrum and sums where there is one slice
    std::int64_t worker_spectrum, worker_sums;
    std::int64_t scratch, spectra, sums;
    std::size_t bytes;
  };

  Layout layout(Pass pass) const {
    const bool back = pass == Pass::backward;
    const std::int64_t H = problem().channels, rows = back ? backward_slice_ : forward_slice_;
    Layout at{};
    at.slices = std::max<std::int64_t>(1, (problem().batch + rows - 1) / rows);
    at.worker_spectrum = back ? shape_.scratch_backward : shape_.scratch_forward;
    at.worker_sums = at.worker_spectrum + (at.slices > 1 ? 0 : shape_.spectrum_size);
    at.per_worker = at.worker_sums + (back && at.slices == 1 ? shape_.sums_size : 0);
    at.spectra = at.scratch + workers_ * at.per_worker;
    at.sums = at.spectra + (at.slices > 1 ? H * shape_.spectrum_size : 0);
    const std::int64_t end = at.sums + (back && at.slices > 1 ? H * at.slices * shape_.sums_size : 0);
    at.bytes = H == 0 ? 0 : sizeof(T) * static_cast<std::size_t>(end);
    return at;
  }

  // Rows of a slice when a channel is cut into at most `slices`; pairs stay together.
  std::int64_t slice_rows(std::int64_t slices) const {
    const std::int64_t B = std::max<std::int64_t>(problem().batch, 1);
    slices = std::max<std::int64_t>(1, std::min(slices, (B + 1) / 2));
    return ((B + slices - 1) / slices + 1) / 2 * 2;
  }

  // Spectra of all channels where tasks share them: the filter's, or prepared now; null where a task prepares its own.
  template <class Arguments>
  const T* ready_spectra(const Filter* filter, const Arguments& a, const Layout& at, T* memory,
                         const Execution& execution) const {
    if (filter) return static_cast<const T*>(filter->spectrum());
    if (at.slices == 1) return nullptr;
    prepare_all(a.k, a.k_rev, memory + at.spectra, at, execution);
    return memory + at.spectra;
  }

  void prepare_all(const ConstTaps& k, const ConstTaps& k_rev, T* spectra, const Layout& at,
                   const Execution& execution) const {
    T* memory = static_cast<T*>(execution.workspace.data);
    parallel_tasks(execution, workers_, problem().channels, [&](std::int64_t h, int worker) {
      kernels_.prepare(shape_, k, k_rev, h, spectra + h * shape_.spectrum_size,
                       memory + at.scratch + worker * at.per_worker);
    });
  }

  template <class Arguments>
  const T* spectrum_of(const T* ready, const Arguments& a, std::int64_t h, T* scratch, const Layout& at) const {
    if (ready) return ready + h * shape_.spectrum_size;
    T* own = scratch + at.worker_spectrum;
    kernels_.prepare(shape_, a.k, a.k_rev, h, own, scratch);
    return own;
  }

  const Kernels<T>& kernels_;
  std::shared_ptr<const Tables<T>> tables_;
  double row_cost_ = 0;
  Shape<T> shape_;
  int workers_ = 1;
  std::int64_t forward_slice_ = 1, backward_slice_ = 1;
};

}  // namespace

Result<Plan> make_plan(const Problem& problem, Device device, PlanOptions options) {
  return make_cpu_plan<Kernels, CpuPlan, Plan>(problem, device, options);
}

const char* target_name() {
  const Kernels<float>* kernels = chosen<Kernels<float>>();
  return kernels ? kernels->target : "none";
}

}  // namespace ffc::cpu
