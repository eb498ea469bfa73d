#include "quicksilver/plan/one_by_one.h"

#include <algorithm>

#include "quicksilver/core/error.h"
#include "quicksilver/plan/flight.h"
#include "quicksilver/plan/turn.h"

namespace qs::plan {
namespace {

using graph::ValueId;

class Walk {
 public:
  Walk(DeviceRuntime& device, Recording& whole, Run* run = nullptr)
      : device_(device),
        whole_(whole),
        program_(graph::decode(whole.key)),
        needed_(program_.nodes.size(), 1),
        stores_(program_.values.size()),
        faults_(program_.values.size()),
        last_use_(program_.values.size(), -1) {
    for (Recording::Value& value : whole.values) contents_.push_back(&value.content);
    if (!run) return;
    for (auto* list : {&run->outputs, &run->written})
      for (Run::Held& held : *list) contents_[held.value] = &held.content;
  }

  /// Runs all, hands out what was made. Returns the first fault.
  Ref<Fault> run() {
    find_last_uses();
    for (size_t v = 0; v < program_.values.size(); ++v) {
      if (whole_.live[v / 64] >> (v % 64) & 1) last_use_[root(static_cast<ValueId>(v))] = INT32_MAX;
      if (!program_.values[v].external) continue;
      place_external(v);
      last_use_[v] = INT32_MAX;  // in-place results are wanted
    }
    {
      const std::lock_guard lock(recording_mutex());
      for (size_t v = 0; v < program_.values.size(); ++v)
        if (*contents_[v] && whole_.values[v].root_external)
          stores_[root(static_cast<ValueId>(v))]->pinned = (*contents_[v])->pinned;
    }
    walk();
    hand_out();
    return first_;
  }

  /// Runs what `wanted` takes, on copies of what is written; returns their last good values.
  std::vector<Ref<Block>> rescue(std::span<const ValueId> wanted) {
    apart_ = true;
    std::vector<uint8_t> roots(program_.values.size()), written(program_.values.size());
    for (ValueId v : wanted) roots[root(v)] = 1;
    for (size_t i = program_.nodes.size(); i-- > 0;) {
      const graph::Node& n = program_.nodes[i];
      needed_[i] = std::any_of(n.results.begin(), n.results.end(),
                               [&](const auto& r) { return roots[root(r.value_id)] != 0; });
      if (!needed_[i]) continue;
      for (const graph::Operand& o : n.operands)
        if (o.kind == graph::Operand::value) roots[root(o.value_id)] = 1;
      for (const graph::Result& r : n.results) written[root(r.value_id)] = 1;
    }
    find_last_uses();
    for (ValueId v : wanted) last_use_[root(v)] = INT32_MAX;
    for (size_t v = 0; v < program_.values.size(); ++v) {
      if (!program_.values[v].external || !roots[v]) continue;
      place_external(v);
      if (!written[v]) continue;
      const Block& old = *whole_.values[v].block;
      stores_[v]->block = device_.allocator().allocate(old.bytes());
      device_.driver().copy(stores_[v]->block->ptr(), old.ptr(), old.bytes());
    }
    walk();
    std::vector<Ref<Block>> good;
    for (ValueId v : wanted) {
      const Ref<Content>& store = stores_[root(v)];
      good.push_back(store ? store->block : nullptr);
    }
    return good;
  }

 private:
  ValueId root(ValueId v) const { return program_.values[v].root; }

  void find_last_uses() {
    for (size_t i = 0; i < program_.nodes.size(); ++i) {
      if (!needed_[i]) continue;
      for (const graph::Operand& o : program_.nodes[i].operands)
        if (o.kind == graph::Operand::value) last_use_[root(o.value_id)] = static_cast<int32_t>(i);
      for (const graph::Result& r : program_.nodes[i].results)
        last_use_[root(r.value_id)] = static_cast<int32_t>(i);
    }
  }

  void place_external(size_t v) {
    const Ref<Block>& block = whole_.values[v].block;
    stores_[v] = make_ref<Content>(device_.type(), program_.values[v].bytes);
    stores_[v]->block = block;
    if (block->spoilt()) faults_[v] = Ref(static_cast<Fault*>(block->spoilt()));
  }

  void walk() {
    for (size_t i = 0; i < program_.nodes.size(); ++i) {
      if (!needed_[i]) continue;
      step(static_cast<int32_t>(i));
      for (const graph::Operand& o : program_.nodes[i].operands)
        if (o.kind == graph::Operand::value) drop_if_last(root(o.value_id), i);
      for (const graph::Result& r : program_.nodes[i].results) drop_if_last(root(r.value_id), i);
    }
  }

  void drop_if_last(ValueId root, size_t node) {
    if (last_use_[root] == static_cast<int32_t>(node)) stores_[root] = nullptr;
  }

  /// The fault of what the node reads, or writes a part of, or of a storage that was lost before.
  Ref<Fault> inherited(const graph::Node& n) const {
    for (const graph::Operand& o : n.operands)
      if (o.kind == graph::Operand::value && o.read && faults_[o.value_id])
        return faults_[o.value_id];
    for (const graph::Result& r : n.results) {
      if (r.target < 0) continue;
      if (!r.full && faults_[program_.values[r.value_id].base])
        return faults_[program_.values[r.value_id].base];
      if (is_spoilt(r.value_id)) return faults_[root(r.value_id)];
    }
    return nullptr;
  }
  bool is_spoilt(ValueId v) const { return program_.values[root(v)].external && faults_[root(v)]; }

