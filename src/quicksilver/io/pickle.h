// Python's pickles, as far as checkpoints need them, without running anything that a file says.
//
// A Pickle is a small stack machine. What it makes are Objects: plain values, lists and dicts, and,
// for the names that PyTorch's files contain, descriptions: "a tensor over storage 3 from element
// 12 with these sizes". A name (`torch._utils._rebuild_tensor_v2`) stands for a row in a table; any
// other name is an error, so no file can make anything else. Every object costs at least one byte
// of the file, so a file cannot make more than it is long; lists may contain themselves.
#pragma once
#include <deque>
#include <string>
#include <unordered_map>
#include <vector>

#include "quicksilver/core/dtype.h"
#include "quicksilver/core/layout.h"
#include "quicksilver/io/cursor.h"

namespace qs::io {

struct Object {
  enum Kind : uint8_t {
    none,
    boolean,
    integer,
    real,
    text,   // also bytes
    list,   // also tuples, sets and torch.Size
    dict,   // items: key, value, key, value, ...
    name,   // a row of the table of names, in `number`
    place,  // a storage: its index in `number`
    tensor,
    other,  // something that is known and of no interest here
    mark,
  } kind = none;
  int64_t number = 0;
  double value = 0;
  std::string characters;
  std::vector<Object*> items;
  // A tensor: storage `number`, elements from `layout.offset`.
  Layout layout;
  DType dtype = DType::f32;
};

/// Bytes that tensors are made of; they lie elsewhere in the file.
struct StorageName {
  std::string key;
  DType dtype = DType::u8;
  bool untyped = false;  // its tensors name their dtype themselves
  int64_t count = 0;     // elements
  uint64_t bytes() const { return static_cast<uint64_t>(count) * size_of(dtype); }
};

class Pickle {
 public:
  /// `name` is the file's, for messages.
  Pickle(Bytes content, const std::string& name) : content_(content), name_(name) {}
  /// Reads the pickle at `position`; throws Error for a damaged one or one that names something
  /// unknown. The object lives as long as this does.
  const Object& load(uint64_t position);
  /// Behind the last pickle that was read.
  uint64_t position() const { return position_; }
  /// The storages that were named, each key once.
  const std::vector<StorageName>& storages() const { return storages_; }

 private:
  Object& make(Object::Kind kind);
  void push(Object& object) { stack_.push_back(&object); }
  Object& pop();
  Object& top();
  std::vector<Object*> after_mark();
  void push_number(Object::Kind kind, int64_t number);
  void push_text(std::string_view characters);
  void push_long(Bytes digits);
  void push_list(std::vector<Object*> items);
  void push_last(size_t count);
  void push_name(std::string_view module, std::string_view name);
  void push_kept(uint64_t index);
  void append(const std::vector<Object*>& items);
  void set_items(const std::vector<Object*>& items);
  void call();
  Object& built(const Object& what, const std::vector<Object*>& arguments);
  Object& rebuilt_tensor(const std::vector<Object*>& arguments, bool names_dtype);
  const std::vector<Object*>& copied(const std::vector<Object*>& items);
  Object& ordered_dict(const std::vector<Object*>& arguments);
  void push_storage();
  bool step(uint8_t code, Cursor& c);
  [[noreturn]] void broken(const char* why) const;

  Bytes content_;
  const std::string& name_;
  uint64_t position_ = 0, copied_ = 0;
  std::deque<Object> objects_;
  std::vector<Object*> stack_;
  std::unordered_map<uint64_t, Object*> memo_;
  std::vector<StorageName> storages_;
  std::unordered_map<std::string, int64_t> storage_of_key_;
};

}  // namespace qs::io
