// Trains the network of examples/digits.py in C++: the same layers, loop and data, on the device
// mps.
//
//   digits DATA.npz WEIGHTS.safetensors [EPOCHS]
//
// DATA.npz is what examples/digits_data.py writes. The weights have PyTorch's names, so
// examples/digits.py --predict reads them.
#include <quicksilver/quicksilver.h>

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <numbers>
#include <string>

namespace {

using qs::Tensor;
namespace nn = qs::nn;

struct Net : nn::Module {
  nn::Sequential layers;
  Net() {
    layers.add<nn::Conv2d>(1, 32, 3, nn::Conv2dOptions{.padding = 1})
        .add<nn::BatchNorm2d>(32)
        .add<nn::ReLU>()
        .add<nn::MaxPool2d>(2)
        .add<nn::Conv2d>(32, 64, 3, nn::Conv2dOptions{.padding = 1})
        .add<nn::BatchNorm2d>(64)
        .add<nn::ReLU>()
        .add<nn::MaxPool2d>(2)
        .add<nn::Flatten>()
        .add<nn::Dropout>(0.5)
        .add<nn::Linear>(256, 10);
    register_module("layers", layers);
  }
  Tensor forward(const Tensor& x) override { return layers(x); }
};

double accuracy(nn::Module& model, const Tensor& x, const Tensor& y) {
  const qs::autograd::NoGrad guard;
  model.eval();
  const Tensor right = eq(model(x).argmax(1), y).to(qs::DType::f32).mean();
  model.train();
  return right.item<double>();
}

int run(const std::string& data_file, const std::string& weights_file, int epochs) {
  const qs::NamedTensors data = qs::load_npz(data_file);
  const auto part = [&](const char* name) { return qs::find(data, name).to(qs::mps); };
  const Tensor train_x = part("train_x"), train_y = part("train_y"), test_x = part("test_x"),
               test_y = part("test_y");
  qs::manual_seed(0);
  Net net;
  net.to(qs::mps);
  constexpr double k_rate = 3e-3;
  qs::optim::AdamW optimizer(net.parameters(), {.lr = k_rate, .weight_decay = 1e-2});
  constexpr int64_t k_batch = 64;
  const int64_t count = train_x.size(0);
  std::printf("device mps, driver %s\n", qs::mps.driver().c_str());
  for (int epoch = 0; epoch < epochs; ++epoch) {
    optimizer.options.lr = k_rate * (1 + std::cos(std::numbers::pi * epoch / epochs)) / 2;
    const Tensor order = qs::randperm(count, qs::mps);
    Tensor total = qs::zeros({}, qs::mps);
    int64_t batches = 0;
    for (int64_t first = 0; first + k_batch <= count; first += k_batch, ++batches) {
      const Tensor chosen = order.slice(0, first, first + k_batch);
      optimizer.zero_grad();
      const Tensor loss =
          cross_entropy(net(index_select(train_x, 0, chosen)), index_select(train_y, 0, chosen));
      loss.backward();
      optimizer.step();
      total += loss.detach();
    }
    if (epoch % 5 == 4 || epoch + 1 == epochs)
      std::printf("epoch %2d: loss %.4f\n", epoch + 1, total.item<double>() / double(batches));
  }
  const double reached = accuracy(net, test_x, test_y);
  std::printf("held-out accuracy %.4f\n", reached);
  qs::save_safetensors(weights_file, net.layers.state_dict());
  Net again;
  again.layers.load_state_dict(qs::load_safetensors(weights_file));
  again.to(qs::mps);
  if (accuracy(again, test_x, test_y) != reached) {
    std::fprintf(stderr, "digits: the weights that were read again are not those written\n");
    return 1;
  }
  std::printf("wrote %s\n", weights_file.c_str());
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3 || argc > 4) {
    std::fprintf(stderr, "usage: digits DATA.npz WEIGHTS.safetensors [EPOCHS]\n");
    return 2;
  }
  try {
    return run(argv[1], argv[2], argc > 3 ? std::atoi(argv[3]) : 30);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "digits: %s\n", error.what());
    return 1;
  }
}
