// Attention in blocks of k_rows x k_keys scores.
//
// Forward, an item is a block of rows of one head. It walks the keys block by block: scores by a
// matrix product, a step of the running softmax (the rows' largest score and the sum of their
// exponentials so far), then the product with V on top of what the earlier blocks gave, which is
// scaled down when the largest score has grown. At the end rows are divided by their sums, and the
// logsumexp is left for the backward call.
//
// Backward, a block's probabilities are computed again from the logsumexp. With dO the gradient of
// the output and delta = rowsum(dO * O):
//
//   dV += P^T dO     dP = dO V^T     dS = P (dP - delta)     dQ += scale dS K     dK += scale dS^T
//   Q
//
// An item is a key head and does all of it; when there are few heads, one kind of item is a block
// of keys (dK, dV) and another a block of rows (dQ), and both compute the probabilities. Sums run
// over blocks in ascending order either way, so the choice changes no bit and may follow the number
// of threads.
//
// A row that sees no key at all (or only scores of -inf) gives 0, as in PyTorch; its logsumexp is
// kept as +inf, so that its probabilities come out as 0 again.
//
// f16 and bf16 are widened block by block and everything is computed in f32.
#include "quicksilver/driver/cpu/attention.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <type_traits>

#include "quicksilver/core/cpu_info.h"
#include "quicksilver/core/thread_pool.h"
#include "quicksilver/driver/cpu/attention_table.h"
#include "quicksilver/driver/cpu/cpu_memory.h"
#include "quicksilver/driver/cpu/gemm.h"
#include "quicksilver/driver/cpu/gemm_table.h"

namespace qs::driver::cpu {
namespace {

constexpr int64_t k_rows = 64, k_keys = 128;  // of a block: scores stay in the second-level cache
static_assert(k_keys % k_attention_lanes == 0);
constexpr int64_t k_item_work = 256 << 10;             // multiply-adds worth a chunk
constexpr int64_t k_most_together = int64_t{1} << 20;  // elements of dQ held beside an item

const AttentionTable& row_table() {
#if defined(__x86_64__)
  if (cpu_info().isa == Isa::avx512) return attention_avx512_table();
  if (cpu_info().isa == Isa::avx2) return attention_avx2_table();
#endif
  return attention_generic_table();
}
int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }
int64_t padded(int64_t n) { return ceil_div(n, k_attention_lanes) * k_attention_lanes; }

/// Elements of T with strides.
template <class T>
struct Span2 {
  T* at = nullptr;
  int64_t row = 0, column = 0;
  Span2 transposed() const { return {at, column, row}; }
};

}  // namespace

/// What one chunk works with: pointers, the scratch memory cut into blocks, and the steps.
template <class T>
class AttentionWork {
 public:
  AttentionWork(const AttentionPlan& plan, const AttentionPointers& pointers)
      : call_(plan.call_),
        a_(plan.args_),
        p_(pointers),
        rows_(row_functions()),
        multiply_(gemm_table().packed[sizeof(T) == 8 ? g_f64 : g_f32]),
        size_(static_cast<int64_t>(size_of(plan.call_.dtype))),
        plain_(size_ == static_cast<int64_t>(sizeof(T))),
        group_(a_.heads / a_.key_heads),
        line_e_(padded(a_.width)),
        line_f_(padded(a_.value_width)) {
    const int64_t wide = line_e_ + line_f_;
    int64_t elements = 2 * k_rows * k_keys + 4 * k_rows + k_rows * wide;  // scores, row facts, Q dO
    elements += k_keys * wide * 3 + k_rows * wide;                        // K V, K^T V^T, dK dV, O
    if (call_.dropout) elements += k_rows * k_keys;
    if (plan.together_ && !adds_in_place()) elements += group_ * a_.rows * line_e_;
    if (plan.together_) elements += group_ * padded(a_.rows);
    char* base = static_cast<char*>(
        thread_scratch(static_cast<size_t>(elements) * sizeof(T) + k_gemm_scratch_bytes + 4096));
    scratch_ = base;
    next_ = reinterpret_cast<T*>(base + (k_gemm_scratch_bytes + 63) / 64 * 64);
    scores_ = take(k_rows * k_keys);
    slopes_ = take(k_rows * k_keys);
    dropped_ = call_.dropout ? take(k_rows * k_keys) : nullptr;
    top_ = take(k_rows);
    total_ = take(k_rows);
    factor_ = take(k_rows);
    delta_ = take(k_rows);
    q_block_ = take(k_rows * line_e_);
    go_block_ = take(k_rows * line_f_);
    k_block_ = take(k_keys * line_e_);
    v_block_ = take(k_keys * line_f_);
    k_turned_ = take(k_keys * line_e_);
    v_turned_ = take(k_keys * line_f_);
    gk_block_ = take(k_keys * line_e_);
    gv_block_ = take(k_keys * line_f_);
    sum_block_ = take(k_rows * std::max(line_e_, line_f_));
    if (plan.together_ && !adds_in_place()) gq_heads_ = take(group_ * a_.rows * line_e_);
    if (plan.together_) deltas_ = take(group_ * padded(a_.rows));
  }

