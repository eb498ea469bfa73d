// Records small programs straight into Recordings and runs them on a device of its own: what the
// tests of the planner share. No tensors, no autograd, no process-wide device.
#pragma once
#include <chrono>
#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "quicksilver/core/error.h"
#include "quicksilver/driver/late/late_driver.h"
#include "quicksilver/driver/null/null_driver.h"
#include "quicksilver/driver/record/record_driver.h"
#include "quicksilver/graph/op.h"
#include "quicksilver/plan/execute.h"
#include "quicksilver/plan/flight.h"
#include "quicksilver/plan/tape.h"

namespace qs::test {

using graph::Op;
using plan::Content;

/// A tensor: a storage and a layout over it.
struct T {
  Ref<Content> content;
  Layout layout;
  DType dtype = DType::f32;

  T t() const {
    T r = *this;
    std::swap(r.layout.shape[0], r.layout.shape[1]);
    std::swap(r.layout.strides[0], r.layout.strides[1]);
    return r;
  }
  T slice(int dim, int64_t start, int64_t stop, int64_t step = 1) const {
    T r = *this;
    r.layout.offset += start * layout.strides[dim];
    r.layout.shape[dim] = (stop - start + step - 1) / step;
    r.layout.strides[dim] *= step;
    return r;
  }
  T view(Dims shape) const {
    T r = *this;
    QS_ASSERT(view_strides(layout, shape, r.layout.strides));
    r.layout.shape = shape;
    return r;
  }
  T expand(Dims shape) const {
    T r = *this;
    r.layout = broadcast_to(layout, shape);
    return r;
  }
};

/// An operand: a tensor, a number or nothing.
struct Arg {
  enum { absent, tensor, scalar } kind = absent;
  T value;
  double number = 0;
  Arg() = default;
  Arg(const T& t) : kind(tensor), value(t) {}
  Arg(double v) : kind(scalar), number(v) {}
};

class Program {
 public:
  explicit Program(const std::string& driver) : Program(driver::open_driver(driver)) {}
  explicit Program(std::unique_ptr<driver::Driver> driver)
      : device_(std::make_unique<DeviceRuntime>(DeviceType::mps, std::move(driver))) {
    setenv("QS_VERIFY", "1", 1);
    plan::clear_plans(DeviceType::mps);
    plan::reset_stats(DeviceType::mps);
    driver::reset_null_counters();
  }
  ~Program() {
    driver::set_late_orders({0, false});
    try {
      finish();
      plan::raise_fault(DeviceType::mps);
    } catch (const Error&) {  // a test need not look at it
    }
    plan::clear_plans(DeviceType::mps);
  }

  DeviceRuntime& device() { return *device_; }
  uint32_t region = 0;  // of what is recorded next

  T empty(Dims shape, DType dtype = DType::f32) {
    T t;
    t.layout = Layout::contiguous(shape);
    t.dtype = dtype;
    const int64_t bytes = t.layout.numel() * static_cast<int64_t>(size_of(dtype));
    t.content = make_ref<Content>(DeviceType::mps, bytes);
    t.content->block = device_->allocator().allocate(static_cast<size_t>(bytes));
    return t;
  }
  /// Row-major data, converted to the dtype (f32, f64, i64, bool).
  T make(Dims shape, const std::vector<double>& data, DType dtype = DType::f32) {
    T t = empty(shape, dtype);
    std::vector<char> raw(data.size() * size_of(dtype) + 1);
    for (size_t i = 0; i < data.size(); ++i) put(raw.data(), i, dtype, data[i]);
    device_->driver().write(t.content->block->ptr(), raw.data(), data.size() * size_of(dtype));
    return t;
  }
  T random(Dims shape, uint64_t seed = 1, DType dtype = DType::f32) {
    std::mt19937_64 engine(seed);
    std::normal_distribution<double> normal;
    std::vector<double> data(static_cast<size_t>(Layout::contiguous(shape).numel()));
    for (double& x : data) x = normal(engine);
    return make(shape, data, dtype);
  }

  struct Options {
    DType compute = DType::f32;
    std::vector<DType> dtypes;  // of the results; default: compute
    std::vector<Dims> shapes;   // of fresh results
    std::vector<uint64_t> attrs;
    std::vector<int> targets;  // by result: operand index or -1
  };

