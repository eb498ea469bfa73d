// Chains: instructions each of which hands its only result to the next, over one strip of a block
// after the other. A strip is as many vectors as calls pass in registers; an instruction is a
// function that takes them, applies itself, and ends in a call of the next, which the compiler makes
// a jump. So what is handed on never touches memory, and nothing is compiled for a given chain.
//
//   load x | mul 2 | add w | maximum 0 | mul 0.5 | sub w | store
//
// Sources are read as the instructions come to them, and the result is stored last: a source may be
// the very memory of the result. Included by tile_ops.inl, whose instructions these are.
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

template <class V, bool splat>
void load_link(HELD(V), const ChainLink* at, char* dst, int64_t offset) {
  const char* p = at->src + (splat ? 0 : offset);
  if constexpr (splat) {
    const V x = load<V>(p);
#define ONE(v, k) v = x;
    EACH(ONE)
#undef ONE
  } else {
#define ONE(v, k) v = load<V>(p + k * k_bytes);
    EACH(ONE)
#undef ONE
  }
  HAND_ON(at + 1, dst, offset);
}

template <class V>
void store_link(HELD(V), const ChainLink*, char* dst, int64_t offset) {
#define ONE(v, k) store(dst + offset + k * k_bytes, v);
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

template <class V, class F, bool swapped, bool splat>
void link2(HELD(V), const ChainLink* at, char* dst, int64_t offset) {
  const char* p = at->src + (splat ? 0 : offset);
  if constexpr (splat) {
    const V x = load<V>(p);
#define ONE(v, k) v = swapped ? F::apply(x, v) : F::apply(v, x);
    EACH(ONE)
#undef ONE
  } else {
#define ONE(v, k)                           \
  {                                         \
    const V x = load<V>(p + k * k_bytes);   \
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

/// `count` links and the store; bit k of `splats`: link k has no source that moves on.
template <class T>
void chain_memory(char* dst, const ChainLink* links, int count, uint32_t splats, int64_t n) {
  const int64_t bytes = n * static_cast<int64_t>(sizeof(T));
  int64_t offset = 0;
  for (; offset + k_strip_bytes <= bytes; offset += k_strip_bytes)
    run_strip<Vec<T>>(links, dst, offset);
  const int64_t left = bytes - offset;
  if (left == 0) return;
  // What is left goes through copies: memory beyond the n-th element is never touched.
  alignas(64) char rest[k_most_links + 2][k_strip_bytes];
  ChainLink local[k_most_links + 2];
  for (int k = 0; k <= count; ++k) {
    local[k] = links[k];
    if (k == count || (splats >> k & 1)) continue;
    std::memcpy(rest[k], links[k].src + offset, static_cast<size_t>(left));
    local[k].src = rest[k];
  }
  char* out = rest[k_most_links + 1];
  run_strip<Vec<T>>(local, out, 0);
  std::memcpy(dst + offset, out, static_cast<size_t>(left));
}

#undef EACH
#undef HAND_ON
#undef HELD

template <class T>
void fill_links(IsaTable& t, RegClass r) {
  using V = Vec<T>;
  const auto raw = [](LinkFn<V> f) { return reinterpret_cast<void (*)()>(f); };
  const auto one = [&]<class F>(F, Prim p) {
    auto& row = t.link[static_cast<int>(p)][r];
    row[0][0] = row[0][1] = row[1][0] = row[1][1] = raw(link1<V, F>);
  };
  const auto two = [&]<class F>(F, Prim p) {
    auto& row = t.link[static_cast<int>(p)][r];
    row[0][0] = raw(link2<V, F, false, false>);
    row[0][1] = raw(link2<V, F, false, true>);
    row[1][0] = raw(link2<V, F, true, false>);
    row[1][1] = raw(link2<V, F, true, true>);
  };
  one(Neg{}, Prim::neg);
  one(AbsFloat{}, Prim::abs);
  one(Square{}, Prim::square);
  one(SqrtFloat{}, Prim::sqrt);
  one(Rsqrt{}, Prim::rsqrt);
  one(Reciprocal{}, Prim::reciprocal);
  two(Add{}, Prim::add);
  two(Sub{}, Prim::sub);
  two(Mul{}, Prim::mul);
  two(Div{}, Prim::div);
  two(Maximum{}, Prim::maximum);
  two(Minimum{}, Prim::minimum);
  t.chain_load[r][0] = raw(load_link<V, false>);
  t.chain_load[r][1] = raw(load_link<V, true>);
  t.chain_store[r] = raw(store_link<V>);
  t.chain_slots[r] = chain_slots<T>;
  t.chain_memory[r] = chain_memory<T>;
}

}  // namespace
}  // namespace qs::driver::cpu::QS_ISA_NAMESPACE
