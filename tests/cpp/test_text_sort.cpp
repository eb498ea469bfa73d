// The texts of sort, topk and kthvalue on the emulated grid, against the host's functions.
#include <filesystem>
#include <fstream>
#include <sstream>

#include "quicksilver/core/half.h"
#include "quicksilver/kernels/texts.h"
#include "text_harness.h"

namespace qs::test {
namespace {

constexpr DType k_sorted[] = {DType::bool_, DType::u8,  DType::i8,  DType::i16, DType::i32,
                              DType::i64,   DType::u16, DType::u32, DType::u64, DType::f16,
                              DType::bf16,  DType::f32, DType::f64};

/// Few different values, so that there are ties, beside random bits, which have NaNs of all kinds,
/// infinities and both zeros among them.
void make_ties(Memory& m, uint64_t seed) {
  std::mt19937_64 random(seed);
  const size_t size = size_of(m.view.dtype);
  for (size_t i = 0; i + size <= m.bytes.size(); i += size) {
    if (random() % 4 == 0) continue;
    const double v = static_cast<double>(random() % 7) - 3;
    const double zero = random() % 8 == 0 ? -0.0 : v;
    const double nan = random() % 16 == 0 ? NAN : zero;
    char* p = m.bytes.data() + i;
    const auto put = [&](auto x) { std::memcpy(p, &x, sizeof x); };
    switch (m.view.dtype) {
      case DType::f16:
        put(f32_to_f16(static_cast<float>(nan)));
        break;
      case DType::bf16:
        put(f32_to_bf16(static_cast<float>(nan)));
        break;
      case DType::f32:
        put(static_cast<float>(nan));
        break;
      case DType::f64:
        put(nan);
        break;
      case DType::bool_:
        put(static_cast<uint8_t>(v > 0));
        break;
      default: {
        const auto whole = static_cast<int64_t>(v);
        std::memcpy(p, &whole, size);
      }
    }
  }
}

void check_sort(DType dtype, Dims shape, int dim, int kind, bool descending, uint64_t seed) {
  SCOPED_TRACE(testing::Message() << name_of(dtype) << " " << to_string(shape) << " dim " << dim
                                  << " kind " << kind << " descending " << descending);
  Memory src(dtype, shape, kind, 0, seed), values(dtype, shape, (kind + 1) % 4, 1, 1);
  Memory indices(DType::i64, shape, (kind + 2) % 4, 2, 2);
  make_ties(src, seed);
  expect_same(kernels::sort(&values.view, &indices.view, src.view, dim, descending),
              {&src, &values, &indices});
}

TEST(TextSort, AllDtypesLengthsAndLayouts) {
  const int64_t lengths[] = {1, 2, 7, 8, 9, 31, 64, 100, 513, 1023, 1024, 1025, 2048, 2049, 4100};
  int n = 0;
  for (DType dtype : k_sorted)
    for (int64_t length : lengths) {
      ++n;
      check_sort(dtype, {3, length}, 1, n % 5, n % 2, static_cast<uint64_t>(n));
      if (n % 5 == 0) check_sort(dtype, {length, 2, 3}, 0, n % 5, n % 2, static_cast<uint64_t>(n));
    }
}

TEST(TextSort, ManyShortRowsShareATile) {
  int n = 0;
  for (int64_t length : {1, 3, 8, 17, 200}) {
    ++n;
    check_sort(DType::f32, {37, length, 9}, 1, n % 5, n % 2, static_cast<uint64_t>(n));
  }
}

TEST(TextSort, ALongRow) {
  check_sort(DType::f32, {100000}, 0, 0, false, 5);
  check_sort(DType::i64, {30001}, 0, 2, true, 6);
}

TEST(TextSort, EmptyAndScalar) {
  check_sort(DType::f32, {0}, 0, 0, false, 1);
  check_sort(DType::f32, {0, 5}, 1, 0, false, 1);
  check_sort(DType::f32, {5, 0}, 1, 0, false, 1);
  check_sort(DType::i16, {}, 0, 0, true, 1);
}

TEST(TextSort, OneResultIsEnough) {
  Memory src(DType::f64, {5, 1500}, 0, 0, 3), values(DType::f64, {5, 1500}, 0, 1, 1);
  Memory indices(DType::i64, {5, 1500}, 1, 1, 2);
  make_ties(src, 3);
  expect_same(kernels::sort(&values.view, nullptr, src.view, 1, false), {&src, &values});
  expect_same(kernels::sort(nullptr, &indices.view, src.view, 1, true), {&src, &indices});
}

TEST(TextSort, TopkAndKthvalue) {
  int n = 0;
  for (DType dtype : {DType::f32, DType::bf16, DType::i64, DType::u8})
    for (int64_t length : {1, 10, 1000, 1025, 5000, 20000})
      for (int64_t k : {1, 5, 500, 513, 1024, 3000}) {
        if (k > length) continue;
        SCOPED_TRACE(testing::Message() << name_of(dtype) << " " << k << " of " << length);
        const auto seed = static_cast<uint64_t>(++n);
        Memory src(dtype, {2, length}, n % 4, 0, seed), values(dtype, {2, k}, 1, 1, 1);
        Memory indices(DType::i64, {2, k}, 0, 2, 2);
        make_ties(src, seed);
        expect_same(kernels::topk(&values.view, &indices.view, src.view, 1, n % 2),
                    {&src, &values, &indices}, 1);
        Memory value(dtype, {2, 1}, 0, 1, 1), index(DType::i64, {2, 1}, 0, 2, 2);
        expect_same(kernels::kth_value(value.view, index.view, src.view, 1, k - 1),
                    {&src, &value, &index}, 1);
      }
}

/// Rows beyond 2^32 do not fit a test; the text with 64-bit places is run on short ones.
TEST(TextSort, WidePlaces) {
  for (DType dtype : {DType::f32, DType::i64}) {
    const driver::PortableKernel wide{"wide", kernels::sort_kernel(dtype, true).text, nullptr};
    Memory src(dtype, {3, 3000}, 0, 0, 3), values(dtype, {3, 3000}, 0, 1, 1);
    Memory indices(DType::i64, {3, 3000}, 1, 2, 2);
    make_ties(src, 3);
    kernels::KernelCall call = kernels::sort(&values.view, &indices.view, src.view, 1, false);
    driver::KernelArgs big = call.args;
    big.ints[4] = int64_t{1} << 33;
    const driver::TextPlan plan = wide.text->plan(big);
    EXPECT_EQ(plan.scratch_bytes, 2 * (int64_t{3} << 33) * (dtype == DType::f32 ? 12 : 16));
    EXPECT_EQ(plan.launches.size(), 1 + 23u);
    // The text runs with the plan of its own narrow twin, but for places of twice the size.
    driver::KernelText text = *wide.text;
    text.plan = [](const driver::KernelArgs& args) {
      driver::TextPlan plan =
          kernels::sort_kernel(static_cast<DType>(args.ints[0]), false).text->plan(args);
      plan.scratch_bytes *= 2;
      return plan;
    };
    const driver::PortableKernel narrow = *call.kernel;
    const Outcome want = outcome_of(call, {&src, &values, &indices}, -1);
    const driver::PortableKernel kernel{"wide", &text, narrow.host};
    call.kernel = &kernel;
    const Outcome got = outcome_of(call, {&src, &values, &indices}, 0);
    EXPECT_EQ(got.memory, want.memory);
  }
}

TEST(KernelTexts, AreTheFilesOfTheSourceTree) {
  const auto folder = std::filesystem::path(QS_SOURCE_FOLDER) / "src/quicksilver/kernels";
  int texts = 0;
  for (const kernels::TextPart* p = kernels::k_text_parts; !p->name.empty(); ++p, ++texts) {
    const std::string name(p->name);
    std::ifstream file(name == "prelude" ? folder / "prelude.h" : folder / "text" / (name + ".h"));
    std::stringstream text;
    text << file.rdbuf();
    EXPECT_EQ(text.str(), p->text) << name;
  }
  EXPECT_GE(texts, 5);
}

}  // namespace
}  // namespace qs::test
