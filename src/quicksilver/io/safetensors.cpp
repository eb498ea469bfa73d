// safetensors: 8 bytes of length, a JSON header of that length, the bytes of the tensors. The JSON
// is read by a parser for just what the header may be; it does not recurse.
#include <algorithm>
#include <array>

#include "quicksilver/io/cursor.h"

namespace qs {

namespace io {
namespace {

constexpr uint64_t k_longest_header = 100'000'000;

struct Name {
  std::string_view text;
  DType dtype;
};
constexpr std::array<Name, 14> k_dtypes{{{"BOOL", DType::bool_},
                                         {"U8", DType::u8},
                                         {"I8", DType::i8},
                                         {"U16", DType::u16},
                                         {"I16", DType::i16},
                                         {"U32", DType::u32},
                                         {"I32", DType::i32},
                                         {"U64", DType::u64},
                                         {"I64", DType::i64},
                                         {"F16", DType::f16},
                                         {"BF16", DType::bf16},
                                         {"F32", DType::f32},
                                         {"F64", DType::f64},
                                         {"C64", DType::c64}}};

class Header {
 public:
  Header(std::string_view text, const std::string& name) : text_(text), name_(name) {}

  struct Entry {
    std::string name, dtype;
    Dims shape, offsets;
  };

  std::vector<Entry> parse() {
    std::vector<Entry> out;
    members([&](std::string key) {
      if (key == "__metadata__") {
        members([&](const std::string&) { string(); });
        return;
      }
      Entry e;
      e.name = std::move(key);
      members([&](const std::string& field) {
        if (field == "dtype")
          e.dtype = string();
        else if (field == "shape")
          e.shape = integers();
        else if (field == "data_offsets")
          e.offsets = integers();
        else
          wrong();
      });
      if (e.dtype.empty() || e.offsets.size() != 2) wrong();
      out.push_back(std::move(e));
    });
    space();
    if (at_ != text_.size()) wrong();
    return out;
  }

 private:
  [[noreturn]] void wrong() const { damaged(name_, "its header is damaged at character {}", at_); }
  void space() {
    while (at_ < text_.size() && std::string_view(" \t\r\n").find(text_[at_]) != text_.npos) ++at_;
  }
  bool next_is(char c) {
    space();
    if (at_ >= text_.size() || text_[at_] != c) return false;
    ++at_;
    return true;
  }
  void expect(char c) {
    if (!next_is(c)) wrong();
  }
  /// member(key) reads the value.
  template <class F>
  void members(F member) {
    expect('{');
    if (next_is('}')) return;
    do {
      std::string key = string();
      expect(':');
      member(std::move(key));
    } while (next_is(','));
    expect('}');
  }
  Dims integers() {
    Dims out;
    expect('[');
    if (next_is(']')) return out;
    do {
      space();
      int64_t value = 0;
      const size_t start = at_;
      for (; at_ < text_.size() && text_[at_] >= '0' && text_[at_] <= '9'; ++at_)
        if (__builtin_mul_overflow(value, int64_t{10}, &value) ||
            __builtin_add_overflow(value, int64_t{text_[at_] - '0'}, &value))
          wrong();
      if (at_ == start || out.size() == 64) wrong();
      out.push_back(value);
    } while (next_is(','));
    expect(']');
    return out;
  }
  uint32_t hex() {
    uint32_t value = 0;
    for (int i = 0; i < 4; ++i, ++at_) {
      if (at_ >= text_.size()) wrong();
      const char c = text_[at_];
      const int digit = c >= '0' && c <= '9'   ? c - '0'
                        : c >= 'a' && c <= 'f' ? c - 'a' + 10
                        : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                               : -1;
      if (digit < 0) wrong();
      value = value * 16 + static_cast<uint32_t>(digit);
    }
    return value;
  }
  void append_utf8(std::string& out, uint32_t c) {
    if (c < 0x80) {
      out += static_cast<char>(c);
    } else if (c < 0x800) {
      out += static_cast<char>(0xC0 | c >> 6);
      out += static_cast<char>(0x80 | (c & 63));
    } else if (c < 0x10000) {
      out += static_cast<char>(0xE0 | c >> 12);
      out += static_cast<char>(0x80 | (c >> 6 & 63));
      out += static_cast<char>(0x80 | (c & 63));
    } else {
      out += static_cast<char>(0xF0 | c >> 18);
      out += static_cast<char>(0x80 | (c >> 12 & 63));
      out += static_cast<char>(0x80 | (c >> 6 & 63));
      out += static_cast<char>(0x80 | (c & 63));
    }
  }
  void escape(std::string& out) {
    constexpr std::string_view letters = "\"\\/bfnrt", meanings = "\"\\/\b\f\n\r\t";
    if (at_ >= text_.size()) wrong();
    const char c = text_[at_++];
    if (const size_t i = letters.find(c); i != letters.npos) {
      out += meanings[i];
      return;
    }
    if (c != 'u') wrong();
    uint32_t code = hex();
    if (code >= 0xD800 && code < 0xDC00 && text_.substr(at_, 2) == "\\u") {
      at_ += 2;
      const uint32_t low = hex();
      if (low < 0xDC00 || low >= 0xE000) wrong();
      code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
    } else if (code >= 0xD800 && code < 0xE000) {
      wrong();  // half a pair
    }
    append_utf8(out, code);
  }
  std::string string() {
    expect('"');
    std::string out;
    for (;;) {
      if (at_ >= text_.size()) wrong();
      const char c = text_[at_++];
      if (c == '"') return out;
      if (c == '\\')
        escape(out);
      else
        out += c;
    }
  }

