// The plans of one device, and which of them fits a recording.
//
// Two shelves. *Instances* are finished plans, by the recording's key: ops, extents, strides,
// dtypes. *Structures* are what planning found out whatever the extents (structure.h), by the key
// without extents. A recording that no instance fits becomes one through a structure, which takes
// less than a microsecond a node; only when none fits do the passes run.
//
// An instance and a structure alike rest on two things that are not key, so one key may have
// several:
//
//   liveness   the plan computes the values that were live when it was built, all others may not
//              exist. It fits a recording whose live values are among its outputs. When none fits,
//              one is built for what is live now; from the fourth on, for that and what was live
//              before, so that a loop that holds this or that now and then settles. When a plan has
//              computed the same unwanted values for a while, an exact one is built, once.
//   guards     pairs of launch words that were equal when the plan was built and that some pass
//              relied on, say the start offsets of the two views in x[2:4].mul_(x[2:4]); or a word
//              and the value it had.
//
// Both shelves are bounded, in keys and in weight (launches of instances, nodes of structures), and
// let go of what was not used for longest. The settings that a plan depends on are part of both
// keys.
#pragma once
#include <list>
#include <memory>
#include <span>
#include <unordered_map>
#include <vector>

#include "quicksilver/core/hash.h"
#include "quicksilver/plan/compiled.h"
#include "quicksilver/plan/execute.h"
#include "quicksilver/plan/flight.h"
#include "quicksilver/plan/structure.h"

namespace qs::plan {

/// Candidates by key; the last used keys come first, and the last used candidate of each.
template <class Item>
class Shelf {
 public:
  struct Entry {
    Hash128 hash;
    std::vector<uint64_t> key;
    std::vector<Item> items;
  };

  /// The entry of a key, moved to the front, or null. Another key of the same hash makes room.
  Entry* find(const Hash128& hash, std::span<const uint64_t> key) {
    if (entries_.empty() || !(entries_.front().hash == hash)) {
      const auto it = by_hash_.find(hash);
      if (it == by_hash_.end()) return nullptr;
      entries_.splice(entries_.begin(), entries_, it->second);
    }
    Entry& entry = entries_.front();
    if (std::equal(key.begin(), key.end(), entry.key.begin(), entry.key.end())) return &entry;
    drop(entries_.begin());
    return nullptr;
  }
  Entry& add(const Hash128& hash, std::span<const uint64_t> key) {
    entries_.push_front({hash, {key.begin(), key.end()}, {}});
    by_hash_[hash] = entries_.begin();
    return entries_.front();
  }
  /// Makes `item` the first candidate of the entry, of at most `most`.
  Item& put(Entry& entry, Item item, size_t most) {
    if (entry.items.size() >= most) {
      gone_.push_back(std::move(entry.items.back()));
      entry.items.pop_back();
    }
    weight_ += weight_of(item);
    entry.items.insert(entry.items.begin(), std::move(item));
    return entry.items[0];
  }
  /// Lets go of the last entries until the rest is within the bounds; the first stays.
  void shrink(int64_t most_keys, int64_t most_weight) {
    collect();
    while (entries_.size() > 1 &&
           (static_cast<int64_t>(entries_.size()) > most_keys || weight_ > most_weight)) {
      drop(std::prev(entries_.end()));
      collect();
    }
  }
  /// What was let go since the last call.
  std::vector<Item> take_gone() {
    collect();
    return std::exchange(gone_, {});
  }
  void clear() {
    entries_.clear();
    by_hash_.clear();
    gone_.clear();
    weight_ = 0;
    counted_ = 0;
  }
  int64_t size() const {
    int64_t n = 0;
    for (const Entry& e : entries_) n += static_cast<int64_t>(e.items.size());
    return n;
  }

 private:
  using Place = typename std::list<Entry>::iterator;
  struct HashOf {
    size_t operator()(const Hash128& h) const { return static_cast<size_t>(h.a ^ h.b); }
  };

  void drop(Place at) {
    for (Item& item : at->items) gone_.push_back(std::move(item));
    by_hash_.erase(at->hash);
    entries_.erase(at);
  }
  void collect() {
    for (; counted_ < gone_.size(); ++counted_) weight_ -= weight_of(gone_[counted_]);
    if (gone_.empty()) counted_ = 0;
  }

  std::list<Entry> entries_;
  std::unordered_map<Hash128, Place, HashOf> by_hash_;
  std::vector<Item> gone_;
  size_t counted_ = 0;
  int64_t weight_ = 0;
};

inline int64_t weight_of(const std::unique_ptr<CompiledPlan>& plan) { return 1 + plan->launches; }
inline int64_t weight_of(const Ref<Structure>& structure) { return 1 + structure->nodes; }

/// The plans of one device. Guarded by its execution lock.
struct PlanCache {
  using Instances = Shelf<std::unique_ptr<CompiledPlan>>;
  using Structures = Shelf<Ref<Structure>>;

  void forget_plans();
  void shrink();

  const DeviceRuntime* device = nullptr;  // whose kernels the plans name
  Instances instances;
  Structures structures;
  Stats stats;
  int64_t kernels_before = 0;
  CompiledPlan* last = nullptr;
  std::unique_ptr<CompiledPlan> explained;  // built for somebody who looks (explain.h)
  // scratch
  Run run;                            // of a driver that works at once
  std::vector<uint64_t> live;         // bits of the recording at hand
  std::vector<uint64_t> class_words;  // its key without extents
};

PlanCache& cache_of(DeviceType device);

/// The plan to run for a recording, built when none fits. It stays valid until the next call.
CompiledPlan& lookup(PlanCache& cache, DeviceRuntime& device, const Recording& recording);

}  // namespace qs::plan
