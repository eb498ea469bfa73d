// A zip archive's directory stands at its end; sizes and offsets beyond 32 bits stand in an extra
// field.
#include "quicksilver/io/zip.h"

#include <algorithm>
#include <array>

#include "quicksilver/io/cursor.h"

namespace qs::io {
namespace {

constexpr uint32_t k_end = 0x06054b50, k_end64_locator = 0x07064b50, k_end64 = 0x06064b50,
                   k_entry = 0x02014b50, k_local = 0x04034b50, k_see_extra = 0xffffffff;

uint32_t crc32(Bytes content) {
  static const auto table = [] {
    std::array<uint32_t, 256> t{};
    for (uint32_t i = 0; i < 256; ++i) {
      uint32_t c = i;
      for (int k = 0; k < 8; ++k) c = c & 1 ? 0xedb88320 ^ c >> 1 : c >> 1;
      t[i] = c;
    }
    return t;
  }();
  uint32_t c = 0xffffffff;
  for (uint8_t byte : content) c = table[(c ^ byte) & 255] ^ c >> 8;
  return ~c;
}

/// Where the end record is: in the last 64 KiB, as a comment may follow it.
uint64_t find_end(Bytes content, const std::string& name) {
  constexpr uint64_t k_record = 22, k_longest_comment = 65535;
  if (content.size() >= k_record)
    for (uint64_t back = k_record;
         back <= std::min<uint64_t>(content.size(), k_record + k_longest_comment); ++back)
      if (Cursor(content, name, content.size() - back).number<uint32_t>() == k_end)
        return content.size() - back;
  damaged(name, "it is no zip archive, or it is cut short");
}

struct Directory {
  uint64_t count, offset;
};
Directory find_directory(Bytes content, const std::string& name) {
  const uint64_t end = find_end(content, name);
  Cursor c(content, name, end + 10);
  Directory d{};
  d.count = c.number<uint16_t>();
  c.skip(4);
  d.offset = c.number<uint32_t>();
  if (d.count != 0xffff && d.offset != k_see_extra) return d;
  if (end < 20) damaged(name, "its directory is damaged");
  Cursor locator(content, name, end - 20);
  if (locator.number<uint32_t>() != k_end64_locator) return d;
  locator.skip(4);
  Cursor large(content, name, locator.number<uint64_t>());
  if (large.number<uint32_t>() != k_end64) damaged(name, "its directory is damaged");
  large.skip(28);
  d.count = large.number<uint64_t>();
  large.skip(8);
  d.offset = large.number<uint64_t>();
  return d;
}

}  // namespace

std::vector<ZipEntry> zip_directory(Bytes content, const std::string& name) {
  const Directory d = find_directory(content, name);
  Cursor c(content, name, d.offset);
  std::vector<ZipEntry> out;
  for (uint64_t i = 0; i < d.count; ++i) {
    if (c.number<uint32_t>() != k_entry) damaged(name, "its directory is damaged");
    c.skip(4);
    const auto flags = c.number<uint16_t>(), method = c.number<uint16_t>();
    c.skip(4);
    ZipEntry e{};
    e.crc = c.number<uint32_t>();
    uint64_t stored = c.number<uint32_t>();
    e.size = c.number<uint32_t>();
    const auto name_length = c.number<uint16_t>(), extra_length = c.number<uint16_t>(),
               comment_length = c.number<uint16_t>();
    c.skip(8);
    e.offset = c.number<uint32_t>();
    e.name = c.text(name_length);
    Cursor extra(c.take(extra_length), name);
    for (uint64_t left = extra_length; left >= 4;) {
      const auto id = extra.number<uint16_t>(), length = extra.number<uint16_t>();
      Cursor field(extra.take(length), name);
      left -= 4 + uint64_t{length};
      if (id != 1) continue;
      for (uint64_t* value : {&e.size, &stored, &e.offset})
        if (*value == k_see_extra) *value = field.number<uint64_t>();
    }
    c.skip(comment_length);
    if (flags & 1) damaged(name, "'{}' is encrypted", e.name);
    e.compressed = method != 0;
    if (!e.compressed && stored != e.size) damaged(name, "'{}' has two sizes", e.name);
    out.push_back(std::move(e));
  }
  return out;
}

Bytes zip_content(const ZipEntry& e, Bytes content, const std::string& name) {
  Cursor c(content, name, e.offset);
  if (c.number<uint32_t>() != k_local) damaged(name, "'{}' is damaged", e.name);
  c.skip(22);
  const auto name_length = c.number<uint16_t>(), extra_length = c.number<uint16_t>();
  c.skip(uint64_t{name_length} + extra_length);
  const Bytes out = c.take(e.size);
  if (e.crc != 0 && crc32(out) != e.crc)
    damaged(name, "'{}' is damaged: its checksum is wrong", e.name);
  return out;
}

}  // namespace qs::io
