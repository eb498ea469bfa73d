// .npz: a zip archive (zip.h) of .npy files.
#include <algorithm>
#include <array>

#include "quicksilver/io/cursor.h"
#include "quicksilver/io/zip.h"

namespace qs::io {
namespace {

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
  for (const ZipEntry& e : zip_directory(content, name)) {
    if (e.compressed) damaged(name, "'{}' is compressed; write it with numpy.savez", e.name);
    std::string key = e.name;
    if (key.ends_with(".npy")) key.resize(key.size() - 4);
    out.emplace_back(std::move(key), parse_npy(zip_content(e, content, name), name));
  }
  return out;
}

}  // namespace qs::io
