// The problems of the table python/flashfftconv/cases.txt, which drive correctness, gradients, filters, memory and
// threads.
#pragma once

#include <vector>

#include "job.h"

namespace ffc::test {

/// Small and middling problems: every mode, type, gate, skip, length and filter length that is special in some way.
/// With FFC_TEST_QUICK set, those of few products only.
const std::vector<Case>& cases();

/// Rows of 20000 and 70000 samples; empty with FFC_TEST_QUICK.
const std::vector<Case>& long_cases();

/// A few of cases(), one or two of each algorithm, mode and type: for tests that run each many times.
const std::vector<Case>& sample_cases();

bool quick();

}  // namespace ffc::test
