// The reverb example as a program: its output against the oracle, its errors, its memory.
#define DOCTEST_CONFIG_IMPLEMENT
#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "compare.h"
#include "numbers.h"
#include "wav.h"

namespace ffc::test {
namespace {

namespace fs = std::filesystem;

std::string reverb_program;

// A folder of our own, removed at the end.
struct Folder {
  Folder() {
    std::string name = (fs::temp_directory_path() / "reverb-XXXXXX").string();
    REQUIRE(mkdtemp(name.data()));
    path = name;
  }
  ~Folder() { fs::remove_all(path); }
  std::string operator/(const std::string& name) const { return (path / name).string(); }
  fs::path path;
};

struct Outcome {
  int status;
  long peak_kilobytes;
  std::string messages;
};

// Runs the program; `most_bytes`: the largest file it may write, 0 for any.
Outcome run(const Folder& folder, const std::vector<std::string>& arguments, rlim_t most_bytes = 0) {
  const std::string log = folder / "messages";
  const pid_t child = fork();
  if (child == 0) {
    const int file = open(log.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
    dup2(file, 2);
    if (most_bytes) {
      const rlimit limit{most_bytes, most_bytes};
      setrlimit(RLIMIT_FSIZE, &limit);
    }
    std::vector<char*> list{reverb_program.data()};
    for (const std::string& argument : arguments) list.push_back(const_cast<char*>(argument.c_str()));
    list.push_back(nullptr);
    execv(list[0], list.data());
    _exit(127);
  }
  int status;
  rusage usage;
  REQUIRE(wait4(child, &status, 0, &usage) == child);
  std::ifstream in(log);
  return {WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status), usage.ru_maxrss,
          std::string(std::istreambuf_iterator<char>(in), {})};
}

using Sound = std::vector<float>;  // [channels][frames]

Sound noise(int channels, std::int64_t frames, std::uint64_t seed, bool fades) {
  Random random(seed);
  Sound sound(static_cast<std::size_t>(channels * frames));
  for (std::size_t i = 0; i < sound.size(); ++i) {
    const double at = static_cast<double>(static_cast<std::int64_t>(i) % frames) / static_cast<double>(frames);
    sound[i] = static_cast<float>(0.05 * random.normal() * (fades ? std::exp(-5 * at) : 1));
  }
  return sound;
}

void save(const std::string& path, const wav::Format& format, const Sound& sound) {
  const auto frames = static_cast<std::int64_t>(sound.size()) / format.channels;
  wav::Writer writer(path, format, frames);
  writer.write(sound.data(), frames, frames);
  writer.finish();
}

Sound load(const std::string& path, wav::Format& format) {
  wav::Reader reader(path);
  format = reader.format();
  Sound sound(static_cast<std::size_t>(format.channels * reader.frames()));
  REQUIRE(reader.read(sound.data(), reader.frames(), reader.frames()) == reader.frames());
  return sound;
}

// dry * input + wet * (input * response), [channels][frames + taps - 1], by the definition.
std::vector<double> expected(const Sound& input, int input_channels, const Sound& response, int response_channels,
                             double wet, double dry) {
  const int channels = std::max(input_channels, response_channels);
  const auto frames = static_cast<std::int64_t>(input.size()) / input_channels;
  const auto taps = static_cast<std::int64_t>(response.size()) / response_channels;
  Problem p{.channels = channels, .length = frames + taps - 1, .filter = taps};
  reference::Arrays a;
  for (int c = 0; c < channels; ++c) {
    for (std::int64_t i = 0; i < p.length; ++i)
      a.u.push_back(i < frames ? input[(input_channels == 1 ? 0 : c) * frames + i] : 0);
    for (std::int64_t j = 0; j < taps; ++j) a.k.push_back(wet * response[(response_channels == 1 ? 0 : c) * taps + j]);
    a.skip.push_back(dry);
  }
  return reference::forward<double>(p, a);
}

TEST_CASE("the output is the convolution, for any block, encoding and number of channels") {
  const Folder folder;
  for (int input_channels : {1, 2})
    for (int response_channels : {1, 2})
      for (wav::Encoding encoding : {wav::Encoding::float32, wav::Encoding::pcm16})
        for (const char* block : {"1000", "64", "700", "5000", "100000"}) {
          const std::int64_t frames = std::string(block) == "64" ? 777 : 5000, taps = 701;
          INFO(input_channels, " and ", response_channels, " channels, blocks of ", std::string(block));
          const wav::Format format{input_channels, 44100, encoding};
          save(folder / "in.wav", format, noise(input_channels, frames, 1, false));
          save(folder / "room.wav", {response_channels, 44100, wav::Encoding::float32},
               noise(response_channels, taps, 2, true));
          const Outcome done = run(folder, {folder / "in.wav", folder / "room.wav", folder / "out.wav", "--wet", "0.75",
                                            "--dry", "0.5", "--block", block});
          REQUIRE_MESSAGE(done.status == 0, done.messages);
          wav::Format format_of_input, format_of_room, got_format;
          const Sound input = load(folder / "in.wav", format_of_input),
                      room = load(folder / "room.wav", format_of_room);
          const Sound output = load(folder / "out.wav", got_format);
          CHECK(got_format.channels == std::max(input_channels, response_channels));
          CHECK(got_format.sample_rate == 44100);
          CHECK(got_format.encoding == encoding);
          const std::vector<double> exact = expected(input, input_channels, room, response_channels, 0.75, 0.5);
          const std::vector<double> got(output.begin(), output.end());
          REQUIRE(got.size() == exact.size());
          if (encoding == wav::Encoding::float32) {
            CHECK(relative_error(got.data(), exact.data(), static_cast<std::int64_t>(exact.size())) < 1e-6);
          } else {
            for (std::size_t i = 0; i < exact.size(); ++i) REQUIRE(std::fabs(got[i] - exact[i]) < 0.51 / 32768);
          }
        }
}

TEST_CASE("sound too loud for 16 bits is cut, counted and never wraps") {
  const Folder folder;
  const wav::Format format{1, 8000, wav::Encoding::pcm16};
  save(folder / "in.wav", format, {0.9f, -0.9f, 0.1f, 0.25f});
  save(folder / "room.wav", {1, 8000, wav::Encoding::float32}, {1.0f});
  const Outcome done =
      run(folder, {folder / "in.wav", folder / "room.wav", folder / "out.wav", "--wet", "1", "--dry", "1"});
  REQUIRE(done.status == 0);
  CHECK(done.messages.find("2 samples") != std::string::npos);
  wav::Format got;
  const Sound output = load(folder / "out.wav", got);
  CHECK(output[0] == 32767.0f / 32768);
  CHECK(output[1] == -1);
  CHECK(std::fabs(output[2] - 0.2f) < 1e-4f);
}

void write_bytes(const std::string& path, const std::string& bytes) { std::ofstream(path, std::ios::binary) << bytes; }
std::string read_bytes(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return std::string(std::istreambuf_iterator<char>(in), {});
}

TEST_CASE("what is wrong is said, and no half-written output is left") {
  const Folder folder;
  save(folder / "in.wav", {1, 48000, wav::Encoding::float32}, noise(1, 30000, 1, false));
  save(folder / "room.wav", {1, 48000, wav::Encoding::float32}, noise(1, 500, 2, true));
  save(folder / "slow.wav", {1, 44100, wav::Encoding::float32}, noise(1, 500, 2, true));
  const std::string good = read_bytes(folder / "in.wav");
  write_bytes(folder / "short.wav", good.substr(0, good.size() - 1000));
  write_bytes(folder / "header.wav", good.substr(0, 20));
  write_bytes(folder / "text.wav", "RIFFling through old records\n");
  write_bytes(folder / "empty.wav", "");
  std::string bytes = good;
  bytes[34] = 24;
  write_bytes(folder / "bits.wav", bytes);
  bytes = good, bytes[22] = 6;
  write_bytes(folder / "six.wav", bytes);
  bytes = good.substr(0, 44), bytes[40] = bytes[41] = bytes[42] = bytes[43] = 0;
  write_bytes(folder / "silent.wav", bytes);

  const std::string out = folder / "out.wav", room = folder / "room.wav", in = folder / "in.wav";
  auto fails = [&](const std::vector<std::string>& arguments, const std::vector<std::string>& words, rlim_t most = 0) {
    const Outcome done = run(folder, arguments, most);
    CHECK_MESSAGE(done.status == 1, done.status, " ", done.messages);
    for (const std::string& word : words)
      CHECK_MESSAGE(done.messages.find(word) != std::string::npos, done.messages, " lacks ", word);
    CHECK_FALSE(fs::exists(out));
    CHECK_FALSE(fs::exists(out + ".partial"));
  };
  fails({folder / "none.wav", room, out}, {"none.wav", "No such file"});
  fails({in, folder / "none.wav", out}, {"none.wav", "No such file"});
  fails({folder / "text.wav", room, out}, {"text.wav", "not a WAV file"});
  fails({folder / "empty.wav", room, out}, {"empty.wav", "not a WAV file"});
  fails({folder / "header.wav", room, out}, {"header.wav", "truncated"});
  fails({folder / "short.wav", room, out}, {"short.wav", "truncated", "120000", "119000"});
  fails({folder / "bits.wav", room, out}, {"bits.wav", "24 bits", "16-bit PCM", "32-bit float"});
  fails({folder / "six.wav", room, out}, {"six.wav", "6 channels"});
  fails({folder / "silent.wav", room, out}, {"silent.wav", "no samples"});
  fails({in, folder / "slow.wav", out}, {"48000", "44100"});
  fails({in, room, folder / "no/such/folder.wav"}, {"folder.wav", "cannot be created"});
  fails({in, room, out}, {"out.wav", "cannot be written", "File too large"}, 50000);
  fails({in, room, out, "--block", "0"}, {"--block", "0"});
  fails({in, room, out, "--block", "-5"}, {"--block", "-5"});
  fails({in, room, out, "--wet", "loud"}, {"--wet", "loud"});
  fails({in, room, out, "--wet", "nan"}, {"--wet", "finite"});
  fails({in, room, out, "--wet"}, {"--wet needs a value"});
  fails({in, room, out, "--gain", "1"}, {"--gain"});
  fails({in, room}, {"2 files", "usage"});

  // An output that was there before stays as it was.
  write_bytes(out, "yesterday's");
  CHECK(run(folder, {in, room, out}, 50000).status == 1);
  CHECK(read_bytes(out) == "yesterday's");
  CHECK(run(folder, {in, room, out}).status == 0);
  CHECK(read_bytes(out).size() == 44 + 4 * (30000 + 499));
}

TEST_CASE("chunks that say nothing about the sound are skipped, the extensible format is understood") {
  const Folder folder;
  const Sound sound = noise(1, 100, 5, false);
  save(folder / "plain.wav", {1, 48000, wav::Encoding::float32}, sound);
  const std::string plain = read_bytes(folder / "plain.wav");
  std::string format = plain.substr(20, 16) + std::string("\x16\0\x20\0\0\0\0\0\x03\0", 10) + std::string(14, '\0');
  format[0] = '\xfe', format[1] = '\xff';
  write_bytes(folder / "odd.wav", plain.substr(0, 12) + std::string("LIST\x03\0\0\0abc\0", 12) + "fmt " +
                                      std::string("\x28\0\0\0", 4) + format + plain.substr(36));
  wav::Format got;
  CHECK(load(folder / "odd.wav", got) == sound);
  CHECK(got.encoding == wav::Encoding::float32);
}

TEST_CASE("memory does not grow with the length of the input") {
  const Folder folder;
  save(folder / "room.wav", {1, 48000, wav::Encoding::pcm16}, noise(1, 20000, 2, true));
  std::vector<long> peaks;
  for (std::int64_t frames : {300'000, 12'000'000}) {
    wav::Writer writer(folder / "in.wav", {1, 48000, wav::Encoding::pcm16}, frames);
    const Sound piece = noise(1, 100'000, 3, false);
    for (std::int64_t done = 0; done < frames; done += 100'000) writer.write(piece.data(), 0, 100'000);
    writer.finish();
    const Outcome done = run(folder, {folder / "in.wav", folder / "room.wav", folder / "out.wav"});
    REQUIRE_MESSAGE(done.status == 0, done.messages);
    peaks.push_back(done.peak_kilobytes);
  }
  CHECK_MESSAGE(peaks[1] < peaks[0] + 2048, peaks[0], " and ", peaks[1], " KiB");
}

}  // namespace
}  // namespace ffc::test

int main(int count, char** arguments) {
  if (count < 2) return 2;
  ffc::test::reverb_program = arguments[1];
  return doctest::Context(count - 1, arguments + 1).run();
}
