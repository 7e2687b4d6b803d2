// The shortest use: two channels of a row, convolved causally with an exponential decay.
#include <flashfftconv/flashfftconv.h>

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <vector>

int main() {
  constexpr int kChannels = 2, kLength = 4096;
  const auto plan = ffc::make_plan({.channels = kChannels, .length = kLength, .filter = kLength});
  if (!plan) return std::fprintf(stderr, "%s\n", plan.status().message().c_str()), 1;

  std::vector<float> u(kChannels * kLength), k(u.size()),
      y(u.size());  // [batch = 1, channels, length], [channels, filter]
  for (int h = 0; h < kChannels; ++h)
    for (int i = 0; i < kLength; ++i) {
      u[h * kLength + i] = i % 1000 == 0 ? 1.0f : 0.0f;
      k[h * kLength + i] = std::exp(-0.01f * static_cast<float>((h + 1) * i));
    }

  const std::size_t bytes = plan->workspace_bytes();
  void* memory = std::aligned_alloc(ffc::kWorkspaceAlignment, bytes);
  const ffc::Status status =
      ffc::forward(*plan, {.u = u.data(), .k = k.data(), .y = y.data()}, {.workspace = {memory, bytes}});
  std::free(memory);
  if (!status) return std::fprintf(stderr, "%s\n", status.message().c_str()), 1;

  std::printf("%s", plan->describe().c_str());
  for (int i = 1000; i <= 1300; i += 100) std::printf("y[%d] = %.6f, %.6f\n", i, y[i], y[kLength + i]);
}
