#include "cases.h"

#include <algorithm>
#include <cstdlib>
#include <string>

namespace ffc::test {
namespace {

constexpr DType kTypes[] = {DType::f32, DType::f64, DType::f16, DType::bf16};

// Products of one forward pass by definition.
double products(const Problem& p) {
  const double taps = static_cast<double>(p.filter + p.filter_reverse);
  return static_cast<double>(p.batch * p.channels) * static_cast<double>(p.length) * taps;
}

Problem causal(std::int64_t length, std::int64_t filter, std::int64_t batch = 2, std::int64_t channels = 2) {
  return {.batch = batch, .channels = channels, .length = length, .filter = filter};
}
Problem circular(std::int64_t length, std::int64_t filter, std::int64_t fft_size, std::int64_t batch = 2,
                 std::int64_t channels = 2) {
  return {.batch = batch,
          .channels = channels,
          .length = length,
          .filter = filter,
          .fft_size = fft_size,
          .mode = Mode::circular};
}
Problem bidirectional(std::int64_t length, std::int64_t filter, std::int64_t reverse, int lag, std::int64_t batch = 2,
                      std::int64_t channels = 2) {
  return {.batch = batch,
          .channels = channels,
          .length = length,
          .filter = filter,
          .filter_reverse = reverse,
          .reverse_lag = lag,
          .mode = Mode::bidirectional};
}

class Table {
 public:
  // With FFC_TEST_QUICK, problems of more products than `most_products` are left out.
  explicit Table(double most_products = 3e5) : most_products_(most_products) {}
  // Gates and skip take turns, so that every combination meets every kind of problem.
  void add(Problem p, DType dtype) { add(p, dtype, dtype == DType::f64 ? DType::f64 : DType::f32); }
  void add(Problem p, DType dtype, DType filter_dtype) {
    p.dtype = dtype, p.filter_dtype = filter_dtype;
    const int turn = turn_++;
    add(Case{p, (turn & 1) != 0, (turn & 2) != 0, (turn & 4) != 0});
  }
  void add(const Case& c) {
    if (quick() && products(c.problem) > most_products_) return;
    list_.push_back(c);
  }
  std::vector<Case> take() { return std::move(list_); }

