// Convolution reverb: plays a recording in the room whose impulse response is given.
//
//   reverb INPUT.wav IMPULSE.wav OUTPUT.wav [--wet GAIN] [--dry GAIN] [--block FRAMES]
//
//   output = dry * input + wet * (input convolved with the impulse response)
//
// The input is read a block of T frames at a time. A block convolved with P frames of response gives T + P - 1: the
// last P - 1 of them, its tail, sound on into the next blocks and are added there (overlap-add). Memory is a few blocks
// and responses, whatever the length of the input.
#include <flashfftconv/flashfftconv.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "wav.h"

namespace {

struct Options {
  std::string input, impulse, output;
  double wet = 0.3, dry = 1;
  long block = 0;  // frames; 0: as long as the response, at least 16384
};

[[noreturn]] void usage(const std::string& what) {
  throw wav::Error(what +
                   "\nusage: reverb INPUT.wav IMPULSE.wav OUTPUT.wav [--wet GAIN] [--dry GAIN] [--block FRAMES]");
}

template <typename Number>
Number parse(const std::string& option, const char* text) {
  Number value{};
  const char* end = text + std::strlen(text);
  const auto [stop, error] = std::from_chars(text, end, value);
  if (error != std::errc() || stop != end) usage(option + " is '" + text + "'; it must be a number");
  return value;
}

Options parse_arguments(int count, char** arguments) {
  Options options;
  std::vector<std::string> files;
  for (int i = 1; i < count; ++i) {
    const std::string argument = arguments[i];
    if (argument.rfind("--", 0) != 0) {
      files.push_back(argument);
      continue;
    }
    if (argument != "--wet" && argument != "--dry" && argument != "--block") usage("unknown option " + argument);
    if (++i == count) usage(argument + " needs a value");
    if (argument == "--block")
      options.block = parse<long>(argument, arguments[i]);
    else
      (argument == "--wet" ? options.wet : options.dry) = parse<double>(argument, arguments[i]);
    if (options.block < 0 || options.block > 1L << 28 || (argument == "--block" && options.block == 0))
      usage("--block is " + std::string(arguments[i]) + "; it must be from 1 to 268435456 frames");
  }
  if (!std::isfinite(options.wet) || !std::isfinite(options.dry)) usage("--wet and --dry must be finite");
  if (files.size() != 3) usage(std::to_string(files.size()) + " files are named; three are needed");
  options.input = files[0], options.impulse = files[1], options.output = files[2];
  return options;
}

struct Free {
  void operator()(void* memory) const { std::free(memory); }
};
using Memory = std::unique_ptr<void, Free>;

Memory allocate(std::size_t bytes) {
  // aligned_alloc wants whole multiples.
  const std::size_t whole = (bytes / ffc::kWorkspaceAlignment + 1) * ffc::kWorkspaceAlignment;
  Memory memory(std::aligned_alloc(ffc::kWorkspaceAlignment, whole));
  if (!memory) throw wav::Error("not enough memory for " + std::to_string(bytes) + " bytes");
  return memory;
}

void check(const ffc::Status& status) {
  if (!status) throw wav::Error(status.message());
}

// One block after another through one plan and one prepared filter.
class Reverb {
 public:
  // `response`: [response_channels, taps], gains included. A single channel of input or response serves all channels.
  Reverb(long block, int channels, int input_channels, const std::vector<float>& response, int response_channels,
         float dry)
      : block_(block),
        channels_(channels),
        input_channels_(input_channels),
        dry_(static_cast<std::size_t>(channels), dry) {
    taps_ = static_cast<std::int64_t>(response.size()) / response_channels;
    length_ = block_ + taps_ - 1;
    auto plan = ffc::make_plan({.batch = 1, .channels = channels, .length = length_, .filter = taps_});
    check(plan.status());
    plan_ = std::make_unique<ffc::Plan>(*plan);
    workspace_ = allocate(plan_->workspace_bytes());
    storage_ = allocate(plan_->spectrum_bytes());
    auto filter = ffc::make_filter(*plan_,
                                   {.k = {response.data(), response_channels == 1 ? 0 : taps_},
                                    .storage = {storage_.get(), plan_->spectrum_bytes()}},
                                   execution());
    check(filter.status());
    filter_ = std::make_unique<ffc::Filter>(*filter);
    input_.resize(static_cast<std::size_t>(input_channels * length_));
    result_.resize(static_cast<std::size_t>(channels * length_));
    tail_.resize(static_cast<std::size_t>(channels * length_));
  }

