// Chains: instructions each of which hands its only result to the next, over one strip of a block
// after the other. A strip is as many vectors as calls pass in registers; an instruction is a
// function that takes them, applies itself, and ends in a call of the next, which the compiler makes
// a jump. So what is handed on never touches memory, and nothing is compiled for a given chain.
//
//   load x | mul 2 | add w | maximum 0 | mul 0.5 | sub w | store
//
// Sources are read as the instructions come to them, and the result is stored last: a source may be
// the very memory of the result. Sources and result may lie in memory in a narrower dtype: they are
// widened and narrowed on the way, so that f16 needs no pass of its own for that. Included by tile_ops.inl, whose instructions these are.
namespace qs::driver::cpu::QS_ISA_NAMESPACE {
namespace {

constexpr int k_strip_vectors = 8;
constexpr int64_t k_strip_bytes = k_strip_vectors * k_bytes;

#define HELD(V) V v0, V v1, V v2, V v3, V v4, V v5, V v6, V v7
#define HAND_ON(at, dst, offset) \
  return reinterpret_cast<LinkFn<V>>((at)->fn)(v0, v1, v2, v3, v4, v5, v6, v7, at, dst, offset)
#define EACH(f) f(v0, 0) f(v1, 1) f(v2, 2) f(v3, 3) f(v4, 4) f(v5, 5) f(v6, 6) f(v7, 7)

template <class V>
using LinkFn = void (*)(HELD(V), const ChainLink* at, char* dst, int64_t offset);

// How elements lie: at byte `offset` of vectors V, k vectors further.
template <class V>
struct Same {
  static constexpr bool one = false;
  static QS_INLINE V read(const char* p, int64_t offset, int k) {
    return load<V>(p + offset + k * k_bytes);
  }
  static QS_INLINE void write(char* p, int64_t offset, int k, V v) {
    store(p + offset + k * k_bytes, v);
  }
};
template <class V>
struct Splat {
  static constexpr bool one = true;
  static QS_INLINE V read(const char* p, int64_t, int) { return load<V>(p); }
};
template <class Narrow>
struct Narrower {
  static constexpr bool one = false;
  static constexpr int64_t ratio = 4 / Narrow::size;
  static QS_INLINE auto read(const char* p, int64_t offset, int k) {
    return Narrow::read(p + offset / ratio + k * (k_bytes / ratio));
  }
  template <class V>
  static QS_INLINE void write(char* p, int64_t offset, int k, V v) {
    Narrow::write(p + offset / ratio + k * (k_bytes / ratio), v);
  }
};

template <class V, class From>
void load_link(HELD(V), const ChainLink* at, char* dst, int64_t offset) {
  const char* p = at->src;
#define ONE(v, k) v = From::read(p, offset, k);
  EACH(ONE)
#undef ONE
  HAND_ON(at + 1, dst, offset);
}

template <class V, class To>
void store_link(HELD(V), const ChainLink*, char* dst, int64_t offset) {
#define ONE(v, k) To::write(dst, offset, k, v);
  EACH(ONE)
#undef ONE
}

template <class V, class F>
void link1(HELD(V), const ChainLink* at, char* dst, int64_t offset) {
#define ONE(v, k) v = F::apply(v);
  EACH(ONE)
#undef ONE
  HAND_ON(at + 1, dst, offset);
}

template <class V, class F, bool swapped, class From>
void link2(HELD(V), const ChainLink* at, char* dst, int64_t offset) {
  const char* p = at->src;
  if constexpr (From::one) {
    const V x = From::read(p, 0, 0);
#define ONE(v, k) v = swapped ? F::apply(x, v) : F::apply(v, x);
    EACH(ONE)
#undef ONE
  } else {
#define ONE(v, k)                                  \
  {                                                \
    const V x = From::read(p, offset, k);          \
    v = swapped ? F::apply(x, v) : F::apply(v, x); \
  }
    EACH(ONE)
#undef ONE
  }
  HAND_ON(at + 1, dst, offset);
}

template <class V>
void run_strip(const ChainLink* links, char* dst, int64_t offset) {
  const V none{};
  reinterpret_cast<LinkFn<V>>(links->fn)(none, none, none, none, none, none, none, none, links, dst,
                                         offset);
}

template <class T>
void chain_slots(char* dst, const ChainLink* links, int64_t n) {
  const int64_t bytes = n * static_cast<int64_t>(sizeof(T));
  for (int64_t offset = 0; offset < bytes; offset += k_strip_bytes)
    run_strip<Vec<T>>(links, dst, offset);
}

/// Whether the first n elements of dst share memory with those of a source.
QS_INLINE bool meets_source(const char* dst, const ChainLink* links, int count, int64_t n) {
  const char* const end = dst + n * links[count].item;
  for (int k = 0; k < count; ++k)
    if (links[k].src && links[k].src < end && dst < links[k].src + n * links[k].item) return true;
  return false;
}

/// `count` links and the store.
template <class T>
void chain_memory(char* dst, const ChainLink* links, int count, int64_t n) {
  constexpr int64_t k_strip = k_strip_bytes / sizeof(T);
  int64_t i = 0;
  for (; i + k_strip <= n; i += k_strip)
    run_strip<Vec<T>>(links, dst, i * static_cast<int64_t>(sizeof(T)));
  const size_t left = static_cast<size_t>(n - i);
  if (left == 0) return;
  // Memory beyond the n-th element is never touched. The last strip overlaps the one before, whose
  // elements come out the same where no source was overwritten; else what is left goes through
  // copies.
  if (i > 0 && !meets_source(dst, links, count, n))
    return run_strip<Vec<T>>(links, dst, (n - k_strip) * static_cast<int64_t>(sizeof(T)));
  alignas(64) char rest[k_most_links + 2][k_strip_bytes];
  ChainLink local[k_most_links + 2];
  for (int k = 0; k <= count; ++k) {
    local[k] = links[k];
    if (k == count || links[k].item == 0) continue;
    std::memcpy(rest[k], links[k].src + i * links[k].item,
                left * static_cast<size_t>(links[k].item));
    local[k].src = rest[k];
  }
  char* out = rest[k_most_links + 1];
  run_strip<Vec<T>>(local, out, 0);
  const int64_t item = links[count].item;
  std::memcpy(dst + i * item, out, left * static_cast<size_t>(item));
}

template <class V>
auto raw(LinkFn<V> f) {
  return reinterpret_cast<void (*)()>(f);
}

/// The chains of vectors of T, whose elements may lie as the `Narrow` say.
template <class T, class... Narrow>
struct Links {
  using V = Vec<T>;
  IsaTable& t;
  const RegClass r;

