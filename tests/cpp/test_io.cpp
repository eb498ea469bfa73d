// Files of tensors: round trips, damaged files explained, and mutations that must do no harm. What
// the public packages write and read is tested from Python (tests/python/test_package.py).
#include <gtest/gtest.h>

#include <unistd.h>

#include <cmath>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <random>

#include "quicksilver/quicksilver.h"

namespace qs {
namespace {

namespace fs = std::filesystem;

class Io : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::temp_directory_path() / ("qs_io_" + std::to_string(::getpid()));
    fs::create_directories(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }
  std::string path(const char* name) const { return (folder_ / name).string(); }
  fs::path folder_;
};

std::vector<uint8_t> bytes(const std::string& text) { return {text.begin(), text.end()}; }

std::vector<uint8_t> with_header(const std::string& header, size_t data = 0) {
  std::vector<uint8_t> out(8 + header.size() + data);
  const uint64_t length = header.size();
  std::memcpy(out.data(), &length, 8);
  std::memcpy(out.data() + 8, header.data(), header.size());
  return out;
}

void expect_refused(const std::vector<uint8_t>& content, const std::string& reason) {
  try {
    io::parse_safetensors(content, "x");
    ADD_FAILURE() << "was read; should say: " << reason;
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find(reason), std::string::npos) << error.what();
  }
}

NamedTensors example() {
  return {{"f32", arange(0, 6).to(DType::f32).reshape({2, 3}).t()},
          {"i64", arange(0, 3)},
          {"bf16", ones({2}, DType::bf16)},
          {"bool", gt(arange(0, 4), 1)},
          {"empty", zeros({0, 3})},
          {"scalar", full(Dims{}, 2.5)},
          {"odd \"name\"\n\x01", ones({1})}};
}

TEST_F(Io, WhatIsSavedIsLoaded) {
  const NamedTensors saved = example();
  save_safetensors(path("x"), saved);
  const NamedTensors loaded = load_safetensors(path("x"));
  ASSERT_EQ(loaded.size(), saved.size());
  for (size_t i = 0; i < saved.size(); ++i) {
    EXPECT_EQ(loaded[i].first, saved[i].first);
    EXPECT_EQ(loaded[i].second.dtype(), saved[i].second.dtype());
    EXPECT_TRUE(equal(loaded[i].second, saved[i].second)) << saved[i].first;
  }
  EXPECT_FALSE(fs::exists(path("x.tmp")));
  EXPECT_EQ(find(loaded, "i64").size(0), 3);
  EXPECT_THROW(find(loaded, "other"), KeyError);
}

TEST_F(Io, WhatCannotBeSavedOrFoundIsSaid) {
  EXPECT_THROW(save_safetensors(path("x"), {{"a", ones({1})}, {"a", ones({1})}}), ValueError);
  EXPECT_THROW(save_safetensors(path("no/x"), {{"a", ones({1})}}), Error);
  EXPECT_THROW(load_safetensors(path("no")), Error);
  EXPECT_THROW(load_npz(folder_.string()), Error);
}

TEST_F(Io, BrokenHeadersAreExplained) {
  expect_refused({}, "cut short");
  expect_refused(std::vector<uint8_t>(40, 0xff), "no sensible header length");
  expect_refused(with_header("{", 0), "damaged at character");
  expect_refused(with_header("[]"), "damaged at character 0");
  expect_refused(with_header(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})", 7),
                 "cut short");
  expect_refused(with_header(R"({"a":{"dtype":"F7","shape":[2],"data_offsets":[0,8]}})", 8), "F7");
  expect_refused(with_header(R"({"a":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}})", 8),
                 "needs 12 bytes");
  expect_refused(with_header(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[8,0]}})", 8),
                 "needs 8 bytes");
  expect_refused(with_header(R"({"a":{"dtype":"F32","shape":[-2],"data_offsets":[0,8]}})", 8),
                 "damaged");
  expect_refused(
      with_header(R"({"a":{"dtype":"F32","shape":[9223372036854775807,9],"data_offsets":[0,8]}})",
                  8),
      "too large");
  expect_refused(with_header(R"({"a":{"dtype":"F32","shape":[99999999999999999999],)"), "damaged");
  expect_refused(with_header(R"({"a\ud800":{}})"), "damaged");
  EXPECT_TRUE(
      io::parse_safetensors(with_header(R"({"__metadata__":{"a":"\u00e9\ud83d\ude00"}} )"), "x")
          .empty());
}

