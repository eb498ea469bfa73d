// Random programs: fused, with one kernel a node, cut after every node and cut at other places,
// they must agree bit for bit. QS_TEST_SEED runs one of them, QS_TEST_PROGRAMS says how many there
// are, QS_TEST_FIRST_SEED where they begin.
#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "plan_harness.h"

namespace qs::test {
namespace {

enum class Mode { fused, unfused, cut_each, cut_anywhere };

/// Runs one program; all choices depend on the seed alone. Gives what is alive at the end.
class Random {
 public:
  Random(uint64_t seed, Mode mode) : engine_(seed), cuts_(seed * 31 + 7), mode_(mode), p_("cpu") {
    plan::set_unfused(mode == Mode::unfused);
  }
  ~Random() { plan::set_unfused(false); }

  std::vector<std::vector<double>> run() {
    rows_ = pick({1, 3, 8, 33, 64, 700});
    columns_ = pick({1, 2, 17, 40, 300});
    for (int i = 0; i < 4; ++i) add(p_.random(shape(), engine_()));
    add(p_.random({columns_}, engine_()));
    add(p_.random({rows_, 1}, engine_()));
    const int steps = 3 + below(22);
    for (int i = 0; i < steps; ++i) {
      step();
      const bool now = below(12) == 0;
      if (now || mode_ == Mode::cut_each || (mode_ == Mode::cut_anywhere && cuts_() % 4 == 0))
        p_.cut();
      if (below(5) == 0 && pool_.size() > 5)
        pool_.erase(pool_.begin() + below(static_cast<int>(pool_.size())));
    }
    std::vector<std::vector<double>> all;
    for (const T& t : pool_) all.push_back(p_.read(t));
    return all;
  }

 private:
  int below(int n) { return static_cast<int>(engine_() % static_cast<uint64_t>(n)); }
  int64_t pick(std::initializer_list<int64_t> list) {
    return list.begin()[below(static_cast<int>(list.size()))];
  }
  Dims shape() { return {rows_, columns_}; }
  void add(T t) { pool_.push_back(std::move(t)); }

  /// Something of the pool, as f32, seen as [rows, columns] or broadcastable to it.
  T any() {
    for (int tries = 0; tries < 50; ++tries) {
      T t = pool_[static_cast<size_t>(below(static_cast<int>(pool_.size())))];
      if (t.dtype != DType::f32) continue;
      return t;
    }
    return pool_[0];
  }
  T whole() {
    for (int tries = 0; tries < 50; ++tries) {
      T t = any();
      if (t.layout.shape == shape()) return t;
      if (t.layout.shape == Dims{columns_, rows_}) return t.t();
      if (t.layout.shape == Dims{rows_ * columns_}) return t.view(shape());
    }
    return p_.random(shape(), engine_());
  }
  /// Broadcastable to [rows, columns].
  T operand() {
    for (int tries = 0; tries < 50; ++tries) {
      T t = any();
      const Dims& s = t.layout.shape;
      if (s == shape() || s == Dims{columns_} || s == Dims{rows_, 1} || s == Dims{1} || s.empty())
        return t;
      if (s == Dims{columns_, rows_}) return t.t();
      if (s == Dims{rows_}) return t.view({rows_, 1});
    }
    return whole();
  }

