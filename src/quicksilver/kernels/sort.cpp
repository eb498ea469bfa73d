// Sort and topk: rows along one dimension, stable, with values and positions.
//
// A value becomes an unsigned key whose order is the wanted one: NaN above all, -0 with 0,
// everything complemented when descending. Dtypes of up to 32 bits, and others whose keys lie
// within 32 bits of each other, put key and position into one 64-bit word; the words are all
// different, so any sort of them is stable. Long rows go through a radix sort by the key's digits
// alone (radix.h), which keeps positions in order; short ones through std::sort. Values are made of
// the keys again, since their positions lie anywhere in memory.
//
// pointers  src, values, indices (the latter two as present)
// ints      dtype, descending, with values, with indices, length, k (rows of the results), steps
//           along the dimension of src, values, indices, first rank wanted, rank of the rest, its
//           shape, its strides of src, values, indices
// items     rows: points of the rest, row-major
//
// As text (text/merge_sort.h): tiles sorted in group memory, then merged.
#include <algorithm>
#include <bit>
#include <type_traits>
#include <utility>
#include <vector>

#include "quicksilver/core/error.h"
#include "quicksilver/kernels/radix.h"
#include "quicksilver/kernels/strided.h"
#include "quicksilver/kernels/texts.h"

namespace qs::kernels {
namespace {

using driver::KernelView;
using driver::PortableKernel;

template <class T>
using KeyOf = std::conditional_t<(sizeof(T) > 4), uint64_t, uint32_t>;
/// A key's bits of T: halves have 16 of their own.
template <class T>
using Bits = std::conditional_t<k_is_half<T>, uint16_t, KeyOf<T>>;
template <class T>
constexpr Bits<T> k_top = static_cast<Bits<T>>(Bits<T>{1} << (sizeof(Bits<T>) * 8 - 1));

template <class T>
Bits<T> bits_of(T x) {
  if constexpr (k_is_half<T>)
    return x.bits;
  else
    return std::bit_cast<Bits<T>>(x);
}

template <class T>
constexpr bool k_is_real = k_is_half<T> || std::is_floating_point_v<T>;

template <class T>
KeyOf<T> key_of(T x) {
  if constexpr (k_is_real<T>) {
    bool missing, zero;
    if constexpr (k_is_half<T>) {
      const float wide = static_cast<float>(x);
      missing = wide != wide, zero = wide == 0;
    } else {
      missing = x != x, zero = x == T(0);
    }
    if (missing) return static_cast<Bits<T>>(~Bits<T>{0});
    const Bits<T> bits = zero ? Bits<T>{0} : bits_of(x);
    return static_cast<Bits<T>>(bits & k_top<T> ? ~bits : bits | k_top<T>);
  } else if constexpr (std::is_signed_v<T>) {
    return static_cast<KeyOf<T>>(x) ^ k_top<T>;
  } else {
    return static_cast<KeyOf<T>>(x);
  }
}

/// The value a key was made of, unless there are several: false for NaN and zeros.
template <class T>
bool value_of(KeyOf<T> key, T& x) {
  if constexpr (k_is_real<T>) {
    const Bits<T> bits = static_cast<Bits<T>>(key);
    if (bits == static_cast<Bits<T>>(~Bits<T>{0}) || bits == k_top<T>) return false;
    const Bits<T> own = static_cast<Bits<T>>(bits & k_top<T> ? bits ^ k_top<T> : ~bits);
    if constexpr (k_is_half<T>)
      x.bits = own;
    else
      x = std::bit_cast<T>(own);
  } else if constexpr (std::is_signed_v<T>) {
    x = static_cast<T>(key ^ k_top<T>);
  } else {
    x = static_cast<T>(key);
  }
  return true;
}

constexpr int64_t k_radix_from = 128;  // elements; shorter rows are sorted by comparing
constexpr int64_t k_few_keys = 64;     // rows as short are not worth a look at all keys first

bool before(uint64_t a, uint64_t b) { return a < b; }
bool before(const Wide& a, const Wide& b) {
  return a.key != b.key ? a.key < b.key : a.position < b.position;
}

/// The first k of `items` in order; the rest is left anyhow. Gives where they are: `items` or
/// `other`. `differing`: the bits in which keys differ.
template <class Item>
Item* order(Item* items, Item* other, int64_t n, uint64_t differing, int64_t first, int64_t k) {
  const auto less = [](const Item& a, const Item& b) { return before(a, b); };
  Item* const begin = items;
  Item* const end = items + n;
  if (first > 0) {  // the one at `first`
    std::nth_element(begin, begin + first, end, less);
    return items;
  }
  constexpr int64_t few = 32;
  if (k <= few && k < n / 8) {  // kept in order in front; most items are no better than the last
    if (k == 0) return items;
    std::sort(begin, begin + k, less);
    for (int64_t i = k; i < n; ++i) {
      if (!less(items[i], items[k - 1])) continue;
      const Item x = items[i];
      int64_t at = k - 1;
      items[i] = items[at];
      for (; at > 0 && less(x, items[at - 1]); --at) items[at] = items[at - 1];
      items[at] = x;
    }
  } else if (k < n / 64) {
    // Candidates gather behind the first k; when there are many, the best k of them stay.
    const int64_t room = 8 * k;
    int64_t kept = room;
    std::nth_element(begin, begin + (k - 1), begin + kept, less);
    for (int64_t i = kept; i < n; ++i) {
      if (!less(items[i], items[k - 1])) continue;
      std::swap(items[kept++], items[i]);
      if (kept < 2 * room) continue;
      std::nth_element(begin, begin + (k - 1), begin + kept, less);
      kept = k;
    }
    std::nth_element(begin, begin + (k - 1), begin + kept, less);
    std::sort(begin, begin + k, less);
  } else if (k < n / 8) {
    std::nth_element(begin, begin + k, end, less);
    std::sort(begin, begin + k, less);
  } else if (n < k_radix_from || n > UINT32_MAX) {
    std::sort(begin, end, less);
  } else {
    return radix_sort(items, other, n, differing);
  }
  return items;
}

template <class T>
void sort_rows(const KernelView& view, int64_t begin, int64_t end) {
  using Key = KeyOf<T>;
  IntReader ints(view.ints + 1);
  const bool descending = ints.next() != 0;
  const bool with_values = ints.next() != 0, with_indices = ints.next() != 0;
  const int64_t length = ints.next(), k = ints.next();
  const int64_t* step = ints.take(3);
  const int64_t first = ints.next(), rank = ints.next();
  const int64_t* shape = ints.take(rank);
  const int64_t* strides[3];
  for (const int64_t*& s : strides) s = ints.take(rank);
  const T* src = static_cast<const T*>(view.pointers[0]);
  T* values = with_values ? static_cast<T*>(view.pointers[1]) : nullptr;
  int64_t* indices =
      with_indices ? static_cast<int64_t*>(view.pointers[with_values ? 2 : 1]) : nullptr;
  const Key flip = descending ? ~Key{0} : Key{0};

  const auto rows = [&]<class Item>(Item*, Key low, auto make, auto position) {
    const auto room = std::make_unique_for_overwrite<Item[]>(static_cast<size_t>(2 * length));
    Item *items = room.get(), *other = room.get() + length;
    const int64_t parts = parts_of(length);
    std::vector<Key> different(static_cast<size_t>(parts));
    for_runs(rank, shape, 3, strides, begin, end, [&](const int64_t* at, int64_t count) {
      for (int64_t r = 0; r < count; ++r) {
        const auto start = [&](int o) { return at[o] + (rank > 0 ? r * strides[o][rank - 1] : 0); };
        const T* from = src + start(0);
        const int64_t from_step = step[0];
        in_parts(length, parts, [&](int64_t part, int64_t i, int64_t last) {
          Key all = 0;
          const Key some = static_cast<Key>((key_of(from[0]) ^ flip) - low);
          for (; i < last; ++i) {
            const Key key = static_cast<Key>((key_of(from[i * from_step]) ^ flip) - low);
            all |= key ^ some;
            items[i] = make(key, i);
          }
          different[static_cast<size_t>(part)] = all;
        });
        Key differing = 0;
        for (Key d : different) differing |= d;
        const Item* sorted = order(items, other, length, differing, first, k) + first;
        T* const to = values ? values + start(1) : nullptr;
        int64_t* const places = indices ? indices + start(2) : nullptr;
        in_parts(k, parts_of(k), [&](int64_t, int64_t i, int64_t last) {
          for (; i < last; ++i) {
            const int64_t p = position(sorted[i]);
            if (places) places[i * step[2]] = p;
            if (!to) continue;
            T x;  // of the key: positions lie anywhere in memory
            if (!value_of<T>((static_cast<Key>(key_bits(sorted[i])) + low) ^ flip, x))
              x = from[p * from_step];
            to[i * step[1]] = x;
          }
        });
      }
    });
  };
  // 64-bit keys that lie close together, as indices and counts do, fit into a word as well.
  Key low = sizeof(Key) == 4 ? 0 : ~Key{0}, high = 0;
  if (sizeof(Key) == 8 && length > k_few_keys)
    for_runs(rank, shape, 3, strides, begin, end, [&](const int64_t* at, int64_t count) {
      for (int64_t r = 0; r < count && (low > high || high - low <= UINT32_MAX); ++r) {
        const T* from = src + at[0] + (rank > 0 ? r * strides[0][rank - 1] : 0);
        std::vector<std::pair<Key, Key>> ends(static_cast<size_t>(parts_of(length)));
        in_parts(length, parts_of(length), [&](int64_t part, int64_t i, int64_t last) {
          std::pair<Key, Key> seen = {~Key{0}, 0};
          for (; i < last; ++i) {
            const Key key = static_cast<Key>(key_of(from[i * step[0]]) ^ flip);
            seen = {std::min(seen.first, key), std::max(seen.second, key)};
          }
          ends[static_cast<size_t>(part)] = seen;
        });
        for (const auto& seen : ends) {
          low = std::min(low, seen.first);
          high = std::max(high, seen.second);
        }
      }
    });
  if (length <= UINT32_MAX && low <= high && high - low <= UINT32_MAX) {
    rows(
        static_cast<uint64_t*>(nullptr), low,
        [](Key key, int64_t i) {
          return static_cast<uint64_t>(key) << 32 | static_cast<uint64_t>(i);
        },
        [](uint64_t w) { return static_cast<int64_t>(w & UINT32_MAX); });
  } else {
    rows(
        static_cast<Wide*>(nullptr), Key{0}, [](Key key, int64_t i) { return Wide{key, i}; },
        [](const Wide& w) { return w.position; });
  }
}

driver::TextPlan plan_sort(const driver::KernelArgs& args) {
  driver::TextPlan plan;
  if (args.items == 0) return plan;
  SortRows sort;
  sort.rows = args.items;
  sort.length = args.ints[4];
  sort.keep = args.ints[9] + args.ints[5];
  sort.key_bytes = size_of(static_cast<DType>(args.ints[0])) == 8 ? 8 : 4;
  sort.place_bytes = sort.length > UINT32_MAX ? 8 : 4;
  sort_launches(sort, plan);
  return plan;
}

const driver::KernelText* sort_text(DType dtype, bool wide) {
  return make_text(
      {"walk", "order", "sort", "merge_sort"},
      order_options(dtype) + define("QS_ITEMS", k_text_items) + define("QS_WIDE", wide),
      {"merge_tiles", "merge_runs"}, plan_sort);
}

}  // namespace

/// `wide`: rows whose positions need 64 bits, which only the text cares about.
const PortableKernel& sort_kernel(DType dtype, bool wide) {
  static const std::vector<PortableKernel> kernels = [] {
    std::vector<PortableKernel> list(2 * k_dtype_count);
    for (int d = 0; d < k_dtype_count; ++d)
      dispatch(static_cast<DType>(d), [&]<class T>(T) {
        if constexpr (!k_is_complex<T>)
          for (int w = 0; w < 2; ++w)
            list[2 * d + w] = {"sort_" + std::string(k_dtype_info[d].short_name),
                               sort_text(static_cast<DType>(d), w != 0), sort_rows<T>};
      });
    return list;
  }();
  QS_ASSERT(!is_complex(dtype));
  return kernels[2 * static_cast<size_t>(dtype) + wide];
}

namespace {

KernelCall sort_call(const View* values, const View* indices, const View& src, int dim,
                     bool descending, int64_t first = 0) {
  QS_ASSERT(values || indices);
  const bool scalar = src.shape.empty();
  const size_t d = static_cast<size_t>(dim);
  const View& result = values ? *values : *indices;
  const View* views[] = {&src, values ? values : &result, indices ? indices : &result};
  Space rest;
  int64_t steps[3] = {};
  for (int o = 0; o < 3; ++o) {
    if (!scalar) steps[o] = views[o]->strides[d];
    rest.strides.push_back(scalar ? Dims{} : without(views[o]->strides, dim));
  }
  if (!scalar) rest.shape = without(src.shape, dim);
  rest.simplify();
  const int64_t length = scalar ? 1 : src.shape[d], k = scalar ? 1 : result.shape[d];
  QS_ASSERT(k <= length);

  KernelCall call;
  call.kernel = &sort_kernel(src.dtype, length > UINT32_MAX);
  driver::KernelArgs& args = call.args;
  args.pointers = {src.ptr};
  if (values) args.pointers.push_back(values->ptr);
  if (indices) args.pointers.push_back(indices->ptr);
  args.ints = {static_cast<int64_t>(src.dtype),
               descending,
               values != nullptr,
               indices != nullptr,
               length,
               k,
               steps[0],
               steps[1],
               steps[2],
               first,
               static_cast<int64_t>(rest.shape.size())};
  append(args.ints, rest.shape);
  for (const Dims& s : rest.strides) append(args.ints, s);
  args.items = k > 0 ? rest.numel() : 0;
  args.grain = grain_for(length, 4096);
  return call;
}

}  // namespace

KernelCall sort(const View* values, const View* indices, const View& src, int dim,
                bool descending) {
  return sort_call(values, indices, src, dim, descending);
}

KernelCall topk(const View* values, const View* indices, const View& src, int dim, bool largest) {
  return sort_call(values, indices, src, dim, largest);
}

KernelCall kth_value(const View& values, const View& indices, const View& src, int dim, int64_t k) {
  return sort_call(&values, &indices, src, dim, false, k);
}

}  // namespace qs::kernels
