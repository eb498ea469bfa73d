// What the tests of the tile VM share: running a launch piece by piece, elements of every dtype,
// the interpreter that takes one point at a time, and building programs.
#pragma once
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <random>

#include "quicksilver/core/cpu_info.h"
#include "quicksilver/core/error.h"
#include "quicksilver/core/half.h"
#include "quicksilver/driver/cpu/tile.h"

namespace qs::driver::tile_test {

using cpu::TileKernel;
using cpu::TileLaunch;
using cpu::TileScratch;

// ---- running

enum class Order { forward, backward };

inline ErrorRecord run(const TileLaunch& launch, const std::vector<void*>& bases,
                       const std::vector<uint64_t>& words = {}, Order order = Order::forward) {
  ErrorRecord error;
  Launch table{bases, words, &error};
  TileScratch scratch[2];  // chunks alternate between two workers
  launch.begin(table);
  for (int stage = 0; stage < 2; ++stage) {
    const int64_t n = stage ? launch.finish_chunks() : launch.chunks();
    for (int64_t i = 0; i < n; ++i) {
      const int64_t c = order == Order::forward ? i : n - 1 - i;
      if (stage) {
        launch.finish(table, c, c + 1, scratch[c % 2]);
      } else {
        launch.run(table, c, c + 1, scratch[c % 2]);
      }
    }
  }
  return error;
}

// ---- element access

struct Value {  // what a register holds: f for floats, i for the others
  double f = 0;
  int64_t i = 0;
};

inline Value get(DType d, const char* p) {
  const auto as = [&]<class T>(T) {
    T x;
    std::memcpy(&x, p, sizeof x);
    return x;
  };
  switch (d) {
    case DType::f32:
      return {as(float{}), 0};
    case DType::f64:
      return {as(double{}), 0};
    case DType::f16:
      return {f16_to_f32(as(uint16_t{})), 0};
    case DType::bf16:
      return {bf16_to_f32(as(uint16_t{})), 0};
    case DType::bool_:
    case DType::u8:
      return {0, as(uint8_t{})};
    case DType::i8:
      return {0, as(int8_t{})};
    case DType::i16:
      return {0, as(int16_t{})};
    case DType::u16:
      return {0, as(uint16_t{})};
    case DType::i32:
      return {0, as(int32_t{})};
    case DType::u32:
      return {0, as(uint32_t{})};
    default:
      return {0, as(int64_t{})};
  }
}

inline void put(DType d, char* p, Value v) {
  const auto as = [&](auto x) { std::memcpy(p, &x, sizeof x); };
  switch (d) {
    case DType::f32:
      return as(static_cast<float>(v.f));
    case DType::f64:
      return as(v.f);
    case DType::f16:
      return as(f32_to_f16(static_cast<float>(v.f)));
    case DType::bf16:
      return as(f32_to_bf16(static_cast<float>(v.f)));
    default:
      std::memcpy(p, &v.i, size_of(d));  // little endian: the low bytes wrap
  }
}

/// A register value after an op in double: rounded to the register.
inline Value fit(DType d, Value v) {
  if (d == DType::f32) v.f = static_cast<float>(v.f);
  if (d == DType::i32) v.i = static_cast<int32_t>(v.i);
  if (d == DType::bool_) v.i = v.i != 0;
  return v;
}

inline Value cast(DType from, DType to, Value v) {
  if (is_floating(from) && is_floating(to)) return fit(to, v);
  if (is_floating(to)) return fit(to, {static_cast<double>(v.i), 0});
  if (!is_floating(from)) return fit(to, v);
  if (to == DType::bool_) return {0, v.f != 0};
  if (to == DType::i32)
    return {0, v.f > -2147483649.0 && v.f < 2147483648.0 ? static_cast<int32_t>(v.f) : INT32_MIN};
  return {0, v.f >= -0x1p63 && v.f < 0x1p63 ? static_cast<int64_t>(v.f) : INT64_MIN};
}

/// The primitives that random programs use.
inline Value apply(Prim p, DType d, Value a, Value b, Value c) {
  const bool real = is_floating(d);
  const auto number = [&](double f, int64_t i) { return fit(d, {f, i}); };
  const auto wrap = [](auto f, int64_t x, int64_t y) {
    return static_cast<int64_t>(f(static_cast<uint64_t>(x), static_cast<uint64_t>(y)));
  };
  switch (p) {
    case Prim::copy:
      return a;
    case Prim::neg:
      return number(-a.f, wrap(std::minus<uint64_t>(), 0, a.i));
    case Prim::abs:
      return number(std::fabs(a.f), a.i < 0 ? wrap(std::minus<uint64_t>(), 0, a.i) : a.i);
    case Prim::square:
      return number(a.f * a.f, wrap(std::multiplies<uint64_t>(), a.i, a.i));
    case Prim::add:
      return number(a.f + b.f, wrap(std::plus<uint64_t>(), a.i, b.i));
    case Prim::sub:
      return number(a.f - b.f, wrap(std::minus<uint64_t>(), a.i, b.i));
    case Prim::mul:
      return number(a.f * b.f, wrap(std::multiplies<uint64_t>(), a.i, b.i));
    case Prim::div:
      return number(a.f / b.f, 0);
    case Prim::sqrt:
      return number(std::sqrt(a.f), 0);
    case Prim::reciprocal:
      return number(1 / a.f, 0);
    case Prim::maximum:
      return number(a.f > b.f || a.f != a.f ? a.f : b.f, std::max(a.i, b.i));
    case Prim::minimum:
      return number(a.f < b.f || a.f != a.f ? a.f : b.f, std::min(a.i, b.i));
    case Prim::lt:
      return {0, real ? a.f < b.f : a.i < b.i};
    case Prim::eq:
      return {0, real ? a.f == b.f : a.i == b.i};
    case Prim::ne:
      return {0, real ? a.f != b.f : a.i != b.i};
    case Prim::le:
      return {0, real ? a.f <= b.f : a.i <= b.i};
    case Prim::gt:
      return {0, real ? a.f > b.f : a.i > b.i};
    case Prim::ge:
      return {0, real ? a.f >= b.f : a.i >= b.i};
    case Prim::bit_not:
      return number(0, ~a.i);
    case Prim::bit_and:
      return number(0, a.i & b.i);
    case Prim::bit_or:
      return number(0, a.i | b.i);
    case Prim::bit_xor:
      return number(0, a.i ^ b.i);
    case Prim::where:
      return a.i ? b : c;
    case Prim::floor:
      return number(std::floor(a.f), a.i);
    default:
      ADD_FAILURE() << info(p).name;
      return {};
  }
}

// ---- the interpreter of map programs

inline double word_double(const ScalarRef& s) { return std::bit_cast<double>(s.value); }

inline void interpret_map(const TileProgram& program, const TileArgs& args,
                          const std::vector<void*>& bases) {
  const size_t rank = args.extents.size();
  int64_t points = 1;
  for (int64_t n : args.extents) points *= n;
  std::vector<Value> r(program.registers.size());
  std::vector<int64_t> index(rank);
  for (int64_t at = 0; at < points; ++at) {
    int64_t rest = at;
    for (size_t l = rank; l-- > 0;) {
      index[l] = rest % args.extents[l];
      rest /= args.extents[l];
    }
    const auto offset = [&](uint32_t o) {
      int64_t x = 0;
      for (size_t l = 0; l < rank; ++l) x += index[l] * args.operands[o].strides[l];
      return x;
    };
    const auto address = [&](uint32_t o) {
      const PtrRef& p = args.operands[o].ptr;
      return static_cast<char*>(bases[static_cast<size_t>(p.base)]) + p.bytes +
             offset(o) * static_cast<int64_t>(size_of(program.operands[o].dtype));
    };
    for (const TileInstr& i : program.phases[0].body) {
      const DType to = program.registers[i.dst].dtype;
      if (i.kind == TileInstr::scalar) {
        const ScalarRef& s = args.scalars[i.aux];
        r[i.dst] = is_integral(s.dtype) ? cast(DType::i64, to, {0, static_cast<int64_t>(s.value)})
                                        : cast(DType::f64, to, {word_double(s), 0});
      } else if (i.kind == TileInstr::load) {
        const TileOperand& o = program.operands[i.aux];
        if (o.kind == TileOperand::affine) {
          const int64_t base = static_cast<int64_t>(args.operands[i.aux].base.value);
          r[i.dst] = cast(DType::i64, to, {0, base + offset(i.aux)});
        } else {
          r[i.dst] = cast(compute_dtype(o.dtype), to, get(o.dtype, address(i.aux)));
        }
      } else if (i.kind == TileInstr::store) {
        const DType d = program.operands[i.aux].dtype;
        put(d, address(i.aux),
            cast(program.registers[i.src[0]].dtype, compute_dtype(d), r[i.src[0]]));
      } else if (i.prim == Prim::round_to) {
        char narrow[8];
        put(static_cast<DType>(i.aux), narrow, r[i.src[0]]);
        r[i.dst] = get(static_cast<DType>(i.aux), narrow);
      } else if (i.prim == Prim::cast) {
        r[i.dst] = cast(program.registers[i.src[0]].dtype, to, r[i.src[0]]);
      } else {
        const DType d = program.registers[i.src[i.prim == Prim::where ? 1 : 0]].dtype;
        r[i.dst] = apply(i.prim, d, r[i.src[0]], r[i.src[1]], r[i.src[2]]);
      }
    }
  }
}

// ---- building programs

struct Maker {
  TileProgram program;
  TileArgs args;
  std::vector<TileInstr>* list = nullptr;