TEST_F(Io, NoMutationDoesHarm) {
  save_safetensors(path("x"), example());
  std::vector<uint8_t> whole;
  {
    std::FILE* f = std::fopen(path("x").c_str(), "rb");
    whole.resize(fs::file_size(path("x")));
    ASSERT_EQ(std::fread(whole.data(), 1, whole.size(), f), whole.size());
    std::fclose(f);
  }
  std::mt19937 random(7);
  for (int i = 0; i < 5000; ++i) {
    std::vector<uint8_t> content = whole;
    for (unsigned k = 0; k <= random() % 3; ++k)
      content[random() % content.size()] = static_cast<uint8_t>(random());
    if (random() % 8 == 0) content.resize(random() % content.size());
    try {
      io::parse_safetensors(content, "x");
    } catch (const Error&) {
    }
    try {
      io::parse_npz(content, "x");
    } catch (const Error&) {
    }
  }
}

/// A .npz as numpy.savez writes it, of one array "a" = [1, 2, 3] (int64).
std::vector<uint8_t> small_npz() {
  std::string header = "{'descr': '<i8', 'fortran_order': False, 'shape': (3,), }";
  header.resize(117, ' ');
  header += '\n';
  std::string npy("\x93NUMPY\x01\x00", 8);
  npy += static_cast<char>(header.size());
  npy += '\0';
  npy += header;
  for (char v : {1, 2, 3}) npy += std::string(1, v) + std::string(7, '\0');
  uint32_t crc = 0xffffffff;
  for (unsigned char c : npy) {
    crc ^= c;
    for (int k = 0; k < 8; ++k) crc = crc & 1 ? 0xedb88320 ^ crc >> 1 : crc >> 1;
  }
  crc = ~crc;
  const auto number = [](uint64_t v, int n) {
    std::string out;
    for (int i = 0; i < n; ++i) out += static_cast<char>(v >> (8 * i) & 255);
    return out;
  };
  const uint64_t size = npy.size();
  const std::string sizes = number(crc, 4) + number(size, 4) + number(size, 4);
  std::string out = "PK\x03\x04" + number(20, 2) + number(0, 8) + sizes + number(5, 2) +
                    number(0, 2) + "a.npy" + npy;
  const uint64_t directory = out.size();
  // After the sizes: lengths of name, extra and comment; disk, attributes (8); offset.
  out += "PK\x01\x02" + number(20, 4) + number(0, 8) + sizes + number(5, 2) + number(0, 4) +
         number(0, 8) + number(0, 4) + "a.npy";
  out += "PK\x05\x06" + number(0, 4) + number(1, 2) + number(1, 2) +
         number(out.size() - directory, 4) + number(directory, 4) + number(0, 2);
  return bytes(out);
}

TEST_F(Io, NpzIsReadAndItsMutationsDoNoHarm) {
  const std::vector<uint8_t> whole = small_npz();
  const NamedTensors read = io::parse_npz(whole, "x");
  ASSERT_EQ(read.size(), 1u);
  EXPECT_EQ(read[0].first, "a");
  EXPECT_TRUE(equal(read[0].second, arange(1, 4)));
  std::mt19937 random(11);
  for (int i = 0; i < 5000; ++i) {
    std::vector<uint8_t> content = whole;
    for (unsigned k = 0; k <= random() % 3; ++k)
      content[random() % content.size()] = static_cast<uint8_t>(random());
    if (random() % 8 == 0) content.resize(random() % content.size());
    try {
      io::parse_npz(content, "x");
    } catch (const Error&) {
    }
  }
}

TEST(Layers, TheirTensorsHavePyTorchsNames) {
  nn::Sequential model;
  model.add<nn::Linear>(4, 16).add<nn::GELU>().add<nn::Dropout>(0.5).add<nn::Flatten>();
  model.add<nn::Linear>(16, 3).add<nn::LayerNorm>(3);
  std::vector<std::string> names;
  for (const auto& [name, tensor] : model.state_dict()) names.push_back(name);
  EXPECT_EQ(names, (std::vector<std::string>{"0.weight", "0.bias", "4.weight", "4.bias", "5.weight",
                                             "5.bias"}));
  const Tensor x = ones({2, 4});
  model(x).sum().backward();
  for (const Tensor& p : model.parameters()) EXPECT_TRUE(p.grad().defined());
  model.eval();
  EXPECT_TRUE(equal(model(x), model(x)));
}