  /// Appends one node. Fresh results are dense and row-major.
  std::vector<T> record(Op op, const std::vector<Arg>& args, const Options& o, size_t results = 1) {
    graph::KeyWriter key(r_.key, r_.hash);
    key.node(op, o.compute, args.size(), results, o.attrs.size(), region);
    for (size_t i = 0; i < args.size(); ++i) {
      const Arg& a = args[i];
      if (a.kind == Arg::absent) {
        key.absent();
      } else if (a.kind == Arg::scalar) {
        const bool seed =
            graph::info(op).kind == graph::OpKind::random && i + 2 >= graph::info(op).inputs;
        const DType d = is_integral(o.compute) || seed ? DType::i64 : DType::f64;
        key.scalar(d);
        r_.words.push_back(d == DType::i64 ? static_cast<uint64_t>(static_cast<int64_t>(a.number))
                                           : std::bit_cast<uint64_t>(a.number));
      } else {
        const T& t = a.value;
        const uint32_t id = value_of(t);
        const bool dynamic = r_.values[id].root_external;
        const bool read = i < graph::info(op).inputs;
        key.value(id, t.dtype, t.layout, dynamic,
                  t.layout.offset * static_cast<int64_t>(size_of(t.dtype)) % 16 == 0, read);
        if (dynamic) r_.words.push_back(static_cast<uint64_t>(t.layout.offset));
      }
    }
    std::vector<T> out;
    for (size_t i = 0; i < results; ++i) {
      const int target = i < o.targets.size() ? o.targets[i] : -1;
      const DType dtype = i < o.dtypes.size() ? o.dtypes[i] : o.compute;
      T t;
      bool full = true, root_external = false;
      if (target >= 0) {
        t = args[static_cast<size_t>(target)].value;
        full = t.layout.is_dense() &&
               t.layout.numel() * static_cast<int64_t>(size_of(t.dtype)) == t.content->bytes;
        root_external = r_.values[value_of(t)].root_external;
      } else {
        t.layout = Layout::contiguous(o.shapes[i]);
        t.dtype = dtype;
        t.content = make_ref<Content>(DeviceType::mps,
                                      t.layout.numel() * static_cast<int64_t>(size_of(dtype)));
      }
      key.result(t.dtype, t.layout, target, full);
      newest_[t.content.get()] = static_cast<uint32_t>(r_.values.size());
      r_.values.push_back({nullptr, {}, false, root_external});
      held_.push_back(t.content);
      out.push_back(t);
    }
    for (uint64_t a : o.attrs) key.attr(a);
    if (graph::info(op).can_fail) r_.lines.push_back({r_.nodes, "here.py:1"});
    ++r_.nodes;
    return out;
  }

  /// Drops what is recorded and not cut.
  void forget() {
    r_.clear();
    held_.clear();
    newest_.clear();
  }
  /// Waits for all runs under way.
  void finish() {
    const plan::Turn turn(DeviceType::mps);
    plan::flight_of(DeviceType::mps).finish_all();
  }
  /// Runs what was recorded. Storages that only this class still holds are dead.
  void cut() { timed_cut(); }
  int64_t nodes() const { return r_.nodes; }
  /// The same; gives the microseconds that `execute` took.
  double timed_cut() {
    for (auto& [content, id] : newest_) {
      uint32_t own = 0;
      for (const Ref<Content>& h : held_) own += h.get() == content;
      if (content->use_count() > own) r_.values[id].content = content;
    }
    struct Clear {
      Program& p;
      ~Clear() { p.forget(); }
    } clear{*this};
    const plan::Turn turn(DeviceType::mps);
    r_.find_live();
    const auto from = std::chrono::steady_clock::now();
    const Ref<plan::Fault> fault = plan::execute(*device_, r_);
    const double us =
        std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - from).count();
    if (fault && !device_->failed()) fault->raise();
    if (fault) plan::leave_fault(*device_, fault);
    return us;
  }

  std::vector<double> read(const T& t) {
    if (!newest_.empty()) cut();
    finish();
    if (!t.content->block) t.content->error->raise();
    std::vector<char> raw(static_cast<size_t>(t.content->bytes) + 8);
    device_->driver().read(raw.data(), t.content->block->ptr(),
                           static_cast<size_t>(t.content->bytes));
    std::vector<double> out;
    Dims index(t.layout.shape.size(), 0);
    const int64_t n = t.layout.numel();
    for (int64_t i = 0; i < n; ++i) {
      int64_t at = t.layout.offset;
      for (size_t d = 0; d < index.size(); ++d) at += index[d] * t.layout.strides[d];
      out.push_back(get(raw.data(), static_cast<size_t>(at), t.dtype));
      for (size_t d = index.size(); d-- > 0;) {
        if (++index[d] < t.layout.shape[d]) break;
        index[d] = 0;
      }
    }
    return out;
  }