  std::string_view text_;
  const std::string& name_;
  size_t at_ = 0;
};

std::string quoted(const std::string& text) {
  std::string out = "\"";
  for (char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    if (static_cast<unsigned char>(c) < 0x20)
      out += qs::format("\\u{:04x}", static_cast<int>(c));
    else
      out += c;
  }
  return out + "\"";
}

std::string_view dtype_name(DType dtype) {
  for (const Name& n : k_dtypes)
    if (n.dtype == dtype) return n.text;
  throw TypeError(qs::format("a safetensors file cannot hold dtype {}", name_of(dtype)));
}

}  // namespace

NamedTensors parse_safetensors(Bytes content, const std::string& name) {
  Cursor start(content, name);
  const auto length = start.number<uint64_t>();
  if (length > k_longest_header)
    damaged(name, "it is no safetensors file: its first 8 bytes are no sensible header length");
  const std::string_view header = start.text(length);
  const Bytes data = content.subspan(start.position());
  NamedTensors out;
  for (const Header::Entry& e : Header(header, name).parse()) {
    const auto* known = std::find_if(k_dtypes.begin(), k_dtypes.end(),
                                     [&](const Name& n) { return n.text == e.dtype; });
    if (known == k_dtypes.end())
      damaged(name, "'{}' has the dtype '{}', which is not supported", e.name, e.dtype);
    const uint64_t bytes = checked_bytes(e.shape, known->dtype, name);
    if (e.offsets[1] < e.offsets[0] || static_cast<uint64_t>(e.offsets[1] - e.offsets[0]) != bytes)
      damaged(name, "'{}' of shape {} needs {} bytes", e.name, to_string(DimSpan(e.shape)), bytes);
    const Bytes values = slice(data, static_cast<uint64_t>(e.offsets[0]), bytes, name);
    for (const auto& [other, tensor] : out)
      if (other == e.name) damaged(name, "it has two tensors '{}'", e.name);
    out.emplace_back(e.name, from_host(values.data(), e.shape, known->dtype, DeviceType::cpu));
  }
  return out;
}

}  // namespace io

void save_safetensors(const std::string& path, const NamedTensors& tensors) {
  // Wide elements first: then every tensor starts at a multiple of its element size.
  std::vector<size_t> order(tensors.size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    return size_of(tensors[a].second.dtype()) > size_of(tensors[b].second.dtype());
  });
  std::vector<std::vector<uint8_t>> contents;
  std::vector<std::pair<uint64_t, uint64_t>> places(tensors.size());
  uint64_t end = 0;
  for (size_t i : order) {
    const Tensor& t = tensors[i].second;
    contents.emplace_back(static_cast<size_t>(t.numel()) * size_of(t.dtype()));
    t.to_host(contents.back().data());
    places[i] = {end, end + contents.back().size()};
    end = places[i].second;
  }
  std::string header = "{";
  for (size_t i = 0; i < tensors.size(); ++i) {
    const auto& [name, t] = tensors[i];
    for (size_t k = 0; k < i; ++k)
      QS_CHECK(tensors[k].first != name, ValueError, "two tensors have the name '{}'", name);
    std::string shape;
    for (int64_t extent : t.shape()) shape += (shape.empty() ? "" : ",") + std::to_string(extent);
    header += qs::format("{}{}:{{\"dtype\":\"{}\",\"shape\":[{}],\"data_offsets\":[{},{}]}}",
                         i ? "," : "", io::quoted(name), io::dtype_name(t.dtype()), shape,
                         places[i].first, places[i].second);
  }
  header += "}";
  header.append((8 - header.size() % 8) % 8, ' ');
  const uint64_t length = header.size();
  std::vector<std::span<const uint8_t>> parts;
  parts.emplace_back(reinterpret_cast<const uint8_t*>(&length), sizeof(length));
  parts.emplace_back(reinterpret_cast<const uint8_t*>(header.data()), header.size());
  for (const auto& content : contents) parts.emplace_back(content);
  io::write_file(path, parts);
}

}  // namespace qs
