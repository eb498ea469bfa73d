// Matrix products against a plain loop in f64 (integers: exact, wrapping), over awkward shapes,
// strides, dtypes, instruction sets and numbers of threads.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <random>
#include <tuple>
#include <vector>

#include "quicksilver/core/cpu_info.h"
#include "quicksilver/core/half.h"
#include "quicksilver/core/thread_pool.h"
#include "quicksilver/driver/cpu/gemm.h"
#include "quicksilver/driver/cpu/gemm_library.h"

namespace qs::driver::cpu {
namespace {

double load(DType d, const std::vector<char>& v, int64_t i) {
  const char* p = v.data() + i * static_cast<int64_t>(size_of(d));
  uint16_t h;
  float f;
  double x;
  int32_t i32;
  int64_t i64;
  switch (d) {
    case DType::f32:
      std::memcpy(&f, p, 4);
      return f;
    case DType::f64:
      std::memcpy(&x, p, 8);
      return x;
    case DType::f16:
      std::memcpy(&h, p, 2);
      return f16_to_f32(h);
    case DType::bf16:
      std::memcpy(&h, p, 2);
      return bf16_to_f32(h);
    case DType::i32:
      std::memcpy(&i32, p, 4);
      return i32;
    default:
      std::memcpy(&i64, p, 8);
      return static_cast<double>(i64);
  }
}

void put(DType d, std::vector<char>& v, int64_t i, double value) {
  char* p = v.data() + i * static_cast<int64_t>(size_of(d));
  const float f = static_cast<float>(value);
  const uint16_t f16 = f32_to_f16(f), bf16 = f32_to_bf16(f);
  const int32_t i32 = static_cast<int32_t>(value);
  const int64_t i64 = static_cast<int64_t>(value);
  switch (d) {
    case DType::f32:
      std::memcpy(p, &f, 4);
      break;
    case DType::f64:
      std::memcpy(p, &value, 8);
      break;
    case DType::f16:
      std::memcpy(p, &f16, 2);
      break;
    case DType::bf16:
      std::memcpy(p, &bf16, 2);
      break;
    case DType::i32:
      std::memcpy(p, &i32, 4);
      break;
    default:
      std::memcpy(p, &i64, 8);
      break;
  }
}

struct Case {
  GemmShape s;
  std::vector<char> a, b, c, bias;  // each begins at its first element; gaps hold a guard value
  std::vector<char> result;         // what run() made of c

  static int64_t span(const GemmMatrix& m, int64_t batch, int64_t rows, int64_t columns) {
    if (batch * rows * columns == 0) return 1;
    return 1 + (batch - 1) * m.batch + (rows - 1) * m.row + (columns - 1) * m.column;
  }

  void fill(std::mt19937& random) {
    const auto make = [&](std::vector<char>& v, int64_t n) {
      v.resize(static_cast<size_t>(n) * size_of(s.dtype));
      const bool integer = is_integral(s.dtype);
      std::uniform_real_distribution<double> real(-1, 1);
      std::uniform_int_distribution<int> whole(-9, 9);
      for (int64_t i = 0; i < n; ++i) put(s.dtype, v, i, integer ? whole(random) : real(random));
    };
    make(a, span(s.a, s.batch, s.m, s.k));
    make(b, span(s.b, s.batch, s.k, s.n));
    make(c, span(s.c, s.batch, s.m, s.n));
    make(bias, span(s.bias, s.batch, s.m, s.n));
  }

  void run() {
    result = c;
    const GemmPlan plan(s);
    const GemmPointers p{a.data(), b.data(), result.data(), s.has_bias ? bias.data() : nullptr};
    ThreadPool::instance().parallel_for(
        plan.chunks(), [&](int64_t first, int64_t last, int) { plan.run(p, first, last); });
  }

