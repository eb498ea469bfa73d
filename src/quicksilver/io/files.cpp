#include "quicksilver/io/files.h"

#include <cerrno>
#include <cstdio>
#include <memory>

#include "quicksilver/io/cursor.h"

namespace qs {

namespace io {
namespace {

struct Close {
  void operator()(std::FILE* f) const { std::fclose(f); }
};
using File = std::unique_ptr<std::FILE, Close>;

[[noreturn]] void failed(const char* what, const std::string& path, int error) {
  throw Error(qs::format("cannot {} '{}': {}", what, path, std::strerror(error)));
}

}  // namespace

std::vector<uint8_t> read_file(const std::string& path) {
  const File file(std::fopen(path.c_str(), "rb"));
  if (!file) failed("load", path, errno);
  std::vector<uint8_t> out;
  // By pieces: what a file says about its size may be wrong, and a folder opens but does not read.
  constexpr size_t k_piece = 1 << 20;
  for (size_t done = 0;;) {
    out.resize(done + k_piece);
    errno = 0;
    const size_t got = std::fread(out.data() + done, 1, k_piece, file.get());
    done += got;
    if (got < k_piece) {
      if (std::ferror(file.get())) failed("load", path, errno);
      out.resize(done);
      return out;
    }
  }
}

void write_file(const std::string& path, std::span<const std::span<const uint8_t>> parts) {
  const std::string temporary = path + ".tmp";
  {
    File file(std::fopen(temporary.c_str(), "wb"));
    if (!file) failed("save to", path, errno);
    for (const auto part : parts)
      if (!part.empty() && std::fwrite(part.data(), 1, part.size(), file.get()) != part.size()) {
        const int error = errno;
        std::remove(temporary.c_str());
        failed("save to", path, error);
      }
    if (std::fclose(file.release()) != 0) {
      const int error = errno;
      std::remove(temporary.c_str());
      failed("save to", path, error);
    }
  }
  if (std::rename(temporary.c_str(), path.c_str()) != 0) {
    const int error = errno;
    std::remove(temporary.c_str());
    failed("save to", path, error);
  }
}

}  // namespace io

NamedTensors load_safetensors(const std::string& path) {
  return io::parse_safetensors(io::read_file(path), path);
}

NamedTensors load_npz(const std::string& path) { return io::parse_npz(io::read_file(path), path); }

NamedTensors load_checkpoint(const std::string& path) {
  return io::parse_checkpoint(io::read_file(path), path);
}

Tensor find(const NamedTensors& tensors, const std::string& name) {
  std::string names;
  for (const auto& [known, tensor] : tensors) {
    if (known == name) return tensor;
    names += (names.empty() ? "" : ", ") + known;
  }
  throw KeyError(qs::format("there is no tensor '{}'; there are: {}", name, names));
}

}  // namespace qs