 private:
  int turn_ = 0;
  double most_products_;
  std::vector<Case> list_;
};

// One problem of each mode at a length, with filters about as long as the row.
void add_modes(Table& table, std::int64_t n, DType dtype) {
  table.add(causal(n, n), dtype);
  table.add(circular(n, n, n), dtype);
  table.add(circular(n, n + n / 2, 2 * n), dtype);
  table.add(bidirectional(n, n, n, 1), dtype);
  table.add(bidirectional(n, n, std::max<std::int64_t>(1, n - 1), 0), dtype);
}

void add_lengths(Table& table) {
  // Tiny and prime; just below, at and above sizes of transforms for vectors of 1 to 16 lanes; at the edge of the
  // choice between direct sums and transforms.
  for (std::int64_t n : {1,   2,   3,   4,   5,   7,   8,   13,  15,  16,  17,  23,  31,   32,   33,  47,  48,
                         49,  61,  63,  64,  65,  79,  80,  81,  95,  96,  97,  111, 112,  113,  127, 128, 129,
                         159, 160, 161, 191, 192, 193, 223, 224, 225, 255, 256, 257, 383,  384,  385, 499, 511,
                         512, 513, 639, 640, 641, 767, 768, 769, 895, 896, 897, 997, 1023, 1024, 1025})
    add_modes(table, n, DType::f32);
  for (std::int64_t n : {1, 2, 3, 5, 17, 31, 64, 65, 127, 192, 256, 257, 331, 512, 1009})
    for (DType dtype : {DType::f64, DType::f16, DType::bf16}) add_modes(table, n, dtype);
  for (std::int64_t n : {1279, 1280, 1281, 1536, 1793, 2047, 2048, 2049, 2560, 3071, 3073, 3585, 4096, 4099}) {
    table.add(causal(n, n, 1, 2), DType::f32);
    table.add(circular(n, n, n, 3, 1), n % 2 ? DType::f64 : DType::f32);
    table.add(bidirectional(n, n, n, static_cast<int>(n % 2), 1, 1), n % 3 ? DType::f32 : DType::f64);
  }
}

void add_filters(Table& table) {
  for (std::int64_t n : {1, 6, 100, 300, 700})
    for (std::int64_t taps : {std::int64_t{1}, std::int64_t{2}, std::int64_t{9}, n / 2 + 1, n, n + 1, 2 * n + 3}) {
      table.add(causal(n, taps, 3, 2), DType::f32);
      for (std::int64_t reverse : {std::int64_t{1}, std::int64_t{4}, n, 2 * n + 5})
        for (int lag : {0, 1}) table.add(bidirectional(n, taps, reverse, lag, 2, 1), DType::f32);
      // fft_size: the least, prime, just large enough for no tap to wrap, beyond that
      for (std::int64_t size : {n, n + 1, std::int64_t{787}, n + taps - 1, 4 * n + 9})
        if (size >= n) table.add(circular(n, std::min(taps, size), size, 2, 1), DType::f32);
    }
  // Taps that all wrap, and a filter as long as a transform that is much longer than the row.
  table.add(circular(50, 5003, 5003), DType::f32);
  table.add(circular(600, 4096, 4096), DType::f32);
  table.add(circular(600, 8192, 8192, 1, 1), DType::f64);
}

void add_types(Table& table) {
  for (DType dtype : kTypes)
    for (DType filter_dtype : kTypes)
      for (std::int64_t n : {12, 321}) {
        table.add(causal(n, n), dtype, filter_dtype);
        table.add(circular(n, n, n + 7), dtype, filter_dtype);
        table.add(bidirectional(n, n, n, 1), dtype, filter_dtype);
      }
  for (DType dtype : kTypes)
    for (int turn = 0; turn < 8; ++turn)
      for (Problem p :
           {causal(19, 19), causal(300, 300), circular(512, 400, 512, 3, 1), bidirectional(70, 66, 65, 0)}) {
        p.dtype = dtype, p.filter_dtype = dtype == DType::f64 ? dtype : DType::f32;
        table.add(Case{p, (turn & 1) != 0, (turn & 2) != 0, (turn & 4) != 0});
      }
}

void add_batches(Table& table) {
  for (std::int64_t batch : {1, 2, 3, 4, 5, 7, 16, 33})
    for (DType dtype : {DType::f32, DType::f64, DType::bf16}) {
      // pairs: fft_size a size of the table, length above half of it; odd batches leave a row without a partner
      table.add(circular(512, 512, 512, batch, 1), dtype);
      table.add(circular(300, 512, 512, batch, 2), dtype);
      table.add(circular(1000, 77, 1024, batch, 1), dtype);
      table.add(circular(700, 1280, 1280, batch, 1), dtype);
      table.add(causal(300, 300, batch, 1), dtype);
      table.add(causal(40, 5, batch, 3), dtype);
    }
  for (std::int64_t channels : {1, 2, 5, 65}) table.add(causal(130, 130, 2, channels), DType::f32);
  for (Problem p : {causal(50, 50, 0, 3), causal(50, 50, 3, 0), circular(512, 512, 512, 0, 2), causal(600, 600, 0, 2),
                    bidirectional(300, 300, 300, 1, 0, 1), causal(600, 600, 0, 0)})
    table.add(p, DType::f32);
}

}  // namespace

bool quick() {
  static const bool value = std::getenv("FFC_TEST_QUICK") != nullptr;
  return value;
}

const std::vector<Case>& cases() {
  static const std::vector<Case> list = [] {
    Table table;
    add_lengths(table), add_filters(table), add_types(table), add_batches(table);
    return table.take();
  }();
  return list;
}

const std::vector<Case>& long_cases() {
  static const std::vector<Case> list = [] {
    Table table;
    table.add(causal(20000, 20000, 1, 1), DType::f32);
    table.add(causal(20000, 900, 1, 1), DType::f64);
    table.add(bidirectional(20000, 600, 500, 1, 1, 1), DType::bf16);
    table.add(circular(16384, 1500, 16384, 2, 1), DType::f32);
    table.add(circular(16000, 16384, 16384, 2, 1), DType::f16);
    table.add(causal(70000, 1200, 1, 1), DType::f32);
    table.add(bidirectional(70001, 300, 400, 0, 1, 1), DType::f64);
    table.add(circular(70000, 500, 70001, 1, 1), DType::f32);
    return table.take();
  }();
  return list;
}

const std::vector<Case>& sample_cases() {
  static const std::vector<Case> list = [] {
    Table table(1e12);
    for (DType dtype : kTypes) {
      table.add(causal(45, 7, 3, 2), dtype);               // direct
      table.add(causal(301, 301, 3, 2), dtype);            // right-angle
      table.add(circular(512, 512, 512, 5, 2), dtype);     // pairs
      table.add(circular(300, 400, 401, 2, 2), dtype);     // wrapped taps
      table.add(bidirectional(259, 259, 200, 1), dtype);   // both sides
      table.add(bidirectional(20, 3, 4, 0, 2, 3), dtype);  // both sides, direct
      table.add(causal(300, 200, 70, 1), dtype);           // several slices of one channel
      table.add(circular(1000, 1024, 1024, 9, 1), dtype);  // pairs in several slices
    }
    return table.take();
  }();
  return list;
}

}  // namespace ffc::test