  void check() const {
    std::vector<char> expected_gaps = c;
    const double eps = s.dtype == DType::f64    ? 1e-15
                       : s.dtype == DType::f32  ? 4e-7
                       : s.dtype == DType::f16  ? 1e-3
                       : s.dtype == DType::bf16 ? 8e-3
                                                : 0;
    for (int64_t x = 0; x < s.batch; ++x)
      for (int64_t i = 0; i < s.m; ++i)
        for (int64_t j = 0; j < s.n; ++j) {
          double sum = 0, size = 1;
          for (int64_t k = 0; k < s.k; ++k) {
            const double t = load(s.dtype, a, x * s.a.batch + i * s.a.row + k * s.a.column) *
                             load(s.dtype, b, x * s.b.batch + k * s.b.row + j * s.b.column);
            sum += t;
            size += std::abs(t);
          }
          const int64_t at = x * s.c.batch + i * s.c.row + j * s.c.column;
          double want = s.alpha * sum;
          if (s.beta != 0) want += s.beta * load(s.dtype, c, at);
          if (s.has_bias)
            want += load(s.dtype, bias, x * s.bias.batch + i * s.bias.row + j * s.bias.column);
          const double got = load(s.dtype, result, at);
          ASSERT_LE(std::abs(got - want), eps * (size + std::abs(want)))
              << GemmPlan(s).method() << " " << name_of(s.dtype) << " " << s.m << "x" << s.n << "x"
              << s.k << " batch " << x << " at " << i << "," << j << " got " << got << " want "
              << want;
          std::memcpy(expected_gaps.data() + at * static_cast<int64_t>(size_of(s.dtype)),
                      result.data() + at * static_cast<int64_t>(size_of(s.dtype)),
                      size_of(s.dtype));
        }
    ASSERT_EQ(expected_gaps, result) << "written beside C";
  }
};

// kind: 0 row-major, 1 transposed, 2 row-major with a gap, 3 transposed with a gap, 4 both strided
GemmMatrix layout(int kind, int64_t rows, int64_t columns, bool shared_batch) {
  GemmMatrix m;
  switch (kind) {
    case 0:
      m = {columns, 1, 0};
      break;
    case 1:
      m = {1, rows, 0};
      break;
    case 2:
      m = {columns + 3, 1, 0};
      break;
    case 3:
      m = {1, rows + 5, 0};
      break;
    default:
      m = {2 * columns + 1, 2, 0};
  }
  m.batch = shared_batch ? 0
                         : 1 + std::max<int64_t>(rows - 1, 0) * m.row +
                               std::max<int64_t>(columns - 1, 0) * m.column;
  return m;
}

std::vector<Isa> isas() {
  std::vector<Isa> list;
  for (Isa isa : {Isa::generic, Isa::avx2, Isa::avx512})
    if (isa <= cpu_info().best) list.push_back(isa);
  return list;
}

struct IsaScope {
  const Isa before = cpu_info().isa;
  ~IsaScope() { set_isa_for_tests(before); }
};

void sweep(DType dtype, int cases, unsigned seed) {
  IsaScope scope;
  std::mt19937 random(seed);
  const int64_t sizes[] = {1, 2, 3, 5, 7, 8, 13, 14, 15, 16, 17, 29, 31, 32, 33, 47, 64, 67, 70};
  const int64_t depths[] = {0, 1, 2, 3, 7, 8, 15, 16, 17, 31, 61, 64, 100, 255, 257, 300, 521};
  const auto pick = [&](const auto& list) { return list[random() % std::size(list)]; };
  for (int i = 0; i < cases; ++i) {
    Case c;
    GemmShape& s = c.s;
    s.dtype = dtype;
    s.batch = i % 3 == 0 ? 1 + static_cast<int64_t>(random() % 5) : 1;
    s.m = pick(sizes);
    s.n = pick(sizes);
    s.k = pick(depths);
    s.a = layout(static_cast<int>(random() % 5), s.m, s.k, random() % 4 == 0);
    s.b = layout(static_cast<int>(random() % 5), s.k, s.n, random() % 4 == 0);
    s.c = layout(static_cast<int>(random() % 5), s.m, s.n, false);
    s.has_bias = random() % 3 == 0;
    const int form = static_cast<int>(random() % 4);
    s.bias = form == 0   ? GemmMatrix{0, 1, 0}
             : form == 1 ? GemmMatrix{1, 0, 0}
             : form == 2 ? GemmMatrix{0, 0, 0}
                         : layout(0, s.m, s.n, false);
    const bool integer = is_integral(dtype);
    s.alpha = random() % 2 ? 1 : integer ? -3 : 0.75;
    s.beta = random() % 2 ? 0 : random() % 2 ? 1 : integer ? 2 : -0.5;
    c.fill(random);
    for (Isa isa : isas()) {
      set_isa_for_tests(isa);
      c.run();
      c.check();
      if (testing::Test::HasFatalFailure()) return;
    }
  }
}

TEST(Gemm, F32) { sweep(DType::f32, 300, 1); }
TEST(Gemm, F64) { sweep(DType::f64, 150, 2); }
TEST(Gemm, F16) { sweep(DType::f16, 150, 3); }
TEST(Gemm, BF16) { sweep(DType::bf16, 150, 4); }
TEST(Gemm, I32) { sweep(DType::i32, 150, 5); }
TEST(Gemm, I64) { sweep(DType::i64, 150, 6); }

// Few rows times a transposed matrix: dot products and the turned product, and bf16 by pairs with
// odd depths, panels in part and rows that lie 4096 bytes apart.
TEST(Gemm, FewRowsByTransposed) {
  IsaScope scope;
  std::mt19937 random(8);
  for (const DType dtype : {DType::f32, DType::f64, DType::f16, DType::bf16, DType::i32})
    for (const int64_t m : {2, 5, 8, 9, 33, 64})
      for (const auto& [n, k] : {std::pair<int64_t, int64_t>{16, 32}, {97, 45}, {150, 1024}}) {
        Case c;
        c.s.dtype = dtype;
        c.s.m = m, c.s.n = n, c.s.k = k;
        c.s.a = layout(m % 2 ? 2 : 0, m, k, false);
        c.s.b = layout(k == 45 ? 3 : 1, k, n, false);
        c.s.c = layout(n == 97 ? 2 : 0, m, n, false);
        c.s.has_bias = m != 33;
        c.s.bias = {0, 1, 0};
        c.s.alpha = n == 16 && !is_integral(dtype) ? 0.5 : 1;
        c.s.beta = m == 5 ? 1 : 0;
        c.fill(random);
        for (Isa isa : isas()) {
          set_isa_for_tests(isa);
          c.run();
          c.check();
          if (testing::Test::HasFatalFailure()) return;
        }
      }
}

TEST(Gemm, PairsOfBF16) {
  std::mt19937 random(9);
  for (const int64_t k : {1, 2, 31, 512, 513, 1030})
    for (int kind = 0; kind < 25; ++kind) {
      Case c;
      c.s.dtype = DType::bf16;
      c.s.m = 40, c.s.n = 210, c.s.k = k;
      c.s.a = layout(kind % 5, 40, k, false);
      c.s.b = layout(kind / 5, k, 210, false);
      c.s.c = layout(0, 40, 210, false);
      c.fill(random);
      c.run();
      c.check();
      if (testing::Test::HasFatalFailure()) return;
    }
}

// A^T that is laid out because many columns pass over it, and A^T that is read in place.
TEST(Gemm, TransposedLeftFactor) {
  IsaScope scope;
  std::mt19937 random(10);
  for (const DType dtype : {DType::f32, DType::f64, DType::f16, DType::bf16, DType::i32})
    for (const int64_t m : {13, 128, 250})
      for (const int64_t n : {40, 70, 210}) {
        Case c;
        c.s.dtype = dtype;
        c.s.m = m, c.s.n = n, c.s.k = 67;
        c.s.a = layout(1, m, 67, false);
        c.s.b = layout(0, 67, n, false);
        c.s.c = layout(0, m, n, false);
        c.fill(random);
        for (Isa isa : isas()) {
          set_isa_for_tests(isa);
          c.run();
          c.check();
          if (testing::Test::HasFatalFailure()) return;
        }
      }
}

TEST(Gemm, IntegersWrap) {
  for (DType d : {DType::i32, DType::i64}) {
    Case c;
    c.s = {d, false, 1, 1, 3, 2, {2, 1, 0}, {3, 1, 0}, {3, 1, 0}, {}, 1, 0};
    std::mt19937 random(7);
    c.fill(random);
    const double big = d == DType::i32 ? 2147483647.0 : 4611686018427387904.0;  // 2^31 - 1, 2^62
    for (int64_t i = 0; i < 2; ++i) put(d, c.a, i, big);
    for (int64_t i = 0; i < 6; ++i) put(d, c.b, i, 2);
    c.run();
    const double want = d == DType::i32 ? -4.0 : 0.0;  // 4 * (2^31 - 1), 4 * 2^62
    for (int64_t i = 0; i < 3; ++i) EXPECT_EQ(load(d, c.result, i), want);
  }
}

// Shapes that are cut over the pool; the same bits for every number of threads and (own kernels
// with FMA) for both instruction sets.
TEST(Gemm, BitsDoNotDependOnThreads) {
  IsaScope scope;
  ThreadPool& pool = ThreadPool::instance();
  const int before = pool.threads();
  const int64_t shapes[][4] = {{1, 64, 256, 784}, {1, 256, 784, 64}, {1, 513, 311, 300},
                               {9, 65, 70, 129},  {1, 1, 3000, 768}, {1, 2000, 1, 513},
                               {3, 200, 210, 70}, {1, 6, 1000, 300}, {1, 64, 1000, 700}};
  for (const auto& x : shapes)
    for (int kind = 0; kind < 2; ++kind) {
      Case c;
      c.s.batch = x[0], c.s.m = x[1], c.s.n = x[2], c.s.k = x[3];
      c.s.a = layout(kind, x[1], x[3], false);
      c.s.b = layout(1 - kind, x[3], x[2], false);
      c.s.c = layout(0, x[1], x[2], false);
      std::mt19937 random(11);
      c.fill(random);
      std::vector<char> first;
      for (int threads : {1, 2, 5}) {
        pool.set_threads(threads);
        c.run();
        if (first.empty()) {
          first = c.result;
          c.check();
        }
        EXPECT_EQ(first, c.result) << threads << " threads, " << GemmPlan(c.s).method();
      }
      if (cpu_info().best == Isa::avx512 && x[1] > 1 && x[2] > 1 &&
          GemmPlan(c.s).method() == std::string("own packed")) {
        set_isa_for_tests(Isa::avx2);
        c.run();
        EXPECT_EQ(first, c.result) << "avx2 and avx512 differ";
        set_isa_for_tests(scope.before);
      }
    }
  pool.set_threads(before);
}

// 784 columns in four chunks are not 224, 224, 224 and the rest.
TEST(Gemm, ChunksAreEven) {
  ThreadPool& pool = ThreadPool::instance();
  const int before = pool.threads();
  pool.set_threads(2);
  for (const auto& [m, n, k] : {std::tuple{256, 784, 64}, {64, 256, 784}, {1000, 1100, 60}}) {
    Case c;
    c.s.m = m, c.s.n = n, c.s.k = k;
    c.s.a = {k, 1, 0}, c.s.b = {n, 1, 0}, c.s.c = {n, 1, 0};
    if (k == 784) c.s.b = {1, k, 0};
    const GemmPlan plan(c.s);
    ASSERT_GT(plan.chunks(), 1);
    int64_t least = INT64_MAX, most = 0, covered = 0;
    for (int64_t chunk = 0; chunk < plan.chunks(); ++chunk) {
      const GemmPlan::Box box = plan.box(chunk);
      least = std::min(least, box.rows * box.columns);
      most = std::max(most, box.rows * box.columns);
      covered += box.rows * box.columns;
    }
    EXPECT_EQ(covered, int64_t{m} * n);
    EXPECT_LE(static_cast<double>(most), 1.45 * static_cast<double>(least)) << m << "x" << n;
  }
  pool.set_threads(before);
}

// Chunks that something runs on behind the product are whole rows where that costs little.
TEST(Gemm, ChunksThatAreFollowedAreWholeRows) {
  IsaScope scope;
  ThreadPool& pool = ThreadPool::instance();
  const int before = pool.threads();
  pool.set_threads(2);
  for (const auto& [m, n, k] : {std::tuple{256, 784, 64}, {64, 256, 784}}) {
    GemmShape s;
    s.m = m, s.n = n, s.k = k;
    s.a = {k, 1, 0}, s.b = {n, 1, 0}, s.c = {n, 1, 0};
    if (k == 784) s.b = {1, k, 0};
    const GemmPlan plan(s, true);
    ASSERT_GT(plan.chunks(), 1);
    int64_t rows = 0;
    for (int64_t chunk = 0; chunk < plan.chunks(); ++chunk) {
      EXPECT_EQ(plan.box(chunk).columns, n);
      rows += plan.box(chunk).rows;
    }
    EXPECT_EQ(rows, m);
  }
  pool.set_threads(before);
}

TEST(Gemm, NanInUnreadC) {
  Case c;
  c.s = {DType::f32, false, 1, 20, 33, 0, {1, 1, 0}, {33, 1, 0}, {33, 1, 0}, {}, 1, 0};
  std::mt19937 random(7);
  for (int64_t k : {0, 5}) {
    c.s.k = k;
    c.s.a.row = k;
    c.fill(random);
    for (int64_t i = 0; i < 20 * 33; ++i) put(DType::f32, c.c, i, NAN);
    c.run();
    for (int64_t i = 0; i < 20 * 33; ++i) ASSERT_FALSE(std::isnan(load(DType::f32, c.result, i)));
  }
}

TEST(Gemm, LibraryAgrees) {
  const SgemmLibrary* library = SgemmLibrary::get();
  if (!library) GTEST_SKIP() << "no dnnl_sgemm on this machine: optional at run time";
  std::mt19937 random(13);
  for (int64_t size : {1, 17, 64, 100}) {
    Case c;
    c.s.m = size, c.s.n = size + 3, c.s.k = 2 * size;
    c.s.a = layout(2, c.s.m, c.s.k, false);
    c.s.b = layout(3, c.s.k, c.s.n, false);
    c.s.c = layout(0, c.s.m, c.s.n, false);
    c.s.beta = 0.5;
    c.fill(random);
    c.result = c.c;
    ASSERT_TRUE(library->sgemm('N', 'T', c.s.m, c.s.n, c.s.k, 1,
                               reinterpret_cast<const float*>(c.a.data()), c.s.a.row,
                               reinterpret_cast<const float*>(c.b.data()), c.s.b.column, 0.5f,
                               reinterpret_cast<float*>(c.result.data()), c.s.c.row));
    c.check();
  }
}

}  // namespace
}  // namespace qs::driver::cpu
