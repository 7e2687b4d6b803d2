#include "cpu/tables.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <mutex>
#include <tuple>

namespace ffc::cpu {
namespace {

constexpr double kPi = 3.14159265358979323846;
constexpr double kOrder[4] = {0, 2, 1, 3};  // of a radix-4 node's children

// e(a) for a >= 0: the angle is brought within 1/8 turn of an axis first, so that it stays exact to rounding.
template <typename T>
void put(T* to, double a) {
  const double quarter = std::nearbyint(4 * a);
  const double rest = 2 * kPi * (a - quarter / 4);
  const double c = std::cos(rest), s = std::sin(rest);
  switch (static_cast<std::int64_t>(quarter) & 3) {
    case 0: to[0] = static_cast<T>(c), to[1] = static_cast<T>(s); break;
    case 1: to[0] = static_cast<T>(-s), to[1] = static_cast<T>(c); break;
    case 2: to[0] = static_cast<T>(-c), to[1] = static_cast<T>(-s); break;
    default: to[0] = static_cast<T>(s), to[1] = static_cast<T>(-c); break;
  }
}

// The angles of the nodes one level down.
std::vector<double> descend(const std::vector<double>& nodes) {
  std::vector<double> below(4 * nodes.size());
  for (std::size_t j = 0; j < nodes.size(); ++j)
    for (int c = 0; c < 4; ++c) below[4 * j + c] = (nodes[j] + kOrder[c]) / 4;
  return below;
}

// One stage inside vectors for a group of blocks: `a` is each block's angle, `divisor` the product of the radices
// before.
template <typename T>
T* put_lanes(T* to, const double* a, int lanes, int radix, int divisor) {
  for (int w = 0; w < Tables<T>::stage_vectors(radix) / 2; ++w, to += 2 * lanes)
    for (int lane = 0; lane < lanes; ++lane) {
      T pair[2];
      put(pair, a[lane] / divisor / (radix == 2 || w == 1 ? 2 : 4));
      to[lane] = pair[0], to[lanes + lane] = pair[1];
    }
  return to;
}

template <typename T>
std::shared_ptr<const Tables<T>> build(TransformSize size, int lanes, double shift) {
  auto t = std::make_shared<Tables<T>>();
  t->size = size, t->lanes = lanes, t->shift = shift;
  t->last = std::min(lanes, 4);
  t->first = lanes / t->last;

  const int R = size.root;
  std::vector<double> nodes(R);
  t->root.resize(2 * R * R);
  for (int c = 0; c < R; ++c) {
    nodes[c] = (shift + c) / R;
    for (int j = 0; j < R; ++j) put(&t->root[2 * (c * R + j)], j * nodes[c]);
  }
  for (int level = 0; level < size.levels; ++level) {
    AlignedVector<T> w(Tables<T>::kNode * nodes.size());
    for (std::size_t j = 0; j < nodes.size(); ++j)
      for (int power = 1; power <= 3; ++power) put(&w[Tables<T>::kNode * j + 2 * (power - 1)], power * nodes[j] / 4);
    t->levels.push_back(std::move(w));
    nodes = descend(nodes);
  }

  t->lane.resize(nodes.size() * t->lane_vectors());
  T* to = t->lane.data();
  for (std::size_t group = 0; group < nodes.size(); group += lanes) {
    to = put_lanes(to, &nodes[group], lanes, t->first, 1);
    to = put_lanes(to, &nodes[group], lanes, t->last, t->first);
  }
  t->child.resize(4 * t->first);
  for (int c = 0; c < t->first; ++c) {
    const double turn = (t->first == 2 ? c : kOrder[c]) / t->first;  // (a + c) / first = a / first + turn
    put(&t->child[4 * c], turn / t->last);
    put(&t->child[4 * c + 2], turn / 2);
  }
  return t;
}

}  // namespace

template <typename T>
std::shared_ptr<const Tables<T>> make_tables(TransformSize size, int lanes, double shift) {
  static std::mutex mutex;
  static std::map<std::tuple<std::int64_t, int, int, double>, std::weak_ptr<const Tables<T>>> known;
  const std::lock_guard lock(mutex);
  auto& entry = known[{size.points, size.root, lanes, shift}];
  auto tables = entry.lock();
  if (!tables) entry = tables = build<T>(size, lanes, shift);
  return tables;
}

template std::shared_ptr<const Tables<float>> make_tables(TransformSize, int, double);
template std::shared_ptr<const Tables<double>> make_tables(TransformSize, int, double);

}  // namespace ffc::cpu