  void step(int32_t index) {
    const graph::Node& n = program_.nodes[static_cast<size_t>(index)];
    bool wanted = false;
    for (const graph::Result& r : n.results) wanted |= last_use_[root(r.value_id)] > index;
    if (!wanted) return;
    Ref<Fault> fault = inherited(n);
    if (!fault) {
      fault = execute(device_, record(index));
      if (!fault) fault = finish();
      if (fault && !first_) first_ = fault;
      if (fault && apart_)
        device_.take_error();
      else if (fault)
        leave_fault(device_, fault);  // from here on nothing older is written
    }
    for (const graph::Result& r : n.results) {
      const Ref<Content>& store = stores_[root(r.value_id)];
      // A fresh result may be whole although another one, or a check beside it, failed.
      if (fault && (r.target >= 0 || !store || !store->block)) faults_[r.value_id] = fault;
    }
    one_.clear();
  }

  /// What a driver that works beside us has met.
  Ref<Fault> finish() {
    try {
      flight_of(device_.type()).finish_all();
    } catch (...) {
      return Fault::current();
    }
    return device_.failed() ? waiting_fault(device_.type()) : nullptr;
  }

  /// The node as a recording of its own: all it uses is external.
  Recording& record(int32_t index) {
    const graph::Node& n = program_.nodes[static_cast<size_t>(index)];
    graph::KeyWriter key(one_.key, one_.hash);
    key.node(n.op, n.compute, n.operands.size(), n.results.size(), n.attrs.size(), n.region);
    std::vector<std::pair<ValueId, ValueId>> known;  // root, value in `one_`
    for (const graph::Operand& o : n.operands) {
      if (o.kind == graph::Operand::absent) {
        key.absent();
      } else if (o.kind == graph::Operand::scalar) {
        key.scalar(o.dtype);
        one_.words.push_back(whole_.words[static_cast<size_t>(o.word)]);
      } else {
        const auto id = place(known, root(o.value_id));
        Layout layout = o.layout;
        if (o.word >= 0)
          layout.offset = static_cast<int64_t>(whole_.words[static_cast<size_t>(o.word)]);
        const int64_t start = layout.offset * static_cast<int64_t>(size_of(o.dtype));
        key.value(id, o.dtype, layout, true, start % 16 == 0, o.read);
        one_.words.push_back(static_cast<uint64_t>(layout.offset));
      }
    }
    for (const graph::Result& r : n.results) {
      key.result(r.dtype, r.layout, r.target, r.full);
      Ref<Content>& store = stores_[root(r.value_id)];
      if (r.target < 0)
        store = make_ref<Content>(device_.type(), program_.values[root(r.value_id)].bytes);
      one_.values.push_back({store.get(), {}, false, r.target >= 0});
    }
    for (uint64_t a : n.attrs) key.attr(a);
    for (const Recording::Line& line : whole_.lines)
      if (line.node == index) one_.lines.push_back({0, line.text});
    one_.nodes = 1;
    one_.find_live();
    return one_;
  }

  ValueId place(std::vector<std::pair<ValueId, ValueId>>& known, ValueId root) {
    for (const auto& [of, id] : known)
      if (of == root) return id;
    const auto id = static_cast<ValueId>(one_.values.size());
    one_.values.push_back({nullptr, stores_[root]->block, true, true});
    known.emplace_back(root, id);
    return id;
  }

  void hand_out() {
    const std::lock_guard lock(recording_mutex());
    for (size_t v = 0; v < whole_.values.size(); ++v) {
      const Recording::Value& value = whole_.values[v];
      Content* content = *contents_[v];
      if (!content || value.external) continue;
      const Ref<Content>& store = stores_[root(static_cast<ValueId>(v))];
      if (!value.root_external) {
        if (store && store->block)  // of a newest value that failed the one before
          content->block = store->block;
        else if (faults_[v])
          content->lose(faults_[v]);
      } else if (store && !content->pinned && !is_spoilt(static_cast<ValueId>(v))) {
        content->block = store->block;  // a shadow may have taken its place
      }
    }
  }

  DeviceRuntime& device_;
  Recording& whole_;
  const graph::Program program_;
  std::vector<Content**> contents_;   // by value: where the pointer is kept. Recording lock
  std::vector<uint8_t> needed_;       // by node
  bool apart_ = false;                // older storages stay as they are, faults are known already
  std::vector<Ref<Content>> stores_;  // by root
  std::vector<Ref<Fault>> faults_;    // by value
  std::vector<int32_t> last_use_;     // by root: the last node that needs it
  Recording one_;
  Ref<Fault> first_;
};

}  // namespace

std::vector<Ref<Block>> last_good(DeviceRuntime& device, Recording& recording,
                                  std::span<const ValueId> wanted) {
  const driver::ErrorRecord record = device.take_error();
  std::vector<Ref<Block>> good;
  try {
    good = Walk(device, recording).rescue(wanted);
  } catch (const std::exception&) {  // they are lost, as the rest is
    good.assign(wanted.size(), nullptr);
  }
  *device.error_record() = record;
  return good;
}

Ref<Fault> one_by_one(DeviceRuntime& device, Recording& recording, Run* run) {
  return Walk(device, recording, run).run();
}

}  // namespace qs::plan
