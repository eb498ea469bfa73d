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

// ---- running

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

// ---- element access

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

void put(DType d, char* p, Value v) {
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
    case Prim::maximum:
      return number(a.f > b.f || a.f != a.f ? a.f : b.f, std::max(a.i, b.i));
    case Prim::minimum:
      return number(a.f < b.f || a.f != a.f ? a.f : b.f, std::min(a.i, b.i));
    case Prim::lt:
      return {0, real ? a.f < b.f : a.i < b.i};
    case Prim::eq:
      return {0, real ? a.f == b.f : a.i == b.i};
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
  ~IsaScope() { set_isa_for_tests(cpu_info().best); }
};
std::vector<Isa> isas() {
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

TEST(Tile, RandomMapsMatchTheInterpreter) {
  std::mt19937_64 random(20240517);
  for (int turn = 0; turn < 600; ++turn) {
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
    if (random() % 3 == 0)
      values.push_back(m.scalar(static_cast<double>(random() % 7) - 3, pick(random, k_registers)));
    if (random() % 4 == 0) {
      Dims s(rank, 0);
      for (size_t l = 0; l < rank; ++l) s[l] = static_cast<int64_t>(random() % 9) - 4;
      values.push_back(
          m.load(m.affine(static_cast<int64_t>(random() % 5), s), pick(random, k_registers)));
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
      if (kind == 0)
        r = m.op(pick(random, k_one), {a}, d);
      else if (kind == 1)
        r = m.op(random() % 2 ? Prim::lt : Prim::eq, {a, b}, DType::bool_);
      else if (kind == 2)
        r = m.op(Prim::where, {value_of(DType::bool_), a, b}, d);
      else
        r = m.op(pick(random, k_two), {a, b}, d);
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
              << "turn " << turn << ", operand " << b << ", " << name_of(memories[b].dtype)
              << " on " << name_of(isa) << difference(memories[b].dtype, got[b], expected[b])
              << describe(m);
      }
    }
  }
}