  void step() {
    constexpr Op unary[] = {Op::relu, Op::exp, Op::neg, Op::sigmoid, Op::tanh, Op::square, Op::abs};
    constexpr Op binary[] = {Op::add, Op::sub, Op::mul, Op::maximum, Op::div, Op::relu_backward};
    constexpr Op folds[] = {Op::sum, Op::amax, Op::mean, Op::logsumexp, Op::argmax, Op::amin};
    switch (below(33)) {
      case 0:
      case 1:
        add(p_.unary(unary[below(7)], whole()));
        break;
      case 2:
      case 3:
      case 4:
        add(p_.binary(binary[below(6)], whole(), operand()));
        break;
      case 5:
        add(p_.binary(binary[below(4)], whole(), 0.5 + below(3)));
        break;
      case 6:
      case 7: {
        const Op op = folds[below(6)];
        const uint64_t axes = op == Op::argmax ? pick({1, 2}) : pick({1, 2, 3});
        add(p_.reduce(op, whole(), axes, below(2)));
        break;
      }
      case 8:
        add(p_.record(
            below(2) ? Op::softmax : Op::log_softmax, {whole()},
            {DType::f32, {}, {shape()}, {static_cast<uint64_t>(pick({1, 2})), 0}, {}})[0]);
        break;
      case 9: {
        T x = whole();
        p_.update(binary[below(4)], x, whole_apart(x));
        break;
      }
      case 10: {  // part of a storage
        T x = whole();
        const int64_t from = below(static_cast<int>(rows_)),
                      to = from + 1 + below(static_cast<int>(rows_ - from));
        p_.update(Op::mul, x.slice(0, from, to), 1.25);
        break;
      }
      case 11: {  // through a narrow type
        const DType d = below(2) ? DType::f16 : DType::bf16;
        T h = p_.cast(whole(), d);
        T sum = p_.record(Op::add, {h, h}, {d, {}, {shape()}, {}, {}})[0];
        add(p_.record(Op::copy, {sum}, {DType::f32, {DType::f32}, {shape()}, {}, {}})[0]);
        break;
      }
      case 12: {
        T x = whole();
        auto out = p_.record(Op::layer_norm, {x, {}, {}},
                             {DType::f32,
                              {},
                              {shape(), {rows_}, {rows_}},
                              {2, 0, std::bit_cast<uint64_t>(1e-5)},
                              {}},
                             3);
        add(out[0]);
        add(out[2]);
        break;
      }
      case 13: {
        T f = p_.full(shape(), 1.5);
        add(p_.binary(Op::mul, f, whole()));
        break;
      }
      case 14: {  // draws are never merged nor moved
        auto out =
            p_.record(Op::dropout, {whole(), 0.75, 1 / 0.75, 7.0, 4.0 * below(100)},
                      {DType::f32, {DType::f32, DType::bool_}, {shape(), shape()}, {}, {}}, 2);
        add(out[0]);
        break;
      }
      case 15: {
        T x = whole();
        add(p_.matmul(x, x.t(), {}).slice(1, 0, 1));
        T w = p_.random({columns_, columns_}, engine_());
        add(p_.matmul(x, w, below(2) ? Arg(p_.random({columns_}, engine_())) : Arg(), 1,
                      below(2) ? 1 : 0.5));
        break;
      }
      case 16: {  // comparison, condition, integers
        T c = p_.record(Op::gt, {whole(), operand()},
                        {DType::f32, {DType::bool_}, {shape()}, {}, {}})[0];
        add(p_.record(Op::where, {c, whole(), operand()}, {DType::f32, {}, {shape()}, {}, {}})[0]);
        T n = p_.record(Op::sum, {c}, {DType::i64, {DType::i64}, {{rows_}}, {2, 0}, {}})[0];
        add(n);
        add(p_.record(Op::copy, {n}, {DType::f32, {DType::f32}, {{rows_}}, {}, {}})[0]);
        break;
      }
      case 17: {
        T classes =
            p_.record(Op::argmax, {whole()}, {DType::f32, {DType::i64}, {{rows_}}, {2, 0}, {}})[0];
        T x = whole();
        auto f = p_.record(Op::cross_entropy, {x, classes},
                           {DType::f32, {}, {{rows_}, {rows_}}, {2, 0, 1 << 20}, {}}, 2);
        add(f[0]);
        add(p_.record(Op::cross_entropy_backward, {f[0], x, classes, f[1]},
                      {DType::f32, {}, {shape()}, {2, 0, 1 << 20}, {}})[0]);
        break;
      }
      case 18:
        add(p_.record(Op::cumsum, {whole()}, {DType::f32, {}, {shape()}, {1}, {}})[0]);
        break;
      case 19: {
        T rows = p_.record(Op::argmax, {whole()},
                           {DType::f32, {DType::i64}, {{columns_}}, {1, 0}, {}})[0];
        T x = whole();
        T picked = p_.record(Op::index_select, {x, rows},
                             {DType::f32, {}, {{columns_, columns_}}, {0}, {}})[0];
        add(p_.reduce(Op::sum, picked, 2));
        T sum = p_.binary(Op::mul, x, 1.0);
        p_.record(Op::index_add, {sum, rows, picked}, {DType::f32, {}, {}, {0}, {0}});
        add(sum);
        break;
      }
      case 20: {  // flat
        T x = p_.unary(Op::tanh, whole());
        if (x.layout.is_contiguous()) {
          T flat = p_.binary(Op::add, x.view({rows_ * columns_}), 1.0);
          add(flat);
          add(p_.reduce(Op::sum, flat, 1));
        }
        break;
      }
      case 21: {
        T w = p_.binary(Op::add, whole(), 0.0), m = p_.full(shape(), 0), v = p_.full(shape(), 0.5);
        T g = whole();
        for (int k = 0; k < 2; ++k)
          p_.record(Op::adam_step, {w, g, m, v, 0.01, 0.1, 0.99, 1e-8, 0.1, 1.5, 0.01},
                    {DType::f32, {}, {}, {uint64_t(k), uint64_t(k)}, {0, 2, 3}}, 3);
        add(w);
        add(m);
        break;
      }
      case 23: {  // any part of a storage, by rows and columns with steps, from another tensor
        T part = some_part(whole());
        T source = p_.random(part.layout.shape, engine_());
        if (below(2)) {
          p_.copy_into(part, Arg(p_.unary(unary[below(7)], source)));
        } else {
          p_.update(binary[below(4)], part, source);
        }
        break;
      }
      case 24: {  // a part is read on, and summed
        T part = some_part(whole());
        T y = p_.binary(binary[below(4)], part, 1.5);
        add(p_.reduce(Op::sum, y, 3));
        if (below(2)) p_.copy_into(part, Arg(y));
        break;
      }
      case 25: {  // in place through the transposed view
        T x = whole();
        T t = x.t();
        p_.update(Op::mul, t, p_.random({columns_, 1}, engine_()));
        break;
      }
      case 26: {  // a small producer that many rows read
        T v = p_.random({columns_}, engine_());
        T scaled = p_.binary(Op::mul, v, 0.5);
        T number = p_.unary(Op::exp, p_.reduce(Op::amax, v, 1));
        add(p_.binary(Op::add, p_.binary(Op::mul, whole(), scaled), p_.unary(Op::sqrt, number)));
        if (below(3) == 0) add(scaled);
        break;
      }
      case 27: {  // maps behind a product, one of them in place on a storage of its own
        T x = whole(), w = p_.random({columns_, columns_}, engine_());
        T c = p_.matmul(x, w, below(2) ? Arg(p_.random({columns_}, engine_())) : Arg());
        T y = p_.binary(binary[below(4)], p_.unary(unary[below(7)], c), operand());
        if (below(3) == 0) add(c);
        add(y);
        T acc = p_.binary(Op::add, whole(), 0.0);
        p_.update(Op::add, acc, p_.matmul(x, w.t()));
        add(acc);
        break;
      }
      case 28: {  // many small equal kernels, with a reader behind them
        T total;
        for (int k = 0, n = 2 + below(5); k < n; ++k) {
          T a = p_.random({1 + below(9), 1 + below(7)}, engine_());
          T g = p_.random(a.layout.shape, engine_());
          p_.record(Op::sgd_step, {a, g, 0.1, {}}, {DType::f32, {}, {}, {0}, {0}});
          T s = p_.reduce(Op::sum, p_.unary(Op::square, a), 3);
          total = total.content ? p_.binary(Op::add, total, s) : s;
          if (below(3) == 0) add(p_.reduce(Op::sum, a, 3));
        }
        add(total);
        break;
      }
      case 29: {  // put together from parts
        T whole_thing = p_.full({rows_ + 2, columns_}, 0);
        T x = whole();
        p_.copy_into(whole_thing.slice(0, 0, rows_), Arg(p_.unary(Op::tanh, x)));
        p_.copy_into(whole_thing.slice(0, rows_, rows_ + 2),
                     Arg(p_.random({2, columns_}, engine_())));
        add(p_.reduce(Op::sum, whole_thing, 1));
        add(p_.binary(Op::mul, whole_thing.slice(0, 1, rows_ + 1), 2.0));
        break;
      }
      case 30: {  // joined, with what makes the parts, and read by parts
        const int dim = below(2);
        std::vector<Arg> parts;
        Dims joined = shape();
        joined[static_cast<size_t>(dim)] = 0;
        for (int k = 0, n = 1 + below(4); k < n; ++k) {
          T part = below(3) ? p_.unary(unary[below(7)], whole()) : some_part(whole(), 1 - dim);
          if (below(4) == 0)
            add(part.layout.shape == shape() ? part : p_.random(shape(), engine_()));
          joined[static_cast<size_t>(dim)] += part.layout.shape[dim];
          parts.emplace_back(part);
        }
        T all = p_.record(Op::cat, parts,
                          {DType::f32, {}, {joined}, {static_cast<uint64_t>(dim)}, {}})[0];
        const int64_t extent = dim ? columns_ : rows_,
                      spare = joined[static_cast<size_t>(dim)] - extent;
        if (spare >= 0) {
          const int64_t from = below(static_cast<int>(spare) + 1);
          T part = all.slice(dim, from, from + extent);
          add(p_.binary(binary[below(4)], part, operand()));
          if (below(3) == 0) p_.update(Op::mul, part, 0.5);
        }
        add(p_.reduce(Op::sum, all, 3));
        break;
      }
      case 31: {  // one index a row, and its gradient
        T x = whole();
        T index =
            p_.record(Op::argmax, {whole()}, {DType::f32, {DType::i64}, {{rows_}}, {2, 0}, {}})[0];
        T column = index.view({rows_, 1});
        T y = below(2) ? x
                       : p_.record(below(2) ? Op::softmax : Op::log_softmax, {x},
                                   {DType::f32, {}, {shape()}, {2, 0}, {}})[0];
        T picked = p_.record(Op::gather, {y, column}, {DType::f32, {}, {{rows_, 1}}, {1}, {}})[0];
        if (below(2)) add(y);
        add(p_.reduce(Op::mean, picked, 3));
        T zeros = p_.full(shape(), 0);
        T g = p_.binary(Op::mul, picked, 0.25);
        p_.record(below(2) ? Op::scatter_add : Op::scatter, {zeros, column, g},
                  {DType::f32, {}, {}, {1}, {0}});
        add(p_.record(Op::log_softmax_backward, {zeros, y},
                      {DType::f32, {}, {shape()}, {2, 0}, {}})[0]);
        break;
      }
      case 32: {  // x[arange(n), index], and one-hot against a count
        T x = p_.record(Op::softmax, {whole()}, {DType::f32, {}, {shape()}, {2, 0}, {}})[0];
        T index =
            p_.record(Op::argmax, {whole()}, {DType::f32, {DType::i64}, {{rows_}}, {2, 0}, {}})[0];
        T all = p_.record(Op::arange, {0.0, 1.0}, {DType::i64, {}, {{rows_}}, {}, {}})[0];
        add(p_.record(Op::index, {x, all, index}, {DType::f32, {}, {{rows_}}, {3}, {}})[0]);
        T classes = p_.record(Op::arange, {double(below(2)), 1.0},
                              {DType::i64, {}, {{columns_}}, {}, {}})[0];
        T hit = p_.record(Op::eq, {index.view({rows_, 1}), classes},
                          {DType::i64, {DType::bool_}, {shape()}, {}, {}})[0];
        add(p_.record(Op::where, {hit, x, 0.0}, {DType::f32, {}, {shape()}, {}, {}})[0]);
        break;
      }
      case 22: {  // doubles
        T d = p_.cast(whole(), DType::f64);
        T e = p_.unary(Op::exp, d, DType::f64);
        T s = p_.reduce(Op::sum, e, 2, true, DType::f64);
        T q = p_.binary(Op::div, e, s, DType::f64);
        add(p_.record(Op::copy, {q}, {DType::f32, {DType::f32}, {shape()}, {}, {}})[0]);
        break;
      }
    }
  }
  /// Rows and columns of `x` in steps, at least one of each; all along dimension `whole`.
  T some_part(const T& x, int whole = -1) {
    auto range = [&](int64_t n, int64_t& from, int64_t& to, int64_t& step) {
      from = below(static_cast<int>(n));
      to = from + 1 + below(static_cast<int>(n - from));
      step = 1 + below(3);
    };
    int64_t from, to, step;
    range(rows_, from, to, step);
    T part = whole == 0 ? x : x.slice(0, from, to, step);
    range(columns_, from, to, step);
    return whole == 1 ? part : part.slice(1, from, to, step);
  }

