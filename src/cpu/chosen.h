// The choice between instruction sets, made once for each table of kernels (src/cpu/simd/targets.h).
#pragma once

namespace ffc::cpu {

// The table of the best instruction set that this machine has, or of the one FFC_CPU_TARGET names (null if there is
// none). Empty counts as unset.
template <class Table>
const Table* chosen();

// What FFC_CPU_TARGET may name here: some of avx512, avx2, neon, scalar.
template <class Table>
const char* target_names();

}  // namespace ffc::cpu
