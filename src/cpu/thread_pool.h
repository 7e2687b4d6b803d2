// The library's own threads, for callers that bring no parallel-for.
#pragma once

#include "flashfftconv/execute.h"

namespace ffc::cpu {

int hardware_workers();

// Runs body(argument, worker) for every worker in [0, workers). Callers at the same time do not wait for each other:
// the one that finds the threads busy runs its workers itself, one after another.
void run_on_own_threads(int workers, void (*body)(void*, int), void* argument);

}  // namespace ffc::cpu
