// Zip archives whose entries are stored as they are, as .npz files and PyTorch's checkpoints are.
#pragma once
#include <string>
#include <vector>

#include "quicksilver/io/files.h"

namespace qs::io {

struct ZipEntry {
  std::string name;
  uint64_t size = 0, offset = 0;
  uint32_t crc = 0;  // 0: not computed by who wrote it
  bool compressed = false;
};

/// The entries in the order of the directory. Throws Error for what is no archive; `name` is the
/// file's, for messages.
std::vector<ZipEntry> zip_directory(Bytes content, const std::string& name);
/// The bytes of a stored entry, its checksum compared.
Bytes zip_content(const ZipEntry& entry, Bytes content, const std::string& name);

}  // namespace qs::io