  template <class F>
  void one(F, Prim p) {
    t.link[static_cast<int>(p)][r][0][0] = raw<V>(link1<V, F>);
  }
  template <class F>
  void two(F, Prim p) {
    auto& row = t.link[static_cast<int>(p)][r];
    int form = 0;
    const auto put = [&]<class From>(From) {
      row[0][form] = raw<V>(link2<V, F, false, From>);
      row[1][form++] = raw<V>(link2<V, F, true, From>);
    };
    put(Same<V>{});
    put(Splat<V>{});
    (put(Narrower<Narrow>{}), ...);
  }
  void ends() {
    t.chain_load[r][form_same] = raw<V>(load_link<V, Same<V>>);
    t.chain_load[r][form_splat] = raw<V>(load_link<V, Splat<V>>);
    t.chain_store[r][form_same] = raw<V>(store_link<V, Same<V>>);
    int form = form_narrow;
    ((t.chain_load[r][form] = raw<V>(load_link<V, Narrower<Narrow>>),
      t.chain_store[r][form++] = raw<V>(store_link<V, Narrower<Narrow>>)),
     ...);
    if constexpr (sizeof(T) == 4)
      t.chain_store[r][form_flags] = raw<V>(store_link<V, Narrower<Flags>>);
    t.chain_slots[r] = chain_slots<T>;
    t.chain_memory[r] = chain_memory<T>;
  }
};

template <class L>
void fill_float_links(L links) {
  links.ends();
  links.one(Neg{}, Prim::neg);
  links.one(AbsFloat{}, Prim::abs);
  links.one(Square{}, Prim::square);
  links.one(SqrtFloat{}, Prim::sqrt);
  links.one(Rsqrt{}, Prim::rsqrt);
  links.one(Reciprocal{}, Prim::reciprocal);
  links.one(Floor{}, Prim::floor);
  links.one(Ceil{}, Prim::ceil);
  links.one(Trunc{}, Prim::trunc);
  links.one(Round{}, Prim::round);
  links.two(Add{}, Prim::add);
  links.two(Sub{}, Prim::sub);
  links.two(Mul{}, Prim::mul);
  links.two(Div{}, Prim::div);
  links.two(Maximum{}, Prim::maximum);
  links.two(Minimum{}, Prim::minimum);
}

/// 1 where F holds, else 0, in the bits of lanes of any kind.
template <class F, class L = void>
struct Flag {
  template <class V>
  static QS_INLINE V apply(V x, V y) {
    if constexpr (std::is_same_v<L, void>) {
      return (V)((vu32)F::lanes(x, y) & 1u);
    } else {
      return (V)((vu32)F::lanes((L)x, (L)y) & 1u);
    }
  }
};
template <class L, class Links>
void fill_flag_links(Links& links) {
  links.two(Flag<Eq, L>{}, Prim::eq);
  links.two(Flag<Ne, L>{}, Prim::ne);
  links.two(Flag<Lt, L>{}, Prim::lt);
  links.two(Flag<Le, L>{}, Prim::le);
  links.two(Flag<Gt, L>{}, Prim::gt);
  links.two(Flag<Ge, L>{}, Prim::ge);
}

/// What looks at the sign, on the unsigned lanes that wrap.
template <class F>
struct Signed {
  static QS_INLINE vu32 apply(vu32 x, vu32 y) { return (vu32)F::apply((vi32)x, (vi32)y); }
};
struct AbsLanes {
  static QS_INLINE vu32 apply(vu32 x) { return (vi32)x < 0 ? -x : x; }
};

void fill_links(IsaTable& t) {
  Links<float, F16, Bf16> floats{t, r_f32};
  fill_float_links(floats);
  fill_flag_links<void>(floats);
  t.chain_store[r_f32][form_exact] = raw<vf32>(store_link<vf32, Narrower<ExactBf16>>);
  fill_float_links(Links<double>{t, r_f64});
  Links<uint32_t, Whole<uint8_t>, Whole<int8_t>, Whole<int16_t>> links{t, r_i32};
  links.ends();
  links.one(Neg{}, Prim::neg);
  links.one(AbsLanes{}, Prim::abs);
  links.one(Square{}, Prim::square);
  links.one(Not{}, Prim::bit_not);
  links.two(Add{}, Prim::add);
  links.two(Sub{}, Prim::sub);
  links.two(Mul{}, Prim::mul);
  links.two(And{}, Prim::bit_and);
  links.two(Or{}, Prim::bit_or);
  links.two(Xor{}, Prim::bit_xor);
  links.two(Signed<MaximumInt>{}, Prim::maximum);
  links.two(Signed<MinimumInt>{}, Prim::minimum);
  fill_flag_links<vi32>(links);
  const auto at = [](DType d) { return static_cast<int>(d); };
  t.round_link[at(DType::f16)] = raw<vf32>(link1<vf32, F16Round>);
  t.round_link[at(DType::bf16)] = raw<vf32>(link1<vf32, Bf16Round>);
  t.round_link[at(DType::u8)] = raw<vu32>(link1<vu32, Wrapped<uint8_t>>);
  t.round_link[at(DType::i8)] = raw<vu32>(link1<vu32, Wrapped<int8_t>>);
  t.round_link[at(DType::i16)] = raw<vu32>(link1<vu32, Wrapped<int16_t>>);
}

#undef EACH
#undef HAND_ON
#undef HELD

}  // namespace
}  // namespace qs::driver::cpu::QS_ISA_NAMESPACE