  /// An operand that does not share storage with `x` (unless it is the very same view).
  T whole_apart(const T& x) {
    for (int tries = 0; tries < 50; ++tries) {
      T t = whole();
      if (t.content.get() != x.content.get() || t.layout == x.layout) return t;
    }
    return p_.random(shape(), engine_());
  }

  std::mt19937_64 engine_, cuts_;
  Mode mode_;
  Program p_;
  int64_t rows_ = 0, columns_ = 0;
  std::vector<T> pool_;
};

void expect_same(const std::vector<std::vector<double>>& a,
                 const std::vector<std::vector<double>>& b, uint64_t seed, const char* what) {
  ASSERT_EQ(a.size(), b.size());
  for (size_t t = 0; t < a.size(); ++t) {
    ASSERT_EQ(a[t].size(), b[t].size());
    for (size_t i = 0; i < a[t].size(); ++i)
      ASSERT_EQ(std::bit_cast<uint64_t>(a[t][i]), std::bit_cast<uint64_t>(b[t][i]))
          << what << " differs: seed " << seed << ", tensor " << t << ", element " << i << ": "
          << a[t][i] << " and " << b[t][i];
  }
}

TEST(PlanRandom, FusedEqualsNodeByNodeBitForBit) {
  const char* given = std::getenv("QS_TEST_SEED");
  const char* from = std::getenv("QS_TEST_FIRST_SEED");
  const uint64_t first = given  ? std::strtoull(given, nullptr, 10)
                         : from ? std::strtoull(from, nullptr, 10)
                                : 1;
  const char* count = std::getenv("QS_TEST_PROGRAMS");
  const uint64_t programs = given ? 1 : count ? std::strtoull(count, nullptr, 10) : 150;
  std::printf("random programs of seeds %llu to %llu\n", static_cast<unsigned long long>(first),
              static_cast<unsigned long long>(first + programs - 1));
  for (uint64_t seed = first; seed < first + programs; ++seed) {
    SCOPED_TRACE("QS_TEST_SEED=" + std::to_string(seed));
    const auto fused = Random(seed, Mode::fused).run();
    const auto unfused = Random(seed, Mode::unfused).run();
    expect_same(fused, unfused, seed, "one kernel a node");
    if (::testing::Test::HasFatalFailure()) return;
    const auto cut = Random(seed, Mode::cut_each).run();
    expect_same(fused, cut, seed, "a cut after each node");
    if (::testing::Test::HasFatalFailure()) return;
    const auto anywhere = Random(seed, Mode::cut_anywhere).run();
    expect_same(fused, anywhere, seed, "cuts at other places");
    if (::testing::Test::HasFatalFailure()) return;
  }
}

}  // namespace
}  // namespace qs::test