TEST(Layers, ImagesAreNormalisedAndPooled) {
  nn::Sequential model;
  model.add<nn::Conv2d>(1, 4, 3, nn::Conv2dOptions{.padding = 1})
      .add<nn::BatchNorm2d>(4)
      .add<nn::ReLU>()
      .add<nn::MaxPool2d>(2)
      .add<nn::AvgPool2d>(2)
      .add<nn::AdaptiveAvgPool2d>(1, 1)
      .add<nn::Flatten>();
  std::vector<std::string> names;
  for (const auto& [name, tensor] : model.state_dict()) names.push_back(name);
  EXPECT_EQ(names,
            (std::vector<std::string>{"0.weight", "0.bias", "1.weight", "1.bias", "1.running_mean",
                                      "1.running_var", "1.num_batches_tracked"}));
  const Tensor x = normal_(empty(Dims{2, 1, 8, 8}));
  const Tensor y = model(x);
  EXPECT_EQ(Dims(y.shape()), (Dims{2, 4}));
  y.sum().backward();
  for (const Tensor& p : model.parameters()) EXPECT_TRUE(p.grad().defined());
  EXPECT_EQ(find(model.state_dict(), "1.num_batches_tracked").item<int64_t>(), 1);
  model.eval();
  EXPECT_TRUE(equal(model(x), model(x)));
  EXPECT_EQ(find(model.state_dict(), "1.num_batches_tracked").item<int64_t>(), 1);
  EXPECT_THROW(nn::Conv2d(3, 4, 1, nn::Conv2dOptions{.groups = 2}), ValueError);
  EXPECT_THROW(nn::BatchNorm2d(4)(ones({2, 4})), ValueError);
}

TEST(Layers, AStateIsTakenOverWholeOrNotAtAll) {
  nn::Linear one(2, 3), two(2, 3);
  EXPECT_FALSE(equal(one.weight, two.weight));
  two.load_state_dict(one.state_dict());
  EXPECT_TRUE(equal(one.weight, two.weight));
  const Tensor before = two.weight.clone();
  EXPECT_THROW(two.load_state_dict({{"weight", ones({3, 2})}}), Error);
  EXPECT_THROW(two.load_state_dict({{"weight", ones({3, 2})}, {"bias", ones({4})}}), Error);
  EXPECT_THROW(
      two.load_state_dict({{"weight", ones({3, 2})}, {"bias", ones({3})}, {"c", ones({1})}}),
      Error);
  EXPECT_TRUE(equal(two.weight, before));
  EXPECT_THROW(nn::Dropout(1.5), ValueError);
}

TEST(Adam, StepsAsTheFormulaSays) {
  for (const bool decoupled : {false, true}) {
    const Tensor p = full(Dims{1}, 2.0, DType::f64);
    p.set_requires_grad();
    const optim::AdamOptions options{.lr = 0.1, .weight_decay = 0.5};
    optim::Adam adam({p}, options);
    optim::AdamW adamw({p}, options);
    double value = 2, m = 0, v = 0;
    for (int t = 1; t <= 5; ++t) {
      p.set_grad(full(Dims{1}, 0.3 * t, DType::f64));
      decoupled ? adamw.step() : adam.step();
      double g = 0.3 * t;
      if (decoupled)
        value *= 1 - 0.1 * 0.5;
      else
        g += 0.5 * value;
      m = 0.9 * m + 0.1 * g;
      v = 0.999 * v + 0.001 * g * g;
      value -= 0.1 * m / (1 - std::pow(0.9, t)) / (std::sqrt(v / (1 - std::pow(0.999, t))) + 1e-8);
      EXPECT_NEAR(p.item<double>(), value, 1e-12);
    }
    adam.zero_grad();
    EXPECT_FALSE(p.grad().defined());
  }
  EXPECT_THROW(optim::Adam({}, {}), ValueError);
  EXPECT_THROW(optim::Adam({ones({1})}, {.beta1 = 1.0}), ValueError);
}

}  // namespace
}  // namespace qs
