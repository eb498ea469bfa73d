// Casts, copies, and facts asked by calls: size(), numel(), is_contiguous(), to(), float(), item().
#include "quicksilver/autograd/verbs.h"
#include "quicksilver/python/adapters.h"
#include "quicksilver/python/functions.h"
#include "quicksilver/runtime/device.h"

namespace qs::python {

MemoryFormat memory_format(const Call& c, int i, MemoryFormat otherwise) {
  if (!c.given(i)) return otherwise;
  const std::string_view name = constant_name(c.args[i]);
  return name == "channels_last"      ? MemoryFormat::channels_last
         : name == "channels_last_3d" ? MemoryFormat::channels_last_3d
         : name == "preserve_format"  ? MemoryFormat::preserve
                                      : MemoryFormat::contiguous;
}

namespace {

/// What `to` and its kin do with memory_format: preserve is what they do anyway.
Tensor in_format(const Call& c, int i, Tensor x) {
  const MemoryFormat format = memory_format(c, i, MemoryFormat::preserve);
  return format == MemoryFormat::preserve ? x : contiguous(x, format);
}

template <DType dtype>
PyObject* cast(Call& c) {
  return wrap(in_format(c, 1, to(c.tensor(0), std::nullopt, dtype)));
}
#define CAST(name, dtype)                                                                    \
  FN(name, "m", "(Tensor input, *, memory_format? memory_format=None)", &cast<DType::dtype>, \
     "The tensor as another dtype; itself when it has it.")

/// Moves and casts; from mps to the host that runs the tape, without the lock.
PyObject* moved(Call& c, std::optional<Device> device, std::optional<DType> dtype, bool copy,
                bool non_blocking, int format) {
  const Tensor& x = c.tensor(0);
  const bool waits = device && device->type != x.device_type();
  Tensor result;
  {
    GilRelease release(waits || is_heavy(x));
    result = in_format(c, format, to(x, device, dtype, copy, non_blocking));
  }
  return wrap(std::move(result));
}
PyObject* to_other(Call& c) {  // (other, non_blocking, copy)
  const Tensor& other = c.tensor(1);
  return moved(c, other.device(), other.dtype(), c.boolean(3), c.boolean(2), 4);
}
PyObject* to_dtype_only(Call& c) {
  return moved(c, std::nullopt, c.dtype(1), c.boolean(3), c.boolean(2), 4);
}
PyObject* to_device_dtype(Call& c) {
  return moved(c, c.optional_device(1), c.optional_dtype(2), c.boolean(4), c.boolean(3), 5);
}
PyObject* to_cpu(Call& c) {
  return moved(c, Device(DeviceType::cpu), std::nullopt, false, false, 1);
}
PyObject* to_mps(Call& c) {
  return moved(c, Device(DeviceType::mps), std::nullopt, false, false, 1);
}

/// x.type(): its legacy name; x.type(dtype or name): a cast.
PyObject* type_method(Call& c) {
  const Tensor& x = c.tensor(0);
  const char* prefix = x.is_mps() ? "torch.mps." : "torch.";
  if (!c.given(1)) return PyUnicode_FromString((prefix + legacy_type_name(x)).c_str());
  if (is_dtype_like(c.args[1])) return wrap(to(x, std::nullopt, to_dtype(c.args[1])));
  const PyRef name =
      PyRef::steal(PyUnicode_Check(c.args[1]) ? new_ref(c.args[1]) : PyObject_Str(c.args[1]));
  std::string text = text_of(name.get());
  std::optional<Device> device;
  for (const char* p : {"torch.mps.", "torch.cuda.", "torch."})
    if (text.starts_with(p)) {
      if (std::string_view(p) == "torch.mps.") device = Device(DeviceType::mps);
      text = text.substr(std::string_view(p).size());
      break;
    }
  for (int d = 0; d < k_dtype_count; ++d) {
    const auto dtype = static_cast<DType>(d);
    if (legacy_type_name(dtype) == text) return wrap(to(x, device, dtype));
  }
  raise(PyExc_ValueError, "invalid type: '{}'", text);
}

PyObject* size_method(Call& c) {
  const Tensor& x = c.tensor(0);
  return c.given(1) ? PyLong_FromLongLong(x.size(c.integer(1))) : make_size(x.shape());
}
PyObject* stride_method(Call& c) {
  const Tensor& x = c.tensor(0);
  if (c.given(1)) return PyLong_FromLongLong(x.stride(c.integer(1)));
  const DimSpan strides = x.strides();
  PyRef t = PyRef::steal(PyTuple_New(static_cast<Py_ssize_t>(strides.size())));
  for (size_t i = 0; i < strides.size(); ++i)
    PyTuple_SET_ITEM(t.get(), static_cast<Py_ssize_t>(i), PyLong_FromLongLong(strides[i]));
  return t.release();
}
int64_t numel(const Tensor& x) { return x.numel(); }
int64_t dim(const Tensor& x) { return x.dim(); }
int64_t element_size(const Tensor& x) { return static_cast<int64_t>(size_of(x.dtype())); }
int64_t storage_offset(const Tensor& x) { return x.storage_offset(); }
bool is_floating_point(const Tensor& x) { return is_floating(x.dtype()); }
bool is_complex_tensor(const Tensor& x) { return is_complex(x.dtype()); }
bool is_signed(const Tensor& x) { return info(x.dtype()).is_signed; }
bool is_same_size(const Tensor& x, const Tensor& y) { return Dims(x.shape()) == Dims(y.shape()); }
bool is_set_to(const Tensor& x, const Tensor& y) {
  return &x.storage() == &y.storage() && x.layout() == y.layout();
}
Tensor type_as(const Tensor& x, const Tensor& other) {
  return to(x, other.device(), other.dtype());
}

PyObject* is_contiguous_method(Call& c) {
  return py_bool(is_contiguous(c.tensor(0), memory_format(c, 1, MemoryFormat::contiguous)));
}
PyObject* contiguous_method(Call& c) {
  return wrap(contiguous(c.tensor(0), memory_format(c, 1, MemoryFormat::contiguous)));
}
PyObject* clone_method(Call& c) {
  return wrap(clone(c.tensor(0), memory_format(c, 1, MemoryFormat::preserve)));
}
PyObject* copy_method(Call& c) {
  const Tensor& x = c.tensor(0);
  const Operand source = c.operand(1);
  const bool waits = source.is_tensor() && c.tensor(1).device_type() != x.device_type();
  {
    GilRelease release(waits || is_heavy(x));
    copy_(x, source);
  }
  return new_ref(c.args[0]);
}
PyObject* data_ptr(Call& c) {
  const Tensor& x = c.tensor(0);
  void* p;
  {
    GilRelease release(may_wait(x));
    p = x.data_ptr();
  }
  return PyLong_FromVoidPtr(p);
}
PyObject* item(Call& c) {
  const Tensor& x = c.tensor(0);
  if (x.numel() != 1)
    raise(PyExc_RuntimeError, "a Tensor with {} elements cannot be converted to Scalar", x.numel());
  return wrap(item_of(x));
}
PyObject* is_nonzero(Call& c) {
  const int truth = PyObject_IsTrue(c.args[0]);
  check(truth);
  return py_bool(truth == 1);
}
PyObject* get_device(Call& c) { return PyLong_FromLong(c.tensor(0).is_mps() ? 0 : -1); }
PyObject* is_pinned(Call&) { return py_bool(false); }
PyObject* self(Call& c) { return new_ref(c.args[0]); }
PyObject* promote_types(Call& c) { return wrap(promote(c.dtype(0), c.dtype(1))); }
PyObject* result_type_of(Call& c) {
  const Operand in[] = {c.operand(0), c.operand(1)};
  return wrap(result_type(in));
}
PyObject* can_cast(Call& c) { return py_bool(kind_of(c.dtype(0)) <= kind_of(c.dtype(1))); }

const Row rows[] = {
    CAST("float", f32),
    CAST("double", f64),
    CAST("half", f16),
    CAST("bfloat16", bf16),
    CAST("long", i64),
    CAST("int", i32),
    CAST("short", i16),
    CAST("char", i8),
    CAST("byte", u8),
    CAST("bool", bool_),
    CAST("cfloat", c64),
    CAST("cdouble", c128),
    FN("to", "m",
       "(Tensor input, dtype dtype, bool non_blocking=False, bool copy=False, *, "
       "memory_format? memory_format=None)",
       &to_dtype_only, "The tensor as a dtype, on a device."),
    FN("to", "m",
       "(Tensor input, Tensor other, bool non_blocking=False, bool copy=False, *, "
       "memory_format? memory_format=None)",
       &to_other, "As the other tensor is."),
    FN("to", "m",
       "(Tensor input, device? device=None, dtype? dtype=None, bool non_blocking=False, "
       "bool copy=False, *, memory_format? memory_format=None)",
       &to_device_dtype, "On a device."),
    FN("cpu", "m", "(Tensor input, *, memory_format? memory_format=None)", &to_cpu,
       "A copy in host memory; itself when it is there."),
    FN("mps", "m", "(Tensor input, *, memory_format? memory_format=None)", &to_mps,
       "A copy in memory of mps; itself when it is there."),
    FN("type", "m", "(Tensor input, object dtype=None, bool non_blocking=False)", &type_method,
       "The legacy name of the type, or a cast."),
    FN("type_as", "m", "(Tensor input, Tensor other)", &type_as,
       "As the other's dtype and device."),
    FN("size", "m", "(Tensor input, int? dim=None)", &size_method, "The extents, or one of them."),
    FN("stride", "m", "(Tensor input, int? dim=None)", &stride_method,
       "Elements between neighbours."),
    FN("numel", "fm", "(Tensor input)", &numel, "The number of elements."),
    FN("nelement", "m", "(Tensor input)", &numel, "The number of elements."),
    FN("dim", "m", "(Tensor input)", &dim, "The number of dimensions."),
    FN("ndimension", "m", "(Tensor input)", &dim, "The number of dimensions."),
    FN("element_size", "m", "(Tensor input)", &element_size, "Bytes an element."),
    FN("storage_offset", "m", "(Tensor input)", &storage_offset, "Where in its storage it starts."),
    FN("data_ptr", "m", "(Tensor input)", &data_ptr, "The address of the first element."),
    FN("is_contiguous", "m", "(Tensor input, *, memory_format? memory_format=None)",
       &is_contiguous_method, "Without gaps, row-major or in the given order."),
    FN("is_floating_point", "fm", "(Tensor input)", &is_floating_point, "float16 to float64."),
    FN("is_complex", "fm", "(Tensor input)", &is_complex_tensor, "complex64 or complex128."),
    FN("is_signed", "fm", "(Tensor input)", &is_signed, "Not bool, not unsigned."),
    FN("is_same_size", "fm", "(Tensor input, Tensor other)", &is_same_size, "Equal shapes."),
    FN("is_set_to", "m", "(Tensor input, Tensor tensor)", &is_set_to,
       "The same view of one storage."),
    FN("is_nonzero", "fm", "(Tensor input)", &is_nonzero, "bool(input)"),
    FN("is_pinned", "m", "(Tensor input, device? device=None)", &is_pinned, "False."),
    FN("pin_memory", "m", "(Tensor input, device? device=None)", &self, "The tensor itself."),
    FN("share_memory_", "m", "(Tensor input)", &self, "The tensor itself."),
    FN("get_device", "m", "(Tensor input)", &get_device, "0 on mps, -1 on cpu."),
    FN("contiguous", "m", "(Tensor input, *, memory_format? memory_format=None)",
       &contiguous_method, "A row-major copy, or one in the given order; itself when it is so."),
    FN("clone", "fm", "(Tensor input, *, memory_format? memory_format=None)", &clone_method,
       "A copy."),
    FN("copy_", "m", "(Tensor input, Tensor|Number src, bool non_blocking=False)", &copy_method,
       "Overwrites the tensor with another, broadcast and converted."),
    FN("zero_", "fm", "(Tensor input)", &qs::zero_, "0 everywhere."),
    FN("item", "m", "(Tensor input)", &item, "The one element as a Python number."),
    FN("promote_types", "f", "(dtype type1, dtype type2)", &promote_types, "The common dtype."),
    FN("result_type", "f", "(Tensor|Number tensor1, Tensor|Number tensor2)", &result_type_of,
       "The dtype that arithmetic on the two gives."),
    FN("can_cast", "f", "(dtype from_, dtype to)", &can_cast, "Whether casting loses no kind."),
    {nullptr, "", "", nullptr, nullptr},
};

}  // namespace

QS_REGISTER(register_convert, rows)

}  // namespace qs::python
