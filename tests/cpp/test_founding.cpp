// The founding scripts: what the first lines of a C++ program do, and a network that learns.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "devices.h"
#include "quicksilver/quicksilver.h"

namespace {

#if QS_HAS_MPS
TEST(Founding, TensorsOnMps) {
  ASSERT_TRUE(qs::mps.is_built());
  ASSERT_TRUE(qs::mps.is_available()) << qs::mps.why_unavailable();
  EXPECT_FALSE(qs::mps.driver().empty());
  const qs::Tensor x = qs::ones({5}, qs::mps);
  EXPECT_TRUE(x.is_mps());
  EXPECT_FALSE(x.is_cpu());
  EXPECT_EQ(x.device().str(), "mps:0");
  const qs::Tensor y = x * 2;
  EXPECT_TRUE(y.is_mps());
  EXPECT_EQ(y.sum().item<float>(), 10);
  EXPECT_EQ((2.0 * x)[0].item<float>(), 2);
  EXPECT_EQ((1 - x)[4].item<float>(), 0);
  EXPECT_EQ((x > 0).sum().item<int64_t>(), 5);
}
#endif

#if QS_HAS_MPS
TEST(Founding, HostMemoryIsSharedOnCpuAndCopiedToMps) {
  float data[] = {1, 2, 3};
  const qs::Tensor host = qs::from_external(
      data, qs::Layout::contiguous(qs::Dims{3}), qs::DType::f32, sizeof data, [](void*) {},
      nullptr);
  EXPECT_FALSE(host.is_mps());
  const qs::Tensor device = host.to(qs::mps);
  EXPECT_TRUE(device.is_mps());
  EXPECT_FALSE(host.is_mps());
  const qs::Tensor changed = device * 10;
  EXPECT_EQ(changed.sum().item<float>(), 60);
  qs::add_(device, 1);
  qs::synchronize();
  EXPECT_EQ(data[0], 1);
  EXPECT_EQ(data[2], 3);
  data[0] = 7;  // shared on cpu, copied before to() returned on mps
  EXPECT_EQ(host[0].item<float>(), 7);
  EXPECT_EQ(device[0].item<float>(), 2);
  EXPECT_EQ(device.cpu()[2].item<float>(), 4);
}
#endif

TEST(Founding, UnknownDevicesRaise) {
  EXPECT_THROW(qs::Device::parse("cuda:7x"), qs::DeviceError);
  EXPECT_THROW(qs::Device::parse("gpu"), qs::DeviceError);
  EXPECT_TRUE(qs::Device::parse("mps:0").is_mps());
}

#if QS_HAS_MPS
TEST(Founding, DevicesDoNotMix) {
  EXPECT_THROW(qs::ones({2}, qs::mps) + qs::ones({2}), qs::Error);
  EXPECT_EQ((qs::ones({2}, qs::mps) + qs::full({}, 3.0)).sum().item<float>(), 8);
}
#endif

class Learning : public ::testing::TestWithParam<qs::DeviceType> {};
INSTANTIATE_TEST_SUITE_P(Devices, Learning, ::testing::ValuesIn(qs::test_devices()));

TEST_P(Learning, FitsASmallRegression) {
  qs::manual_seed(1);
  const qs::Device device(GetParam());
  qs::nn::Sequential model;
  model.add<qs::nn::Linear>(2, 16).add<qs::nn::ReLU>().add<qs::nn::Linear>(16, 1);
  model.to(device);
  ASSERT_EQ(model.parameters().size(), 4u);
  EXPECT_EQ(model.named_parameters()[0].first, "0.weight");
  qs::optim::SGD sgd(model.parameters(), {.lr = 0.05, .momentum = 0.9});
  const qs::Tensor x = qs::rand(qs::Dims{64, 2}, qs::Options(qs::DType::f32, device)) * 2 - 1;
  const qs::Tensor target = qs::unsqueeze(x.slice(1, 0, 1) * 2 - x.slice(1, 1, 2), 0).view({64, 1});
  double first = 0, last = 0;
  for (int step = 0; step < 200; ++step) {
    sgd.zero_grad();
    const qs::Tensor loss = qs::mse_loss(model(x), target);
    loss.backward();
    sgd.step();
    if (step == 0) first = loss.item<double>();
    if (step == 199) last = loss.item<double>();
  }
  EXPECT_GT(first, 0.3);
  EXPECT_LT(last, 0.01);
}

TEST_P(Learning, FitsASmallClassification) {
  qs::manual_seed(2);
  const qs::Device device(GetParam());
  qs::nn::Sequential model;
  model.add<qs::nn::Linear>(2, 32).add<qs::nn::ReLU>().add<qs::nn::Linear>(32, 2);
  model.to(device);
  qs::optim::SGD sgd(model.parameters(), {.lr = 0.2, .momentum = 0.9, .nesterov = true});
  const qs::Tensor x = qs::rand(qs::Dims{128, 2}, qs::Options(qs::DType::f32, device)) * 2 - 1;
  const qs::Tensor label =
      qs::to(qs::select(x, 1, 0) * qs::select(x, 1, 1) > 0, {}, qs::DType::i64);
  for (int step = 0; step < 300; ++step) {
    sgd.zero_grad();
    qs::cross_entropy(model(x), label).backward();
    sgd.step();
  }
  const qs::Tensor right = qs::eq(model(x).argmax(1), label);
  EXPECT_GT(qs::mean(right.to(qs::DType::f32)).item<double>(), 0.95);
}

}  // namespace
