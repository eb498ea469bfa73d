// Sort and topk: rows along one dimension, stable, with values and positions.
//
// A value becomes an unsigned key whose order is the wanted one: NaN above all, -0 with 0,
// everything complemented when descending. Dtypes of up to 32 bits, and others whose keys lie
// within 32 bits of each other, put key and position into one 64-bit word; the words are all
// different, so any sort of them is stable. Long rows go through a radix sort by the key's digits
// alone, which keeps positions in order; short ones through std::sort.
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
#include "quicksilver/kernels/strided.h"
#include "quicksilver/kernels/texts.h"

namespace qs::kernels {
namespace {

using driver::KernelView;
using driver::PortableKernel;

template <class T>
using KeyOf = std::conditional_t<(sizeof(T) > 4), uint64_t, uint32_t>;

template <class T>
KeyOf<T> key_of(T x) {
  using Key = KeyOf<T>;
  constexpr Key top = Key{1} << (sizeof(Key) * 8 - 1);
  if constexpr (k_is_half<T>) {
    return key_of(static_cast<float>(x));
  } else if constexpr (std::is_floating_point_v<T>) {
    if (x != x) return ~Key{0};
    const Key bits = std::bit_cast<Key>(x == T(0) ? T(0) : x);
    return bits & top ? ~bits : bits | top;
  } else if constexpr (std::is_signed_v<T>) {
    return static_cast<Key>(x) ^ top;
  } else {
    return static_cast<Key>(x);
  }
}

constexpr int64_t k_few_keys = 64;  // rows as short are not worth a look at all keys first

struct Wide {
  uint64_t key;
  int64_t position;
};

inline uint64_t key_bits(uint64_t word) { return word >> 32; }
inline uint64_t key_bits(const Wide& w) { return w.key; }

// Least significant digit first; a digit that is the same everywhere is passed over.
template <class Item>
void radix_sort(std::vector<Item>& items, std::vector<Item>& other) {
  constexpr int digit_bits = 11, key_size = std::is_same_v<Item, Wide> ? 64 : 32;
  constexpr int digits = (key_size + digit_bits - 1) / digit_bits;
  constexpr size_t buckets = size_t{1} << digit_bits;
  const auto digit = [](const Item& x, int d) {
    return static_cast<size_t>(key_bits(x) >> (d * digit_bits)) & (buckets - 1);
  };
  std::vector<uint32_t> counts(digits * buckets, 0);
  for (const Item& x : items)
    for (int d = 0; d < digits; ++d) ++counts[d * buckets + digit(x, d)];
  other.resize(items.size());
  for (int d = 0; d < digits; ++d) {
    uint32_t* count = counts.data() + d * buckets;
    if (count[digit(items[0], d)] == items.size()) continue;
    uint32_t sum = 0;
    for (size_t b = 0; b < buckets; ++b) sum += std::exchange(count[b], sum);
    for (const Item& x : items) other[count[digit(x, d)]++] = x;
    items.swap(other);
  }
}

bool before(uint64_t a, uint64_t b) { return a < b; }
bool before(const Wide& a, const Wide& b) {
  return a.key != b.key ? a.key < b.key : a.position < b.position;
}

// The first k of `items` in order; the rest is left anyhow.
template <class Item>
void order(std::vector<Item>& items, std::vector<Item>& other, int64_t first, int64_t k) {
  const auto less = [](const Item& a, const Item& b) { return before(a, b); };
  const int64_t n = static_cast<int64_t>(items.size());
  if (first > 0) {  // the one at `first`
    std::nth_element(items.begin(), items.begin() + first, items.end(), less);
    return;
  }
  constexpr int64_t few = 32;
  if (k <= few && k < n / 8) {  // kept in order in front; most items are no better than the last
    if (k == 0) return;
    const auto begin = items.begin();
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
    const auto begin = items.begin();
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
    std::nth_element(items.begin(), items.begin() + k, items.end(), less);
    std::sort(items.begin(), items.begin() + k, less);
  } else if (n < 1024 || n > UINT32_MAX) {
    std::sort(items.begin(), items.end(), less);
  } else {
    radix_sort(items, other);
  }
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

  const auto rows = [&]<class Item>(std::vector<Item> items, auto make, auto position) {
    std::vector<Item> other;
    for_runs(rank, shape, 3, strides, begin, end, [&](const int64_t* at, int64_t count) {
      for (int64_t r = 0; r < count; ++r) {
        const auto start = [&](int o) { return at[o] + (rank > 0 ? r * strides[o][rank - 1] : 0); };
        const T* from = src + start(0);
        items.resize(static_cast<size_t>(length));
        for (int64_t i = 0; i < length; ++i)
          items[i] = make(static_cast<Key>(key_of(from[i * step[0]]) ^ flip), i);
        order(items, other, first, k);
        for (int64_t i = 0; i < k; ++i) {
          const int64_t p = position(items[first + i]);
          if (values) values[start(1) + i * step[1]] = from[p * step[0]];
          if (indices) indices[start(2) + i * step[2]] = p;
        }
      }
    });
  };
  // 64-bit keys that lie close together, as indices and counts do, fit into a word as well.
  Key low = sizeof(Key) == 4 ? 0 : ~Key{0}, high = 0;
  if (sizeof(Key) == 8 && length > k_few_keys)
    for_runs(rank, shape, 3, strides, begin, end, [&](const int64_t* at, int64_t count) {
      for (int64_t r = 0; r < count && (low > high || high - low <= UINT32_MAX); ++r) {
        const T* from = src + at[0] + (rank > 0 ? r * strides[0][rank - 1] : 0);
        for (int64_t i = 0; i < length; ++i) {
          const Key key = static_cast<Key>(key_of(from[i * step[0]]) ^ flip);
          low = std::min(low, key);
          high = std::max(high, key);
        }
      }
    });
  if (length <= UINT32_MAX && low <= high && high - low <= UINT32_MAX) {
    rows(
        std::vector<uint64_t>(),
        [low](Key key, int64_t i) {
          return static_cast<uint64_t>(key - low) << 32 | static_cast<uint64_t>(i);
        },
        [](uint64_t w) { return static_cast<int64_t>(w & UINT32_MAX); });
  } else {
    rows(
        std::vector<Wide>(), [](Key key, int64_t i) { return Wide{key, i}; },
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
