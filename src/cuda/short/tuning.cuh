// How much a thread of each kernel takes, and why.
#pragma once

namespace ffc::cuda {

struct Tuning {
  int count;    // samples of an access
  int steps;    // bhl: chunks of a thread; blh: rows of a run, backward: on the way at a time
  int threads;  // of a block
  int blocks;   // that a multiprocessor should hold at least: caps the registers
  int group;    // blh, forward: channels computed at a time
};

/// Rows on the way in blh, backward: a multiple of the taps, so that the window's slots are constants.
constexpr int rows_ahead(int taps, int at_least) { return (at_least + taps - 1) / taps * taps; }

/// Blocks small and many, so that a multiprocessor has loads on their way at any time, whatever a single thread waits
/// for; floats take more registers, and so do more than 8 taps, of which many more are computed than waited for.
constexpr Tuning first_forward_tuning(int taps, int chunk, bool active) {
  if (taps > 8) return {0, 2, 128, 6};
  return {0, 2, 128, active ? 6 : taps > 6 && chunk < 8 ? 10 : 12};
}
constexpr Tuning first_backward_tuning(int taps, bool active) {
  if (taps > 8) return {0, 1, 128, active ? 3 : 5};
  return {0, active ? 1 : 2, 128, 4};
}
/// Three rows at once.
constexpr Tuning gate_tuning(int chunks) { return {0, chunks > 2 ? 1 : 2, 256, 2}; }

/// Weights and sums of three rows too.
constexpr Tuning gate_backward_tuning() { return {0, 1, 128, 3}; }

/// All rows of a run, and weights and window of a group of channels, are registers.
constexpr Tuning last_forward_tuning(int taps, int chunk) {
  if (taps > 8) return {chunk / 2, 12, 128, taps > 12 ? 4 : 5, chunk / 4};
  return {chunk / 2, 12, 128, 6, chunk / 4};
}
/// A thread keeps 3 (under an activation 4) * taps values a channel: fewer channels where there are many taps, and more
/// rows on the way instead.
constexpr Tuning last_backward_tuning(int taps, int chunk, bool active) {
  if (taps > 8) return {chunk / 4, taps, 128, 2};
  if (taps > 5 || (active && taps > 4)) return {chunk / 4, rows_ahead(taps, active ? 4 : 8), 128, 3};
  return {chunk / 2, rows_ahead(taps, 4), 128, taps > 4 || active ? 3 : 4};
}

}  // namespace ffc::cuda