  // ---- forward
  void forward(int64_t batch, int64_t head, int64_t r0) {
    const int64_t rows = std::min(k_rows, a_.rows - r0), key_head = head / group_;
    const Span2<T> q = block(q_block_, line_e_, p_.q, a_.q, batch, head, r0, rows, a_.width);
    const bool direct = plain_ && (a_.out.column == 1 || a_.value_width == 1);
    Span2<T> out{sum_block_, line_f_, 1};
    if (direct) out = {static_cast<T*>(p_.out) + start(a_.out, batch, head, r0), a_.out.row, 1};
    std::fill(top_, top_ + rows, -std::numeric_limits<T>::infinity());
    std::fill(total_, total_ + rows, T(0));
    const int64_t end = call_.causal ? std::min(a_.keys, r0 + rows) : a_.keys;
    for (int64_t k0 = 0; k0 < end; k0 += k_keys) {
      const int64_t keys = seen_keys(r0, rows, k0);
      const Span2<T> k = block(k_block_, line_e_, p_.k, a_.k, batch, key_head, k0, keys, a_.width);
      const ScoreBlock<T> s = scores(q, k.transposed(), batch, head, r0, rows, k0, keys);
      rows_.softmax(s, top_, total_, factor_);
      if (call_.dropout) drop(s, batch, head, r0, k0);
      if (k0 > 0) rows_.scale_rows(out.at, out.row, rows, a_.value_width, factor_);
      const Span2<T> v =
          block(v_block_, line_f_, p_.v, a_.v, batch, key_head, k0, keys, a_.value_width);
      multiply({s.at, s.line, 1}, v, out, rows, a_.value_width, keys, 1, k0 > 0);
    }
    T* saved = static_cast<T*>(p_.logsumexp) + (batch * a_.heads + head) * a_.rows + r0;
    for (int64_t i = 0; i < rows; ++i) {
      const bool blind = total_[i] == T(0);
      saved[i] = blind ? std::numeric_limits<T>::infinity()
                       : top_[i] + static_cast<T>(std::log(total_[i]));
      factor_[i] = blind ? T(0) : T(1) / total_[i];
    }
    if (end == 0)
      for (int64_t i = 0; i < rows; ++i) std::fill_n(out.at + i * out.row, a_.value_width, T(0));
    else
      rows_.scale_rows(out.at, out.row, rows, a_.value_width, factor_);
    if (!direct)
      rows_.narrow(static_cast<char*>(p_.out) + start(a_.out, batch, head, r0) * size_, call_.dtype,
                   a_.out.row, a_.out.column, out.at, out.row, rows, a_.value_width);
  }

