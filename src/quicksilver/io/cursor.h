// A position in bytes that nobody trusts: every read is checked against the end.
#pragma once
#include <cstring>
#include <string>
#include <string_view>

#include "quicksilver/core/error.h"
#include "quicksilver/io/files.h"

namespace qs::io {

/// "cannot load 'x.npz': ..." as an Error.
template <class... Args>
[[noreturn]] void damaged(const std::string& name, fmt::format_string<Args...> text,
                          Args&&... args) {
  throw Error(
      qs::format("cannot load '{}': {}", name, fmt::format(text, std::forward<Args>(args)...)));
}

/// `count` bytes at `start`; throws when they are not all there. No sum can overflow.
inline Bytes slice(Bytes content, uint64_t start, uint64_t count, const std::string& name) {
  if (start > content.size() || count > content.size() - start)
    damaged(name, "it is cut short: it has {} bytes and should have more", content.size());
  return content.subspan(start, count);
}

/// Little-endian numbers, one after the other.
class Cursor {
 public:
  Cursor(Bytes content, const std::string& name, uint64_t at = 0)
      : content_(content), name_(name), at_(at) {}
  Bytes take(uint64_t count) {
    const Bytes out = slice(content_, at_, count, name_);
    at_ += count;
    return out;
  }
  template <class T>
  T number() {
    T out;
    std::memcpy(&out, take(sizeof(T)).data(), sizeof(T));
    return out;
  }
  std::string_view text(uint64_t count) {
    const Bytes bytes = take(count);
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  }
  void skip(uint64_t count) { take(count); }
  uint64_t position() const { return at_; }

 private:
  Bytes content_;
  const std::string& name_;
  uint64_t at_;
};

/// The bytes that a tensor of `shape` takes; throws when a number is negative or too large.
inline uint64_t checked_bytes(DimSpan shape, DType dtype, const std::string& name) {
  uint64_t bytes = size_of(dtype);
  for (int64_t extent : shape) {
    if (extent < 0) damaged(name, "a tensor has the shape {}", to_string(shape));
    if (__builtin_mul_overflow(bytes, static_cast<uint64_t>(extent), &bytes) || bytes > 1ULL << 62)
      damaged(name, "a tensor of shape {} is too large", to_string(shape));
  }
  return bytes;
}

/// The whole file.
std::vector<uint8_t> read_file(const std::string& path);
/// Writes beside `path` and then takes its name.
void write_file(const std::string& path, std::span<const std::span<const uint8_t>> parts);

}  // namespace qs::io