// ---- folds

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
      {row, {7}, {10}},          {row, {64}, {10}},        {row, {3, 5}, {64}},
      {row, {100}, {17}},        {row, {2}, {1}},          {row, {1025}, {1}},
      {row, {3}, {513}},         {row, {2, 2}, {1024}},    {row, {2}, {5000}},
      {row, {1}, {16384}},       {row, {1}, {16385}},      {row, {1}, {1000003}},
      {row, {2}, {3, 1000}},     {row, {2}, {40, 11}},     {row, {3}, {4, 5, 6}},
      {row, {1}, {300, 7, 50}},  {row, {1}, {2000, 777}},  {row, {1}, {3, 2, 400, 500}},
      {row, {}, {200000}},       {row, {4}, {0}},          {row, {0}, {4}},
      {column, {7}, {10}},       {column, {10}, {700}},    {column, {3, 33}, {511}},
      {column, {1000}, {513}},   {column, {1500}, {20}},   {column, {2}, {3, 1000}},
      {column, {10}, {4, 5, 6}}, {column, {64}, {100000}}, {column, {2, 100}, {300, 50}},
      {column, {5}, {0}},        {column, {}, {3000}},     {column, {3}, {2, 3, 4, 100}},
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
      for (float& v : x)
        v = static_cast<float>(static_cast<int64_t>(random() % 2000001) - 1000000) / 1999;
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
      const uint16_t half =
          m.op(Prim::mul, {s, m.scalar(0.5, DType::f32)}, DType::f32, TileDomain::kept);
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
        expect_sum.push_back(
            ordered_fold(c.mode, points, 0.0f, [](float a, float b) { return a + b; }));
        expect_max.push_back(ordered_fold(c.mode, plain, -INFINITY,
                                          [](float a, float b) { return std::max(a, b); }));
        expect_whole.push_back(total);
      });
      for (Isa isa : isas())
        for (Order order : {Order::forward, Order::backward}) {
          IsaScope scope(isa);
          const TileKernel kernel(m.program);
          const TileLaunch launch = m.launch(kernel);
          run(launch, {x.data(), sum.data(), largest.data(), whole.data(), scaled.data()}, {},
              order);
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
      const uint16_t folds[] = {
          m.fold(qs::Fold::argmax, v, DType::i64), m.fold(qs::Fold::argmin, v, DType::i64),
          m.fold(qs::Fold::max, v, DType::f32), m.fold(qs::Fold::any, test, DType::bool_),
          m.fold(qs::Fold::all, test, DType::bool_)};
      const DType types[] = {DType::i64, DType::i64, DType::f32, DType::bool_, DType::bool_};
      m.tail();
      for (int k = 0; k < 5; ++k)
        m.store(m.operand(types[k], 1 + k, out, TileDomain::kept), folds[k]);
      for (Isa isa : isas()) {
        IsaScope scope(isa);
        const TileKernel kernel(m.program);
        run(m.launch(kernel),
            {x.data(), high.data(), low.data(), biggest.data(), some.data(), every.data()}, {},
            Order::backward);
        size_t k = 0;
        each_point(c.kept, strides, 0, [&](int64_t base) {
          int64_t at = 0, best = 0, worst = 0;
          float top = 0, bottom = 0;
          bool any = false, all = true;
          each_point(c.reduced, strides, c.kept.size(), [&](int64_t offset) {
            const float e = x[static_cast<size_t>(base + offset)];
            if (at == 0 || e > top || (std::isnan(e) && !std::isnan(top))) best = at, top = e;
            if (at == 0 || e < bottom || (std::isnan(e) && !std::isnan(bottom)))
              worst = at, bottom = e;
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
        const float sum =
            ordered_fold(c.mode, row, 0.0f, [](float p, float q) { return p + q; }) + 1;
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
        run(m.launch(kernel),
            {data.data(), scale.data(), result.data(), got_totals.data(), got_tops.data()});
        const std::vector<float>& got = in_place ? data : result;
        for (size_t i = 0; i < static_cast<size_t>(kept * reduced); ++i)
          ASSERT_EQ(got[i], expected[i]) << i << describe(m) << name_of(isa);
        if (reduced > 0) {
          ASSERT_EQ(got_tops, tops);
        }
        ASSERT_EQ(got_totals, totals) << describe(m);
      }
    }
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

struct FloatRow {
  Prim prim;
  double (*f64)(double);
  long double (*f80)(long double);
  double ulp32, ulp64;
};
#define SAME(name)                                             \
  Prim::name, [](double x) -> double { return std::name(x); }, \
      [](long double x) -> long double { return std::name(x); }
#define EXPR(name, expr)                               \
  Prim::name, [](double x) -> double { return expr; }, \
      [](long double x) -> long double { return expr; }
const FloatRow k_float_rows[] = {
    {EXPR(neg, -x), 0, 0},
    {EXPR(abs, std::fabs(x)), 0, 0},
    {EXPR(square, x* x), 0.5, 0.5},
    {EXPR(sign, (x > 0) - (x < 0)), 0, 0},
    {SAME(sqrt), 0.51, 0.51},
    {EXPR(rsqrt, 1 / std::sqrt(x)), 2, 2},
    {EXPR(reciprocal, 1 / x), 0.51, 0.51},
    {SAME(exp), 1, 1},
    {SAME(exp2), 1, 1.2},
    {SAME(expm1), 1, 1.5},
    {SAME(log), 1, 1.01},
    {SAME(log2), 1, 1.5},
    {SAME(log10), 1, 2},
    {SAME(log1p), 1.2, 1.2},
    {SAME(sin), 1, 2},
    {SAME(cos), 1, 2},
    {SAME(tan), 1, 2},
    {SAME(asin), 1, 2},
    {SAME(acos), 1, 2},
    {SAME(atan), 1, 2},
    {SAME(sinh), 1, 2},
    {SAME(cosh), 1, 2},
    {SAME(asinh), 1, 2},
    {SAME(acosh), 1, 3},
    {SAME(atanh), 1, 2},
    {SAME(tanh), 2, 3},
    {EXPR(sigmoid, 1 / (1 + std::exp(-x))), 3, 3},
    {SAME(erf), 2, 1.5},
    {SAME(erfc), 1, 5},
    {SAME(floor), 0, 0},
    {SAME(ceil), 0, 0},
    {SAME(trunc), 0, 0},
    {EXPR(round, std::nearbyint(x)), 0, 0},
};
#undef SAME
#undef EXPR

TEST(Tile, FloatFunctionsAreAccurateAndTheSameOnAllInstructionSets) {
  std::mt19937_64 random(10);
  std::vector<float> x32 = edge_values<float>();
  std::vector<double> x64 = edge_values<double>();
  for (int i = 0; i < 60000; ++i) {
    x32.push_back(std::bit_cast<float>(static_cast<uint32_t>(random())));
    x32.push_back(static_cast<float>(static_cast<int64_t>(random() % 400001) - 200000) / 1e4f);
  }
  for (int i = 0; i < 4000; ++i) {
    x64.push_back(std::bit_cast<double>(random()));
    x64.push_back(static_cast<double>(static_cast<int64_t>(random() % 400001) - 200000) / 1e4);
  }
  for (const FloatRow& row : k_float_rows) {
    std::vector<float> first32;
    std::vector<double> first64;
    for (Isa isa : isas()) {
      IsaScope scope(isa);
      const auto y32 = run_op<float>(row.prim, DType::f32, {DType::f32}, nullptr, x32);
      const auto y64 = run_op<double>(row.prim, DType::f64, {DType::f64}, nullptr, x64);
      for (size_t i = 0; i < x32.size(); ++i)
        ASSERT_LE(ulps(y32[i], row.f64(x32[i])), row.ulp32)
            << info(row.prim).name << "(" << x32[i] << ") = " << y32[i] << " on " << name_of(isa);
      for (size_t i = 0; i < x64.size(); ++i)
        ASSERT_LE(ulps(y64[i], row.f80(x64[i])), row.ulp64)
            << info(row.prim).name << "(" << x64[i] << ") = " << y64[i] << " on " << name_of(isa);
      if (first32.empty()) {
        first32 = y32;
        first64 = y64;
      }
      for (size_t i = 0; i < x32.size(); ++i)
        ASSERT_TRUE(std::isnan(y32[i]) ||
                    std::bit_cast<uint32_t>(y32[i]) == std::bit_cast<uint32_t>(first32[i]))
            << info(row.prim).name << "(" << x32[i] << ")";
      for (size_t i = 0; i < x64.size(); ++i)
        ASSERT_TRUE(std::isnan(y64[i]) ||
                    std::bit_cast<uint64_t>(y64[i]) == std::bit_cast<uint64_t>(first64[i]))
            << info(row.prim).name << "(" << x64[i] << ")";
    }
    // Signed zeros pass through odd functions.
    const auto zero =
        run_op<float>(row.prim, DType::f32, {DType::f32}, nullptr, std::vector<float>{-0.0f});
    const double expected = row.f64(-0.0);
    if (expected == 0 && row.prim != Prim::sign) {
      EXPECT_EQ(std::signbit(zero[0]), std::signbit(expected)) << info(row.prim).name;
    }
  }
}

TEST(Tile, RareFunctions) {
  const std::vector<double> x = {1, 0.5, 10, -0.5, 100, 2.5};
  const double digamma[] = {-0.57721566490153286, -1.9635100260214235, 2.2517525890667211,
                            0.036489973978576520, 4.6001618527380874,  0.70315664064524319};
  const auto y = run_op<double>(Prim::digamma, DType::f64, {DType::f64}, nullptr, x);
  for (size_t i = 0; i < x.size(); ++i)
    EXPECT_NEAR(y[i], digamma[i], 1e-14 * std::max(1.0, std::fabs(digamma[i])));
  const auto gamma = run_op<double>(Prim::lgamma, DType::f64, {DType::f64}, nullptr, x);
  for (size_t i = 0; i < x.size(); ++i) EXPECT_NEAR(gamma[i], std::lgamma(x[i]), 1e-13);
  std::vector<double> z;
  for (int i = -999; i < 1000; ++i) z.push_back(i / 1000.0);
  z.insert(z.end(), {1 - 1e-12, -1 + 1e-9, 1e-300, 1, -1, 1.5});
  const auto inverse = run_op<double>(Prim::erfinv, DType::f64, {DType::f64}, nullptr, z);
  for (size_t i = 0; i + 3 < z.size(); ++i) {
    const double there = std::fabs(z[i]) > 0.5
                             ? std::erfc(std::fabs(inverse[i])) - (1 - std::fabs(z[i]))
                             : std::erf(inverse[i]) - z[i];
    EXPECT_LE(std::fabs(there), 4e-15 * std::min(std::fabs(z[i]), 1.0)) << z[i];
  }
  EXPECT_EQ(inverse[z.size() - 3], INFINITY);
  EXPECT_EQ(inverse[z.size() - 2], -INFINITY);
  EXPECT_TRUE(std::isnan(inverse[z.size() - 1]));
}

double python_rem(double x, double y) {
  double m = std::fmod(x, y);
  if (m != 0 && (m < 0) != (y < 0)) m += y;
  return m;
}

TEST(Tile, FloatPairs) {
  std::mt19937_64 random(11);
  std::vector<float> edges = edge_values<float>(), x, y;
  for (float a : edges)
    for (float b : edges) x.push_back(a), y.push_back(b);
  for (int i = 0; i < 20000; ++i) {
    x.push_back(static_cast<float>(random() % 100000) / 1000);
    y.push_back(static_cast<float>(static_cast<int64_t>(random() % 20000) - 10000) / 1000);
  }
  const struct {
    Prim prim;
    double (*f)(double, double);
    double bound;
  } rows[] = {
      {Prim::add, [](double a, double b) { return a + b; }, 0.5},
      {Prim::sub, [](double a, double b) { return a - b; }, 0.5},
      {Prim::mul, [](double a, double b) { return a * b; }, 0.5},
      {Prim::div, [](double a, double b) { return a / b; }, 0.51},
      {Prim::maximum,
       [](double a, double b) { return std::isnan(a) || std::isnan(b) ? NAN : std::max(a, b); }, 0},
      {Prim::minimum,
       [](double a, double b) { return std::isnan(a) || std::isnan(b) ? NAN : std::min(a, b); }, 0},
      {Prim::fmax, [](double a, double b) { return std::fmax(a, b); }, 0},
      {Prim::fmin, [](double a, double b) { return std::fmin(a, b); }, 0},
      {Prim::pow, [](double a, double b) { return std::pow(a, b); }, 1},
      {Prim::fmod, [](double a, double b) { return std::fmod(a, b); }, 0},
      {Prim::atan2, [](double a, double b) { return std::atan2(a, b); }, 1},
      {Prim::hypot, [](double a, double b) { return std::hypot(a, b); }, 1},
      {Prim::copysign, [](double a, double b) { return std::copysign(a, b); }, 0},
      {Prim::nextafter,
       [](double a, double b) -> double {
         return std::nextafterf(static_cast<float>(a), static_cast<float>(b));
       },
       0},
  };
  for (Isa isa : isas()) {
    IsaScope scope(isa);
    for (const auto& row : rows) {
      const auto z = run_op<float>(row.prim, DType::f32, {DType::f32, DType::f32}, nullptr, x, y);
      for (size_t i = 0; i < x.size(); ++i)
        ASSERT_LE(ulps(z[i], row.f(x[i], y[i])), row.bound)
            << info(row.prim).name << "(" << x[i] << ", " << y[i] << ") = " << z[i];
    }
    const std::vector<float> a = {7, -7, 7, -7, 0, 5.5f, -0.5f, 1},
                             b = {2, 2, -2, -2, 3, 0.5f, 1, 0};
    const auto quotient =
        run_op<float>(Prim::floor_div, DType::f32, {DType::f32, DType::f32}, nullptr, a, b);
    const auto rest = run_op<float>(Prim::rem, DType::f32, {DType::f32, DType::f32}, nullptr, a, b);
    for (size_t i = 0; i + 1 < a.size(); ++i) {
      EXPECT_EQ(quotient[i], std::floor(a[i] / b[i]));
      EXPECT_EQ(rest[i], static_cast<float>(python_rem(a[i], b[i])));
    }
    EXPECT_EQ(quotient.back(), INFINITY);
    const auto tests = run_op<uint8_t>(Prim::isinf, DType::bool_, {DType::f32}, nullptr, edges);
    const auto finite = run_op<uint8_t>(Prim::isfinite, DType::bool_, {DType::f32}, nullptr, edges);
    const auto negative =
        run_op<uint8_t>(Prim::signbit, DType::bool_, {DType::f32}, nullptr, edges);
    for (size_t i = 0; i < edges.size(); ++i) {
      EXPECT_EQ(tests[i], std::isinf(edges[i]));
      EXPECT_EQ(finite[i], std::isfinite(edges[i]));
      EXPECT_EQ(negative[i], std::signbit(edges[i]));
    }
  }
}

template <class T>
void check_integers(DType d) {
  using U = std::make_unsigned_t<T>;
  std::mt19937_64 random(12);
  const T low = std::numeric_limits<T>::min(), high = std::numeric_limits<T>::max();
  std::vector<T> values = {
      0,   1,    static_cast<T>(-1),     2, 7, static_cast<T>(-7), 31, 32, 63, 64,
      low, high, static_cast<T>(low + 1)};
  for (int i = 0; i < 10; ++i) values.push_back(static_cast<T>(random()));
  std::vector<T> x, y, safe;
  for (T a : values)
    for (T b : values) {
      x.push_back(a);
      y.push_back(b);
      safe.push_back(b == 0 ? T(3) : b);
    }
  const auto check = [&](Prim p, const std::vector<T>& right, auto f) {
    const auto z = run_op<T>(p, d, {d, d}, nullptr, x, right);
    for (size_t i = 0; i < x.size(); ++i)
      ASSERT_EQ(z[i], static_cast<T>(f(x[i], right[i])))
          << info(p).name << "(" << +x[i] << ", " << +right[i] << ")";
  };
  const auto overflows = [&](T a, T b) { return low < 0 && a == low && b == static_cast<T>(-1); };
  check(Prim::add, y, [](T a, T b) { return U(a) + U(b); });
  check(Prim::sub, y, [](T a, T b) { return U(a) - U(b); });
  check(Prim::mul, y, [](T a, T b) { return U(a) * U(b); });
  check(Prim::maximum, y, [](T a, T b) { return std::max(a, b); });
  check(Prim::minimum, y, [](T a, T b) { return std::min(a, b); });
  check(Prim::bit_and, y, [](T a, T b) { return a & b; });
  check(Prim::bit_or, y, [](T a, T b) { return a | b; });
  check(Prim::bit_xor, y, [](T a, T b) { return a ^ b; });
  check(Prim::trunc_div, safe, [&](T a, T b) { return overflows(a, b) ? low : a / b; });
  check(Prim::fmod, safe, [&](T a, T b) { return overflows(a, b) ? 0 : a % b; });
  check(Prim::floor_div, safe, [&](T a, T b) {
    if (overflows(a, b)) return low;
    return static_cast<T>(a / b - (a % b != 0 && ((a % b < 0) != (b < 0))));
  });
  check(Prim::rem, safe, [&](T a, T b) {
    if (overflows(a, b)) return T(0);
    const T m = a % b;
    return static_cast<T>(m != 0 && (m < 0) != (b < 0) ? m + b : m);
  });
  const T width = static_cast<T>(sizeof(T) * 8);
  check(Prim::shift_left, y, [&](T a, T b) { return b >= 0 && b < width ? U(a) << b : U(0); });
  check(Prim::shift_right, y, [&](T a, T b) {
    return b >= 0 && b < width ? a >> b : a < 0 ? T(-1) : T(0);
  });
  const std::vector<T> powers(x.size(), 5);
  check(Prim::pow, powers, [](T a, T) { return U(a) * U(a) * U(a) * U(a) * U(a); });
  const auto one = [&](Prim p, auto f) {
    const auto z = run_op<T>(p, d, {d}, nullptr, x);
    for (size_t i = 0; i < x.size(); ++i)
      ASSERT_EQ(z[i], static_cast<T>(f(x[i]))) << info(p).name << +x[i];
  };
  one(Prim::neg, [](T a) { return U(0) - U(a); });
  one(Prim::abs, [](T a) { return a < 0 ? U(0) - U(a) : U(a); });
  one(Prim::sign, [](T a) { return (a > 0) - (a < 0); });
  one(Prim::square, [](T a) { return U(a) * U(a); });
  one(Prim::bit_not, [](T a) { return ~a; });
  const auto test = [&](Prim p, auto f) {
    const auto z = run_op<uint8_t>(p, DType::bool_, {d, d}, nullptr, x, y);
    for (size_t i = 0; i < x.size(); ++i) ASSERT_EQ(z[i], f(x[i], y[i])) << info(p).name;
  };
  test(Prim::eq, std::equal_to<T>());
  test(Prim::ne, std::not_equal_to<T>());
  test(Prim::lt, std::less<T>());
  test(Prim::le, std::less_equal<T>());
  test(Prim::gt, std::greater<T>());
  test(Prim::ge, std::greater_equal<T>());
}

TEST(Tile, IntegersWrapAndDivideAsPythonAndC) {
  for (Isa isa : isas()) {
    IsaScope scope(isa);
    check_integers<int32_t>(DType::i32);
    check_integers<int64_t>(DType::i64);
    check_integers<uint64_t>(DType::u64);
  }
}

TEST(Tile, BadDataSetsTheRecordOnce) {
  for (Isa isa : isas()) {
    IsaScope scope(isa);
    ErrorRecord error;
    const std::vector<int64_t> x = {5, 6, 7, 8}, y = {2, 0, 3, 0};
    const auto z =
        run_op<int64_t>(Prim::floor_div, DType::i64, {DType::i64, DType::i64}, &error, x, y);
    EXPECT_EQ(z, (std::vector<int64_t>{2, 0, 2, 0}));
    EXPECT_EQ(error.set, 42);
    EXPECT_EQ(error.reason, 2);
    const std::vector<int64_t> index = {0, 9, -1, 12, 3}, bound(5, 10);
    const auto safe = run_op<int64_t>(Prim::check_index, DType::i64, {DType::i64, DType::i64},
                                      &error, index, bound);
    EXPECT_EQ(safe, (std::vector<int64_t>{0, 9, 0, 0, 3}));
    EXPECT_EQ(error.set, 42);
    EXPECT_EQ(error.reason, 1);
    EXPECT_EQ(error.value, -1);
    EXPECT_EQ(error.bound, 10);
    const auto fine =
        run_op<int64_t>(Prim::check_index, DType::i64, {DType::i64, DType::i64}, &error,
                        std::vector<int64_t>{0, 9}, std::vector<int64_t>{1, 10});
    EXPECT_EQ(fine[1], 9);
    EXPECT_EQ(error.set, 0);
  }
}

TEST(Tile, ConversionsOutOfRangeAreDefined) {
  for (Isa isa : isas()) {
    IsaScope scope(isa);
    const std::vector<float> x = {1.9f, -1.9f, 3e9f, -3e9f, 1e20f, NAN, INFINITY, 300, -0.0f};
    EXPECT_EQ(run_op<int32_t>(Prim::cast, DType::i32, {DType::f32}, nullptr, x),
              (std::vector<int32_t>{1, -1, INT32_MIN, INT32_MIN, INT32_MIN, INT32_MIN, INT32_MIN,
                                    300, 0}));
    EXPECT_EQ(run_op<int64_t>(Prim::cast, DType::i64, {DType::f32}, nullptr, x),
              (std::vector<int64_t>{1, -1, 3000000000, -3000000000, INT64_MIN, INT64_MIN, INT64_MIN,
                                    300, 0}));
    EXPECT_EQ(run_op<uint8_t>(Prim::cast, DType::bool_, {DType::f32}, nullptr, x),
              (std::vector<uint8_t>{1, 1, 1, 1, 1, 1, 1, 1, 0}));
    const std::vector<double> y = {1.8e19, -1, 9.3e18, 5};
    EXPECT_EQ(run_op<uint64_t>(Prim::cast, DType::u64, {DType::f64}, nullptr, y),
              (std::vector<uint64_t>{18000000000000000000u, ~0ull, 9300000000000000000u, 5}));
  }
}

TEST(Tile, PhiloxIsTheSameInAnyOrder) {
  // Known answer of Philox4x32-10 (Random123): counter and key all ones.
  std::vector<int64_t> linear, seed, offset;
  for (int64_t i = 0; i < 200; ++i) linear.push_back(i < 100 ? i * 7 % 100 : i - 100);
  const auto z = [&](std::vector<int64_t> s, std::vector<int64_t> o) {
    return run_op<int64_t>(Prim::philox, DType::i64, {DType::i64, DType::i64, DType::i64}, nullptr,
                           linear, s, o);
  };
  const auto all = z(std::vector<int64_t>(200, 12345), std::vector<int64_t>(200, 678));
  for (size_t i = 0; i < 100; ++i) {
    EXPECT_EQ(all[i], all[100 + static_cast<size_t>(linear[i])]);
    EXPECT_GE(all[i], 0);
    EXPECT_LT(all[i], int64_t{1} << 32);
  }
  // The consecutive, one-key path gives the same.
  Maker m(TileMode::map, {100}, {});
  std::vector<int64_t> out(100);
  const uint16_t l = m.load(m.affine(0, {1}), DType::i64);
  m.store(
      m.operand(DType::i64, 0, {1}),
      m.op(Prim::philox, {l, m.scalar(12345, DType::i64), m.scalar(678, DType::i64)}, DType::i64));
  for (Isa isa : isas()) {
    IsaScope scope(isa);
    run(m.launch(TileKernel(m.program)), {out.data()});
    EXPECT_TRUE(std::equal(out.begin(), out.end(), all.begin() + 100));
  }
  linear = {0, 1, 2, 3};
  const auto zeros = z(std::vector<int64_t>(4, 0), std::vector<int64_t>(4, 0));
  EXPECT_EQ(zeros, (std::vector<int64_t>{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
}

TEST(Tile, HalfTypesRoundToNearestEven) {
  for (uint32_t h = 0; h < 65536; ++h) {
    const uint16_t bits = static_cast<uint16_t>(h);
    const float x = f16_to_f32(bits);
    const bool nan = (h & 0x7fff) > 0x7c00;
    ASSERT_EQ(std::isnan(x), nan);
    ASSERT_EQ(f32_to_f16(x), nan ? bits | 0x200 : bits);
    const float y = bf16_to_f32(bits);
    ASSERT_EQ(f32_to_bf16(y), (h & 0x7fff) > 0x7f80 ? bits | 0x40 : bits);
  }
  std::mt19937_64 random(13);
  std::vector<float> x = edge_values<float>();
  for (int i = 0; i < 100000; ++i) {
    x.push_back(std::bit_cast<float>(static_cast<uint32_t>(random())));
    x.push_back(
        std::ldexp(static_cast<float>(random() % 8192), static_cast<int>(random() % 48) - 36));
  }
  for (Isa isa : isas()) {
    IsaScope scope(isa);
    for (DType d : {DType::f16, DType::bf16}) {
      Maker m(TileMode::map, {static_cast<int64_t>(x.size())}, {});
      std::vector<uint16_t> half(x.size());
      std::vector<float> rounded(x.size());
      const uint16_t r = m.load(m.operand(DType::f32, 0, {1}), DType::f32);
      m.store(m.operand(d, 1, {1}), r);
      m.store(m.operand(DType::f32, 2, {1}), m.op(Prim::round_to, {r}, DType::f32, TileDomain::full,
                                                  false, static_cast<uint32_t>(d)));
      run(m.launch(TileKernel(m.program)), {x.data(), half.data(), rounded.data()});
      for (size_t i = 0; i < x.size(); ++i) {
        const uint16_t expected = d == DType::f16 ? f32_to_f16(x[i]) : f32_to_bf16(x[i]);
        const float back = d == DType::f16 ? f16_to_f32(expected) : bf16_to_f32(expected);
        ASSERT_EQ(half[i], expected) << x[i];
        ASSERT_EQ(std::bit_cast<uint32_t>(rounded[i]), std::bit_cast<uint32_t>(back)) << x[i];
      }
    }
  }
}

// ---- memory

TEST(Tile, InPlaceAndOverlappingOperandsKeepProgramOrder) {
  // y = x + 1 is stored over x before x is read again: the second read must see the loaded value.
  for (Isa isa : isas()) {
    IsaScope scope(isa);
    const DType f = DType::f32;
    Maker m(TileMode::map, {3000}, {});
    const uint16_t x = m.load(m.operand(f, 0, {1}), f);
    const uint16_t y = m.op(Prim::add, {x, m.scalar(1, f)}, f);
    m.store(m.operand(f, 1, {1}), y);
    const uint16_t z = m.op(Prim::mul, {x, y}, f);
    m.store(m.operand(f, 2, {1}), z);
    const TileKernel kernel(m.program);
    const TileLaunch launch = m.launch(kernel);
    for (const bool same : {false, true, false}) {
      std::vector<float> a(3000), b(3000), c(3000);
      for (size_t i = 0; i < a.size(); ++i) a[i] = static_cast<float>(i);
      run(launch, {a.data(), same ? a.data() : b.data(), c.data()});
      for (size_t i = 0; i < a.size(); ++i) {
        const float v = static_cast<float>(i);
        ASSERT_EQ((same ? a : b)[i], v + 1);
        ASSERT_EQ(c[i], v * (v + 1));
      }
    }
  }
}

TEST(Tile, TheLaunchTableGivesPointersOffsetsAndScalars) {
  const DType f = DType::f32;
  Maker m(TileMode::map, {4}, {});
  const uint32_t in = m.operand(f, 0, {1});
  m.args.operands[in].ptr.offset_word = 0;
  const uint16_t x = m.load(in, f);
  const uint16_t s = m.reg(f, TileDomain::uniform), t = m.reg(DType::i64, TileDomain::uniform);
  for (const auto& [r, d, word] : {std::tuple{s, DType::f64, 1}, std::tuple{t, DType::i64, 2}}) {
    m.args.scalars.push_back({word, 0, d});
    m.push(TileInstr::scalar, r, {}, static_cast<uint32_t>(m.program.scalar_count++));
  }
  const uint16_t u = m.op(Prim::cast, {t}, f, TileDomain::uniform);
  const uint16_t both = m.op(Prim::mul, {s, u}, f, TileDomain::uniform);
  const uint32_t zero_dim = m.operand(f, 1, {0}, TileDomain::uniform);
  const uint16_t loaded = m.load(zero_dim, f, TileDomain::uniform);
  m.store(m.operand(f, 2, {1}), m.op(Prim::add, {m.op(Prim::mul, {x, both}, f), loaded}, f));
  const TileKernel kernel(m.program);
  const TileLaunch launch = m.launch(kernel);
  std::vector<float> data(100), out(4);
  for (size_t i = 0; i < data.size(); ++i) data[i] = static_cast<float>(i);
  float extra = 0.5f;
  for (uint64_t offset : {0, 10, 50}) {
    run(launch, {data.data(), &extra, out.data()},
        {offset, std::bit_cast<uint64_t>(1.5), offset + 2});
    for (size_t i = 0; i < 4; ++i)
      EXPECT_EQ(out[i], data[offset + i] * (1.5f * static_cast<float>(offset + 2)) + 0.5f);
  }
}

TEST(Tile, BrokenProgramsAreRefused) {
  const DType f = DType::f32;
  {
    Maker m(TileMode::map, {4}, {});
    m.store(m.operand(f, 0, {1}), m.reg(f));  // read before set
    EXPECT_THROW(TileKernel{m.program}, InternalError);
  }
  {
    Maker m(TileMode::row, {4}, {4});
    const uint16_t x = m.load(m.operand(f, 0, {4, 1}), f);
    m.phase();  // x does not persist
    m.store(m.operand(f, 1, {4, 1}), x);
    EXPECT_THROW(TileKernel{m.program}, InternalError);
  }
  {
    Maker m(TileMode::row, {4}, {4});
    const uint16_t x = m.load(m.operand(f, 0, {4, 1}), f);
    const uint16_t s = m.fold(qs::Fold::sum, x, f);
    m.store(m.operand(f, 1, {4, 1}), m.op(Prim::add, {x, s}, f));  // the fold of this very phase
    EXPECT_THROW(TileKernel{m.program}, InternalError);
  }
  {
    Maker m(TileMode::map, {4}, {});
    const uint16_t x = m.load(m.operand(DType::i32, 0, {1}), DType::i32);
    m.op(Prim::exp, {x}, DType::i32);
    EXPECT_THROW(TileKernel{m.program}, InternalError);
  }
  {
    Maker m(TileMode::map, {4}, {});
    const TileKernel kernel(m.program);
    m.args.extents.push_back(3);
    EXPECT_THROW(m.launch(kernel), InternalError);
  }
}
}  // namespace
}  // namespace qs::driver
