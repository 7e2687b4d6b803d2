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

// Follows the angles of a packet's nodes through the zips that the kernels do on its vectors (transform-inl.h).
class Packet {
 public:
  Packet(const double* blocks, int lanes, int last) : lanes_(lanes) {
    for (int v = 0; v < last; ++v) vectors_.emplace_back(lanes, blocks[v]);
  }
  // Vectors whose numbers differ in `bit` take turns.
  void zip(int bit) {
    for (int v = 0; v < static_cast<int>(vectors_.size()); ++v) {
      if (v & bit) continue;
      std::vector<double>& a = vectors_[v];
      std::vector<double>& b = vectors_[v | bit];
      std::vector<double> both;
      for (int lane = 0; lane < lanes_; ++lane) both.insert(both.end(), {a[lane], b[lane]});
      a.assign(both.begin(), both.begin() + lanes_);
      b.assign(both.begin() + lanes_, both.end());
    }
  }
  // Each node becomes the child that its vector will hold.
  void descend(int radix) {
    for (int v = 0; v < static_cast<int>(vectors_.size()); ++v)
      for (double& a : vectors_[v]) a = (a + v % radix) / radix;
  }
  const std::vector<double>& vector(int v) const { return vectors_[v]; }

 private:
  int lanes_;
  std::vector<std::vector<double>> vectors_;
};

// `count` lanes' e(scale a) as re and im.
template <typename T>
T* put_lanes(T* to, const std::vector<double>& angles, int count, double scale) {
  for (int lane = 0; lane < count; ++lane) {
    T pair[2];
    put(pair, scale * angles[lane]);
    to[lane] = pair[0], to[count + lane] = pair[1];
  }
  return to + 2 * count;
}

template <typename T>
void put_packet(T* to, const double* blocks, const Tables<T>& t) {
  constexpr int kRepeated = 16 / sizeof(T);
  T* const last = to + t.first_size(t.first, t.lanes);
  Packet packet(blocks, t.lanes, t.last);
  if (t.first > 1) {
    packet.zip(1);
    if (t.first == 4) {
      packet.zip(2);
      for (int power = 1; power <= 3; ++power) to = put_lanes(to, packet.vector(0), kRepeated, power / 4.0);
    } else {
      to = put_lanes(to, packet.vector(0), kRepeated, 0.5);
      to = put_lanes(to, packet.vector(2), kRepeated, 0.5);
    }
    packet.descend(t.first);
  }
  to = last;
  if (t.last > 1) packet.zip(1);
  if (t.last == 4) {
    packet.zip(2);
    to = put_lanes(to, packet.vector(0), t.lanes, 0.25);
  }
  if (t.last > 1) put_lanes(to, packet.vector(0), t.lanes, 0.5);
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

  t->packet_size = t->first_size(t->first, lanes) + (t->last == 4 ? 4 : t->last == 2 ? 2 : 0) * lanes;
  t->packets.resize(nodes.size() / t->last * t->packet_size);
  T* to = t->packets.data();
  for (std::size_t block = 0; block < nodes.size(); block += t->last, to += t->packet_size)
    put_packet(to, &nodes[block], *t);
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