  Maker(TileMode mode, Dims kept, Dims reduced) {
    program.mode = mode;
    program.kept_loops = static_cast<int>(kept.size());
    program.reduced_loops = static_cast<int>(reduced.size());
    for (int64_t n : kept) args.extents.push_back(n);
    for (int64_t n : reduced) args.extents.push_back(n);
    phase();
  }
  void phase() {
    program.phases.emplace_back();
    list = &program.phases.back().body;
  }
  void tail() { list = &program.phases.back().tail; }
  uint16_t reg(DType d, TileDomain domain = TileDomain::full, bool persist = false) {
    program.registers.push_back({d, domain, persist});
    return static_cast<uint16_t>(program.registers.size() - 1);
  }
  uint32_t operand(DType d, int base, Dims strides, TileDomain domain = TileDomain::full,
                   int64_t offset = 0) {
    program.operands.push_back({TileOperand::memory, d, domain});
    TileArgs::Operand o;
    o.ptr.base = base;
    o.ptr.item_size = static_cast<uint8_t>(size_of(d));
    o.ptr.bytes = offset * static_cast<int64_t>(size_of(d));
    o.strides = strides;
    args.operands.push_back(o);
    return static_cast<uint32_t>(program.operands.size() - 1);
  }
  uint32_t affine(int64_t base, Dims strides) {
    program.operands.push_back({TileOperand::affine, DType::i64, TileDomain::full});
    TileArgs::Operand o;
    o.base.value = static_cast<uint64_t>(base);
    o.base.dtype = DType::i64;
    o.strides = strides;
    args.operands.push_back(o);
    return static_cast<uint32_t>(program.operands.size() - 1);
  }
  TileInstr& push(TileInstr::Kind kind, uint16_t dst, std::initializer_list<uint16_t> sources = {},
                  uint32_t aux = 0) {
    TileInstr i;
    i.kind = kind;
    i.dst = dst;
    int k = 0;
    for (uint16_t s : sources) i.src[k++] = s;
    i.aux = aux;
    list->push_back(i);
    return list->back();
  }
  uint16_t load(uint32_t o, DType d, TileDomain domain = TileDomain::full, bool persist = false) {
    const uint16_t r = reg(d, domain, persist);
    push(TileInstr::load, r, {}, o);
    return r;
  }
  void store(uint32_t o, uint16_t r) { push(TileInstr::store, 0, {r}, o); }
  uint16_t scalar(double v, DType d) {
    const uint16_t r = reg(d, TileDomain::uniform);
    ScalarRef s;
    s.value = std::bit_cast<uint64_t>(v);
    args.scalars.push_back(s);
    push(TileInstr::scalar, r, {}, static_cast<uint32_t>(program.scalar_count++));
    return r;
  }
  uint16_t op(Prim p, std::initializer_list<uint16_t> sources, DType to,
              TileDomain domain = TileDomain::full, bool persist = false, uint32_t aux = 0) {
    const uint16_t r = reg(to, domain, persist);
    push(TileInstr::op, r, sources, aux).prim = p;
    return r;
  }
  uint16_t fold(qs::Fold f, uint16_t source, DType to) {
    const uint16_t r = reg(to, TileDomain::kept);
    push(TileInstr::fold, r, {source}).fold_op = f;
    return r;
  }
  TileLaunch launch(const TileKernel& kernel, int32_t tag = 0) const {
    return TileLaunch(kernel, args, tag);
  }
};

constexpr DType k_storage[] = {DType::bool_, DType::u8,   DType::i8,  DType::i16,
                               DType::i32,   DType::i64,  DType::u16, DType::u32,
                               DType::f16,   DType::bf16, DType::f32, DType::f64};
constexpr DType k_registers[] = {DType::f32, DType::f64, DType::i32, DType::i64, DType::bool_};

class IsaScope {
 public:
  explicit IsaScope(Isa isa) { set_isa_for_tests(isa); }
  ~IsaScope() { set_isa_for_tests(before_); }
  IsaScope(const IsaScope&) = delete;

