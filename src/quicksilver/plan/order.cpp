// The order in which groups run: the recorded one as far as dependences allow, with one exception.
// A group stands where its first node was recorded. (Where its last one was would be late: a
// gradient whose kernel also takes the optimizer's step would let all later recomputation overtake
// it, which then waits in memory.)
//
// Groups that write storages older than the plan wait, when they can, until every group that may
// find bad data has run, so that a bad label does not corrupt the weights.
#include <algorithm>
#include <queue>

#include "quicksilver/core/error.h"
#include "quicksilver/plan/passes.h"

namespace qs::plan {

int order_groups(Ir& ir) {
  const size_t n = ir.groups.size();
  std::vector<int32_t> position(ir.nodes.size(), 0);
  for (size_t p = 0; p < ir.sequence.size(); ++p)
    position[static_cast<size_t>(ir.sequence[p])] = static_cast<int32_t>(p);
  std::vector<int32_t> missing(n, 0), key(n, 0);
  std::vector<std::vector<int32_t>> after(n);
  int checks = 0;
  for (size_t g = 0; g < n; ++g) {
    const Group& group = ir.groups[g];
    checks += group.check;
    missing[g] = static_cast<int32_t>(group.before.size());
    for (int32_t b : group.before) after[static_cast<size_t>(b)].push_back(static_cast<int32_t>(g));
    key[g] = INT32_MAX;
    for (NodeId id : group.nodes) key[g] = std::min(key[g], position[static_cast<size_t>(id)]);
  }
  using Entry = std::pair<int32_t, int32_t>;  // key, group: smallest first
  std::priority_queue<Entry, std::vector<Entry>, std::greater<>> ready, waiting;
  auto offer = [&](int32_t g) {
    const Group& group = ir.groups[static_cast<size_t>(g)];
    const bool wait = checks > 0 && group.writes_external && !group.check;
    (wait ? waiting : ready).emplace(key[static_cast<size_t>(g)], g);
  };
  for (size_t g = 0; g < n; ++g)
    if (!missing[g]) offer(static_cast<int32_t>(g));
  ir.order.clear();
  int moved = 0;
  while (!ready.empty() || !waiting.empty()) {
    const bool late =
        ready.empty() || (checks == 0 && !waiting.empty() && waiting.top() < ready.top());
    auto& from = late ? waiting : ready;
    const int32_t g = from.top().second;
    from.pop();
    moved += !ir.order.empty() &&
             key[static_cast<size_t>(ir.order.back())] > key[static_cast<size_t>(g)];
    ir.groups[static_cast<size_t>(g)].step = static_cast<int32_t>(ir.order.size());
    ir.order.push_back(g);
    checks -= ir.groups[static_cast<size_t>(g)].check;
    for (int32_t next : after[static_cast<size_t>(g)])
      if (--missing[static_cast<size_t>(next)] == 0) offer(next);
  }
  QS_ASSERT(ir.order.size() == n, "groups depend on each other in a circle");
  return moved;
}

}  // namespace qs::plan
