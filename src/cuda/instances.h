// The kernels of one row of the table: compiled in instantiate.cu, once a row; launched in launch.cu.
#pragma once

#include "cuda/sizes.h"

namespace ffc::cuda {

struct Kernel {
  const void* function = nullptr;
  const char* name = "";
  int threads = 0;
  int shared_bytes = 0;
  int rows = 1;     // that a worker takes at once
  int workers = 1;  // of a block, each with items of its own
};

struct RowKernels {
  Kernel forward[2][2][2];   // [right-angle, pairs][fp16, bf16][rows aligned to 16 bytes, any]
  Kernel backward[2][2][2];  // function null where the pass does not fit one multiprocessor
  Kernel spectrum;
  Kernel gradient;  // null likewise
};

/// One function a row, each in its own object file.
template <int ROW>
const RowKernels& row_kernels();

}  // namespace ffc::cuda