 private:
  const Isa before_ = cpu_info().isa;
};
inline std::vector<Isa> isas() {
  std::vector<Isa> list{Isa::generic};
  for (Isa isa : {Isa::avx2, Isa::avx512})
    if (cpu_info().best >= isa) list.push_back(isa);
  return list;
}

/// Memory of one operand: room on both sides, filled with random bytes that are valid elements.
struct Memory {
  DType dtype;
  std::vector<char> bytes;
  int64_t origin = 0;  // element that index 0 of all loops falls on
};

inline Memory make_memory(std::mt19937_64& random, DType dtype, const Dims& extents,
                          const Dims& strides) {
  int64_t low = 0, high = 0;
  for (size_t l = 0; l < extents.size(); ++l) {
    const int64_t reach = strides[l] * std::max<int64_t>(extents[l] - 1, 0);
    (reach < 0 ? low : high) += reach;
  }
  Memory m{dtype, {}, -low + 3};
  const int64_t count = high - low + 7;
  const size_t size = size_of(dtype);
  m.bytes.resize(static_cast<size_t>(count) * size);
  for (int64_t i = 0; i < count; ++i) {
    Value v{static_cast<double>(static_cast<int64_t>(random() % 4001) - 2000) / 64, 0};
    v.i = dtype == DType::bool_ ? random() % 2 : static_cast<int64_t>(random() % 201) - 100;
    put(dtype, m.bytes.data() + static_cast<size_t>(i) * size, v);
  }
  return m;
}

inline std::string difference(DType d, const std::vector<char>& got,
                              const std::vector<char>& expected) {
  const size_t size = size_of(d);
  for (size_t i = 0; i < got.size(); i += size)
    if (std::memcmp(&got[i], &expected[i], size) != 0) {
      const Value a = get(d, &got[i]), b = get(d, &expected[i]);
      return format(": element {} is {} ({}), expected {} ({})", i / size, a.f, a.i, b.f, b.i);
    }
  return ": equal";
}

inline std::string describe(const Maker& m) {
  std::string text =
      format("\nmode {} extents {}", static_cast<int>(m.program.mode), to_string(m.args.extents));
  for (size_t o = 0; o < m.program.operands.size(); ++o)
    text += format("\noperand {} {} strides {}", o, name_of(m.program.operands[o].dtype),
                   to_string(m.args.operands[o].strides));
  for (const TilePhase& p : m.program.phases)
    for (const auto* list : {&p.body, &p.tail})
      for (const TileInstr& i : *list)
        text += format("\n{} {} r{}:{} <- {} {} {} aux {}", static_cast<int>(i.kind),
                       info(i.prim).name, i.dst, name_of(m.program.registers[i.dst].dtype),
                       i.src[0], i.src[1], i.src[2], i.aux);
  return text;
}

template <class List>
auto pick(std::mt19937_64& random, const List& list) {
  return list[random() % std::size(list)];
}

// ---- every primitive

/// Runs one op over vectors of elements of the register dtypes.
template <class D, class... S>
std::vector<D> run_op(Prim p, DType to, std::initializer_list<DType> from, ErrorRecord* error,
                      const std::vector<S>&... sources) {
  const int64_t n = static_cast<int64_t>(std::get<0>(std::tie(sources...)).size());
  Maker m(TileMode::map, {n}, {});
  std::vector<uint16_t> r;
  std::vector<void*> bases;
  for (DType d : from) r.push_back(m.load(m.operand(d, static_cast<int>(r.size()), {1}), d));
  (bases.push_back(const_cast<S*>(sources.data())), ...);
  std::vector<D> out(static_cast<size_t>(n));
  bases.push_back(out.data());
  const uint16_t y = r.size() == 1   ? m.op(p, {r[0]}, to)
                     : r.size() == 2 ? m.op(p, {r[0], r[1]}, to)
                                     : m.op(p, {r[0], r[1], r[2]}, to);
  m.store(m.operand(to, static_cast<int>(r.size()), {1}), y);
  const TileKernel kernel(m.program);
  const ErrorRecord e = run(m.launch(kernel, 41), bases);
  if (error) *error = e;
  return out;
}

template <class T>
double ulps(T got, long double expected) {
  if (std::isnan(expected)) return std::isnan(got) ? 0 : 1e9;
  const T rounded = static_cast<T>(expected);
  if (std::isinf(rounded) || std::isinf(got))  // an overflow may come half an ulp early or late
    return got == rounded || std::fabs(expected) > 0.999999 * std::numeric_limits<T>::max() ? 0
                                                                                            : 1e9;
  int exponent;
  std::frexp(expected, &exponent);
  const int digits = std::numeric_limits<T>::digits;
  const int lowest = std::numeric_limits<T>::min_exponent - digits;
  return static_cast<double>(std::fabs(static_cast<long double>(got) - expected) /
                             std::ldexp(1.0L, std::max(exponent - digits, lowest)));
}

template <class T>
std::vector<T> edge_values() {
  using L = std::numeric_limits<T>;
  std::vector<T> v = {0,
                      1,
                      T(0.5),
                      2,
                      3,
                      T(1e-3),
                      T(0.1),
                      10,
                      88,
                      89,
                      100,
                      104,
                      710,
                      746,
                      T(0.55),
                      T(0.92),
                      T(1e10),
                      T(1e30),
                      L::min(),
                      L::denorm_min(),
                      L::min() / 4,
                      L::max(),
                      L::epsilon(),
                      L::infinity(),
                      T(1) - L::epsilon(),
                      T(1.5),
                      T(2.5),
                      T(1e5)};
  const size_t n = v.size();
  for (size_t i = 0; i < n; ++i) v.push_back(-v[i]);
  v.push_back(L::quiet_NaN());
  return v;
}

}  // namespace qs::driver::tile_test
