#include "quicksilver/python/arguments.h"

#include <cstring>

#include "quicksilver/autograd/verbs.h"
#include "quicksilver/python/autocast.h"

namespace qs::python {

const Tensor Call::undefined_tensor;

namespace {

struct KindName {
  std::string_view text;
  Kind kind;
  const char* shown;  // in messages, as PyTorch says it
};
constexpr KindName k_kinds[] = {
    {"Tensor", Kind::tensor, "Tensor"},
    {"Tensor|Number", Kind::operand, "Tensor or Number"},
    {"Number", Kind::number, "Number"},
    {"int", Kind::integer, "int"},
    {"int[]", Kind::integers, "tuple of ints"},
    {"float", Kind::real, "float"},
    {"bool", Kind::boolean, "bool"},
    {"str", Kind::string, "str"},
    {"dtype", Kind::dtype, "torch.dtype"},
    {"device", Kind::device, "torch.device"},
    {"Tensor[]", Kind::tensors, "tuple of Tensors"},
    {"Generator", Kind::generator, "torch.Generator"},
    {"layout", Kind::layout, "torch.layout"},
    {"memory_format", Kind::memory_format, "torch.memory_format"},
    {"object", Kind::object, "object"},
};

const char* shown(Kind kind) {
  for (const KindName& k : k_kinds)
    if (k.kind == kind) return k.shown;
  return "object";
}

/// What `list`, `tuple` or a Size holds first is an integer (empty ones pass).
bool is_integers(PyObject* o) {
  if (PyTuple_Check(o)) return !PyTuple_GET_SIZE(o) || is_integer(PyTuple_GET_ITEM(o, 0));
  if (PyList_Check(o)) return !PyList_GET_SIZE(o) || is_integer(PyList_GET_ITEM(o, 0));
  return false;
}

bool is_real(PyObject* o) {
  if (PyFloat_Check(o) || PyLong_Check(o)) return true;
  if (is_tensor(o)) return tensor_of(o).dim() == 0 && !is_complex(tensor_of(o).dtype());
  return is_number(o) && !PyComplex_Check(o);
}

bool accepts(const Param& p, PyObject* o) {
  switch (p.kind) {
    case Kind::tensor:
      if (is_tensor(o)) return true;
      break;
    case Kind::operand:
      if (is_tensor(o) || is_number(o)) return true;
      break;
    case Kind::number:
      if (is_number(o) || (is_tensor(o) && tensor_of(o).dim() == 0)) return true;
      break;
    case Kind::integer:
      if (is_integer(o)) return true;
      break;
    case Kind::integers:
      if (is_integers(o) || (p.list_size && is_integer(o))) return true;
      break;
    case Kind::real:
      if (is_real(o)) return true;
      break;
    case Kind::boolean:
      if (PyBool_Check(o) || (is_numpy_scalar(o) && type_name(o).starts_with("bool"))) return true;
      break;
    case Kind::string:
      if (PyUnicode_Check(o)) return true;
      break;
    case Kind::dtype:
      if (is_dtype_like(o)) return true;
      break;
    case Kind::device:
      if (is_device_like(o)) return true;
      break;
    case Kind::tensors:
      if (PyTuple_Check(o) || PyList_Check(o)) return true;
      break;
    case Kind::generator:
      if (Py_TYPE(o) == generator_type) return true;
      break;
    case Kind::layout:
      if (Py_TYPE(o) == layout_type) return true;
      break;
    case Kind::memory_format:
      if (Py_TYPE(o) == memory_format_type) return true;
      break;
    case Kind::object:
      return true;
  }
  return p.none && o == Py_None;
}

// ---- parsing a signature

std::string_view trimmed(std::string_view s) {
  while (!s.empty() && s.front() == ' ') s.remove_prefix(1);
  while (!s.empty() && s.back() == ' ') s.remove_suffix(1);
  return s;
}

Param parse_param(std::string_view text) {
  Param p;
  const size_t space = text.find(' ');
  std::string_view type = text.substr(0, space), rest = trimmed(text.substr(space));
  if (type.back() == '?') {
    p.none = true;
    type.remove_suffix(1);
  }
  if (const size_t open = type.find("int["); open == 0 && type != "int[]") {
    p.list_size = static_cast<uint16_t>(type[4] - '0');
    type = "int[]";
  }
  bool known = false;
  for (const KindName& k : k_kinds)
    if (k.text == type) {
      p.kind = k.kind;
      known = true;
    }
  if (!known) raise(internal_error, "a signature names the unknown type '{}'", type);
  const size_t equals = rest.find('=');
  const std::string name(rest.substr(0, equals));
  p.name = PyUnicode_InternFromString(name.c_str());
  if (equals == std::string_view::npos) return p;
  p.required = false;
  const std::string value(rest.substr(equals + 1));
  if (value == "None") {
    p.none = true;
  } else if (value == "True" || value == "False") {
    p.has_number = true;
    p.number = Scalar(value == "True");
  } else if (value[0] == '\'') {
    p.string = value.substr(1, value.size() - 2);
  } else if (value.find_first_of(".ei") != std::string::npos) {
    p.has_number = true;
    p.number = Scalar(std::strtod(value.c_str(), nullptr));
  } else {
    p.has_number = true;
    p.number = Scalar(static_cast<int64_t>(std::strtoll(value.c_str(), nullptr, 10)));
  }
  return p;
}

Signature parse_signature(const Row& row) {
  Signature s;
  s.row = &row;
  std::string_view text = row.text + std::strlen(row.name) + 1;
  text = text.substr(0, text.find(")\n"));
  int positional = -1;
  while (!text.empty()) {
    const size_t comma = text.find(',');
    const std::string_view part = trimmed(text.substr(0, comma));
    text = comma == std::string_view::npos ? "" : text.substr(comma + 1);
    if (part == "*") {
      positional = static_cast<int>(s.params.size());
    } else {
      s.params.push_back(parse_param(part));
    }
  }
  s.positional = positional < 0 ? static_cast<int>(s.params.size()) : positional;
  if (std::strchr(row.flags, 'o')) {
    Param out;
    out.name = PyUnicode_InternFromString("out");
    out.kind = Kind::object;
    out.none = true;
    out.required = false;
    s.out = static_cast<int>(s.params.size());
    s.params.push_back(std::move(out));
  }
  if (s.params.size() > Call::k_most) raise(internal_error, "{}: too many parameters", row.name);
  s.varargs = s.positional == 1 && s.params[0].kind == Kind::integers;
  s.method_varargs = s.positional == 2 && s.params[1].kind == Kind::integers;
  return s;
}

}  // namespace

bool same_function(const Row& a, const Row& b) {
  return !std::strcmp(a.name, b.name) && !std::strchr(a.flags, 'n') == !std::strchr(b.flags, 'n');
}

namespace {

void prepare(Function& f, const Row* rows) {
  auto signatures = std::make_unique<std::vector<Signature>>();
  for (const Row* r = rows; r->name && same_function(*r, *rows); ++r)
    signatures->push_back(parse_signature(*r));
  f.signatures = std::move(signatures);
}

// ---- matching

int find_param(const Signature& s, PyObject* name) {
  const int n = static_cast<int>(s.params.size());
  for (int i = 0; i < n; ++i)
    if (s.params[static_cast<size_t>(i)].name == name) return i;
  for (int i = 0; i < n; ++i)
    if (PyUnicode_Compare(s.params[static_cast<size_t>(i)].name, name) == 0) return i;
  // NumPy's names for the same, as PyTorch has them.
  constexpr std::pair<const char*, const char*> also[] = {{"axis", "dim"}, {"keepdims", "keepdim"},
                                                          {"x", "input"},  {"a", "input"},
                                                          {"x1", "input"}, {"x2", "other"}};
  for (const auto& [theirs, ours] : also) {
    if (PyUnicode_CompareWithASCIIString(name, theirs) != 0) continue;
    for (int i = 0; i < n; ++i)
      if (PyUnicode_CompareWithASCIIString(s.params[static_cast<size_t>(i)].name, ours) == 0)
        return i;
  }
  return -1;
}

bool match(const Signature& s, Call& call, PyObject* self, PyObject* const* args, Py_ssize_t n,
           PyObject* kwnames) {
  int p = 0;
  if (self) call.args[p++] = self;
  const int total = static_cast<int>(s.params.size());
  call.varargs = nullptr;
  if (n > 0) {
    if ((self ? s.method_varargs : s.varargs) && (is_integer(args[0]) && !PyBool_Check(args[0]))) {
      call.varargs = args;
      call.varargs_count = n;
      call.args[p++] = nullptr;
    } else {
      if (n > s.positional - p) return false;
      for (Py_ssize_t i = 0; i < n; ++i, ++p) {
        if (!accepts(s.params[static_cast<size_t>(p)], args[i])) return false;
        call.args[p] = args[i];
      }
    }
  }
  for (int i = p; i < total; ++i) call.args[i] = nullptr;
  if (kwnames) {
    const Py_ssize_t keywords = PyTuple_GET_SIZE(kwnames);
    for (Py_ssize_t k = 0; k < keywords; ++k) {
      const int i = find_param(s, PyTuple_GET_ITEM(kwnames, k));
      if (i < p || !accepts(s.params[static_cast<size_t>(i)], args[n + k])) return false;
      call.args[i] = args[n + k];
    }
  }
  for (int i = p; i < total; ++i)
    if (!call.args[i] && s.params[static_cast<size_t>(i)].required) return false;
  return true;
}

// ---- messages

std::string given_types(PyObject* self, PyObject* const* args, Py_ssize_t n, PyObject* kwnames) {
  (void)self;
  std::string s;
  for (Py_ssize_t i = 0; i < n; ++i) s += fmt::format("{}{}", i ? ", " : "", type_name(args[i]));
  if (kwnames)
    for (Py_ssize_t k = 0; k < PyTuple_GET_SIZE(kwnames); ++k)
      s += fmt::format("{}{}={}", s.empty() ? "" : ", ", text_of(PyTuple_GET_ITEM(kwnames, k)),
                       type_name(args[n + k]));
  return s;
}

std::string shown_signature(const Signature& s, bool method) {
  std::string out;
  for (size_t i = method ? 1 : 0; i < s.params.size(); ++i) {
    const Param& p = s.params[i];
    if (static_cast<int>(i) == s.positional) out += out.empty() ? "*" : ", *";
    out += fmt::format("{}{} {}", out.empty() ? "" : ", ",
                       static_cast<int>(i) == s.out ? "Tensor" : shown(p.kind), text_of(p.name));
    if (p.required) continue;
    if (!p.has_number)
      out += p.string.empty() ? " = None" : fmt::format(" = '{}'", p.string);
    else if (p.number.kind() == Scalar::Kind::boolean)
      out += p.number.to_bool() ? " = True" : " = False";
    else if (p.number.is_integral())
      out += fmt::format(" = {}", p.number.to_int());
    else
      out += fmt::format(" = {}", p.number.to_double());
  }
  return "(" + out + ")";
}

/// One signature only: says precisely what is wrong with the call.
[[noreturn]] void explain(const Signature& s, PyObject* self, PyObject* const* args, Py_ssize_t n,
                          PyObject* kwnames) {
  const char* name = s.row->name;
  const int first = self ? 1 : 0;
  const int most = s.positional - first;
  const bool varargs =
      n && (self ? s.method_varargs : s.varargs) && is_integer(args[0]) && !PyBool_Check(args[0]);
  if (n > most && !varargs) {
    int least = 0;
    for (int i = first; i < s.positional; ++i) least += s.params[static_cast<size_t>(i)].required;
    if (least == most)
      raise(PyExc_TypeError, "{}() takes {} positional argument{} but {} {} given", name, most,
            most == 1 ? "" : "s", n, n == 1 ? "was" : "were");
    raise(PyExc_TypeError, "{}() takes from {} to {} positional arguments but {} {} given", name,
          least, most, n, n == 1 ? "was" : "were");
  }
  std::vector<bool> set(s.params.size());
  for (int i = 0; i < first; ++i) set[static_cast<size_t>(i)] = true;
  if (varargs) {
    set[static_cast<size_t>(first)] = true;
  } else {
    for (int i = 0; i < static_cast<int>(n); ++i) {
      const Param& p = s.params[static_cast<size_t>(first + i)];
      set[static_cast<size_t>(first + i)] = true;
      if (!accepts(p, args[i]))
        raise(PyExc_TypeError, "{}(): argument '{}' (position {}) must be {}, not {}", name,
              text_of(p.name), i + 1, shown(p.kind), type_name(args[i]));
    }
  }
  if (kwnames)
    for (Py_ssize_t k = 0; k < PyTuple_GET_SIZE(kwnames); ++k) {
      PyObject* key = PyTuple_GET_ITEM(kwnames, k);
      const int i = find_param(s, key);
      if (i < 0 || (self && i == 0))
        raise(PyExc_TypeError, "{}() got an unexpected keyword argument '{}'", name, text_of(key));
      const Param& p = s.params[static_cast<size_t>(i)];
      if (set[static_cast<size_t>(i)])
        raise(PyExc_TypeError, "{}() got multiple values for argument '{}'", name, text_of(key));
      set[static_cast<size_t>(i)] = true;
      if (!accepts(p, args[n + k]))
        raise(PyExc_TypeError, "{}(): argument '{}' must be {}, not {}", name, text_of(key),
              shown(p.kind), type_name(args[n + k]));
    }
  std::string missing;
  int count = 0;
  for (size_t i = 0; i < s.params.size(); ++i)
    if (!set[i] && s.params[i].required) {
      missing += fmt::format("{}\"{}\"", count ? ", " : "", text_of(s.params[i].name));
      ++count;
    }
  if (count)
    raise(PyExc_TypeError, "{}() missing {} required positional arguments: {}", name, count,
          missing);
  raise(internal_error, "{}(): the arguments fit but were refused", name);
}

[[noreturn]] void refuse(const Function& f, PyObject* self, PyObject* const* args, Py_ssize_t n,
                         PyObject* kwnames) {
  const std::vector<Signature>& all = *f.signatures;
  if (all.size() == 1) explain(all[0], self, args, n, kwnames);
  // Only one takes so many arguments: it is the one that is meant.
  const Signature* likely = nullptr;
  int fitting = 0;
  const Py_ssize_t given = n + (kwnames ? PyTuple_GET_SIZE(kwnames) : 0) + (self ? 1 : 0);
  for (const Signature& s : all) {
    int required = 0;
    for (const Param& p : s.params) required += p.required;
    if (given >= required && given <= static_cast<Py_ssize_t>(s.params.size())) {
      likely = &s;
      ++fitting;
    }
  }
  if (fitting == 1) explain(*likely, self, args, n, kwnames);
  std::string text = fmt::format(
      "{}() received an invalid combination of arguments - got ({}), but expected one of:\n",
      all[0].row->name, given_types(self, args, n, kwnames));
  for (const Signature& s : all) text += " * " + shown_signature(s, self != nullptr) + "\n";
  raise(PyExc_TypeError, text);
}

}  // namespace

// ---- the way in

PyObject* write_out(Call& call, PyObject* value, PyObject* out);  // results.cpp

PyObject* dispatch(Function& f, const Row* rows, PyObject* self, PyObject* const* args,
                   Py_ssize_t n, PyObject* kwnames) noexcept {
  try {
    if (!f.signatures) [[unlikely]]
      prepare(f, rows);
    Call call;
    call.function = &f;
    call.is_method = self != nullptr;
    for (const Signature& s : *f.signatures) {
      if (!match(s, call, self, args, n, kwnames)) continue;
      call.signature = &s;
      std::vector<PyRef> cast;
      if (may_autocast()) [[unlikely]]
        autocast(call, cast);
      PyObject* value = s.row->adapter(call);
      if (s.out >= 0 && call.given(s.out) && value) return write_out(call, value, call.args[s.out]);
      return value;
    }
    refuse(f, self, args, n, kwnames);
  } catch (...) {
    translate_exception();
    return nullptr;
  }
}

std::string Call::where(int i) const {
  const Param& p = param(i);
  const std::string base =
      fmt::format("{}(): argument '{}'", signature->row->name, text_of(p.name));
  return i < signature->positional ? fmt::format("{} (position {})", base, i + (is_method ? 0 : 1))
                                   : base;
}

// ---- accessors

Operand Call::operand(int i) const {
  if (!given(i)) return param(i).has_number ? Operand(param(i).number) : Operand();
  if (is_tensor(args[i])) return Operand(tensor_of(args[i]));
  return Operand(to_scalar(args[i]));
}
Scalar Call::number(int i) const { return given(i) ? to_scalar(args[i]) : param(i).number; }
int64_t Call::integer(int i) const {
  return given(i) ? to_integer(args[i]) : param(i).number.to_int();
}
double Call::real(int i) const {
  if (!given(i)) return param(i).number.to_double();
  if (PyFloat_Check(args[i])) return PyFloat_AS_DOUBLE(args[i]);
  return to_scalar(args[i]).to_double();
}
bool Call::boolean(int i) const {
  if (!given(i)) return param(i).number.to_bool();
  if (args[i] == Py_True) return true;
  if (args[i] == Py_False) return false;
  const int truth = PyObject_IsTrue(args[i]);
  check(truth);
  return truth != 0;
}
std::string Call::string(int i) const { return given(i) ? text_of(args[i]) : param(i).string; }

Dims Call::dims(int i) const {
  Dims d;
  const auto put = [&](PyObject* item, Py_ssize_t at) {
    if (!is_integer(item))
      raise(PyExc_TypeError,
            "{}(): argument '{}' failed to unpack the object at pos {} with error \"type must be "
            "tuple of ints,but got {}\"",
            signature->row->name, text_of(param(i).name), at + 1, type_name(item));
    d.push_back(to_integer(item));
  };
  if (varargs && !args[i]) {
    for (Py_ssize_t k = 0; k < varargs_count; ++k) put(varargs[k], k);
    return d;
  }
  const Param& p = param(i);
  if (!given(i)) {
    if (p.has_number) d.resize(p.list_size ? p.list_size : 1, p.number.to_int());
    return d;
  }
  PyObject* o = args[i];
  if (is_integer(o)) {
    d.resize(p.list_size ? p.list_size : 1, to_integer(o));
    return d;
  }
  for (Py_ssize_t k = 0; k < PySequence_Fast_GET_SIZE(o); ++k)
    put(PySequence_Fast_GET_ITEM(o, k), k);
  return d;
}

std::vector<Tensor> Call::tensors(int i) const {
  PyObject* o = args[i];
  const Py_ssize_t count = PySequence_Fast_GET_SIZE(o);
  std::vector<Tensor> v;
  v.reserve(static_cast<size_t>(count));
  for (Py_ssize_t k = 0; k < count; ++k) {
    PyObject* item = PySequence_Fast_GET_ITEM(o, k);
    if (!is_tensor(item))
      raise(PyExc_TypeError, "expected Tensor as element {} in argument {}, but got {}", k, i,
            type_name(item));
    v.push_back(tensor_of(item));
  }
  return v;
}

}  // namespace qs::python
