// WAV files, read and written a block at a time: 16-bit PCM and 32-bit float, one or two channels.
#pragma once

#include <cstdint>
#include <cstdio>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

namespace wav {

/// What is wrong with a file, its name first.
struct Error : std::runtime_error {
  using std::runtime_error::runtime_error;
};

enum class Encoding { pcm16, float32 };

struct Format {
  int channels = 1;
  int sample_rate = 48000;  // frames a second
  Encoding encoding = Encoding::float32;

  int frame_bytes() const { return channels * (encoding == Encoding::pcm16 ? 2 : 4); }
};

struct Closer {
  void operator()(std::FILE* file) const { std::fclose(file); }
};
using File = std::unique_ptr<std::FILE, Closer>;

class Reader {
 public:
  explicit Reader(const std::string& path);

  const Format& format() const { return format_; }
  std::int64_t frames() const { return frames_; }

  /// The next `count` frames (fewer at the end) as numbers in [-1, 1]: sample i of channel c goes to
  /// to[c * channel_stride + i]. Returns how many there were.
  std::int64_t read(float* to, std::int64_t channel_stride, std::int64_t count);

 private:
  void read_header();
  void read_format(std::uint32_t size);
  [[noreturn]] void fail(const std::string& what) const { throw Error(path_ + ": " + what); }

  std::string path_;
  File file_;
  Format format_;
  std::int64_t frames_ = 0, left_ = 0;
  std::vector<unsigned char> bytes_;
};

/// Writes to PATH.partial, which becomes PATH when all is written: PATH is complete or what it was before.
class Writer {
 public:
  Writer(const std::string& path, const Format& format, std::int64_t frames);
  ~Writer();
  Writer(const Writer&) = delete;
  Writer& operator=(const Writer&) = delete;

  void write(const float* from, std::int64_t channel_stride, std::int64_t count);

  /// Gives the file its name. All frames must have been written.
  void finish();

  /// Samples beyond [-1, 1] that 16 bits could not hold and that were cut.
  std::int64_t clipped() const { return clipped_; }

 private:
  void put(const void* data, std::size_t size);
  [[noreturn]] void fail(const std::string& what) const;

  std::string path_, partial_;
  File file_;
  Format format_;
  std::int64_t clipped_ = 0;
  std::vector<unsigned char> bytes_;
};

}  // namespace wav
