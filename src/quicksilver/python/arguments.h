// The one argument parser: a table of rows with PyTorch-like signatures, and C functions over it.
//
//   FN("sum", "fmo", "(Tensor input, int[1]? dim=None, bool keepdim=False, *, dtype? dtype=None)",
//      &qs::sum, "Sum over dimensions.")
//
// Rows of one name stand together and are overloads, tried in order. A signature is parsed at its
// function's first call. Types: Tensor, Tensor|Number, Number, int, int[], int[N] (one int stands
// for N), float, bool, str, dtype, device, Tensor[], Generator, layout, memory_format, object; `?`
// also takes None. When the only positional parameter beside self is an int[], bare ints are taken
// together: view(2, 3). Flags: f function of the module, m method of Tensor, n function of _C._nn,
// o has `out=`.
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "quicksilver/core/layout.h"
#include "quicksilver/core/scalar.h"
#include "quicksilver/python/small_types.h"
#include "quicksilver/python/tensor_type.h"
#include "quicksilver/tensor/record.h"

namespace qs::python {

class Call;
using Adapter = PyObject* (*)(Call&);

struct Row {
  const char* name;
  const char* flags;
  const char* text;  // name, signature, blank line, documentation
  Adapter adapter;
  void (*verb)();  // what the adapter calls, cast back to its type there
};

enum class Kind : uint8_t {
  tensor,
  operand,
  number,
  integer,
  integers,
  real,
  boolean,
  string,
  dtype,
  device,
  tensors,
  generator,
  layout,
  memory_format,
  object
};

struct Param {
  PyObject* name = nullptr;  // interned
  Kind kind = Kind::object;
  bool none = false;  // takes None
  bool required = true;
  uint16_t list_size = 0;   // integers: one int stands for so many
  bool has_number = false;  // `number` is the default
  Scalar number;
  std::string string;  // default of a str
};

struct Signature {
  const Row* row = nullptr;
  std::vector<Param> params;
  int positional = 0;    // the rest are keyword-only
  bool varargs = false;  // as function: the only positional parameter is int[]
  bool method_varargs = false;
  int out = -1;
};

struct Function {
  std::unique_ptr<std::vector<Signature>> signatures;  // null until the first call
  PyTypeObject* result_type = nullptr;                 // of pairs: torch.return_types.max
};

/// The arguments of one call, matched to a signature: accessors by position in it.
class Call {
 public:
  static constexpr int k_most = 20;
  Function* function = nullptr;
  const Signature* signature = nullptr;
  bool is_method = false;
  PyObject* args[k_most] = {};  // null: not given
  PyObject* const* varargs = nullptr;
  Py_ssize_t varargs_count = 0;

  bool given(int i) const { return args[i] && args[i] != Py_None; }
  const Param& param(int i) const { return signature->params[static_cast<size_t>(i)]; }
  const Tensor& tensor(int i) const { return given(i) ? tensor_of(args[i]) : undefined_tensor; }
  Operand operand(int i) const;
  Scalar number(int i) const;
  int64_t integer(int i) const;
  double real(int i) const;
  bool boolean(int i) const;
  std::string string(int i) const;
  Dims dims(int i) const;
  DType dtype(int i) const { return to_dtype(args[i]); }
  std::vector<Tensor> tensors(int i) const;
  std::optional<DType> optional_dtype(int i) const {
    return given(i) ? std::optional(dtype(i)) : std::nullopt;
  }
  std::optional<Device> optional_device(int i) const {
    return given(i) ? std::optional(to_device(args[i])) : std::nullopt;
  }
  std::optional<int64_t> optional_integer(int i) const {
    return given(i) || param(i).has_number ? std::optional(integer(i)) : std::nullopt;
  }
  std::optional<double> optional_real(int i) const {
    return given(i) || param(i).has_number ? std::optional(real(i)) : std::nullopt;
  }
  std::optional<Dims> optional_dims(int i) const {
    return given(i) || varargs || param(i).has_number ? std::optional(dims(i)) : std::nullopt;
  }
  /// One of the first two arguments is a tensor whose work is worth dropping the lock for.
  bool is_heavy() const {
    return (args[0] && is_tensor(args[0]) && python::is_heavy(tensor_of(args[0]))) ||
           (args[1] && is_tensor(args[1]) && python::is_heavy(tensor_of(args[1])));
  }
  /// "sum(): argument 'dim' (position 2)"
  std::string where(int i) const;

  static const Tensor undefined_tensor;
};

/// Parses, matches and calls. `self` is the tensor of a method call, null for a function.
PyObject* dispatch(Function& function, const Row* rows, PyObject* self, PyObject* const* args,
                   Py_ssize_t n, PyObject* kwnames) noexcept;

// ---- conversions that other files need too
/// A Python int (or bool), a NumPy integer, a 0-dim tensor of integers.
bool is_integer(PyObject* o);
/// Any Python or NumPy number (not a tensor).
bool is_number(PyObject* o);
bool is_numpy_scalar(PyObject* o);
bool is_numpy_array(PyObject* o);
int64_t to_integer(PyObject* o);
Scalar to_scalar(PyObject* o);
/// A sequence of integers, or one integer.
Dims to_dims(PyObject* o);

// ---- registration
struct Tables {
  std::vector<PyMethodDef> functions, methods, nn;
};
/// Adds one C function for each group of rows; `call` and `method` are its trampolines.
void register_row(Tables& tables, const Row* rows, size_t i, PyCFunction function,
                  PyCFunction method);
/// Overloads of one function: the same name in the same place.
bool same_function(const Row& a, const Row& b);
const std::vector<const Row*>& all_rows();

template <const auto& rows, auto& functions, size_t i>
PyObject* function_trampoline(PyObject*, PyObject* const* args, Py_ssize_t n, PyObject* kwnames) {
  return dispatch(functions[i], &rows[i], nullptr, args, n, kwnames);
}
template <const auto& rows, auto& functions, size_t i>
PyObject* method_trampoline(PyObject* self, PyObject* const* args, Py_ssize_t n,
                            PyObject* kwnames) {
  return dispatch(functions[i], &rows[i], self, args, n, kwnames);
}
template <const auto& rows, auto& functions, size_t... i>
void register_table(Tables& tables, std::index_sequence<i...>) {
  (register_row(tables, rows, i,
                reinterpret_cast<PyCFunction>(
                    reinterpret_cast<void (*)()>(function_trampoline<rows, functions, i>)),
                reinterpret_cast<PyCFunction>(
                    reinterpret_cast<void (*)()>(method_trampoline<rows, functions, i>))),
   ...);
}

/// The end of a file with rows: the last row of the table has a null name.
#define QS_REGISTER(register_name, rows)                                                     \
  static Function rows##_functions[std::size(rows)];                                         \
  void register_name(Tables& tables) {                                                       \
    register_table<rows, rows##_functions>(tables,                                           \
                                           std::make_index_sequence<std::size(rows) - 1>()); \
  }

}  // namespace qs::python
