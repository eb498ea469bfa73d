// The tile VM against an interpreter that takes one point at a time, in double or int64.
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <random>

#include "quicksilver/core/cpu_info.h"
#include "quicksilver/core/error.h"
#include "quicksilver/core/half.h"
#include "quicksilver/driver/cpu/tile.h"

namespace qs::driver {
namespace {

using cpu::TileKernel;
using cpu::TileLaunch;
using cpu::TileScratch;

// ---- running ------------------------------------------------------------------------------------------

enum class Order { forward, backward };

ErrorRecord run(const TileLaunch& launch, const std::vector<void*>& bases,
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

// ---- element access ------------------------------------------------------------------------------------

struct Value {  // what a register holds: f for floats, i for the others
  double f = 0;
  int64_t i = 0;
};

Value get(DType d, const char* p) {
  const auto as = [&]<class T>(T) {
    T x;
    std::memcpy(&x, p, sizeof x);
    return x;
  };
  switch (d) {
    case DType::f32: return {as(float{}), 0};
    case DType::f64: return {as(double{}), 0};
    case DType::f16: return {f16_to_f32(as(uint16_t{})), 0};
    case DType::bf16: return {bf16_to_f32(as(uint16_t{})), 0};
    case DType::bool_: case DType::u8: return {0, as(uint8_t{})};
    case DType::i8: return {0, as(int8_t{})};
    case DType::i16: return {0, as(int16_t{})};
    case DType::u16: return {0, as(uint16_t{})};
    case DType::i32: return {0, as(int32_t{})};
    case DType::u32: return {0, as(uint32_t{})};
    default: return {0, as(int64_t{})};
  }
}

void put(DType d, char* p, Value v) {
  const auto as = [&](auto x) { std::memcpy(p, &x, sizeof x); };
  switch (d) {
    case DType::f32: return as(static_cast<float>(v.f));
    case DType::f64: return as(v.f);
    case DType::f16: return as(f32_to_f16(static_cast<float>(v.f)));
    case DType::bf16: return as(f32_to_bf16(static_cast<float>(v.f)));
    default: std::memcpy(p, &v.i, size_of(d));  // little endian: the low bytes wrap
  }
}

/// A register value after an op in double: rounded to the register.
Value fit(DType d, Value v) {
  if (d == DType::f32) v.f = static_cast<float>(v.f);
  if (d == DType::i32) v.i = static_cast<int32_t>(v.i);
  if (d == DType::bool_) v.i = v.i != 0;
  return v;
}

Value cast(DType from, DType to, Value v) {
  if (is_floating(from) && is_floating(to)) return fit(to, v);
  if (is_floating(to)) return fit(to, {static_cast<double>(v.i), 0});
  if (!is_floating(from)) return fit(to, v);
  if (to == DType::bool_) return {0, v.f != 0};
  if (to == DType::i32)
    return {0, v.f > -2147483649.0 && v.f < 2147483648.0 ? static_cast<int32_t>(v.f) : INT32_MIN};
  return {0, v.f >= -0x1p63 && v.f < 0x1p63 ? static_cast<int64_t>(v.f) : INT64_MIN};
}

/// The primitives that random programs use.
Value apply(Prim p, DType d, Value a, Value b, Value c) {
  const bool real = is_floating(d);
  const auto number = [&](double f, int64_t i) { return fit(d, {f, i}); };
  const auto wrap = [](auto f, int64_t x, int64_t y) {
    return static_cast<int64_t>(f(static_cast<uint64_t>(x), static_cast<uint64_t>(y)));
  };
  switch (p) {
    case Prim::copy: return a;
    case Prim::neg: return number(-a.f, wrap(std::minus<uint64_t>(), 0, a.i));
    case Prim::abs: return number(std::fabs(a.f), a.i < 0 ? wrap(std::minus<uint64_t>(), 0, a.i) : a.i);
    case Prim::square: return number(a.f * a.f, wrap(std::multiplies<uint64_t>(), a.i, a.i));
    case Prim::add: return number(a.f + b.f, wrap(std::plus<uint64_t>(), a.i, b.i));
    case Prim::sub: return number(a.f - b.f, wrap(std::minus<uint64_t>(), a.i, b.i));
    case Prim::mul: return number(a.f * b.f, wrap(std::multiplies<uint64_t>(), a.i, b.i));
    case Prim::maximum: return number(a.f > b.f || a.f != a.f ? a.f : b.f, std::max(a.i, b.i));
    case Prim::minimum: return number(a.f < b.f || a.f != a.f ? a.f : b.f, std::min(a.i, b.i));
    case Prim::lt: return {0, real ? a.f < b.f : a.i < b.i};
    case Prim::eq: return {0, real ? a.f == b.f : a.i == b.i};
    case Prim::where: return a.i ? b : c;
    case Prim::floor: return number(std::floor(a.f), a.i);
    default: ADD_FAILURE() << info(p).name; return {};
  }
}

// ---- the interpreter of map programs ------------------------------------------------------------------------

double word_double(const ScalarRef& s) { return std::bit_cast<double>(s.value); }

void interpret_map(const TileProgram& program, const TileArgs& args,
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
      } else if (i.prim == Prim::cast) {
        r[i.dst] = cast(program.registers[i.src[0]].dtype, to, r[i.src[0]]);
      } else {
        const DType d = program.registers[i.src[i.prim == Prim::where ? 1 : 0]].dtype;
        r[i.dst] = apply(i.prim, d, r[i.src[0]], r[i.src[1]], r[i.src[2]]);
      }
    }
  }
}

