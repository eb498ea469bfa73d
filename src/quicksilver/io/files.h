// Tensors from files and to files, for programs without Python: safetensors both ways; NumPy's .npz
// and PyTorch's checkpoints for reading.
//
// A file is a list of named tensors. Readers take a file whole, check every length and offset
// against its size before they look, and throw Error (or OSError's text in one) that says what is
// wrong with which file; nothing in a file is believed. Writing goes to a temporary file beside the
// target that then takes its name.
//
//   auto data = qs::load_npz("digits.npz");
//   qs::Tensor images = qs::find(data, "train_x").to(qs::mps);
//   qs::save_safetensors("digits.safetensors", model.state_dict());
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "quicksilver/autograd/verbs.h"

namespace qs {

using NamedTensors = std::vector<std::pair<std::string, Tensor>>;

/// Reads a safetensors file; the tensors are on cpu, in the order of the header.
QS_API NamedTensors load_safetensors(const std::string& path);
/// Writes one; tensors of any device and layout. Throws when a name comes twice.
QS_API void save_safetensors(const std::string& path, const NamedTensors& tensors);
/// Reads what numpy.savez wrote (not savez_compressed): little-endian numbers and bools.
QS_API NamedTensors load_npz(const std::string& path);
/// Reads the tensors of a file that torch.save wrote (the zip format and the older one), on cpu. A
/// tensor's name is made of the keys and list positions that lead to it, joined by dots:
/// "model.0.weight"; a state_dict keeps its names. Tensors that shared memory do so again. Numbers,
/// texts and other values are left out. Nothing that stands in the file is run: whole modules and
/// other objects that need code are refused.
QS_API NamedTensors load_checkpoint(const std::string& path);
/// The tensor of a name; KeyError with the names there are.
QS_API Tensor find(const NamedTensors& tensors, const std::string& name);

namespace io {
using Bytes = std::span<const uint8_t>;
/// The same from memory; `name` is what errors call it.
QS_API NamedTensors parse_safetensors(Bytes content, const std::string& name);
QS_API NamedTensors parse_npz(Bytes content, const std::string& name);
QS_API NamedTensors parse_checkpoint(Bytes content, const std::string& name);
}  // namespace io

}  // namespace qs