  // ---- backward
  /// All gradients of one key head.
  void backward(int64_t batch, int64_t key_head) {
    for (int64_t g = 0; g < group_; ++g)
      for (int64_t r0 = 0; r0 < a_.rows; r0 += k_rows)
        row_deltas(batch, key_head * group_ + g, r0, deltas_ + g * padded(a_.rows) + r0);
    for (int64_t k0 = 0; k0 < a_.keys; k0 += k_keys) key_block(batch, key_head, k0, true);
    for (int64_t g = 0; g < group_; ++g) {
      const int64_t head = key_head * group_ + g;
      if (a_.keys == 0) clear(p_.grad_q, a_.grad_q, batch, head, a_.rows, a_.width);
      if (a_.keys > 0 && !adds_in_place())
        rows_.narrow(static_cast<char*>(p_.grad_q) + start(a_.grad_q, batch, head, 0) * size_,
                     call_.dtype, a_.grad_q.row, a_.grad_q.column,
                     gq_heads_ + g * a_.rows * line_e_, line_e_, a_.rows, a_.width);
    }
  }

  /// dK and dV of one block of keys; with `and_rows`, what it adds to dQ as well.
  void key_block(int64_t batch, int64_t key_head, int64_t k0, bool and_rows) {
    const int64_t keys = std::min(k_keys, a_.keys - k0);
    const Span2<T> k = block(k_block_, line_e_, p_.k, a_.k, batch, key_head, k0, keys, a_.width);
    const Span2<T> v =
        block(v_block_, line_f_, p_.v, a_.v, batch, key_head, k0, keys, a_.value_width);
    const Span2<T> k_turned = turned(k, k_turned_, keys, a_.width);
    const Span2<T> v_turned = turned(v, v_turned_, keys, a_.value_width);
    const Span2<T> gk{gk_block_, line_e_, 1}, gv{gv_block_, line_f_, 1};
    std::fill_n(gk_block_, keys * line_e_, T(0));
    std::fill_n(gv_block_, keys * line_f_, T(0));
    for (int64_t g = 0; g < group_; ++g) {
      const int64_t head = key_head * group_ + g;
      // The first rows see none of these keys.
      const int64_t first = call_.causal ? k0 / k_rows * k_rows : 0;
      for (int64_t r0 = first; r0 < a_.rows; r0 += k_rows) {
        const int64_t rows = std::min(k_rows, a_.rows - r0);
        const T* delta = delta_;
        if (and_rows)
          delta = deltas_ + g * padded(a_.rows) + r0;
        else
          row_deltas(batch, head, r0, delta_);
        const RowBlock of = row_block(batch, head, r0, rows);
        const int64_t seen = seen_keys(r0, rows, k0);
        slopes(of, k_turned, v_turned, batch, head, r0, rows, k0, seen, delta);
        const Span2<T> p{call_.dropout ? dropped_ : scores_, k_keys, 1}, slope{slopes_, k_keys, 1};
        multiply(p.transposed(), of.go, gv, seen, a_.value_width, rows, 1, true);
        multiply(slope.transposed(), of.q, gk, seen, a_.width, rows, a_.scale, true);
        if (and_rows) {
          Span2<T> gq{gq_heads_ ? gq_heads_ + (g * a_.rows + r0) * line_e_ : nullptr, line_e_, 1};
          if (adds_in_place())
            gq = {static_cast<T*>(p_.grad_q) + start(a_.grad_q, batch, head, r0), a_.grad_q.row, 1};
          multiply(slope, k, gq, rows, a_.width, seen, a_.scale, k0 > 0);
        }
      }
    }
    rows_.narrow(static_cast<char*>(p_.grad_k) + start(a_.grad_k, batch, key_head, k0) * size_,
                 call_.dtype, a_.grad_k.row, a_.grad_k.column, gk_block_, line_e_, keys, a_.width);
    rows_.narrow(static_cast<char*>(p_.grad_v) + start(a_.grad_v, batch, key_head, k0) * size_,
                 call_.dtype, a_.grad_v.row, a_.grad_v.column, gv_block_, line_f_, keys,
                 a_.value_width);
  }

