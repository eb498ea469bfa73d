// Checkpoints that PyTorch wrote (tests/traces/checkpoints, see tests/python/checkpoints.py for
// what they hold), read without Python; damaged ones explained, and mutations that must do no harm.
#include <gtest/gtest.h>

#include <cstring>
#include <random>

#include "quicksilver/io/cursor.h"
#include "quicksilver/quicksilver.h"

namespace qs {
namespace {

std::vector<uint8_t> file(const std::string& name) {
  return io::read_file(QS_TESTS_FOLDER "/traces/checkpoints/" + name);
}

std::vector<double> values(const Tensor& x) {
  const Tensor flat = x.to(DeviceType::cpu).to(DType::f64).reshape({-1});
  std::vector<double> out;
  for (int64_t i = 0; i < flat.numel(); ++i) out.push_back(select(flat, 0, i).item<double>());
  return out;
}

void expect_refused(const std::vector<uint8_t>& content, const std::string& reason) {
  try {
    io::parse_checkpoint(content, "x.pt");
    ADD_FAILURE() << "was read; should say: " << reason;
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find(reason), std::string::npos) << error.what();
  }
}

class Checkpoints : public testing::TestWithParam<const char*> {};

TEST_P(Checkpoints, EveryDtypeViewAndNameIsRead) {
  const NamedTensors all = io::parse_checkpoint(file(GetParam()), GetParam());
  const std::pair<const char*, DType> dtypes[] = {
      {"float32", DType::f32},   {"float64", DType::f64},     {"float16", DType::f16},
      {"bfloat16", DType::bf16}, {"int64", DType::i64},       {"int32", DType::i32},
      {"int16", DType::i16},     {"int8", DType::i8},         {"uint8", DType::u8},
      {"uint16", DType::u16},    {"uint32", DType::u32},      {"uint64", DType::u64},
      {"complex64", DType::c64}, {"complex128", DType::c128}, {"bool", DType::bool_}};
  for (const auto& [name, dtype] : dtypes) {
    const Tensor x = find(all, std::string("numbers.") + name);
    EXPECT_EQ(x.dtype(), dtype) << name;
    const Tensor real = is_complex(dtype) ? select(view_as_real(x), 1, 0) : x;
    EXPECT_EQ(values(real), (std::vector<double>{1, 0, dtype == DType::bool_ ? 1.0 : 3.0})) << name;
  }
  Tensor base = find(all, "base");
  const Tensor view = find(all, "view"), column = find(all, "column");
  EXPECT_EQ(view.strides(), (Dims{1, 3}));
  EXPECT_EQ(values(view), (std::vector<double>{2, 5, 3, 6, 4, 7}));
  EXPECT_EQ(values(column), (std::vector<double>{1, 4}));
  fill_(select(base, 0, 3), 99.0);
  EXPECT_EQ(values(select(view, 0, 1))[0], 99.0) << "tensors that shared memory do so again";
  EXPECT_EQ(values(select(find(all, "again"), 0, 3))[0], 99.0);
  EXPECT_EQ(find(all, "empty").shape(), (Dims{0, 3}));
  EXPECT_EQ(find(all, "scalar").item<double>(), 2.5);
  EXPECT_EQ(values(find(all, "parameter")), (std::vector<double>{1, 1, 1, 1}));
  EXPECT_EQ(all.size(), 24u);
}

TEST_P(Checkpoints, NoMutationDoesHarm) {
  const std::vector<uint8_t> whole = file(GetParam());
  std::mt19937 random(5);
  int read = 0;
  for (int i = 0; i < 4000; ++i) {
    std::vector<uint8_t> content = whole;
    for (unsigned k = 0; k <= random() % 3; ++k)
      content[random() % content.size()] = static_cast<uint8_t>(random());
    if (random() % 8 == 0) content.resize(random() % content.size());
    // Without a checksum, what a zip archive's pickle says comes through.
    for (size_t at = 0; i % 2 && at + 20 < content.size(); ++at) {
      if (std::memcmp(&content[at], "PK\x01\x02", 4) == 0) std::memset(&content[at + 16], 0, 4);
    }
    try {
      read += !io::parse_checkpoint(content, "x.pt").empty();
    } catch (const Error&) {
    }
  }
  EXPECT_GT(read, 0);
}

INSTANTIATE_TEST_SUITE_P(Formats, Checkpoints,
                         testing::Values("nested.pt", "legacy.pt", "protocol4.pt"));

TEST(Checkpoint, AStateDictKeepsItsNames) {
  const NamedTensors all = io::parse_checkpoint(file("training.pt"), "training.pt");
  for (const char* name : {"model.first.weight", "model.last.bias", "optimizer.state.0.exp_avg"})
    EXPECT_TRUE(find(all, name).defined()) << name;
  EXPECT_EQ(find(all, "model.first.weight").shape(), (Dims{4, 3}));
  EXPECT_EQ(find(all, "optimizer.state.0.step").item<double>(), 2.0);
}

TEST(Checkpoint, WhatNeedsAProgramIsRefused) {
  expect_refused(file("evil.pt"), "system");
  expect_refused(file("module.pt"), "Sequential");
}

TEST(Checkpoint, WhatIsNoneIsExplained) {
  expect_refused({}, "no zip archive");
  expect_refused(std::vector<uint8_t>(100, 'x'), "no zip archive");
  std::vector<uint8_t> cut = file("legacy.pt");
  cut.resize(cut.size() - 3);
  expect_refused(cut, "cut short");
  std::vector<uint8_t> flipped = file("nested.pt");
  flipped[300] ^= 1;
  expect_refused(flipped, "checksum");
}

}  // namespace
}  // namespace qs