  std::int64_t length() const { return length_; }
  const ffc::Plan& plan() const { return *plan_; }

  // Where the next block goes: channel c from input() + c * length(), `block` frames.
  float* input() { return input_.data(); }

  // Frames that are complete: [channels][length()], the first `block` of each channel; after the last block the tail
  // follows them. `count`: frames of input in this block; the rest of it must not sound.
  const float* process(std::int64_t count) {
    for (int c = 0; c < input_channels_; ++c)
      std::fill(input() + c * length_ + count, input() + (c + 1) * length_, 0.0f);
    check(ffc::forward(*plan_,
                       {.u = {input_.data(), 0, input_channels_ == 1 ? 0 : length_},
                        .filter = filter_.get(),
                        .skip = dry_.data(),
                        .y = result_.data()},
                       execution()));
    for (int c = 0; c < channels_; ++c) {
      float* result = &result_[static_cast<std::size_t>(c * length_)];
      float* tail = &tail_[static_cast<std::size_t>(c * length_)];
      for (std::int64_t i = 0; i < taps_ - 1; ++i) result[i] += tail[i];
      std::copy(result + count, result + length_, tail);
    }
    return result_.data();
  }

 private:
  ffc::Execution execution() { return {.workspace = {workspace_.get(), plan_->workspace_bytes()}}; }

  std::int64_t block_, taps_ = 0, length_ = 0;
  int channels_, input_channels_;
  std::vector<float> dry_, input_, result_, tail_;
  std::unique_ptr<ffc::Plan> plan_;
  Memory workspace_, storage_;
  std::unique_ptr<ffc::Filter> filter_;
};

void run(const Options& options) {
  wav::Reader input(options.input), impulse(options.impulse);
  const wav::Format from = input.format(), room = impulse.format();
  if (from.sample_rate != room.sample_rate)
    throw wav::Error(options.input + " has " + std::to_string(from.sample_rate) + " frames a second, " +
                     options.impulse + " " + std::to_string(room.sample_rate) + "; convert one of them first");

  const std::int64_t taps = impulse.frames();
  std::vector<float> response(static_cast<std::size_t>(room.channels * taps));
  impulse.read(response.data(), taps, taps);
  for (float& value : response) value *= static_cast<float>(options.wet);

  wav::Format to = from;
  to.channels = std::max(from.channels, room.channels);
  const std::int64_t total = input.frames() + taps - 1;
  const long block = options.block ? options.block : std::max<long>(static_cast<long>(taps), 16384);
  Reverb reverb(block, to.channels, from.channels, response, room.channels, static_cast<float>(options.dry));
  std::fprintf(stderr, "%s", reverb.plan().describe().c_str());

  wav::Writer output(options.output, to, total);
  int shown = -1;
  for (std::int64_t done = 0; done < input.frames();) {
    const std::int64_t count = input.read(reverb.input(), reverb.length(), block);
    const float* result = reverb.process(count);
    done += count;
    const bool last = done == input.frames();
    output.write(result, reverb.length(), last ? count + taps - 1 : count);
    const int percent = static_cast<int>(100 * done / input.frames());
    if (percent != shown) std::fprintf(stderr, "\r%3d %%", shown = percent);
  }
  output.finish();
  std::fprintf(stderr, "\r%s: %lld frames, %d channel%s\n", options.output.c_str(), static_cast<long long>(total),
               to.channels, to.channels == 1 ? "" : "s");
  if (output.clipped() > 0)
    std::fprintf(stderr, "%lld samples were too loud for 16 bits and cut; lower --wet or --dry\n",
                 static_cast<long long>(output.clipped()));
}

}  // namespace

int main(int count, char** arguments) {
#ifdef SIGXFSZ
  std::signal(SIGXFSZ, SIG_IGN);  // a file grown beyond its limit is an error to report, like a full disk
#endif
  try {
    run(parse_arguments(count, arguments));
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "\nreverb: %s\n", error.what());
    return 1;
  }
}
