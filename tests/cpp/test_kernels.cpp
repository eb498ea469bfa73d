// The hand-written kernels on the cpu driver, against plain loops over the same strided views.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>
#include <numeric>
#include <random>
#include <vector>

#include "quicksilver/core/half.h"
#include "quicksilver/core/thread_pool.h"
#include "quicksilver/driver/driver.h"
#include "quicksilver/kernels/kernels.h"

namespace qs::kernels {
namespace {

using driver::ErrorRecord;

// A strided array with gaps that must not change.
struct Array {
  DType dtype;
  Dims shape, strides;
  std::vector<char> bytes;
  int64_t offset = 0;

  // kind 0: row-major; 1: dimensions reversed in memory; 2: every second element; 3: backwards
  Array(DType dtype_in, Dims shape_in, int kind = 0) : dtype(dtype_in), shape(shape_in) {
    strides.resize(shape.size());
    int64_t step = kind == 2 ? 2 : 1, elements = 1;
    for (size_t i = 0; i < shape.size(); ++i) {
      const size_t d = kind == 1 ? i : shape.size() - 1 - i;
      strides[d] = step;
      step *= std::max<int64_t>(shape[d], 1);
      elements *= shape[d];
    }
    if (kind == 3) {
      for (size_t d = 0; d < shape.size(); ++d) {
        offset += (std::max<int64_t>(shape[d], 1) - 1) * strides[d];
        strides[d] = -strides[d];
      }
    }
    bytes.assign(static_cast<size_t>(step + 2) * size_of(dtype), 0x5a);
  }
  int64_t numel() const { return Layout(shape, strides).numel(); }
  View view(int slot) const {
    View v;
    v.ptr.base = slot;
    v.ptr.bytes = offset * static_cast<int64_t>(size_of(dtype));
    v.dtype = dtype;
    v.shape = shape;
    v.strides = strides;
    return v;
  }
  int64_t at(const Dims& i) const {
    int64_t o = offset;
    for (size_t d = 0; d < shape.size(); ++d) o += i[d] * strides[d];
    return o;
  }
  double get(const Dims& i) const {
    const char* p = bytes.data() + at(i) * static_cast<int64_t>(size_of(dtype));
    const auto as = [&]<class T>(T x) {
      std::memcpy(&x, p, sizeof x);
      return static_cast<double>(x);
    };
    switch (dtype) {
      case DType::f32:
        return as(float{});
      case DType::f64:
        return as(double{});
      case DType::i32:
        return as(int32_t{});
      case DType::i64:
        return as(int64_t{});
      case DType::u8:
        return as(uint8_t{});
      case DType::i8:
        return as(int8_t{});
      case DType::i16:
        return as(int16_t{});
      case DType::bool_:
        return as(uint8_t{});
      case DType::f16: {
        uint16_t h;
        std::memcpy(&h, p, 2);
        return f16_to_f32(h);
      }
      case DType::bf16: {
        uint16_t h;
        std::memcpy(&h, p, 2);
        return bf16_to_f32(h);
      }
      default:
        ADD_FAILURE();
        return 0;
    }
  }
  void set(const Dims& i, double v) {
    char* p = bytes.data() + at(i) * static_cast<int64_t>(size_of(dtype));
    const auto as = [&]<class T>(T x) {
      x = static_cast<T>(v);
      std::memcpy(p, &x, sizeof x);
    };
    const float f = static_cast<float>(v);
    switch (dtype) {
      case DType::f32:
        return as(float{});
      case DType::f64:
        return as(double{});
      case DType::i32:
        return as(int32_t{});
      case DType::i64:
        return as(int64_t{});
      case DType::u8:
        return as(uint8_t{});
      case DType::i8:
        return as(int8_t{});
      case DType::i16:
        return as(int16_t{});
      case DType::bool_:
        return as(uint8_t{});
      case DType::f16: {
        const uint16_t h = f32_to_f16(f);
        std::memcpy(p, &h, 2);
        return;
      }
      case DType::bf16: {
        const uint16_t h = f32_to_bf16(f);
        std::memcpy(p, &h, 2);
        return;
      }
      default:
        ADD_FAILURE();
    }
  }
  void each(const std::function<void(const Dims&)>& f) const {
    Dims i(shape.size(), 0);
    for (int64_t n = numel(); n > 0; --n) {
      f(i);
      for (size_t d = shape.size(); d-- > 0;) {
        if (++i[d] < shape[d]) break;
        i[d] = 0;
      }
    }
  }
  void fill(std::mt19937& random, int low = -20, int high = 20) {
    std::uniform_int_distribution<int> whole(low, high);
    each([&](const Dims& i) { set(i, is_floating(dtype) ? whole(random) / 8.0 : whole(random)); });
  }
};

ErrorRecord run(const KernelCall& call, std::vector<Array*> arrays) {
  static const auto driver = driver::open_driver("cpu");
  const auto kernel = driver->build(*call.kernel);
  std::vector<void*> bases;
  for (Array* a : arrays) bases.push_back(a->bytes.data());
  ErrorRecord error;
  driver::Command command{kernel.get(), call.args, 7};
  driver->submit({&command, 1}, {bases, {}, &error});
  return error;
}

void expect_same(const Array& got, const Array& want, const char* what) {
  EXPECT_EQ(got.bytes, want.bytes)
      << what << " " << name_of(got.dtype) << " " << to_string(got.shape);
}

TEST(Kernels, IndexSelectAndEmbedding) {
  std::mt19937 random(1);
  for (DType dtype : {DType::f32, DType::u8, DType::bf16, DType::f64})
    for (DType index_dtype : {DType::i64, DType::i32, DType::u8})
      for (int kind = 0; kind < 4; ++kind)
        for (int dim = 0; dim < 3; ++dim) {
          Array src(dtype, {5, 7, 6}, kind), index(index_dtype, {4, 3}, (kind + dim) % 4);
          src.fill(random);
          const int bound = static_cast<int>(src.shape[static_cast<size_t>(dim)]);
          index.fill(random, 0, bound - 1);
          Dims shape;
          for (int d = 0; d < 3; ++d) {
            if (d == dim)
              shape.push_back(4), shape.push_back(3);
            else
              shape.push_back(src.shape[static_cast<size_t>(d)]);
          }
          Array out(dtype, shape, (kind + 1) % 4), want = out;
          want.each([&](const Dims& i) {
            const int64_t x = static_cast<int64_t>(index.get({i[dim], i[dim + 1]}));
            Dims from;
            for (int d = 0; d < dim; ++d) from.push_back(i[d]);
            from.push_back(x);
            for (int d = dim + 1; d < 3; ++d) from.push_back(i[d + 1]);
            want.set(i, src.get(from));
          });
          EXPECT_EQ(
              run(index_select(out.view(0), src.view(1), index.view(2), dim), {&out, &src, &index})
                  .set,
              0);
          expect_same(out, want, "index_select");
        }
}

TEST(Kernels, GatherAndScatterAlong) {
  std::mt19937 random(2);
  for (DType dtype : {DType::f32, DType::i64, DType::f16, DType::bf16, DType::u8, DType::bool_})
    for (int kind = 0; kind < 4; ++kind)
      for (int dim = 0; dim < 3; ++dim) {
        Array x(dtype, {5, 4, 6}, kind);
        Array index(DType::i64, {4, 3, 5}, (kind + 1) % 4), out(dtype, {4, 3, 5}, (kind + 2) % 4);
        x.fill(random, dtype == DType::bool_ || dtype == DType::u8 ? 0 : -20,
               dtype == DType::bool_ ? 1 : 20);
        const int bound = static_cast<int>(x.shape[static_cast<size_t>(dim)]);
        index.fill(random, 0, bound - 1);
        const auto target = [&](Dims i) {
          i[static_cast<size_t>(dim)] = static_cast<int64_t>(index.get(i));
          return i;
        };
        Array want = out;
        want.each([&](const Dims& i) { want.set(i, x.get(target(i))); });
        run(gather(out.view(0), x.view(1), index.view(2), dim), {&out, &x, &index});
        expect_same(out, want, "gather");

        for (ScatterMode mode : {ScatterMode::write, ScatterMode::add, ScatterMode::multiply,
                                 ScatterMode::maximum, ScatterMode::minimum}) {
          if (dtype == DType::bool_ && mode != ScatterMode::write) continue;
          Array dst = x, expected = x;
          std::vector<double> sums;  // of half precision, rounded once
          std::vector<Dims> touched;
          index.each([&](const Dims& i) {
            const Dims to = target(i);
            const auto seen = std::find(touched.begin(), touched.end(), to);
            const size_t at = static_cast<size_t>(seen - touched.begin());
            if (seen == touched.end()) {
              touched.push_back(to);
              sums.push_back(x.get(to));
            }
            double& s = sums[at];
            const double v = out.get(i);
            s = mode == ScatterMode::write      ? v
                : mode == ScatterMode::add      ? s + v
                : mode == ScatterMode::multiply ? static_cast<float>(s * v)
                : mode == ScatterMode::maximum  ? std::max(s, v)
                                                : std::min(s, v);
            if (dtype == DType::i64 && mode == ScatterMode::multiply) s = std::fmod(s, 1e15);
            if (dtype == DType::u8) s = static_cast<uint8_t>(static_cast<int64_t>(s));
          });
          if (dtype == DType::i64 && mode == ScatterMode::multiply) continue;  // beyond a double
          for (size_t i = 0; i < touched.size(); ++i) expected.set(touched[i], sums[i]);
          run(scatter(dst.view(0), out.view(1), index.view(2), dim, mode), {&dst, &out, &index});
          expect_same(dst, expected, "scatter");
        }
      }
}

TEST(Kernels, AdvancedIndexing) {
  std::mt19937 random(3);
  for (int kind = 0; kind < 4; ++kind) {
    Array x(DType::f32, {4, 5, 6, 3}, kind);
    x.fill(random);
    // Dimensions 0 and 2 by two indices that broadcast to [3, 2]; their place is the front.
    Array a(DType::i64, {3, 1}, kind % 3), b(DType::i32, {1, 2});
    a.fill(random, -4, 3);
    b.fill(random, -6, 5);
    View views[] = {a.view(2), b.view(3)};
    views[0].shape = views[1].shape = {3, 2};
    views[0].strides[1] = 0;
    views[1].strides[0] = 0;
    const int dims[] = {0, 2};
    Array out(DType::f32, {3, 2, 5, 3}, (kind + 1) % 4), want = out;
    const auto target = [&](const Dims& i) {
      int64_t p = static_cast<int64_t>(a.get({i[0], 0})),
              q = static_cast<int64_t>(b.get({0, i[1]}));
      return Dims{p < 0 ? p + 4 : p, i[2], q < 0 ? q + 6 : q, i[3]};
    };
    want.each([&](const Dims& i) { want.set(i, x.get(target(i))); });
    run(index(out.view(0), x.view(1), views, dims, 0), {&out, &x, &a, &b});
    expect_same(out, want, "index");
    for (ScatterMode mode : {ScatterMode::write, ScatterMode::add}) {
      Array dst = x, expected = x;
      out.each([&](const Dims& i) {
        const Dims to = target(i);
        expected.set(to, (mode == ScatterMode::add ? expected.get(to) : 0) + out.get(i));
      });
      run(index_put(dst.view(0), out.view(1), views, dims, 0, mode), {&dst, &out, &a, &b});
      expect_same(dst, expected, "index_put");
    }
  }
}

TEST(Kernels, EmbeddingGradientIsTheSameForAnyNumberOfThreads) {
  std::mt19937 random(4);
  ThreadPool& pool = ThreadPool::instance();
  const int before = pool.threads();
  for (DType dtype : {DType::f32, DType::bf16}) {
    Array values(dtype, {3000, 130}), index(DType::i64, {3000});
    std::uniform_real_distribution<double> real(-1, 1);
    values.each([&](const Dims& i) { values.set(i, real(random)); });
    index.fill(random, 0, 9);
    std::vector<char> first;
    for (int threads : {1, 2, 4}) {
      pool.set_threads(threads);
      Array dst(dtype, {10, 130});
      dst.each([&](const Dims& i) { dst.set(i, 0); });
      run(index_add(dst.view(0), values.view(1), index.view(2), 0), {&dst, &values, &index});
      if (first.empty()) {
        first = dst.bytes;
        for (int64_t row = 0; row < 10; ++row)
          for (int64_t c : {0, 64, 129}) {
            float sum = 0;
            for (int64_t i = 0; i < 3000; ++i)
              if (index.get({i}) == static_cast<double>(row))
                sum += static_cast<float>(values.get({i, c}));
            if (dtype == DType::bf16) sum = bf16_to_f32(f32_to_bf16(sum));
            EXPECT_EQ(dst.get({row, c}), sum);
          }
      }
      EXPECT_EQ(first, dst.bytes);
    }
  }
  pool.set_threads(before);
}

TEST(Kernels, BadIndicesAreReportedAndTouchNothing) {
  std::mt19937 random(5);
  Array x(DType::f32, {4, 3}), index(DType::i64, {3}), out(DType::f32, {3, 3});
  x.fill(random);
  out.fill(random);
  for (int64_t bad : {int64_t{4}, int64_t{-1}, int64_t{-5}, INT64_MAX, INT64_MIN}) {
    index.set({0}, 1);
    index.set({1}, static_cast<double>(bad));
    std::memcpy(index.bytes.data() + 8, &bad, 8);
    index.set({2}, 3);
    Array got = out;
    ErrorRecord e = run(index_select(got.view(0), x.view(1), index.view(2), 0), {&got, &x, &index});
    EXPECT_EQ(e.set, 8);
    EXPECT_EQ(e.reason, 1);
    EXPECT_EQ(e.value, bad);
    EXPECT_EQ(e.bound, 4);
    EXPECT_EQ(got.get({0, 1}), x.get({1, 1}));
    EXPECT_EQ(got.get({1, 1}), 0);
    EXPECT_EQ(got.get({2, 2}), x.get({3, 2}));

    Array dst = x, want = x;
    e = run(index_add(dst.view(0), out.view(1), index.view(2), 0), {&dst, &out, &index});
    EXPECT_EQ(e.value, bad);
    for (int64_t c = 0; c < 3; ++c) {
      want.set({1, c}, x.get({1, c}) + out.get({0, c}));
      want.set({3, c}, x.get({3, c}) + out.get({2, c}));
    }
    expect_same(dst, want, "index_add with a bad index");
    const auto check = [&](Signs signs) {
      return run(check_index(index.view(0), 4, signs), {&index});
    };
    EXPECT_EQ(check(Signs::not_negative).value, bad);
    EXPECT_EQ(check(Signs::from_end).set != 0, bad != -1);
  }
}

TEST(Kernels, SortAndTopk) {
  std::mt19937 random(6);
  for (DType dtype : {DType::f32, DType::f64, DType::i64, DType::i32, DType::i16, DType::u8,
                      DType::bf16, DType::bool_})
    for (int64_t length : {1, 2, 17, 300, 5000})
      for (int kind : {0, 1, 2, 3}) {
        const int dim = kind % 2;
        Dims shape = dim == 0 ? Dims{length, 3} : Dims{3, length};
        Array src(dtype, shape, kind);
        src.fill(random, dtype == DType::u8 || dtype == DType::bool_ ? 0 : -100,
                 dtype == DType::bool_ ? 1 : 100);
        if (is_floating(dtype) && length > 5)
          for (int64_t i : {1, 3, 4})
            for (int64_t r = 0; r < 3; ++r)
              src.set(dim == 0 ? Dims{i, r} : Dims{r, i}, i == 1 ? NAN : i == 3 ? -0.0 : INFINITY);
        for (bool descending : {false, true})
          for (int64_t k : {length, (length + 9) / 10}) {
            Dims out_shape = shape;
            out_shape[static_cast<size_t>(dim)] = k;
            Array values(dtype, out_shape, (kind + 1) % 4), indices(DType::i64, out_shape, kind);
            const View v = values.view(0), i = indices.view(1);
            run(k == length ? sort(&v, &i, src.view(2), dim, descending)
                            : topk(&v, &i, src.view(2), dim, descending),
                {&values, &indices, &src});
            for (int64_t r = 0; r < 3; ++r) {
              const auto at = [&](int64_t p) { return dim == 0 ? Dims{p, r} : Dims{r, p}; };
              std::vector<int64_t> want(static_cast<size_t>(length));
              for (int64_t p = 0; p < length; ++p) want[p] = p;
              const auto less = [&](int64_t p, int64_t q) {
                const double a = src.get(at(p)), b = src.get(at(q));
                const bool na = std::isnan(a), nb = std::isnan(b);
                if (na || nb) return descending ? na && !nb : nb && !na;
                return descending ? a > b : a < b;
              };
              std::stable_sort(want.begin(), want.end(), less);
              for (int64_t p = 0; p < k; ++p) {
                ASSERT_EQ(indices.get(at(p)), want[p])
                    << name_of(dtype) << " " << length << " " << k;
                const double value = src.get(at(want[p])), got = values.get(at(p));
                ASSERT_TRUE(value == got || (std::isnan(value) && std::isnan(got)));
              }
            }
          }
      }
}

TEST(Kernels, SortOfOneLongRow) {  // several threads share it; without positions, values, either
  std::mt19937_64 random(9);
  const int64_t n = 150001;
  for (DType dtype : {DType::f32, DType::f16, DType::i64})
    for (bool descending : {false, true}) {
      Array src(dtype, {n}), values(dtype, {n}), alone(dtype, {n});
      Array indices(DType::i64, {n}), order(DType::i64, {n});
      std::vector<double> x(static_cast<size_t>(n));
      for (int64_t i = 0; i < n; ++i) {
        const double v = static_cast<double>(static_cast<int64_t>(random())) / 0x1p50;
        src.set({i}, dtype == DType::i64 ? std::floor(v * 0x1p40) : i % 97 == 0 ? -0.0 * v : v);
        x[static_cast<size_t>(i)] = src.get({i});
      }
      const View v = values.view(0), i = indices.view(1), v1 = alone.view(0), i1 = order.view(0);
      run(sort(&v, &i, src.view(2), 0, descending), {&values, &indices, &src});
      run(sort(&v1, nullptr, src.view(1), 0, descending), {&alone, &src});
      run(sort(nullptr, &i1, src.view(1), 0, descending), {&order, &src});
      EXPECT_EQ(values.bytes, alone.bytes);
      EXPECT_EQ(indices.bytes, order.bytes);
      std::vector<int64_t> want(x.size());
      std::iota(want.begin(), want.end(), 0);
      std::stable_sort(want.begin(), want.end(), [&](int64_t a, int64_t b) {
        return descending ? x[a] > x[b] : x[a] < x[b];
      });
      for (int64_t p = 0; p < n; ++p) {
        ASSERT_EQ(indices.get({p}), want[p]);
        ASSERT_EQ(values.get({p}), x[want[p]]);
        ASSERT_EQ(std::signbit(values.get({p})), std::signbit(x[want[p]]));
      }
    }
}

TEST(Kernels, Scan) {
  std::mt19937 random(7);
  for (DType dtype : {DType::f32, DType::f64, DType::i64, DType::i32, DType::f16, DType::bool_})
    for (int kind = 0; kind < 4; ++kind)
      for (int dim = 0; dim < 3; ++dim) {
        Array src(dtype, {6, 35, 4}, kind);
        src.fill(random, dtype == DType::bool_ ? 0 : -3, dtype == DType::bool_ ? 1 : 3);
        const bool integer = is_integral(dtype);
        const int64_t length = src.shape[static_cast<size_t>(dim)];
        for (ScanOp op : {ScanOp::sum, ScanOp::product, ScanOp::maximum, ScanOp::minimum}) {
          const bool extreme = op == ScanOp::maximum || op == ScanOp::minimum;
          if (extreme && dtype == DType::bool_) continue;
          if (op == ScanOp::product && (integer || dtype == DType::f16)) continue;  // overflow
          Array out(extreme || !integer ? dtype : DType::i64, src.shape, (kind + 1) % 4);
          Array indices(DType::i64, src.shape, (kind + 2) % 4), want = out, want_indices = indices;
          src.each([&](const Dims& i) {
            if (i[dim] != 0) return;
            double acc = 0;
            int64_t best = 0;
            for (int64_t p = 0; p < length; ++p) {
              Dims at = i;
              at[dim] = p;
              const double x = src.get(at);
              if (p == 0 || (op == ScanOp::maximum && x >= acc) ||
                  (op == ScanOp::minimum && x <= acc))
                best = p;
              acc = p == 0                  ? x
                    : op == ScanOp::sum     ? acc + x
                    : op == ScanOp::product ? acc * x
                    : op == ScanOp::maximum ? std::max(acc, x)
                                            : std::min(acc, x);
              want.set(at, acc);
              want_indices.set(at, static_cast<double>(best));
            }
          });
          const View v = indices.view(1);
          run(scan(op, out.view(0), extreme ? &v : nullptr, src.view(2), dim),
              {&out, &indices, &src});
          expect_same(out, want, "scan");
          if (extreme) expect_same(indices, want_indices, "scan indices");
        }
      }
}

TEST(Kernels, Nonzero) {
  std::mt19937 random(8);
  for (DType dtype : {DType::bool_, DType::f32, DType::bf16, DType::i64})
    for (int kind = 0; kind < 4; ++kind)
      for (const Dims& shape : {Dims{}, Dims{0, 3}, Dims{7, 5}, Dims{300, 40, 3}}) {
        Array src(dtype, shape, kind);
        src.fill(random, 0, 1);
        std::vector<Dims> want;
        src.each([&](const Dims& i) {
          if (src.get(i) != 0) want.push_back(i);
        });
        const int64_t rank = static_cast<int64_t>(shape.size());
        const int64_t blocks = (src.numel() + k_nonzero_block - 1) / k_nonzero_block;
        Array out(DType::i64, {static_cast<int64_t>(want.size()), rank}, kind), again = out;
        run(nonzero(out.view(0), src.view(1)), {&out, &src});
        Array counts(DType::i64, {blocks}), offsets(DType::i64, {blocks});
        run(nonzero_count(counts.view(0), src.view(1)), {&counts, &src});
        double sum = 0;
        for (int64_t b = 0; b < blocks; ++b) {
          offsets.set({b}, sum);
          sum += counts.get({b});
        }
        EXPECT_EQ(sum, want.size());
        run(nonzero_fill(again.view(0), offsets.view(1), src.view(2)), {&again, &offsets, &src});
        for (size_t row = 0; row < want.size(); ++row)
          for (int64_t d = 0; d < rank; ++d)
            ASSERT_EQ(out.get({static_cast<int64_t>(row), d}), want[row][static_cast<size_t>(d)]);
        EXPECT_EQ(out.bytes, again.bytes);
      }
}

TEST(Kernels, EmptyAndScalar) {
  Array src(DType::f32, {0, 3}), index(DType::i64, {0}), out(DType::f32, {0, 3});
  EXPECT_EQ(run(index_select(out.view(0), src.view(1), index.view(2), 0), {&out, &src, &index}).set,
            0);
  Array dst(DType::f32, {2, 3});
  const std::vector<char> before = dst.bytes;
  run(index_add(dst.view(0), out.view(1), index.view(2), 0), {&dst, &out, &index});
  EXPECT_EQ(dst.bytes, before);

  Array scalar(DType::f32, {}), one(DType::i64, {}), result(DType::f32, {});
  scalar.set({}, 5);
  one.set({}, 0);
  run(gather(result.view(0), scalar.view(1), one.view(2), 0), {&result, &scalar, &one});
  EXPECT_EQ(result.get({}), 5);
  run(index_select(result.view(0), scalar.view(1), one.view(2), 0), {&result, &scalar, &one});
  EXPECT_EQ(result.get({}), 5);
  const View v = result.view(0), i = one.view(1);
  run(sort(&v, &i, scalar.view(2), 0, false), {&result, &one, &scalar});
  EXPECT_EQ(one.get({}), 0);
  run(scan(ScanOp::sum, v, nullptr, scalar.view(1), 0), {&result, &scalar});
  EXPECT_EQ(result.get({}), 5);
}

}  // namespace
}  // namespace qs::kernels
