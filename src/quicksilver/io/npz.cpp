// .npz: a zip archive of .npy files, stored one after the other. The archive's directory stands at
// its end; sizes and offsets beyond 32 bits stand in an extra field.
#include <algorithm>
#include <array>

#include "quicksilver/io/cursor.h"

namespace qs::io {
namespace {

constexpr uint32_t k_end = 0x06054b50, k_end64_locator = 0x07064b50, k_end64 = 0x06064b50,
                   k_entry = 0x02014b50, k_local = 0x04034b50, k_see_extra = 0xffffffff;

struct Entry {
  std::string name;
  uint64_t size, offset;
  uint32_t crc;
};

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
  damaged(name, "it is no .npz file, or it is cut short");
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

std::vector<Entry> read_directory(Bytes content, const std::string& name) {
  const Directory d = find_directory(content, name);
  Cursor c(content, name, d.offset);
  std::vector<Entry> out;
  for (uint64_t i = 0; i < d.count; ++i) {
    if (c.number<uint32_t>() != k_entry) damaged(name, "its directory is damaged");
    c.skip(4);
    const auto flags = c.number<uint16_t>(), method = c.number<uint16_t>();
    c.skip(4);
    Entry e{};
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
    if (method != 0) damaged(name, "'{}' is compressed; write it with numpy.savez", e.name);
    if (stored != e.size) damaged(name, "'{}' has two sizes", e.name);
    out.push_back(std::move(e));
  }
  return out;
}

Bytes content_of(const Entry& e, Bytes content, const std::string& name) {
  Cursor c(content, name, e.offset);
  if (c.number<uint32_t>() != k_local) damaged(name, "'{}' is damaged", e.name);
  c.skip(22);
  const auto name_length = c.number<uint16_t>(), extra_length = c.number<uint16_t>();
  c.skip(uint64_t{name_length} + extra_length);
  const Bytes out = c.take(e.size);
  if (crc32(out) != e.crc) damaged(name, "'{}' is damaged: its checksum is wrong", e.name);
  return out;
}

struct Descr {
  std::string_view text;
  DType dtype;
};
constexpr std::array<Descr, 14> k_descrs{{{"b1", DType::bool_},
                                          {"u1", DType::u8},
                                          {"i1", DType::i8},
                                          {"u2", DType::u16},
                                          {"i2", DType::i16},
                                          {"u4", DType::u32},
                                          {"i4", DType::i32},
                                          {"u8", DType::u64},
                                          {"i8", DType::i64},
                                          {"f2", DType::f16},
                                          {"f4", DType::f32},
                                          {"f8", DType::f64},
                                          {"c8", DType::c64},
                                          {"c16", DType::c128}}};

/// What stands after "'key':" in the header's Python dict.
std::string_view field(std::string_view header, std::string_view key, const std::string& name) {
  const std::string quoted = "'" + std::string(key) + "':";
  const size_t at = header.find(quoted);
  if (at == header.npos) damaged(name, "an array's header has no {}", key);
  header.remove_prefix(at + quoted.size());
  header.remove_prefix(std::min(header.find_first_not_of(' '), header.size()));
  return header;
}

DType parse_descr(std::string_view text, const std::string& name) {
  const size_t end = text.empty() || text[0] != '\'' ? text.npos : text.find('\'', 1);
  if (end == text.npos || end < 3) damaged(name, "an array is of records, which are not supported");
  const std::string_view descr = text.substr(1, end - 1);
  for (const Descr& d : k_descrs)
    if (d.text == descr.substr(1) && std::string_view("<|=").find(descr[0]) != descr.npos)
      return d.dtype;
  damaged(name, "an array has the dtype '{}', which is not supported", descr);
}

Dims parse_shape(std::string_view text, const std::string& name) {
  Dims out;
  const size_t end = text.find(')');
  if (text.empty() || text[0] != '(' || end == text.npos)
    damaged(name, "an array's header has no shape");
  int64_t value = -1;
  for (char c : text.substr(1, end - 1)) {
    if (c >= '0' && c <= '9') {
      if (value < 0) value = 0;
      if (value > int64_t{1} << 58) damaged(name, "an array's shape is too large");
      value = value * 10 + (c - '0');
    } else if (c == ',' && value >= 0 && out.size() < 64) {
      out.push_back(value);
      value = -1;
    } else if (c != ' ') {
      damaged(name, "an array's shape is damaged");
    }
  }
  if (value >= 0) out.push_back(value);
  return out;
}

Tensor parse_npy(Bytes content, const std::string& name) {
  Cursor c(content, name);
  if (c.text(6) != "\x93NUMPY") damaged(name, "an entry is no array");
  const auto major = c.number<uint8_t>();
  c.skip(1);
  const uint64_t length = major == 1 ? c.number<uint16_t>() : c.number<uint32_t>();
  const std::string_view header = c.text(length);
  const DType dtype = parse_descr(field(header, "descr", name), name);
  Dims shape = parse_shape(field(header, "shape", name), name);
  const bool columns = field(header, "fortran_order", name).starts_with("True");
  const Bytes values = c.take(checked_bytes(shape, dtype, name));
  if (columns) std::reverse(shape.begin(), shape.end());
  Tensor out = from_host(values.data(), shape, dtype, DeviceType::cpu);
  if (!columns) return out;
  Dims order;
  for (int64_t d = out.dim() - 1; d >= 0; --d) order.push_back(d);
  return permute(out, order);
}

}  // namespace

NamedTensors parse_npz(Bytes content, const std::string& name) {
  NamedTensors out;
  for (const Entry& e : read_directory(content, name)) {
    std::string key = e.name;
    if (key.ends_with(".npy")) key.resize(key.size() - 4);
    out.emplace_back(std::move(key), parse_npy(content_of(e, content, name), name));
  }
  return out;
}

}  // namespace qs::io
