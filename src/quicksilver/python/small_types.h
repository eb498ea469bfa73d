// The small Python types: dtype, device, Size, the is_mps flag, layout and memory format,
// Generator.
#pragma once
#include "quicksilver/core/device.h"
#include "quicksilver/core/dtype.h"
#include "quicksilver/core/layout.h"
#include "quicksilver/python/common.h"
#include "quicksilver/runtime/generator.h"

namespace qs::python {

// ---- dtype: one object each, compared by identity
extern PyTypeObject* dtype_type;
PyObject* wrap(DType dtype);
inline bool is_dtype(PyObject* o) { return Py_TYPE(o) == dtype_type; }
/// A dtype object, or one of Python's float, int, bool, complex.
bool is_dtype_like(PyObject* o);
DType to_dtype(PyObject* o);

// ---- device
extern PyTypeObject* device_type;
PyObject* wrap(Device device);
inline bool is_device(PyObject* o) { return Py_TYPE(o) == device_type; }
inline bool is_device_like(PyObject* o) {
  return is_device(o) || PyUnicode_Check(o) || (PyLong_Check(o) && !PyBool_Check(o));
}
/// A device object, its name, or an index (of mps).
Device to_device(PyObject* o);
/// What creation functions use when none is given.
Device default_device();

// ---- constants of torch.layout and torch.memory_format: a named thing each
extern PyTypeObject* layout_type;
extern PyTypeObject* memory_format_type;
/// "contiguous_format", "preserve_format", "channels_last", "channels_last_3d", "strided", ...
std::string_view constant_name(PyObject* o);
PyObject* strided_layout();  // new reference

// ---- Size: a tuple of extents
extern PyTypeObject* size_type;
PyObject* make_size(DimSpan dims);

/// x.is_mps: an int that prints as True or False and may be called.
PyObject* flag(bool on);

// ---- Generator
extern PyTypeObject* generator_type;
/// Makes a device draw from a Python Generator while it lives. None or null: nothing changes.
class GeneratorScope {
 public:
  GeneratorScope(PyObject* generator, DeviceType device);
  ~GeneratorScope();
  GeneratorScope(const GeneratorScope&) = delete;
  GeneratorScope& operator=(const GeneratorScope&) = delete;

 private:
  qs::Generator* given_ = nullptr;
  qs::Generator* device_ = nullptr;
  std::vector<uint8_t> saved_;
};

void add_small_types(PyObject* module);

}  // namespace qs::python