  std::vector<std::string> lines() {
    auto* log = dynamic_cast<driver::CommandLog*>(&device_->driver());
    std::vector<std::string> l = log->lines();
    log->clear();
    return l;
  }

  // ---- the ops the tests use
  T unary(Op op, const Arg& x, DType dtype = DType::f32) {
    return record(op, {x}, {dtype, {}, {x.value.layout.shape}, {}, {}})[0];
  }
  T binary(Op op, const Arg& x, const Arg& y, DType dtype = DType::f32) {
    Dims shape = x.kind == Arg::tensor ? x.value.layout.shape : y.value.layout.shape;
    if (x.kind == Arg::tensor && y.kind == Arg::tensor)
      shape = broadcast_shapes(x.value.layout.shape, y.value.layout.shape);
    return record(op, {x, y}, {dtype, {}, {shape}, {}, {}})[0];
  }
  /// In place on x.
  T update(Op op, const Arg& x, const Arg& y, DType dtype = DType::f32) {
    return record(op, {x, y}, {dtype, {}, {}, {}, {0}})[0];
  }
  T cast(const T& x, DType to) {
    return record(Op::copy, {x}, {to, {to}, {x.layout.shape}, {}, {}})[0];
  }
  void copy_into(const T& target, const Arg& source) {
    record(Op::copy, {source, target}, {target.dtype, {}, {}, {}, {1}});
  }
  T full(Dims shape, double v, DType dtype = DType::f32) {
    return record(Op::full, {v}, {dtype, {}, {shape}, {}, {}})[0];
  }
  T reduce(Op op, const T& x, uint64_t axes, bool keepdim = false, DType dtype = DType::f32) {
    Dims shape;
    for (int d = 0; d < x.layout.rank(); ++d) {
      if (!(axes >> d & 1))
        shape.push_back(x.layout.shape[d]);
      else if (keepdim)
        shape.push_back(1);
    }
    const bool arg = op == Op::argmax || op == Op::argmin;
    return record(op, {x}, {dtype, {arg ? DType::i64 : dtype}, {shape}, {axes, keepdim}, {}})[0];
  }
  T matmul(const T& a, const T& b, const Arg& bias = {}, double alpha = 1, double beta = 1) {
    Dims shape = a.layout.shape;
    shape.back() = b.layout.shape.back();
    return record(Op::matmul, {a, b, bias},
                  {a.dtype,
                   {},
                   {shape},
                   {std::bit_cast<uint64_t>(alpha), std::bit_cast<uint64_t>(beta)},
                   {}})[0];
  }

  static void put(char* raw, size_t i, DType d, double v) {
    if (d == DType::f32) {
      const float x = static_cast<float>(v);
      std::memcpy(raw + i * 4, &x, 4);
    } else if (d == DType::f64)
      std::memcpy(raw + i * 8, &v, 8);
    else if (d == DType::i64) {
      const auto x = static_cast<int64_t>(v);
      std::memcpy(raw + i * 8, &x, 8);
    } else if (d == DType::i32) {
      const auto x = static_cast<int32_t>(v);
      std::memcpy(raw + i * 4, &x, 4);
    } else if (d == DType::bool_)
      raw[i] = v != 0;
    else
      throw InternalError("the harness does not write this dtype");
  }
  static double get(const char* raw, size_t i, DType d) {
    if (d == DType::f32) {
      float x;
      std::memcpy(&x, raw + i * 4, 4);
      return x;
    }
    if (d == DType::f64) {
      double x;
      std::memcpy(&x, raw + i * 8, 8);
      return x;
    }
    if (d == DType::i64) {
      int64_t x;
      std::memcpy(&x, raw + i * 8, 8);
      return static_cast<double>(x);
    }
    if (d == DType::i32) {
      int32_t x;
      std::memcpy(&x, raw + i * 4, 4);
      return x;
    }
    if (d == DType::bool_) return raw[i];
    uint16_t h;
    std::memcpy(&h, raw + i * 2, 2);
    return h;  // half types: their bits
  }

 private:
  uint32_t value_of(const T& t) {
    const auto it = newest_.find(t.content.get());
    if (it != newest_.end()) return it->second;
    const auto id = static_cast<uint32_t>(r_.values.size());
    QS_CHECK(t.content->block, Error, "no content: {}", t.content->error->text);
    r_.values.push_back({nullptr, t.content->block, true, true});
    newest_[t.content.get()] = id;
    held_.push_back(t.content);
    return id;
  }

  std::unique_ptr<DeviceRuntime> device_;
  plan::Recording r_;
  std::unordered_map<Content*, uint32_t> newest_;
  std::vector<Ref<Content>> held_;
};

}  // namespace qs::test
