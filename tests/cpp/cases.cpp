// The table of cases, python/flashfftconv/cases.txt, which says what its columns mean. python/flashfftconv/cases.py
// reads it by the same rules.
#include "cases.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <map>
#include <sstream>
#include <string>

namespace ffc::test {
namespace {

enum Column { kRun, kMode, kB, kH, kL, kLk, kLr, kLag, kN, kWith, kType, kFilter, kStrides, kColumns };
using Words = std::vector<std::string>;
using Values = std::array<std::string, kColumns>;

Words split(const std::string& text, char separator) {
  Words words;
  std::istringstream stream(text);
  for (std::string word; std::getline(stream, word, separator);) words.push_back(word);
  return words;
}

bool has(const Words& words, const std::string& word) {
  return std::find(words.begin(), words.end(), word) != words.end();
}

// Tests over half a table would prove nothing.
[[noreturn]] void refuse(const std::string& what) {
  std::fprintf(stderr, "%s: %s\n", FFC_CASES, what.c_str());
  std::exit(1);
}

template <typename T>
T named(const std::string& name, const std::map<std::string, T>& values) {
  const auto found = values.find(name);
  if (found == values.end()) refuse("'" + name + "' is unknown");
  return found->second;
}

DType dtype_named(const std::string& name) {
  return named<DType>(name, {{"f32", DType::f32}, {"f64", DType::f64}, {"f16", DType::f16}, {"bf16", DType::bf16}});
}

// The value of a sum of terms: a number, or a variable with a factor before it or a divisor behind.
std::int64_t sum_of(const std::string& text, const std::map<char, std::int64_t>& known) {
  std::int64_t total = 0;
  std::size_t at = 0;
  auto number = [&](std::int64_t otherwise) {
    if (at == text.size() || !std::isdigit(static_cast<unsigned char>(text[at]))) return otherwise;
    std::size_t digits;
    const std::int64_t value = std::stoll(text.substr(at), &digits);
    at += digits;
    return value;
  };
  while (at < text.size()) {
    const bool minus = text[at] == '-';
    if (minus || text[at] == '+') ++at;
    const std::size_t begin = at;
    std::int64_t value = number(1);
    if (at < text.size() && known.count(text[at])) value *= known.at(text[at++]);
    if (at < text.size() && text[at] == '/') ++at, value /= number(1);
    if (at == begin) refuse("'" + text + "' is not a size");
    total += minus ? -value : value;
  }
  return total;
}

std::int64_t size_of(const std::string& text, const std::map<char, std::int64_t>& known) {
  return text == "-" ? 0 : std::max<std::int64_t>(1, sum_of(text, known));
}

// False for a combination that the table leaves out. `turn` counts those whose gates and skip take turns.
bool make_case(const Values& v, int& turn, Case& c) {
  Problem p;
  p.mode = named<Mode>(
      v[kMode], {{"circular", Mode::circular}, {"causal", Mode::causal}, {"bidirectional", Mode::bidirectional}});
  p.batch = std::stoll(v[kB]), p.channels = std::stoll(v[kH]);
  p.length = size_of(v[kL], {});
  p.filter = size_of(v[kLk], {{'L', p.length}});
  p.filter_reverse = size_of(v[kLr], {{'L', p.length}, {'K', p.filter}});
  p.reverse_lag = std::stoi(v[kLag]);
  p.fft_size = size_of(v[kN], {{'L', p.length}, {'K', p.filter}});
  if (p.mode == Mode::circular) {
    if (p.fft_size < p.length) return false;
    p.filter = std::min(p.filter, p.fft_size);
  }
  p.dtype = dtype_named(v[kType]);
  p.filter_dtype = v[kFilter] == "-" ? compute_type(p.dtype) : dtype_named(v[kFilter]);
  c = {p};
  if (v[kWith] == "any") {
    c.pregate = turn & 1, c.postgate = turn & 2, c.skip = turn & 4;
    ++turn;
  } else {
    const Words with = split(v[kWith], '+');
    c.pregate = has(with, "pre"), c.postgate = has(with, "post"), c.skip = has(with, "skip");
  }
  c.inputs = named<Arrangement>(v[kStrides], {{"dense", Arrangement::contiguous},
                                              {"spaced", Arrangement::spaced},
                                              {"transposed", Arrangement::transposed},
                                              {"shared", Arrangement::same_for_batch}});
  return true;
}

// Calls visit(values) for every combination of the columns' values, the last column's changing fastest.
template <class Visit>
void for_each_combination(const std::array<Words, kColumns>& columns, Visit visit) {
  Values values;
  auto choose = [&](auto& self, int column) -> void {
    if (column == kColumns) return visit(values);
    for (const std::string& value : columns[static_cast<std::size_t>(column)]) {
      values[static_cast<std::size_t>(column)] = value;
      self(self, column + 1);
    }
  };
  choose(choose, kRun + 1);
}

std::vector<Case> read_cases(const std::string& run) {
  std::ifstream file(FFC_CASES);
  if (!file) refuse("cannot be read");
  std::map<std::string, Words> lists;
  std::vector<Case> found;
  int turn = 0;
  for (std::string line; std::getline(file, line);) {
    std::istringstream stream(line.substr(0, line.find('#')));
    Words words;
    for (std::string word; stream >> word;) words.push_back(word);
    if (words.size() == 3 && words[0] == "list") {
      lists['@' + words[1]] = split(words[2], ',');
      continue;
    }
    if (words.empty() || words[0].rfind("bench:", 0) == 0) continue;
    if (words.size() != kColumns) refuse(std::to_string(words.size()) + " columns in '" + line + "'");
    std::array<Words, kColumns> columns;
    for (std::size_t i = 0; i < kColumns; ++i)
      columns[i] = words[i][0] == '@' ? named(words[i], lists) : split(words[i], ',');
    if (words[kWith] == "each")
      columns[kWith] = {"-", "pre", "post", "pre+post", "skip", "pre+skip", "post+skip", "pre+post+skip"};
    const bool wanted = has(split(words[kRun], '+'), run);
    for_each_combination(columns, [&](const Values& values) {
      Case c;
      if (make_case(values, turn, c) && wanted) found.push_back(c);
    });
  }
  if (found.empty()) refuse("no case for '" + run + "'");
  return found;
}

// Products of one forward pass by definition.
double products(const Problem& p) {
  const double taps = static_cast<double>(p.filter + p.filter_reverse);
  return static_cast<double>(p.batch * p.channels) * static_cast<double>(p.length) * taps;
}

std::vector<Case> of_few_products(std::vector<Case> list) {
  std::erase_if(list, [](const Case& c) { return products(c.problem) > 3e5; });
  return list;
}

}  // namespace

bool quick() {
  static const bool value = std::getenv("FFC_TEST_QUICK") != nullptr;
  return value;
}

const std::vector<Case>& cases() {
  static const std::vector<Case> list = quick() ? of_few_products(read_cases("cpp")) : read_cases("cpp");
  return list;
}

const std::vector<Case>& long_cases() {
  static const std::vector<Case> list = quick() ? std::vector<Case>() : read_cases("long");
  return list;
}

const std::vector<Case>& sample_cases() {
  static const std::vector<Case> list = read_cases("sample");
  return list;
}

}  // namespace ffc::test
