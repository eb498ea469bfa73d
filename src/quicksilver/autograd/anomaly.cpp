#include "quicksilver/autograd/anomaly.h"

#include <atomic>
#include <mutex>
#include <unordered_map>

#include "quicksilver/autograd/verbs.h"
#include "quicksilver/core/env.h"
#include "quicksilver/core/error.h"

namespace qs::autograd {
namespace {

/// Where a node was made. That of the node it was made for is copied: the node may be gone first.
struct Note {
  std::string place;
  std::string parent_name;
  std::shared_ptr<const Note> parent;
};

std::atomic<bool> g_on{false}, g_check_nan{true};
std::atomic<int64_t> g_notes{0};
AnomalyHandlers g_handlers;
thread_local const GradNode* t_evaluated = nullptr;

struct Notes {
  std::mutex mutex;
  std::unordered_map<const GradNode*, std::shared_ptr<const Note>> of;
};
Notes& notes() {
  static Notes& all = *new Notes;  // nodes may outlive main
  return all;
}

std::shared_ptr<const Note> note_of(const GradNode& node) {
  Notes& all = notes();
  std::lock_guard lock(all.mutex);
  const auto at = all.of.find(&node);
  return at == all.of.end() ? nullptr : at->second;
}

void report(const std::string& text) {
  if (g_handlers.report)
    g_handlers.report(text);
  else
    warn(text);
}

}  // namespace

AnomalyMode anomaly_mode() { return {g_on.load(), g_check_nan.load()}; }
void set_anomaly_mode(AnomalyMode mode) {
  g_check_nan = mode.check_nan;
  g_on = mode.on;
}
void set_anomaly_handlers(AnomalyHandlers handlers) { g_handlers = handlers; }

void note_place(const GradNode& node) {
  if (!g_on.load(std::memory_order_relaxed)) [[likely]]
    return;
  auto note = std::make_shared<Note>();
  if (g_handlers.place) note->place = g_handlers.place();
  if (t_evaluated) {
    note->parent_name = t_evaluated->name();
    note->parent = note_of(*t_evaluated);
  }
  Notes& all = notes();
  std::lock_guard lock(all.mutex);
  all.of[&node] = std::move(note);
  g_notes.store(static_cast<int64_t>(all.of.size()), std::memory_order_relaxed);
}

void forget_place(const GradNode& node) noexcept {
  if (g_notes.load(std::memory_order_relaxed) == 0) [[likely]]
    return;
  Notes& all = notes();
  std::lock_guard lock(all.mutex);
  all.of.erase(&node);
  g_notes.store(static_cast<int64_t>(all.of.size()), std::memory_order_relaxed);
}

Evaluating::Evaluating(const GradNode& node) : before_(std::exchange(t_evaluated, &node)) {}
Evaluating::~Evaluating() { t_evaluated = before_; }

void report_anomaly(const GradNode& node) {
  std::shared_ptr<const Note> note = note_of(node);
  if (!note) {
    report(
        qs::format("Error detected in {}. No forward pass information available. Enable detect "
                   "anomaly during forward pass for more information.",
                   node.name()));
    return;
  }
  report(qs::format("Error detected in {}. Traceback of forward call that caused the error:\n{}",
                    node.name(), note->place));
  for (; !note->parent_name.empty(); note = note->parent) {
    if (!note->parent) {
      report(
          qs::format("\n\nPrevious calculation was induced by {}. No forward pass information "
                     "available. Enable detect anomaly during forward pass for more "
                     "information.",
                     note->parent_name));
      return;
    }
    report(
        qs::format("\n\nPrevious calculation was induced by {}. Traceback of forward call that "
                   "induced the previous calculation:\n{}",
                   note->parent_name, note->parent->place));
  }
}

void check_for_nan(const GradNode& node, const std::vector<Tensor>& gradients) {
  GradMode off(false);
  for (size_t i = 0; i < gradients.size(); ++i) {
    const Tensor& g = gradients[i];
    if (!g.defined() || !(is_floating(g.dtype()) || is_complex(g.dtype()))) continue;
    QS_CHECK(!any(isnan(detach(g))).item<bool>(), Error,
             "Function '{}' returned nan values in its {}th output.", node.name(), i);
  }
}

}  // namespace qs::autograd
