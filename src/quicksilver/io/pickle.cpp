#include "quicksilver/io/pickle.h"

#include <array>
#include <bit>

namespace qs::io {
namespace {

/// What a name of PyTorch's or Python's means.
enum class Meaning : uint8_t {
  tensor,     // (storage, offset, size, stride, ...)
  typed,      // the same, with the dtype at the end
  first,      // what its first argument is: a parameter's data
  with_type,  // (function, type, arguments, state): function(*arguments)
  dict,       // pairs, or nothing
  list,       // an iterable, or nothing
  dtype,      // itself: a dtype
  storage,    // itself: the type of a storage
  opaque,     // anything made of it is of no interest
};

struct Row {
  std::string_view name;
  Meaning meaning;
  DType dtype = DType::u8;
};

constexpr Row k_names[] = {
    {"torch._utils._rebuild_tensor", Meaning::tensor},
    {"torch._utils._rebuild_tensor_v2", Meaning::tensor},
    {"torch._utils._rebuild_tensor_v3", Meaning::typed},
    {"torch._utils._rebuild_parameter", Meaning::first},
    {"torch._utils._rebuild_parameter_with_state", Meaning::first},
    {"torch._tensor._rebuild_from_type_v2", Meaning::with_type},
    {"collections.OrderedDict", Meaning::dict},
    {"collections.Counter", Meaning::dict},
    {"torch.Size", Meaning::list},
    {"builtins.set", Meaning::list},
    {"__builtin__.set", Meaning::list},
    {"torch.nn.parameter.Parameter", Meaning::opaque},
    {"torch.Tensor", Meaning::opaque},
    {"torch.device", Meaning::opaque},
    {"_codecs.encode", Meaning::opaque},
    {"builtins.bytearray", Meaning::opaque},
    {"__builtin__.bytearray", Meaning::opaque},
    {"builtins.complex", Meaning::opaque},
    {"__builtin__.complex", Meaning::opaque},
    {"torch.storage.UntypedStorage", Meaning::storage},
    {"torch.FloatStorage", Meaning::storage, DType::f32},
    {"torch.DoubleStorage", Meaning::storage, DType::f64},
    {"torch.HalfStorage", Meaning::storage, DType::f16},
    {"torch.BFloat16Storage", Meaning::storage, DType::bf16},
    {"torch.LongStorage", Meaning::storage, DType::i64},
    {"torch.IntStorage", Meaning::storage, DType::i32},
    {"torch.ShortStorage", Meaning::storage, DType::i16},
    {"torch.CharStorage", Meaning::storage, DType::i8},
    {"torch.ByteStorage", Meaning::storage, DType::u8},
    {"torch.BoolStorage", Meaning::storage, DType::bool_},
    {"torch.ComplexFloatStorage", Meaning::storage, DType::c64},
    {"torch.ComplexDoubleStorage", Meaning::storage, DType::c128},
    {"torch.float32", Meaning::dtype, DType::f32},
    {"torch.float64", Meaning::dtype, DType::f64},
    {"torch.float16", Meaning::dtype, DType::f16},
    {"torch.bfloat16", Meaning::dtype, DType::bf16},
    {"torch.int64", Meaning::dtype, DType::i64},
    {"torch.int32", Meaning::dtype, DType::i32},
    {"torch.int16", Meaning::dtype, DType::i16},
    {"torch.int8", Meaning::dtype, DType::i8},
    {"torch.uint8", Meaning::dtype, DType::u8},
    {"torch.bool", Meaning::dtype, DType::bool_},
    {"torch.complex64", Meaning::dtype, DType::c64},
    {"torch.complex128", Meaning::dtype, DType::c128},
    {"torch.uint16", Meaning::dtype, DType::u16},
    {"torch.uint32", Meaning::dtype, DType::u32},
    {"torch.uint64", Meaning::dtype, DType::u64},
};

const Row& row(const Object& name) { return k_names[static_cast<size_t>(name.number)]; }

bool is_name(const Object& o, Meaning meaning) {
  return o.kind == Object::name && row(o).meaning == meaning;
}

constexpr size_t k_most_dims = 64;

}  // namespace

void Pickle::broken(const char* why) const { damaged(name_, "its pickle is damaged ({})", why); }

Object& Pickle::make(Object::Kind kind) {
  objects_.emplace_back().kind = kind;
  return objects_.back();
}

Object& Pickle::top() {
  if (stack_.empty()) broken("a value is missing");
  return *stack_.back();
}

Object& Pickle::pop() {
  Object& out = top();
  stack_.pop_back();
  return out;
}

std::vector<Object*> Pickle::after_mark() {
  for (size_t i = stack_.size(); i-- > 0;)
    if (stack_[i]->kind == Object::mark) {
      std::vector<Object*> out(stack_.begin() + static_cast<std::ptrdiff_t>(i) + 1, stack_.end());
      stack_.resize(i);
      return out;
    }
  broken("no mark");
}

void Pickle::push_number(Object::Kind kind, int64_t number) {
  Object& o = make(kind);
  o.number = number;
  push(o);
}

void Pickle::push_text(std::string_view characters) {
  Object& o = make(Object::text);
  o.characters = characters;
  push(o);
}

/// A number of any length; one beyond 64 bits is no size, and nothing else matters here.
void Pickle::push_long(Bytes digits) {
  if (digits.size() > 8) return push(make(Object::other));
  uint64_t bits = !digits.empty() && digits.back() & 0x80 ? ~uint64_t{0} : 0;
  for (size_t i = digits.size(); i-- > 0;) bits = bits << 8 | digits[i];
  push_number(Object::integer, static_cast<int64_t>(bits));
}

void Pickle::push_list(std::vector<Object*> items) {
  Object& o = make(Object::list);
  o.items = std::move(items);
  push(o);
}

void Pickle::push_last(size_t count) {
  if (stack_.size() < count) broken("a value is missing");
  std::vector<Object*> items(stack_.end() - static_cast<std::ptrdiff_t>(count), stack_.end());
  stack_.resize(stack_.size() - count);
  push_list(std::move(items));
}

void Pickle::push_name(std::string_view module, std::string_view name) {
  std::string whole = format("{}.{}", module, name);
  if (module == "torch.cuda") whole = format("torch.{}", name);  // storages of that device
  for (size_t i = 0; i < std::size(k_names); ++i)
    if (k_names[i].name == whole) return push_number(Object::name, static_cast<int64_t>(i));
  damaged(name_, "it names {}.{}, which only a program may make; nothing was run", module, name);
}

void Pickle::push_kept(uint64_t index) {
  const auto found = memo_.find(index);
  if (found == memo_.end()) broken("a value that was never kept");
  push(*found->second);
}

void Pickle::append(const std::vector<Object*>& items) {
  Object& target = top();
  if (target.kind != Object::list && target.kind != Object::other) broken("items of no list");
  if (target.kind == Object::list)
    target.items.insert(target.items.end(), items.begin(), items.end());
}

void Pickle::set_items(const std::vector<Object*>& items) {
  Object& target = top();
  if (target.kind != Object::dict) broken("items of no dict");
  if (items.size() % 2) broken("a key without a value");
  target.items.insert(target.items.end(), items.begin(), items.end());
}

Object& Pickle::rebuilt_tensor(const std::vector<Object*>& arguments, bool names_dtype) {
  if (arguments.size() < (names_dtype ? 7u : 4u)) broken("a tensor with too few arguments");
  const Object &place = *arguments[0], &offset = *arguments[1], &size = *arguments[2],
               &stride = *arguments[3];
  if (place.kind != Object::place || offset.kind != Object::integer || size.kind != Object::list ||
      stride.kind != Object::list || size.items.size() != stride.items.size() ||
      size.items.size() > k_most_dims)
    broken("a tensor of something else");
  const StorageName& storage = storages_[static_cast<size_t>(place.number)];
  Object& out = make(Object::tensor);
  out.number = place.number;
  out.dtype = storage.dtype;
  for (size_t i : {size_t{4}, size_t{6}, size_t{7}})  // where one of the functions has it
    if (i < arguments.size() && is_name(*arguments[i], Meaning::dtype))
      out.dtype = row(*arguments[i]).dtype;
    else if (names_dtype && i == 6)
      broken("a tensor without a dtype");
  copied(size.items);
  Dims shape, strides;
  auto whole = [&](const Object& o) {
    if (o.kind != Object::integer || o.number < 0) broken("a size that is none");
    return o.number;
  };
  uint64_t last = static_cast<uint64_t>(whole(offset));
  bool empty = false;
  for (size_t d = 0; d < size.items.size(); ++d) {
    shape.push_back(whole(*size.items[d]));
    strides.push_back(whole(*stride.items[d]));
    empty |= shape.back() == 0;
    uint64_t reach;
    if (shape.back() > 1 &&
        (__builtin_mul_overflow(static_cast<uint64_t>(shape.back() - 1),
                                static_cast<uint64_t>(strides.back()), &reach) ||
         __builtin_add_overflow(last, reach, &last)))
      broken("a tensor beyond its storage");
  }
  if (!empty && last >= storage.bytes() / size_of(out.dtype)) broken("a tensor beyond its storage");
  out.layout.shape = shape;
  out.layout.strides = strides;
  out.layout.offset = empty ? 0 : offset.number;
  return out;
}

/// Copies of lists are made by calls, which are shorter than what they copy.
const std::vector<Object*>& Pickle::copied(const std::vector<Object*>& items) {
  copied_ += items.size();
  if (copied_ > content_.size()) broken("copies of copies");
  return items;
}

Object& Pickle::ordered_dict(const std::vector<Object*>& arguments) {
  Object& out = make(Object::dict);
  if (arguments.empty()) return out;
  const Object& from = *arguments[0];
  if (from.kind == Object::dict) {
    out.items = copied(from.items);
    return out;
  }
  if (from.kind != Object::list) broken("a dict of something else");
  for (const Object* pair : copied(from.items)) {
    if (pair->kind != Object::list || pair->items.size() != 2) broken("a dict of no pairs");
    out.items.insert(out.items.end(), pair->items.begin(), pair->items.end());
  }
  return out;
}

Object& Pickle::built(const Object& what, const std::vector<Object*>& arguments) {
  if (what.kind != Object::name) broken("a call of what is no function");
  switch (row(what).meaning) {
    case Meaning::tensor:
      return rebuilt_tensor(arguments, false);
    case Meaning::typed:
      return rebuilt_tensor(arguments, true);
    case Meaning::first:
      if (arguments.empty()) broken("a parameter of nothing");
      return *arguments[0];
    case Meaning::with_type:
      if (arguments.size() < 3 || arguments[2]->kind != Object::list ||
          is_name(*arguments[0], Meaning::with_type))
        broken("a tensor of something else");
      return built(*arguments[0], arguments[2]->items);
    case Meaning::dict:
      return ordered_dict(arguments);
    case Meaning::list: {
      Object& out = make(Object::list);
      if (!arguments.empty() && arguments[0]->kind == Object::list)
        out.items = copied(arguments[0]->items);
      return out;
    }
    case Meaning::opaque:
      return make(Object::other);
    case Meaning::dtype:
    case Meaning::storage:
      break;
  }
  broken("a call of what is no function");
}

void Pickle::call() {
  const Object& arguments = pop();
  const Object& what = pop();
  if (arguments.kind != Object::list) broken("arguments that are no tuple");
  push(built(what, arguments.items));
}

/// A persistent id: ("storage", type, key, location, count, ...).
void Pickle::push_storage() {
  const Object& id = pop();
  if (id.kind != Object::list || id.items.size() < 5 || id.items[0]->characters != "storage" ||
      !is_name(*id.items[1], Meaning::storage) || id.items[2]->kind != Object::text ||
      id.items[4]->kind != Object::integer)
    broken("a storage that is none");
  if (id.items.size() > 5 && id.items[5]->kind != Object::none)
    damaged(name_, "it has views of storages, as versions before 0.4 wrote them");
  const Row& type = row(*id.items[1]);
  StorageName storage{.key = id.items[2]->characters,
                      .dtype = type.dtype,
                      .untyped = type.name == "torch.storage.UntypedStorage",
                      .count = id.items[4]->number};
  if (storage.count < 0 || storage.count > int64_t{1} << 56) broken("a storage without end");
  const auto [at, fresh] =
      storage_of_key_.emplace(storage.key, static_cast<int64_t>(storages_.size()));
  if (fresh) storages_.push_back(std::move(storage));
  push_number(Object::place, at->second);
}

/// One instruction; false at the end.
bool Pickle::step(uint8_t code, Cursor& c) {
  auto line = [&] {
    std::string out;
    for (char ch; (ch = c.number<char>()) != '\n';) out += ch;
    return out;
  };
  switch (code) {
    case 0x80:
      c.skip(1);
      break;  // PROTO
    case 0x95:
      c.skip(8);
      break;  // FRAME
    case '.':
      return false;
    case '(':
      push(make(Object::mark));
      break;
    case '0':
      pop();
      break;
    case '1':
      after_mark();
      break;
    case 'N':
      push(make(Object::none));
      break;
    case 0x88:
      push_number(Object::boolean, 1);
      break;
    case 0x89:
      push_number(Object::boolean, 0);
      break;
    case 'J':
      push_number(Object::integer, c.number<int32_t>());
      break;
    case 'K':
      push_number(Object::integer, c.number<uint8_t>());
      break;
    case 'M':
      push_number(Object::integer, c.number<uint16_t>());
      break;
    case 0x8a:
      push_long(c.take(c.number<uint8_t>()));
      break;
    case 0x8b:
      push_long(c.take(c.number<uint32_t>()));
      break;
    case 'G': {  // big-endian
      Object& o = make(Object::real);
      o.value = std::bit_cast<double>(__builtin_bswap64(c.number<uint64_t>()));
      push(o);
      break;
    }
    case 'X':
    case 'T':
    case 'B':
      push_text(c.text(c.number<uint32_t>()));
      break;
    case 0x8c:
    case 'U':
    case 'C':
      push_text(c.text(c.number<uint8_t>()));
      break;
    case 0x8d:
    case 0x8e:
    case 0x96:
      push_text(c.text(c.number<uint64_t>()));
      break;
    case ']':
    case ')':
    case 0x8f:
      push(make(Object::list));
      break;
    case '}':
      push(make(Object::dict));
      break;
    case 'l':
    case 't':
      push_list(after_mark());
      break;
    case 0x85:
      push_last(1);
      break;
    case 0x86:
      push_last(2);
      break;
    case 0x87:
      push_last(3);
      break;
    case 'a': {
      Object& item = pop();
      append({&item});
      break;
    }
    case 'e':
    case 0x90:
      append(after_mark());
      break;
    case 's': {
      Object& value = pop();
      Object& key = pop();
      set_items({&key, &value});
      break;
    }
    case 'u':
      set_items(after_mark());
      break;
    case 'q':
      memo_[c.number<uint8_t>()] = &top();
      break;
    case 'r':
      memo_[c.number<uint32_t>()] = &top();
      break;
    case 0x94: {
      const uint64_t next = memo_.size();
      memo_[next] = &top();
      break;
    }
    case 'h':
      push_kept(c.number<uint8_t>());
      break;
    case 'j':
      push_kept(c.number<uint32_t>());
      break;
    case 'c': {
      const std::string module = line();
      push_name(module, line());
      break;
    }
    case 0x93: {
      const Object& n = pop();
      const Object& m = pop();
      push_name(m.characters, n.characters);
      break;
    }
    case 'R':
    case 0x81:
      call();
      break;
    case 'b':
      pop();
      top();
      break;  // attributes of a tensor or of a dict
    case 'Q':
      push_storage();
      break;
    default:
      damaged(name_, "its pickle has an instruction {} that no checkpoint has", code);
  }
  return true;
}

const Object& Pickle::load(uint64_t position) {
  Cursor c(content_, name_, position);
  stack_.clear();
  memo_.clear();
  while (step(c.number<uint8_t>(), c)) {
  }
  position_ = c.position();
  const Object& out = pop();
  if (out.kind == Object::mark) broken("nothing but a mark");
  return out;
}

}  // namespace qs::io
