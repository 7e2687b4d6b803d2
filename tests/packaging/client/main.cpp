// A program of somebody else's: convolves [1 2 3] with [1 1] on two threads and checks the sums.
#include <flashfftconv/flashfftconv.h>

#include <cstdio>
#include <cstdlib>

int main() {
  const float row[3] = {1, 2, 3}, taps[2] = {1, 1};
  float result[3] = {};
  const auto plan = ffc::make_plan({.length = 3, .filter = 2}, {}, {.workers = 2});
  if (!plan) return std::fprintf(stderr, "%s\n", plan.status().message().c_str()), 1;
  const std::size_t bytes = plan->workspace_bytes();
  void* memory = std::aligned_alloc(ffc::kWorkspaceAlignment, bytes);
  const ffc::Status status = ffc::forward(*plan, {.u = row, .k = taps, .y = result}, {.workspace = {memory, bytes}});
  std::free(memory);
  std::printf("flashfftconv %s: %g %g %g\n", FFC_VERSION, result[0], result[1], result[2]);
  return status && result[0] == 1 && result[1] == 3 && result[2] == 5 ? 0 : 1;
}