  /// dQ of one block of rows.
  void query_block(int64_t batch, int64_t head, int64_t r0) {
    const int64_t rows = std::min(k_rows, a_.rows - r0), key_head = head / group_;
    row_deltas(batch, head, r0, delta_);
    const RowBlock of = row_block(batch, head, r0, rows);
    const Span2<T> gq{sum_block_, line_e_, 1};
    const int64_t end = call_.causal ? std::min(a_.keys, r0 + rows) : a_.keys;
    for (int64_t k0 = 0; k0 < end; k0 += k_keys) {
      const int64_t keys = seen_keys(r0, rows, k0);
      const Span2<T> k = block(k_block_, line_e_, p_.k, a_.k, batch, key_head, k0, keys, a_.width);
      const Span2<T> v =
          block(v_block_, line_f_, p_.v, a_.v, batch, key_head, k0, keys, a_.value_width);
      slopes(of, k.transposed(), v.transposed(), batch, head, r0, rows, k0, keys, delta_);
      multiply({slopes_, k_keys, 1}, k, gq, rows, a_.width, keys, a_.scale, k0 > 0);
    }
    if (end == 0) std::fill_n(sum_block_, rows * line_e_, T(0));
    rows_.narrow(static_cast<char*>(p_.grad_q) + start(a_.grad_q, batch, head, r0) * size_,
                 call_.dtype, a_.grad_q.row, a_.grad_q.column, sum_block_, line_e_, rows, a_.width);
  }

 private:
  struct RowBlock {
    Span2<T> q, go;
  };

  static const AttentionRows<T>& row_functions() {
    if constexpr (sizeof(T) == 8)
      return row_table().f64;
    else
      return row_table().f32;
  }
  T* take(int64_t n) {
    T* at = next_;
    next_ += padded(n);
    return at;
  }
  /// dQ can be summed where it belongs.
  bool adds_in_place() const { return plain_ && (a_.grad_q.column == 1 || a_.width == 1); }

  static int64_t start(const AttentionArgs::Matrix& m, int64_t batch, int64_t head, int64_t row) {
    return batch * m.batch + head * m.head + row * m.row;
  }

  /// Rows of an operand in the compute dtype: where they lie, or widened into `room`.
  Span2<T> block(T* room, int64_t line, const void* base, const AttentionArgs::Matrix& m,
                 int64_t batch, int64_t head, int64_t row, int64_t rows, int64_t columns) const {
    const char* from = static_cast<const char*>(base) + start(m, batch, head, row) * size_;
    if (plain_) return {reinterpret_cast<T*>(const_cast<char*>(from)), m.row, m.column};
    rows_.widen(room, line, from, call_.dtype, m.row, m.column, rows, columns);
    return {room, line, 1};
  }
  RowBlock row_block(int64_t batch, int64_t head, int64_t r0, int64_t rows) const {
    return {
        block(q_block_, line_e_, p_.q, a_.q, batch, head, r0, rows, a_.width),
        block(go_block_, line_f_, p_.grad_out, a_.grad_out, batch, head, r0, rows, a_.value_width)};
  }

  void clear(void* base, const AttentionArgs::Matrix& m, int64_t batch, int64_t head, int64_t rows,
             int64_t columns) const {
    const T zero[k_attention_lanes] = {};
    for (int64_t j = 0; j < columns; j += k_attention_lanes)
      rows_.narrow(static_cast<char*>(base) + (start(m, batch, head, 0) + j * m.column) * size_,
                   call_.dtype, m.row, m.column, zero, 0, rows,
                   std::min(k_attention_lanes, columns - j));
  }

