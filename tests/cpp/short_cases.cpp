// The table of cases, python/flashfftconv/short_cases.txt, which says what its columns mean. python/flashfftconv/
// short_cases.py reads it by the same rules.
#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <map>
#include <sstream>

#include "cases.h"
#include "short_job.h"

namespace ffc::test {
namespace {

enum Column { kRun, kB, kD, kL, kK, kPadding, kLayout, kWith, kType, kWeight, kStrides, kColumns };
using Words = std::vector<std::string>;

// Tests over half a table would prove nothing.
[[noreturn]] void refuse(const std::string& what) {
  std::fprintf(stderr, "%s: %s\n", FFC_SHORT_CASES, what.c_str());
  std::exit(1);
}

Words split(const std::string& text, char separator) {
  Words words;
  std::istringstream stream(text);
  for (std::string word; std::getline(stream, word, separator);) words.push_back(word);
  return words;
}

template <typename T>
T named(const std::string& name, const std::map<std::string, T>& values) {
  const auto found = values.find(name);
  if (found == values.end()) refuse("'" + name + "' is unknown");
  return found->second;
}

ShortCase make_case(const Words& v) {
  ShortCase c;
  ShortProblem& p = c.problem;
  p.batch = std::stoll(v[kB]), p.channels = std::stoll(v[kD]), p.length = std::stoll(v[kL]), p.taps = std::stoll(v[kK]);
  const Words sides = split(v[kPadding], '/');
  if (v[kPadding] == "causal")
    p.padding_left = p.taps - 1;
  else
    p.padding_left = std::stoll(sides.front()), p.padding_right = std::stoll(sides.back());
  p.layout = named<Layout>(v[kLayout], {{"bhl", Layout::bhl}, {"blh", Layout::blh}});
  const std::map<std::string, DType> types{
      {"f32", DType::f32}, {"f64", DType::f64}, {"f16", DType::f16}, {"bf16", DType::bf16}};
  p.dtype = named(v[kType], types);
  p.weight_dtype = v[kWeight] == "-" ? compute_type(p.dtype) : named(v[kWeight], types);
  const std::map<std::string, Epilogue> epilogues{
      {"silu", Epilogue::silu}, {"gelu", Epilogue::gelu}, {"gate", Epilogue::gate}};
  for (const std::string& word : v[kWith] == "-" ? Words() : split(v[kWith], '+')) {
    if (word == "bias")
      c.bias = true;
    else if (word == "state")
      c.state = true;
    else if (word == "packed")
      p.sequences = std::min<std::int64_t>(p.length, 12);
    else
      p.epilogue = named(word, epilogues);
  }
  c.spaced = named<bool>(v[kStrides], {{"dense", false}, {"spaced", true}});
  return c;
}

std::vector<ShortCase> read_cases(const std::string& run) {
  std::ifstream file(FFC_SHORT_CASES);
  if (!file) refuse("cannot be read");
  std::vector<ShortCase> found;
  for (std::string line; std::getline(file, line);) {
    std::istringstream stream(line.substr(0, line.find('#')));
    std::vector<Words> columns;
    for (std::string word; stream >> word;) columns.push_back(split(word, columns.empty() ? '+' : ','));
    if (columns.empty()) continue;
    if (columns.size() != kColumns) refuse(std::to_string(columns.size()) + " columns in '" + line + "'");
    if (std::find(columns[kRun].begin(), columns[kRun].end(), run) == columns[kRun].end()) continue;
    // Every combination, the last column's values changing fastest.
    Words values(kColumns);
    auto choose = [&](auto& self, std::size_t column) -> void {
      if (column == kColumns) {
        const ShortCase c = make_case(values);
        if (c.problem.output_length() >= 1) found.push_back(c);
        return;
      }
      for (const std::string& value : columns[column]) values[column] = value, self(self, column + 1);
    };
    choose(choose, kRun + 1);
  }
  if (found.empty()) refuse("no case for '" + run + "'");
  return found;
}

// Products of one pass by definition.
double products(const ShortProblem& p) {
  return static_cast<double>(p.batch * p.channels) * static_cast<double>(p.output_length() * p.taps);
}

}  // namespace

const std::vector<ShortCase>& short_cases() {
  static const std::vector<ShortCase> list = [] {
    std::vector<ShortCase> all = read_cases("cpp");
    if (quick()) std::erase_if(all, [](const ShortCase& c) { return products(c.problem) > 1e5; });
    return all;
  }();
  return list;
}

const std::vector<ShortCase>& short_samples() {
  static const std::vector<ShortCase> list = read_cases("sample");
  return list;
}

}  // namespace ffc::test
