// A user's program: it sees only installed headers and what libquicksilver exports. With two files
// it reads the .npz and writes all of its tensors, doubled on mps, as safetensors.
#include <quicksilver/quicksilver.h>

#include <cstdio>
#include <cstring>
#include <exception>

int main(int argc, char** argv) {
  std::printf("%s\n", qs::version());
  if (std::strcmp(qs::version(), QS_VERSION) != 0) return 1;
  const qs::Tensor x = qs::ones({5}, qs::mps) * 2;
  if (!x.is_mps() || x.sum().item<double>() != 10) return 1;
  if (argc != 3) return 0;
  try {
    qs::NamedTensors tensors = qs::load_npz(argv[1]);
    for (auto& [name, tensor] : tensors) tensor = tensor.to(qs::mps) * 2;
    qs::save_safetensors(argv[2], tensors);
    std::printf("%zu tensors\n", qs::load_safetensors(argv[2]).size());
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
  return 0;
}
