// Anomaly mode: which forward op a bad gradient comes from.
//
// While it is on, each node of the gradient tape notes where it is made (in Python: the stack), and
// during a backward with create_graph also the node whose gradient is being computed. Backward then
// checks what every node gives for NaN, unless told not to, and when a node throws or gives NaN the
// note goes to the handler in PyTorch's words. The notes lie in a table beside the nodes, so a node
// costs nothing more while the mode is off. Each check reads a value, so that nothing is fused
// across nodes: this is for debugging.
#pragma once
#include <string>

#include "quicksilver/autograd/autograd.h"

namespace qs::autograd {

struct AnomalyMode {
  bool on = false;
  bool check_nan = true;
};
/// Of the whole process, as in PyTorch.
QS_API AnomalyMode anomaly_mode();
QS_API void set_anomaly_mode(AnomalyMode mode);

struct AnomalyHandlers {
  std::string (*place)() = nullptr;              // where the calling thread is, for a person
  void (*report)(const std::string&) = nullptr;  // null: a line on stderr
};
/// Once, before any thread uses the mode.
QS_API void set_anomaly_handlers(AnomalyHandlers handlers);

// ---- for the nodes and the walk
/// Of GradNode's constructor and destructor.
void note_place(const GradNode& node);
void forget_place(const GradNode& node) noexcept;
/// While it lives, nodes made on this thread are made for `node`'s gradient.
class Evaluating {
 public:
  explicit Evaluating(const GradNode& node);
  ~Evaluating();
  Evaluating(const Evaluating&) = delete;

 private:
  const GradNode* before_;
};
/// Tells the handler where the node that failed was made.
void report_anomaly(const GradNode& node);
/// Throws RuntimeError in PyTorch's words when one of `gradients` has a NaN.
void check_for_nan(const GradNode& node, const std::vector<Tensor>& gradients);

}  // namespace qs::autograd
