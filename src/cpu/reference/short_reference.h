// The oracle of short convolutions: the definitions of ShortProblem (flashfftconv/short_conv.h) as sums over every
// product. Deliberately dull, and nothing shared with the engine but the description of the problem.
#pragma once

#include <cstdint>
#include <vector>

#include "flashfftconv/short_conv.h"

namespace ffc::reference {

/// Contiguous arrays, [batch, channels, samples] whatever the layout; those that are empty are absent.
struct ShortArrays {
  std::vector<double> x;           // [batch, channels, length]
  std::vector<double> weight;      // [channels, taps]
  std::vector<double> bias;        // [channels]
  std::vector<double> state;       // [states, channels, taps - 1]
  std::vector<std::int64_t> ends;  // [sequences + 1]
};

struct ShortGradients {
  std::vector<double> dx, dweight, dbias, dstate;  // shaped like what they are gradients of
};

/// y [batch, output_channels, output_length]. `Real` (double or long double) is the type of every product and sum.
template <typename Real>
std::vector<double> short_forward(const ShortProblem& problem, const ShortArrays& arrays);

/// Gradients of sum(dy * y) for everything; dstate is empty where there is no state.
template <typename Real>
ShortGradients short_backward(const ShortProblem& problem, const ShortArrays& arrays, const std::vector<double>& dy);

/// The last taps - 1 samples of the state and x, [states, channels, taps - 1].
std::vector<double> final_state(const ShortProblem& problem, const ShortArrays& arrays);

}  // namespace ffc::reference
