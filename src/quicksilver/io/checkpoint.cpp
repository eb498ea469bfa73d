// Files that torch.save wrote: a zip archive of one pickle ("data.pkl") and the storages that it
// names ("data/KEY"), or the older format, a row of pickles with the storages behind them.
#include <map>
#include <unordered_set>

#include "quicksilver/io/pickle.h"
#include "quicksilver/io/zip.h"

namespace qs::io {
namespace {

/// The storages of a file as flat tensors, each made once, so that tensors share them as they did.
class Storages {
 public:
  explicit Storages(std::vector<Bytes> contents) : contents_(std::move(contents)) {}

  Tensor tensor(const Object& o) {
    const auto index = static_cast<size_t>(o.number);
    Tensor& flat = flat_[{index, o.dtype}];
    if (!flat.defined()) flat = make(index, o.dtype);
    return as_strided(flat, o.layout.shape, o.layout.strides, o.layout.offset);
  }

 private:
  Tensor make(size_t index, DType dtype) const {
    const Bytes content = contents_[index];
    const Dims shape{static_cast<int64_t>(content.size() / size_of(dtype))};
    if (dtype != DType::bool_) return from_host(content.data(), shape, dtype, DeviceType::cpu);
    std::vector<uint8_t> bools(content.begin(), content.end());
    for (uint8_t& b : bools) b = b != 0;  // whatever the file says, a bool is 0 or 1
    return from_host(bools.data(), shape, dtype, DeviceType::cpu);
  }

  std::vector<Bytes> contents_;
  std::map<std::pair<size_t, DType>, Tensor> flat_;
};

std::string part_of(const Object& key) {
  switch (key.kind) {
    case Object::text:
      return key.characters;
    case Object::integer:
      return format("{}", key.number);
    case Object::boolean:
      return key.number ? "True" : "False";
    case Object::real:
      return format("{}", key.value);
    default:
      return "?";
  }
}

/// The tensors below `root`, named by the keys that lead to them. A list or dict that stands in
/// several places, or in itself, is entered where it is met first.
NamedTensors named_tensors(const Object& root, Storages& storages, const std::string& name) {
  constexpr size_t k_deepest = 100;
  struct Level {
    const Object* object;
    std::string prefix;
    size_t next = 0;
  };
  NamedTensors out;
  std::unordered_set<const Object*> entered;
  std::vector<Level> path;
  auto visit = [&](const Object& o, std::string at) {
    if (o.kind == Object::tensor) {
      out.emplace_back(std::move(at), storages.tensor(o));
    } else if ((o.kind == Object::list || o.kind == Object::dict) && entered.insert(&o).second) {
      if (path.size() == k_deepest) damaged(name, "its dicts and lists are nested too deeply");
      path.push_back({&o, std::move(at)});
    }
  };
  visit(root, "");
  while (!path.empty()) {
    Level& level = path.back();
    const std::vector<Object*>& items = level.object->items;
    if (level.next == items.size()) {
      path.pop_back();
      continue;
    }
    const bool keyed = level.object->kind == Object::dict;
    const std::string part = keyed ? part_of(*items[level.next]) : format("{}", level.next);
    const Object& value = *items[level.next + keyed];
    level.next += keyed ? 2 : 1;
    visit(value, level.prefix.empty() ? part : format("{}.{}", level.prefix, part));
  }
  return out;
}

NamedTensors parse_archive(Bytes content, const std::string& name) {
  std::unordered_map<std::string, const ZipEntry*> entries;
  const std::vector<ZipEntry> directory = zip_directory(content, name);
  const ZipEntry* pickle_entry = nullptr;
  for (const ZipEntry& e : directory) {
    entries.emplace(e.name, &e);
    const size_t slash = e.name.find('/');
    if (slash != e.name.npos && e.name.substr(slash + 1) == "data.pkl") pickle_entry = &e;
  }
  if (!pickle_entry) damaged(name, "it is a zip archive, but no checkpoint: it has no data.pkl");
  const std::string folder = pickle_entry->name.substr(0, pickle_entry->name.size() - 8);
  auto entry = [&](const std::string& what) {
    const auto found = entries.find(folder + what);
    return found == entries.end() ? nullptr : found->second;
  };
  auto stored = [&](const ZipEntry& e) {
    if (e.compressed) damaged(name, "its entry '{}' is compressed; checkpoints never are", e.name);
    return zip_content(e, content, name);
  };
  if (entry("constants.pkl")) damaged(name, "it is a TorchScript program, not a checkpoint");
  if (const ZipEntry* order = entry("byteorder")) {
    const Bytes text = stored(*order);
    if (std::string(text.begin(), text.end()) != "little")
      damaged(name, "it comes from a machine of the other byte order");
  }
  Pickle pickle(stored(*pickle_entry), name);
  const Object& root = pickle.load(0);
  std::vector<Bytes> contents;
  for (const StorageName& s : pickle.storages()) {
    const ZipEntry* e = entry("data/" + s.key);
    if (!e) damaged(name, "its entry 'data/{}' is missing", s.key);
    contents.push_back(stored(*e));
    if (contents.back().size() != s.bytes())
      damaged(name, "storage '{}' should have {} bytes and has {}", s.key, s.bytes(),
              contents.back().size());
  }
  Storages storages(std::move(contents));
  return named_tensors(root, storages, name);
}

constexpr std::string_view k_magic("\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.", 13);
constexpr uint64_t k_magic_end = 2 + k_magic.size();
constexpr int64_t k_protocol = 1001;

bool is_older(Bytes content) {
  return content.size() > k_magic_end && content[0] == 0x80 &&
         std::memcmp(content.data() + 2, k_magic.data(), k_magic.size()) == 0;
}

NamedTensors parse_older(Bytes content, const std::string& name) {
  Pickle pickle(content, name);
  if (pickle.load(k_magic_end).number != k_protocol)
    damaged(name, "it has an unknown protocol version");
  const Object& system = pickle.load(pickle.position());
  bool little = false;
  for (size_t i = 0; i + 1 < system.items.size(); i += 2)
    if (system.items[i]->characters == "little_endian") little = system.items[i + 1]->number == 1;
  if (!little) damaged(name, "it comes from a machine of the other byte order");
  const Object& root = pickle.load(pickle.position());
  const std::vector<StorageName> names = pickle.storages();
  const Object& keys = pickle.load(pickle.position());
  std::unordered_map<std::string, size_t> missing;
  for (size_t i = 0; i < names.size(); ++i) missing.emplace(names[i].key, i);
  std::vector<Bytes> contents(names.size());
  Cursor c(content, name, pickle.position());
  for (const Object* key : keys.items) {
    const auto at = missing.find(key->characters);
    if (at == missing.end()) damaged(name, "its storages are not those of its tensors");
    const StorageName& storage = names[at->second];
    if (c.number<int64_t>() != storage.count)
      damaged(name, "storage '{}' has another length than its tensors say", storage.key);
    contents[at->second] = c.take(storage.bytes());
    missing.erase(at);
  }
  if (!missing.empty()) damaged(name, "its storages are not those of its tensors");
  Storages storages(std::move(contents));
  return named_tensors(root, storages, name);
}

}  // namespace

NamedTensors parse_checkpoint(Bytes content, const std::string& name) {
  if (is_older(content)) return parse_older(content, name);
  return parse_archive(content, name);
}

}  // namespace qs::io