  void multiply(Span2<T> a, Span2<T> b, Span2<T> c, int64_t m, int64_t n, int64_t k, double alpha,
                bool add) const {
    if (m <= 0 || n <= 0) return;
    if (k <= 0) {
      for (int64_t i = 0; i < m && !add; ++i) std::fill_n(c.at + i * c.row, n, T(0));
      return;
    }
    GemmBlock g;
    g.a = a.at;
    g.b = b.at;
    g.c = c.at;
    g.m = m;
    g.n = n;
    g.k = k;
    g.a_row = a.row;
    g.a_column = a.column;
    g.b_row = b.row;
    g.b_column = b.column;
    g.c_row = c.row;
    g.alpha = alpha;
    g.beta = add ? 1 : 0;
    g.scratch = scratch_;
    multiply_(g);
  }

  /// Keys of the block from k0 on that a block of rows reaches.
  int64_t seen_keys(int64_t r0, int64_t rows, int64_t k0) const {
    const int64_t keys = std::min(k_keys, a_.keys - k0);
    return call_.causal ? std::min(keys, r0 + rows - k0) : keys;
  }

  ScoreBlock<T> score_block(T* at, int64_t r0, int64_t rows, int64_t k0, int64_t keys) const {
    return {at, k_keys, rows, keys, call_.causal ? r0 - k0 + 1 : keys};
  }

  /// A block of keys or values [keys, columns] as [columns, keys], laid out once for all rows.
  Span2<T> turned(Span2<T> x, T* room, int64_t keys, int64_t columns) const {
    if constexpr (std::is_same_v<T, float>)
      if (x.column == 1) {
        gemm_table().turn(room, k_keys, x.at, x.row, keys, columns);
        return {room, k_keys, 1};
      }
    return x.transposed();
  }

  /// scale Q K^T + mask of a block; `k` is [width, keys].
  ScoreBlock<T> scores(Span2<T> q, Span2<T> k, int64_t batch, int64_t head, int64_t r0,
                       int64_t rows, int64_t k0, int64_t keys) const {
    multiply(q, k, {scores_, k_keys, 1}, rows, keys, a_.width, a_.scale, false);
    const ScoreBlock<T> s = score_block(scores_, r0, rows, k0, keys);
    if (call_.mask != AttentionCall::none) {
      const int64_t at = start(a_.mask, batch, head, r0) + k0 * a_.mask.column;
      rows_.mask(
          s,
          static_cast<const char*>(p_.mask) + at * static_cast<int64_t>(size_of(call_.mask_dtype)),
          call_.mask_dtype, a_.mask.row, a_.mask.column);
    }
    return s;
  }

  void drop(const ScoreBlock<T>& s, int64_t batch, int64_t head, int64_t r0, int64_t k0) const {
    const int64_t first = ((batch * a_.heads + head) * a_.rows + r0) * a_.keys + k0;
    rows_.drop(s, static_cast<uint64_t>(first), static_cast<uint64_t>(a_.keys), p_.keep,
               p_.drop_scale, p_.seed, p_.offset);
  }

  /// delta = rowsum(dO * O).
  void row_deltas(int64_t batch, int64_t head, int64_t r0, T* delta) const {
    const int64_t rows = std::min(k_rows, a_.rows - r0);
    const Span2<T> out =
        block(sum_block_, line_f_, p_.out, a_.out, batch, head, r0, rows, a_.value_width);
    const Span2<T> go =
        block(go_block_, line_f_, p_.grad_out, a_.grad_out, batch, head, r0, rows, a_.value_width);
    rows_.delta(out.at, out.row, out.column, go.at, go.row, go.column, rows, a_.value_width, delta);
  }

  /// Probabilities of a block into scores_ (after dropout into dropped_), dS / scale into slopes_.
  /// `k` and `v` are [columns, keys].
  void slopes(const RowBlock& of, Span2<T> k, Span2<T> v, int64_t batch, int64_t head, int64_t r0,
              int64_t rows, int64_t k0, int64_t keys, const T* delta) const {
    const ScoreBlock<T> s = scores(of.q, k, batch, head, r0, rows, k0, keys);
    rows_.probability(
        s, static_cast<const T*>(p_.logsumexp) + (batch * a_.heads + head) * a_.rows + r0);
    multiply(of.go, v, {slopes_, k_keys, 1}, rows, keys, a_.value_width, 1, false);
    const ScoreBlock<T> slope = score_block(slopes_, r0, rows, k0, keys);
    if (call_.dropout) {
      std::copy_n(scores_, rows * k_keys, dropped_);
      drop(score_block(dropped_, r0, rows, k0, keys), batch, head, r0, k0);
      drop(slope, batch, head, r0, k0);
    }
    rows_.score_gradient(slope, scores_, delta);
  }

