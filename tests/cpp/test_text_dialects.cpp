// Kernel texts keep to the common subset: clang reads every text of the library as MSL and as CUDA
// device code, with stand-ins for what these declare (dialects/). As MSL, address spaces are
// clang's own and `double` does not exist; a misuse that Apple's compiler would refuse must fail
// here.
#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <regex>
#include <set>
#include <sstream>

#include "quicksilver/core/error.h"
#include "quicksilver/kernels/texts.h"

namespace qs::test {
namespace {

namespace fs = std::filesystem;

void replace(std::string& text, std::string_view what, std::string_view with) {
  const size_t at = text.find(what);
  ASSERT_NE(at, std::string::npos) << what;
  text.replace(at, what.size(), with);
}

std::set<std::string> macros_of(const std::string& text) {
  static const std::regex define("#define (\\w+)");
  std::set<std::string> names;
  for (std::sregex_iterator i(text.begin(), text.end(), define), end; i != end; ++i)
    names.insert((*i)[1]);
  return names;
}

/// All texts as one, each in a namespace of its own, so that one run of the compiler reads them.
std::string all_texts(bool with_f64) {
  std::string all;
  std::set<std::string> seen;
  for (const driver::PortableKernel* k : kernels::kernels_with_text()) {
    const driver::KernelText& text = *k->text;
    if (!with_f64 && text.needs_f64) continue;
    std::string own = text.options;
    for (size_t i = 1; i < text.parts.size(); ++i) own += text.parts[i];
    if (!seen.insert(own).second) continue;
    if (all.empty()) all = text.options + std::string(text.parts[0]);
    std::string before;
    for (const std::string& name : macros_of(text.options)) before += format("#undef {}\n", name);
    all += before + format("namespace text_{} {{ // {}\n", seen.size(), k->name) + own + "}\n";
    for (const std::string& name : macros_of(own)) all += format("#undef {}\n", name);
  }
  return all;
}

class Dialects : public testing::Test {
 protected:
  void SetUp() override {
    const bool missing = std::system("clang++ --version > /dev/null 2>&1") != 0;
    if (missing && fs::exists(fs::path(QS_SOURCE_FOLDER) / "third_party/staged"))
      GTEST_SKIP() << "no clang++, and no network to install it from (scripts/check-staged)";
    ASSERT_FALSE(missing) << "clang++ is missing: scripts/setup installs it";
    folder_ = fs::temp_directory_path() / format("qs_texts_{}", getpid());
    fs::create_directories(folder_);
  }
  void TearDown() override {
    if (!folder_.empty()) fs::remove_all(folder_);
  }

  /// What clang says; "" when it is content.
  std::string complaints(const std::string& text, const std::string& flags) {
    std::ofstream(folder_ / "text.in") << text;
    const fs::path shims = fs::path(QS_SOURCE_FOLDER) / "tests/cpp/dialects";
    const std::string command = format(
        "clang++ -fsyntax-only -std=c++17 -nostdinc -nostdinc++ -Wall -Wno-unused-function -I{} {} "
        "{} "
        "> {} 2>&1",
        shims.string(), flags, (folder_ / "text.in").string(), (folder_ / "out").string());
    const int status = std::system(command.c_str());
    if (status == 0) return "";
    std::stringstream out;
    out << std::ifstream(folder_ / "out").rdbuf();
    return out.str().substr(0, 4000);
  }
  std::string as_metal(std::string text) {
    // In C++ an array of a function's own cannot be in an address space.
    replace(text, "#define QS_SHARED(T, name, n) threadgroup",
            "#define QS_SHARED(T, name, n) static threadgroup");
    return complaints(text,
                      "-x c++ -D__METAL_VERSION__=310 -Xclang -cl-single-precision-constant "
                      "-Wno-unknown-attributes -Werror");
  }
  std::string as_cuda(std::string text) {
    replace(text, "extern \"C\" __global__", "__global__");  // the texts share names
    return complaints(text,
                      "-x cuda -nocudainc -nocudalib --cuda-device-only "
                      "--cuda-gpu-arch=sm_70 -include cuda.h");
  }

 private:
  fs::path folder_;
};

TEST_F(Dialects, EveryTextIsMsl) { EXPECT_EQ(as_metal(all_texts(false)), ""); }
TEST_F(Dialects, EveryTextIsCuda) { EXPECT_EQ(as_cuda(all_texts(true)), ""); }

/// Each of these a real compiler refuses, and the host's would take.
TEST_F(Dialects, MisuseIsFound) {
  const std::string good = R"(
QS_FUNCTION u32 twice(QS_DEVICE const u32* p) { return 2 * p[0]; }
QS_KERNEL(k) {
  QS_BEGIN;
  QS_SHARED(u32, shared, 4);
  shared[QS_LOCAL % 4] = twice(QS_OPERAND(const u32, 0));
  QS_BARRIER();
  QS_OPERAND(u32, 1)[QS_AT] = shared[0];
})";
  const driver::KernelText& any = *kernels::check_kernel().text;
  const std::string head = any.options + std::string(any.parts[0]);
  ASSERT_EQ(as_metal(head + good), "");
  ASSERT_EQ(as_cuda(head + good), "");
  const std::pair<const char*, const char*> metal[] = {
      {"QS_DEVICE const u32* p", "const u32* p"},
      {"QS_DEVICE const u32* p", "QS_GROUP const u32* p"},
      {"QS_OPERAND(const u32, 0)", "shared"},
      {"return 2 * p[0]", "return (u32)(2.0 * (double)p[0])"},
      {"return 2 * p[0]", "return (u32)lgamma(2.0f)"},
      {"return 2 * p[0]", "return p[0] + (u32)(u64)memcpy(0, 0, 1)"},
      {"QS_OPERAND(u32, 1)[QS_AT]", "qs.ints[0]"}};
  for (auto [what, with] : metal) {
    std::string bad = good;
    replace(bad, what, with);
    EXPECT_NE(as_metal(head + bad), "") << with;
  }
  std::string bad = good;
  replace(bad, "QS_FUNCTION u32", "static u32");  // a function of the host
  EXPECT_NE(as_cuda(head + bad), "");
}

/// A bare pointer that nobody calls is in no wrong address space, but Apple's compiler refuses it.
TEST(KernelTexts, EveryPointerNamesItsAddressSpace) {
  const std::regex pointer(
      "(\\w+)\\s+(const "
      ")?(u8|u16|u32|u64|i8|i16|i32|i64|f32|f64|real|number|stored|element|carried|"
      "order_key|order_place|first_part|second_part|Stream|Philox|QsLaunch|QsError|ScatterFields)"
      "( const)?\\s*[*&]\\s*\\w");
  int found = 0;
  for (const kernels::TextPart* p = kernels::k_text_parts; !p->name.empty(); ++p) {
    if (p->name == "prelude") continue;
    const std::string text(p->text);
    for (std::sregex_iterator i(text.begin(), text.end(), pointer), end; i != end; ++i, ++found) {
      const std::string space = (*i)[1];
      EXPECT_TRUE(space == "QS_DEVICE" || space == "QS_GROUP" || space == "QS_CONSTANT" ||
                  space == "QS_THREAD")
          << p->name << ": " << i->str();
    }
  }
  EXPECT_GT(found, 40);
}

}  // namespace
}  // namespace qs::test
