// The matrix product without a particular instruction set.
#include <cmath>
#include <cstring>
#include <type_traits>

#include "quicksilver/core/half.h"
#include "quicksilver/driver/cpu/gemm_table.h"

#define QS_GEMM_NAMESPACE gemm_generic
#define QS_INLINE [[gnu::always_inline]] inline

namespace qs::driver::cpu::QS_GEMM_NAMESPACE {
namespace {

constexpr int k_vector_bytes = 16;
constexpr int k_tile_rows = 4;

template <class T>
struct VecOf {
  typedef T type __attribute__((vector_size(k_vector_bytes)));
};
template <class T>
using Vec = typename VecOf<T>::type;
template <class T>
QS_INLINE Vec<T> load(const T* p) {
  Vec<T> v;
  std::memcpy(&v, p, sizeof v);
  return v;
}
template <class T>
QS_INLINE void store(T* p, Vec<T> v) {
  std::memcpy(p, &v, sizeof v);
}
template <class T>
QS_INLINE Vec<T> splat(T x) {
  return Vec<T>{} + x;
}
template <class V>
QS_INLINE V fma(V a, V b, V c) {
  return a * b + c;
}
template <class T>
QS_INLINE T fma_one(T a, T b, T c) {
  return a * b + c;
}
template <class T>
QS_INLINE int part_mask(int count) {
  return count;
}
template <class T>
QS_INLINE Vec<T> load_part(const T* p, int count) {
  Vec<T> v{};
  for (int i = 0; i < count; ++i) v[i] = p[i];
  return v;
}
template <class T>
QS_INLINE void store_part(T* p, Vec<T> v, int count) {
  for (int i = 0; i < count; ++i) p[i] = v[i];
}
QS_INLINE Vec<float> load_half(const F16* p) {
  Vec<float> v{};
  for (int i = 0; i < 4; ++i) v[i] = f16_to_f32(p[i].bits);
  return v;
}
QS_INLINE Vec<float> load_half(const BF16* p) {
  Vec<float> v{};
  for (int i = 0; i < 4; ++i) v[i] = bf16_to_f32(p[i].bits);
  return v;
}
template <class S>
void transpose_panel(float* dst, int64_t width, const S* src, int64_t line, int rows, int64_t k);

}  // namespace
}  // namespace qs::driver::cpu::QS_GEMM_NAMESPACE

#include "quicksilver/driver/cpu/gemm_block.inl"

namespace qs::driver::cpu {
namespace gemm_generic {
namespace {

template <class S>
void transpose_panel(float* dst, int64_t width, const S* src, int64_t line, int rows, int64_t k) {
  for (int64_t p = 0; p < k; ++p)
    for (int i = 0; i < 4 && i < width; ++i)
      dst[p * width + i] = i < rows ? widen<float, S>(src[i * line + p]) : 0.0f;
}

}  // namespace
}  // namespace gemm_generic

const GemmTable& gemm_generic_table() {
  static const GemmTable table = gemm_generic::make_table();
  return table;
}

}  // namespace qs::driver::cpu
