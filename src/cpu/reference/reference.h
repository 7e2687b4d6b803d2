// The oracle: the definitions of Problem (flashfftconv/plan.h) as sums over every product, one after another.
// Deliberately dull: no folding, no transform, no vector code, nothing shared with the engine but the description of
// the problem.
#pragma once

#include <vector>

#include "flashfftconv/plan.h"

namespace ffc::reference {

/// Contiguous arrays; those that are empty are absent (gates of 1, a skip of 0, no k_rev).
struct Arrays {
  std::vector<double> u;         // [batch, channels, length]
  std::vector<double> k;         // [channels, filter]
  std::vector<double> k_rev;     // [channels, filter_reverse]
  std::vector<double> pregate;   // [batch, channels, length]
  std::vector<double> postgate;  // [batch, channels, length]
  std::vector<double> skip;      // [channels]
};

struct Gradients {
  std::vector<double> du, dk, dk_rev, dpregate, dpostgate, dskip;  // shaped like what they are gradients of
};

/// y [batch, channels, length]. `Real` (double or long double) is the type of every product and sum.
template <typename Real>
std::vector<double> forward(const Problem& problem, const Arrays& arrays);

/// Gradients of sum(dy * y) for everything, gates and skip included where they are absent.
template <typename Real>
Gradients backward(const Problem& problem, const Arrays& arrays, const std::vector<double>& dy);

}  // namespace ffc::reference