  const AttentionCall& call_;
  const AttentionArgs& a_;
  const AttentionPointers& p_;
  const AttentionRows<T>& rows_;
  const GemmBlockFn multiply_;
  const int64_t size_;
  const bool plain_;  // memory holds the compute dtype
  const int64_t group_;
  const int64_t line_e_, line_f_;  // elements between lines of blocks
  char* scratch_ = nullptr;
  T* next_ = nullptr;
  T *scores_, *slopes_, *dropped_, *top_, *total_, *factor_, *delta_;
  T *q_block_, *go_block_, *k_block_, *v_block_, *k_turned_, *v_turned_, *gk_block_, *gv_block_,
      *sum_block_;
  T *gq_heads_ = nullptr, *deltas_ = nullptr;
};

AttentionPlan::AttentionPlan(const AttentionCall& call, const AttentionArgs& args)
    : call_(call), args_(args) {
  const AttentionArgs& a = args_;
  if (a.batch <= 0 || a.heads <= 0 || a.key_heads <= 0) return;
  const int64_t row_blocks = ceil_div(a.rows, k_rows), key_blocks = ceil_div(a.keys, k_keys);
  const int64_t row_items = a.batch * a.heads * row_blocks;
  int64_t work = (a.width + a.value_width) * std::max<int64_t>(a.keys, 1);  // of a row
  if (!call.backward) {
    items_ = row_items;
    work *= std::min(k_rows, a.rows);
  } else {
    const int64_t held = a.heads / a.key_heads * a.rows * a.width;
    together_ =
        a.batch * a.key_heads >= 2 * ThreadPool::instance().threads() && held <= k_most_together;
    key_items_ = together_ ? a.batch * a.key_heads : a.batch * a.key_heads * key_blocks;
    items_ = together_ ? key_items_ : key_items_ + row_items;
    work *= 3 * (together_ ? a.rows * (a.heads / a.key_heads) : k_rows);
  }
  const int64_t enough = std::max<int64_t>(1, k_item_work / std::max<int64_t>(work, 1));
  step_ = std::clamp<int64_t>(items_ / (2 * ThreadPool::instance().threads()), 1, enough);
}

void AttentionPlan::run(const AttentionPointers& pointers, int64_t first, int64_t last) const {
  const auto with_type = [&]<class T>(T) {
    AttentionWork<T> work(*this, pointers);
    const int64_t row_blocks = ceil_div(args_.rows, k_rows);
    const int64_t key_blocks = ceil_div(args_.keys, k_keys);
    const int64_t end = std::min(items_, last * step_);
    for (int64_t item = first * step_; item < end; ++item) {
      if (call_.backward && item < key_items_) {
        const int64_t block = together_ ? 0 : item % key_blocks;
        const int64_t key_head = together_ ? item : item / key_blocks;
        const int64_t b = key_head / args_.key_heads, g = key_head % args_.key_heads;
        if (together_)
          work.backward(b, g);
        else
          work.key_block(b, g, block * k_keys, false);
        continue;
      }
      const int64_t row_item = item - key_items_;
      const int64_t head = row_item / row_blocks, row = row_item % row_blocks * k_rows;
      if (call_.backward)
        work.query_block(head / args_.heads, head % args_.heads, row);
      else
        work.forward(head / args_.heads, head % args_.heads, row);
    }
  };
  if (call_.dtype == DType::f64)
    with_type(double{});
  else
    with_type(float{});
}

}  // namespace qs::driver::cpu