// ---- building programs ---------------------------------------------------------------------------------------

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

constexpr DType k_storage[] = {DType::bool_, DType::u8,  DType::i8,  DType::i16, DType::i32,
                               DType::i64,   DType::u16, DType::u32, DType::f16, DType::bf16,
                               DType::f32,   DType::f64};
constexpr DType k_registers[] = {DType::f32, DType::f64, DType::i32, DType::i64, DType::bool_};

class IsaScope {
 public:
  explicit IsaScope(Isa isa) { set_isa_for_tests(isa); }
  ~IsaScope() { set_isa_for_tests(cpu_info().best); }
};
std::vector<Isa> isas() {
  std::vector<Isa> list{Isa::avx2};
  if (cpu_info().best == Isa::avx512) list.push_back(Isa::avx512);
  return list;
}

/// Memory of one operand: room on both sides, filled with random bytes that are valid elements.
struct Memory {
  DType dtype;
  std::vector<char> bytes;
  int64_t origin = 0;  // element that index 0 of all loops falls on
};

Memory make_memory(std::mt19937_64& random, DType dtype, const Dims& extents, const Dims& strides) {
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

std::string difference(DType d, const std::vector<char>& got, const std::vector<char>& expected) {
  const size_t size = size_of(d);
  for (size_t i = 0; i < got.size(); i += size)
    if (std::memcmp(&got[i], &expected[i], size) != 0) {
      const Value a = get(d, &got[i]), b = get(d, &expected[i]);
      return format(": element {} is {} ({}), expected {} ({})", i / size, a.f, a.i, b.f, b.i);
    }
  return ": equal";
}

std::string describe(const Maker& m) {
  std::string text = format("\nmode {} extents {}", static_cast<int>(m.program.mode),
                            to_string(m.args.extents));
  for (size_t o = 0; o < m.program.operands.size(); ++o)
    text += format("\noperand {} {} strides {}", o, name_of(m.program.operands[o].dtype),
                   to_string(m.args.operands[o].strides));
  for (const TilePhase& p : m.program.phases)
    for (const auto* list : {&p.body, &p.tail})
      for (const TileInstr& i : *list)
        text += format("\n{} {} r{}:{} <- {} {} {} aux {}", static_cast<int>(i.kind),
                       info(i.prim).name, i.dst, name_of(m.program.registers[i.dst].dtype), i.src[0],
                       i.src[1], i.src[2], i.aux);
  return text;
}

template <class List>
auto pick(std::mt19937_64& random, const List& list) {
  return list[random() % std::size(list)];
}

TEST(Tile, RandomMapsMatchTheInterpreter) {
  std::mt19937_64 random(20240517);
  for (int turn = 0; turn < 1500; ++turn) {
    const size_t rank = 1 + random() % 4;
    Dims extents;
    for (size_t l = 0; l < rank; ++l) {
      const int64_t sizes[] = {0, 1, 2, 3, 5, 7, 16, 33, 64, 100, 1025};
      int64_t n = sizes[random() % (turn % 50 == 0 ? 11 : 10) + (turn % 50 == 0 ? 0 : 1)];
      if (rank > 2 && n > 33) n = 17;
      extents.push_back(n);
    }
    Maker m(TileMode::map, extents, {});
    std::vector<Memory> memories;
    const auto strides_for = [&](bool output) {
      Dims s(rank, 0);
      int64_t next = 1;
      std::vector<size_t> order(rank);
      for (size_t l = 0; l < rank; ++l) order[l] = rank - 1 - l;
      if (random() % 3 == 0) std::shuffle(order.begin(), order.end(), random);
      for (size_t l : order) {
        s[l] = next;
        next *= std::max<int64_t>(extents[l], 1);
        if (random() % 6 == 0) next += static_cast<int64_t>(random() % 3);
        if (random() % 8 == 0) s[l] *= 1, next *= 2, s[l] = random() % 2 ? s[l] * 2 : s[l];
        if (random() % 8 == 0) s[l] = -s[l];
        if (!output && random() % 6 == 0) s[l] = 0;
      }
      return s;
    };
    const auto memory_operand = [&](bool output) {
      const DType d = pick(random, k_storage);
      const Dims s = strides_for(output);
      memories.push_back(make_memory(random, d, extents, s));
      return m.operand(d, static_cast<int>(memories.size()) - 1, s, TileDomain::full,
                       memories.back().origin);
    };
    std::vector<uint16_t> values;
    const auto dtype_of = [&](uint16_t r) { return m.program.registers[r].dtype; };
    const auto value_of = [&](DType d) {
      std::vector<uint16_t> fit;
      for (uint16_t r : values)
        if (dtype_of(r) == d) fit.push_back(r);
      if (!fit.empty() && random() % 8) return pick(random, fit);
      const uint16_t any = pick(random, values);
      if (dtype_of(any) == d) return any;
      const uint16_t r = m.op(Prim::cast, {any}, d, m.program.registers[any].domain);
      values.push_back(r);
      return r;
    };
    const size_t inputs = 1 + random() % 3;
    for (size_t i = 0; i < inputs; ++i) {
      const uint32_t o = memory_operand(false);
      const DType natural = compute_dtype(m.program.operands[o].dtype);
      values.push_back(m.load(o, random() % 4 ? natural : pick(random, k_registers)));
    }
    if (random() % 3 == 0) values.push_back(m.scalar(static_cast<double>(random() % 7) - 3, pick(random, k_registers)));
    if (random() % 4 == 0) {
      Dims s(rank, 0);
      for (size_t l = 0; l < rank; ++l) s[l] = static_cast<int64_t>(random() % 9) - 4;
      values.push_back(m.load(m.affine(static_cast<int64_t>(random() % 5), s), pick(random, k_registers)));
    }
    const size_t ops = random() % 8;
    for (size_t i = 0; i < ops; ++i) {
      constexpr Prim k_one[] = {Prim::copy, Prim::neg, Prim::abs, Prim::square, Prim::floor};
      constexpr Prim k_two[] = {Prim::add, Prim::sub, Prim::mul, Prim::maximum, Prim::minimum};
      constexpr DType k_numbers[] = {DType::f32, DType::f32, DType::f64, DType::i32, DType::i64};
      const DType d = pick(random, k_numbers);
      const uint16_t a = value_of(d), b = value_of(d);
      const int kind = static_cast<int>(random() % 6);
      uint16_t r;
      if (kind == 0) r = m.op(pick(random, k_one), {a}, d);
      else if (kind == 1) r = m.op(random() % 2 ? Prim::lt : Prim::eq, {a, b}, DType::bool_);
      else if (kind == 2) r = m.op(Prim::where, {value_of(DType::bool_), a, b}, d);
      else r = m.op(pick(random, k_two), {a, b}, d);
      values.push_back(r);
    }
    const size_t outputs = 1 + random() % 2;
    for (size_t i = 0; i < outputs; ++i) {
      const uint32_t o = memory_operand(true);
      const uint16_t r = random() % 3 ? values.back() : pick(random, values);
      m.store(o, r);
    }
    std::vector<std::vector<char>> start, expected;
    for (const Memory& memory : memories) start.push_back(memory.bytes);
    const auto bases_of = [](std::vector<std::vector<char>>& list) {
      std::vector<void*> bases;
      for (auto& bytes : list) bases.push_back(bytes.data());
      return bases;
    };
    expected = start;
    interpret_map(m.program, m.args, bases_of(expected));
    for (Isa isa : isas()) {
      IsaScope scope(isa);
      const TileKernel kernel(m.program);
      const TileLaunch launch = m.launch(kernel);
      for (int again = 0; again < 2; ++again) {
        auto got = start;
        run(launch, bases_of(got));
        for (size_t b = 0; b < got.size(); ++b)
          ASSERT_TRUE(got[b] == expected[b])
              << "turn " << turn << ", operand " << b << ", " << name_of(memories[b].dtype) << " on "
              << name_of(isa) << difference(memories[b].dtype, got[b], expected[b]) << describe(m);
      }
    }
  }
}

// ---- folds -----------------------------------------------------------------------------------------------

/// The fold of `x` (points in loop order) exactly as the contract orders it.
template <class T, class Combine>
T ordered_fold(TileMode mode, const std::vector<T>& x, T identity, Combine combine) {
  T total = identity;
  const int64_t n = static_cast<int64_t>(x.size());
  const int64_t chunk = mode == TileMode::row ? k_fold_chunk : k_fold_rows;
  for (int64_t begin = 0; begin < n; begin += chunk) {
    const int64_t end = std::min(n, begin + chunk);
    T part = identity;
    if (mode == TileMode::row) {
      std::vector<T> lanes(k_fold_lanes, identity);
      for (int64_t i = begin; i < end; ++i) {
        T& lane = lanes[static_cast<size_t>((i - begin) % k_fold_lanes)];
        lane = combine(lane, x[static_cast<size_t>(i)]);
      }
      for (size_t w = k_fold_lanes / 2; w >= 1; w /= 2)
        for (size_t i = 0; i < w; ++i) lanes[i] = combine(lanes[i], lanes[i + w]);
      part = lanes[0];
    } else {
      for (int64_t i = begin; i < end; ++i) part = combine(part, x[static_cast<size_t>(i)]);
    }
    total = combine(total, part);
  }
  return total;
}

struct FoldCase {
  TileMode mode;
  Dims kept, reduced;
};
std::vector<FoldCase> fold_cases() {
  const TileMode row = TileMode::row, column = TileMode::column;
  return {
      {row, {7}, {10}},         {row, {64}, {10}},       {row, {3, 5}, {64}},
      {row, {100}, {17}},       {row, {2}, {1}},         {row, {1025}, {1}},
      {row, {3}, {513}},        {row, {2, 2}, {1024}},   {row, {2}, {5000}},
      {row, {1}, {16384}},      {row, {1}, {16385}},     {row, {1}, {1000003}},
      {row, {2}, {3, 1000}},    {row, {2}, {40, 11}},    {row, {3}, {4, 5, 6}},
      {row, {1}, {300, 7, 50}}, {row, {1}, {2000, 777}}, {row, {1}, {3, 2, 400, 500}},
      {row, {}, {200000}},      {row, {4}, {0}},         {row, {0}, {4}},
      {column, {7}, {10}},      {column, {10}, {700}},   {column, {3, 33}, {511}},
      {column, {1000}, {513}},  {column, {1500}, {20}},  {column, {2}, {3, 1000}},
      {column, {10}, {4, 5, 6}}, {column, {64}, {100000}}, {column, {2, 100}, {300, 50}},
      {column, {5}, {0}},       {column, {}, {3000}},    {column, {3}, {2, 3, 4, 100}},
  };
}

/// Memory holding kept x reduced points, in a random order of dimensions.
Dims random_strides(std::mt19937_64& random, const Dims& extents) {
  Dims s(extents.size(), 0);
  std::vector<size_t> order(extents.size());
  for (size_t l = 0; l < order.size(); ++l) order[l] = l;
  if (random() % 2) std::shuffle(order.begin(), order.end(), random);
  int64_t next = 1;
  for (size_t k = order.size(); k-- > 0;) {
    s[order[k]] = next;
    next *= std::max<int64_t>(extents[order[k]], 1);
  }
  return s;
}

Dims all_extents(const FoldCase& c) {
  Dims e = c.kept;
  for (int64_t n : c.reduced) e.push_back(n);
  return e;
}
int64_t product(const Dims& d) {
  int64_t n = 1;
  for (int64_t e : d) n *= e;
  return n;
}
/// Calls f(offset) for all points of `extents` in loop order.
template <class F>
void each_point(const Dims& extents, const Dims& strides, size_t first_stride, F f) {
  const int64_t n = product(extents);
  for (int64_t at = 0; at < n; ++at) {
    int64_t rest = at, offset = 0;
    for (size_t l = extents.size(); l-- > 0;) {
      offset += rest % extents[l] * strides[first_stride + l];
      rest /= extents[l];
    }
    f(offset);
  }
}

TEST(Tile, FoldsKeepTheContractsOrder) {
  std::mt19937_64 random(7);
  for (const FoldCase& c : fold_cases())
    for (int turn = 0; turn < 3; ++turn) {
      const Dims extents = all_extents(c);
      const Dims strides = random_strides(random, extents);
      const int64_t kept = product(c.kept), reduced = product(c.reduced);
      std::vector<float> x(static_cast<size_t>(kept * reduced) + 1);
      for (float& v : x) v = static_cast<float>(static_cast<int64_t>(random() % 2000001) - 1000000) / 1999;
      std::vector<float> sum(static_cast<size_t>(kept), -1), largest(sum), scaled(sum);
      std::vector<int64_t> whole(static_cast<size_t>(kept), -1);
      Maker m(c.mode, c.kept, c.reduced);
      Dims out = contiguous_strides(c.kept);
      for (size_t l = 0; l < c.reduced.size(); ++l) out.push_back(1234);  // unused
      const uint32_t in = m.operand(DType::f32, 0, strides);
      const uint16_t v = m.load(in, DType::f32);
      const uint16_t square = m.op(Prim::mul, {v, v}, DType::f32);
      const uint16_t s = m.fold(qs::Fold::sum, square, DType::f32);
      const uint16_t big = m.fold(qs::Fold::max, v, DType::f32);
      const uint16_t i = m.op(Prim::cast, {v}, DType::i64);
      const uint16_t w = m.fold(qs::Fold::sum, i, DType::i64);
      m.tail();
      m.store(m.operand(DType::f32, 1, out, TileDomain::kept), s);
      m.store(m.operand(DType::f32, 2, out, TileDomain::kept), big);
      m.store(m.operand(DType::i64, 3, out, TileDomain::kept), w);
      const uint16_t half = m.op(Prim::mul, {s, m.scalar(0.5, DType::f32)}, DType::f32, TileDomain::kept);
      m.store(m.operand(DType::f32, 4, out, TileDomain::kept), half);
      std::vector<float> points;
      std::vector<float> expect_sum, expect_max;
      std::vector<int64_t> expect_whole;
      each_point(c.kept, strides, 0, [&](int64_t base) {
        points.clear();
        std::vector<float> plain;
        int64_t total = 0;
        each_point(c.reduced, strides, c.kept.size(), [&](int64_t at) {
          const float e = x[static_cast<size_t>(base + at)];
          plain.push_back(e);
          points.push_back(e * e);
          total += static_cast<int64_t>(e);
        });
        expect_sum.push_back(ordered_fold(c.mode, points, 0.0f, [](float a, float b) { return a + b; }));
        expect_max.push_back(ordered_fold(c.mode, plain, -INFINITY, [](float a, float b) { return std::max(a, b); }));
        expect_whole.push_back(total);
      });
      for (Isa isa : isas())
        for (Order order : {Order::forward, Order::backward}) {
          IsaScope scope(isa);
          const TileKernel kernel(m.program);
          const TileLaunch launch = m.launch(kernel);
          run(launch, {x.data(), sum.data(), largest.data(), whole.data(), scaled.data()}, {}, order);
          for (size_t k = 0; k < sum.size(); ++k) {
            ASSERT_EQ(sum[k], expect_sum[k]) << k << describe(m) << name_of(isa);
            ASSERT_EQ(scaled[k], expect_sum[k] * 0.5f);
            ASSERT_EQ(largest[k], expect_max[k]) << k << describe(m) << name_of(isa);
            ASSERT_EQ(whole[k], expect_whole[k]) << k << describe(m) << name_of(isa);
          }
        }
    }
}

TEST(Tile, ArgFoldsFindTheFirstExtremeAndNaN) {
  std::mt19937_64 random(8);
  for (const FoldCase& c : fold_cases()) {
    const int64_t kept = product(c.kept), reduced = product(c.reduced);
    if (reduced == 0) continue;
    for (int nans = 0; nans < 2; ++nans) {
      const Dims extents = all_extents(c), strides = random_strides(random, extents);
      std::vector<float> x(static_cast<size_t>(kept * reduced) + 1);
      for (float& v : x) v = static_cast<float>(random() % 50);
      if (nans)
        for (size_t k = 0; k < x.size(); k += 1 + random() % 300) x[k] = NAN;
      std::vector<int64_t> high(static_cast<size_t>(kept), -7), low(high);
      std::vector<float> biggest(static_cast<size_t>(kept));
      std::vector<uint8_t> some(static_cast<size_t>(kept)), every(some);
      Maker m(c.mode, c.kept, c.reduced);
      Dims out = contiguous_strides(c.kept);
      for (size_t l = 0; l < c.reduced.size(); ++l) out.push_back(0);
      const uint16_t v = m.load(m.operand(DType::f32, 0, strides), DType::f32);
      const uint16_t test = m.op(Prim::gt, {v, m.scalar(47, DType::f32)}, DType::bool_);
      const uint16_t folds[] = {m.fold(qs::Fold::argmax, v, DType::i64),
                                m.fold(qs::Fold::argmin, v, DType::i64),
                                m.fold(qs::Fold::max, v, DType::f32),
                                m.fold(qs::Fold::any, test, DType::bool_),
                                m.fold(qs::Fold::all, test, DType::bool_)};
      const DType types[] = {DType::i64, DType::i64, DType::f32, DType::bool_, DType::bool_};
      m.tail();
      for (int k = 0; k < 5; ++k) m.store(m.operand(types[k], 1 + k, out, TileDomain::kept), folds[k]);
      for (Isa isa : isas()) {
        IsaScope scope(isa);
        const TileKernel kernel(m.program);
        run(m.launch(kernel), {x.data(), high.data(), low.data(), biggest.data(), some.data(), every.data()},
            {}, Order::backward);
        size_t k = 0;
        each_point(c.kept, strides, 0, [&](int64_t base) {
          int64_t at = 0, best = 0, worst = 0;
          float top = 0, bottom = 0;
          bool any = false, all = true;
          each_point(c.reduced, strides, c.kept.size(), [&](int64_t offset) {
            const float e = x[static_cast<size_t>(base + offset)];
            if (at == 0 || e > top || (std::isnan(e) && !std::isnan(top))) best = at, top = e;
            if (at == 0 || e < bottom || (std::isnan(e) && !std::isnan(bottom))) worst = at, bottom = e;
            any |= e > 47;
            all &= e > 47;
            ++at;
          });
          ASSERT_EQ(high[k], best) << k << describe(m) << name_of(isa);
          ASSERT_EQ(low[k], worst) << k << describe(m) << name_of(isa);
          ASSERT_EQ(some[k], any);
          ASSERT_EQ(every[k], all);
          ASSERT_TRUE(std::isnan(top) ? std::isnan(biggest[k]) : biggest[k] == top);
          ++k;
        });
      }
    }
  }
}

TEST(Tile, PhasesReadKeptAndPersistentRegisters) {
  // softmax with the exponentials held, and a kept operand that scales each row
  std::mt19937_64 random(9);
  for (const FoldCase& c : fold_cases())
    for (const bool in_place : {false, true}) {
      const Dims extents = all_extents(c), strides = random_strides(random, extents);
      const int64_t kept = product(c.kept), reduced = product(c.reduced);
      if (kept * reduced > 400000) continue;
      std::vector<float> x(static_cast<size_t>(kept * reduced) + 1);
      for (float& v : x) v = static_cast<float>(static_cast<int64_t>(random() % 2001) - 1000) / 64;
      std::vector<float> scale(static_cast<size_t>(kept) + 1);
      for (float& v : scale) v = static_cast<float>(random() % 8 + 1);
      Maker m(c.mode, c.kept, c.reduced);
      Dims out = contiguous_strides(c.kept);
      for (size_t l = 0; l < c.reduced.size(); ++l) out.push_back(0);
      const DType f = DType::f32;
      const uint32_t in = m.operand(f, 0, strides);
      const uint16_t factor = m.load(m.operand(f, 1, out, TileDomain::kept), f, TileDomain::kept);
      const uint16_t v = m.load(in, f, TileDomain::full, true);
      const uint16_t scaled = m.op(Prim::mul, {v, factor}, f, TileDomain::full, true);
      const uint16_t top = m.fold(qs::Fold::max, scaled, f);
      m.phase();
      const uint16_t less = m.op(Prim::sub, {scaled, top}, f, TileDomain::full, true);
      const uint16_t total = m.fold(qs::Fold::sum, less, f);
      m.tail();
      const uint16_t shifted = m.op(Prim::add, {total, m.scalar(1, f)}, f, TileDomain::kept);
      m.store(m.operand(f, 3, out, TileDomain::kept), shifted);
      m.phase();
      const uint16_t a = m.op(Prim::mul, {less, shifted}, f);
      const uint16_t b = m.op(Prim::add, {a, v}, f);
      m.store(m.operand(f, in_place ? 0 : 2, strides), b);
      m.tail();
      m.store(m.operand(f, 4, out, TileDomain::kept), top);
      std::vector<float> expected(x.size()), totals(static_cast<size_t>(kept)), tops(totals);
      std::vector<float> got_totals(totals.size()), got_tops(totals.size());
      size_t k = 0;
      each_point(c.kept, strides, 0, [&](int64_t base) {
        std::vector<float> row;
        float most = -INFINITY;
        each_point(c.reduced, strides, c.kept.size(), [&](int64_t o) {
          row.push_back(x[static_cast<size_t>(base + o)] * scale[k]);
          most = std::max(most, row.back());
        });
        for (float& e : row) e -= most;
        const float sum = ordered_fold(c.mode, row, 0.0f, [](float p, float q) { return p + q; }) + 1;
        size_t at = 0;
        each_point(c.reduced, strides, c.kept.size(), [&](int64_t o) {
          const float product_of = row[at++] * sum;
          expected[static_cast<size_t>(base + o)] = product_of + x[static_cast<size_t>(base + o)];
        });
        totals[k] = sum;
        tops[k++] = most;
      });
      for (Isa isa : isas()) {
        IsaScope scope(isa);
        const TileKernel kernel(m.program);
        std::vector<float> data = x, result(x.size());
        run(m.launch(kernel), {data.data(), scale.data(), result.data(), got_totals.data(), got_tops.data()});
        const std::vector<float>& got = in_place ? data : result;
        for (size_t i = 0; i < static_cast<size_t>(kept * reduced); ++i)
          ASSERT_EQ(got[i], expected[i]) << i << describe(m) << name_of(isa);
        if (reduced > 0) ASSERT_EQ(got_tops, tops);
        ASSERT_EQ(got_totals, totals) << describe(m);
      }
    }
}
}  // namespace
}  // namespace qs::driver
