#include "wav.h"

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstring>

namespace wav {
namespace {

constexpr std::uint32_t kPcm = 1, kFloat = 3, kExtensible = 0xfffe;
constexpr std::int64_t kHeaderBytes = 44;
constexpr std::int64_t kMostBytes = 0xffffffff;  // of a RIFF file, which counts in 32 bits

// Numbers lie in the file lowest byte first, whatever the machine does.
std::uint32_t number(const unsigned char* bytes, int count) {
  std::uint32_t value = 0;
  for (int i = count; i-- > 0;) value = value << 8 | bytes[i];
  return value;
}
void put_number(unsigned char* bytes, int count, std::uint32_t value) {
  for (int i = 0; i < count; ++i) bytes[i] = static_cast<unsigned char>(value >> (8 * i));
}

std::string reason() { return std::strerror(errno); }

}  // namespace

Reader::Reader(const std::string& path) : path_(path), file_(std::fopen(path.c_str(), "rb")) {
  if (!file_) fail("cannot be opened: " + reason());
  read_header();
}

void Reader::read_header() {
  unsigned char riff[12], chunk[8];
  if (std::fread(riff, 1, sizeof riff, file_.get()) != sizeof riff || std::memcmp(riff, "RIFF", 4) != 0 ||
      std::memcmp(riff + 8, "WAVE", 4) != 0)
    fail("is not a WAV file");
  bool described = false;
  while (std::fread(chunk, 1, sizeof chunk, file_.get()) == sizeof chunk) {
    const std::uint32_t size = number(chunk + 4, 4);
    if (std::memcmp(chunk, "fmt ", 4) == 0) {
      read_format(size);
      described = true;
    } else if (std::memcmp(chunk, "data", 4) == 0) {
      if (!described) fail("has samples before their format; it is damaged");
      frames_ = left_ = size / format_.frame_bytes();
      const long here = std::ftell(file_.get());
      std::fseek(file_.get(), 0, SEEK_END);
      const long there = std::ftell(file_.get()) - here;
      if (there < static_cast<std::int64_t>(size))
        fail("is truncated: " + std::to_string(size) + " bytes of samples are announced, " + std::to_string(there) +
             " are there");
      std::fseek(file_.get(), here, SEEK_SET);
      if (frames_ == 0) fail("holds no samples");
      return;
    } else if (std::fseek(file_.get(), static_cast<long>(size) + size % 2, SEEK_CUR) != 0) {
      break;
    }
  }
  fail("is truncated: it ends before its samples");
}

void Reader::read_format(std::uint32_t size) {
  unsigned char fields[40] = {};
  if (size < 16) fail("has a format chunk of " + std::to_string(size) + " bytes; 16 is the least");
  const std::uint32_t known = std::min<std::uint32_t>(size, sizeof fields);
  if (std::fread(fields, 1, known, file_.get()) != known) fail("is truncated: it ends within its format");
  std::fseek(file_.get(), static_cast<long>(size - known) + size % 2, SEEK_CUR);
  std::uint32_t tag = number(fields, 2);
  if (tag == kExtensible && size >= 40) tag = number(fields + 24, 2);
  const std::uint32_t channels = number(fields + 2, 2), bits = number(fields + 14, 2);
  format_.sample_rate = static_cast<int>(number(fields + 4, 4));
  if (tag == kPcm && bits == 16)
    format_.encoding = Encoding::pcm16;
  else if (tag == kFloat && bits == 32)
    format_.encoding = Encoding::float32;
  else
    fail("has samples of " + std::to_string(bits) + " bits in format " + std::to_string(tag) +
         "; supported are 16-bit PCM (format 1) and 32-bit float (format 3)");
  if (channels < 1 || channels > 2) fail("has " + std::to_string(channels) + " channels; supported are 1 and 2");
  format_.channels = static_cast<int>(channels);
}

std::int64_t Reader::read(float* to, std::int64_t channel_stride, std::int64_t count) {
  count = std::min(count, left_);
  const int frame = format_.frame_bytes(), sample = frame / format_.channels;
  bytes_.resize(static_cast<std::size_t>(count * frame));
  if (std::fread(bytes_.data(), 1, bytes_.size(), file_.get()) != bytes_.size()) fail("cannot be read: " + reason());
  for (std::int64_t i = 0; i < count; ++i)
    for (int c = 0; c < format_.channels; ++c) {
      const unsigned char* at = &bytes_[static_cast<std::size_t>(i * frame + c * sample)];
      float& value = to[c * channel_stride + i];
      if (format_.encoding == Encoding::pcm16) {
        value = static_cast<float>(static_cast<std::int16_t>(number(at, 2))) / 32768.0f;
      } else {
        const std::uint32_t bits = number(at, 4);
        std::memcpy(&value, &bits, sizeof value);
      }
    }
  left_ -= count;
  return count;
}

Writer::Writer(const std::string& path, const Format& format, std::int64_t frames)
    : path_(path), partial_(path + ".partial"), format_(format) {
  const std::int64_t size = frames * format.frame_bytes();
  if (size + kHeaderBytes > kMostBytes)
    throw Error(path + ": would have " + std::to_string(size) + " bytes; a WAV file holds at most 4 GiB");
  file_.reset(std::fopen(partial_.c_str(), "wb"));
  if (!file_) throw Error(partial_ + ": cannot be created: " + reason());
  unsigned char header[kHeaderBytes];
  std::memcpy(header, "RIFF....WAVEfmt ", 16);
  put_number(header + 4, 4, static_cast<std::uint32_t>(size + kHeaderBytes - 8));
  put_number(header + 16, 4, 16);
  put_number(header + 20, 2, format.encoding == Encoding::pcm16 ? kPcm : kFloat);
  put_number(header + 22, 2, static_cast<std::uint32_t>(format.channels));
  put_number(header + 24, 4, static_cast<std::uint32_t>(format.sample_rate));
  put_number(header + 28, 4, static_cast<std::uint32_t>(format.sample_rate * format.frame_bytes()));
  put_number(header + 32, 2, static_cast<std::uint32_t>(format.frame_bytes()));
  put_number(header + 34, 2, format.encoding == Encoding::pcm16 ? 16 : 32);
  std::memcpy(header + 36, "data", 4);
  put_number(header + 40, 4, static_cast<std::uint32_t>(size));
  put(header, sizeof header);
}

Writer::~Writer() {
  if (!file_) return;
  file_.reset();
  std::remove(partial_.c_str());
}

void Writer::fail(const std::string& what) const { throw Error(partial_ + ": " + what + ": " + reason()); }

void Writer::put(const void* data, std::size_t size) {
  if (std::fwrite(data, 1, size, file_.get()) != size) fail("cannot be written");
}

void Writer::write(const float* from, std::int64_t channel_stride, std::int64_t count) {
  const int frame = format_.frame_bytes(), sample = frame / format_.channels;
  bytes_.resize(static_cast<std::size_t>(count * frame));
  for (std::int64_t i = 0; i < count; ++i)
    for (int c = 0; c < format_.channels; ++c) {
      unsigned char* at = &bytes_[static_cast<std::size_t>(i * frame + c * sample)];
      const float value = from[c * channel_stride + i];
      if (format_.encoding == Encoding::pcm16) {
        const float scaled = std::nearbyint(32768.0f * value), cut = std::clamp(scaled, -32768.0f, 32767.0f);
        clipped_ += scaled != cut;  // a NaN too, which becomes silence
        put_number(at, 2, static_cast<std::uint32_t>(std::isnan(cut) ? 0 : static_cast<std::int32_t>(cut)));
      } else {
        std::uint32_t bits;
        std::memcpy(&bits, &value, sizeof bits);
        put_number(at, 4, bits);
      }
    }
  put(bytes_.data(), bytes_.size());
}

void Writer::finish() {
  // A full disk may show only when the last bytes leave the buffer.
  if (std::fflush(file_.get()) != 0) fail("cannot be written");
  if (std::fclose(file_.release()) != 0) {
    const std::string why = reason();
    std::remove(partial_.c_str());
    throw Error(partial_ + ": cannot be written: " + why);
  }
  if (std::rename(partial_.c_str(), path_.c_str()) != 0) {
    const std::string why = reason();
    std::remove(partial_.c_str());
    throw Error(path_ + ": cannot be replaced: " + why);
  }
}

}  // namespace wav
