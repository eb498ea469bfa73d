// The product of bfloat16 matrices by AVX512-BF16: one instruction multiplies pairs along k and adds
// both products to an f32. Included by gemm_avx512.cpp behind gemm_block.inl.
//
// Everything is laid out as 32-bit pairs (x[2p], x[2p + 1]): panels of B hold, for each pair, 32
// columns; panels of A their rows. Where k runs along memory a pair lies there already, and laying
// out is the transposition of 32-bit elements; rows of A that few columns pass over are read in
// place. An odd k ends in a pair with a zero.
namespace qs::driver::cpu::gemm_avx512 {
namespace {

constexpr int64_t k_pairs = k_gemm_k;  // a step: twice as many k as for f32
constexpr int k_pair_columns = 32;

struct PairArgs {
  const char* a;
  const float* b;  // pairs
  float* c;
  int64_t pairs, a_row, a_pair, c_row;  // of A in bytes
  float alpha;
  bool add;
  int columns;
};

QS_INLINE __m512bh pairs_of(__m512i v) { return (__m512bh)v; }

template <int MR, int NV>
void micro_pairs(const PairArgs& g) {
  __m512 acc[MR][NV];
#pragma GCC unroll 32
  for (int i = 0; i < MR; ++i)
#pragma GCC unroll 2
    for (int j = 0; j < NV; ++j) acc[i][j] = _mm512_setzero_ps();
  const char* a = g.a;
  const float* b = g.b;
  for (int64_t p = g.pairs; p > 0; --p) {
    __m512bh bv[NV];
#pragma GCC unroll 2
    for (int j = 0; j < NV; ++j) bv[j] = pairs_of(_mm512_loadu_si512(b + j * 16));
#pragma GCC unroll 32
    for (int i = 0; i < MR; ++i) {
      int pair;
      std::memcpy(&pair, a + i * g.a_row, sizeof pair);
      const __m512bh av = pairs_of(_mm512_set1_epi32(pair));
#pragma GCC unroll 2
      for (int j = 0; j < NV; ++j) acc[i][j] = _mm512_dpbf16_ps(acc[i][j], av, bv[j]);
    }
    a += g.a_pair;
    b += k_pair_columns;
  }
  const __m512 alpha = _mm512_set1_ps(g.alpha);
#pragma GCC unroll 32
  for (int i = 0; i < MR; ++i)
#pragma GCC unroll 2
    for (int j = 0; j < NV; ++j) {
      const int left = g.columns - j * 16;
      const __mmask16 mask = static_cast<__mmask16>(left >= 16 ? 0xffff : (1 << left) - 1);
      float* c = g.c + i * g.c_row + j * 16;
      __m512 v = g.alpha == 1 ? acc[i][j] : _mm512_mul_ps(acc[i][j], alpha);
      if (g.add) v = _mm512_add_ps(v, _mm512_maskz_loadu_ps(mask, c));
      _mm512_mask_storeu_ps(c, mask, v);
    }
}

struct PairTable {
  void (*fn[k_tile_rows + 1][2])(const PairArgs&) = {};
  template <int MR>
  constexpr void fill() {
    fn[MR][0] = micro_pairs<MR, 1>;
    fn[MR][1] = micro_pairs<MR, 2>;
    if constexpr (MR > 1) fill<MR - 1>();
  }
  constexpr PairTable() { fill<k_tile_rows>(); }
};
constexpr PairTable k_micro_pairs{};

// dst[p][i] = the pair p of line i, for `h` lines `line` apart, elements of a line `step` apart; dst
// lines are `width` pairs long. Writes up to a vector past the end.
void pack_pairs(float* dst, const BF16* src, int64_t line, int64_t step, int h, int width,
                int64_t k) {
  const int64_t whole = k / 2, pairs = (k + 1) / 2;
  const auto put = [&](int64_t p, int i) {
    const uint32_t low = src[i * line + 2 * p * step].bits;
    const uint32_t high = 2 * p + 1 < k ? src[i * line + (2 * p + 1) * step].bits : 0;
    const uint32_t pair = low | high << 16;
    std::memcpy(dst + p * width + i, &pair, sizeof pair);
  };
  if (step == 1 && line % 2 == 0) {
    for (int at = 0; at < width; at += 16) {
      const int rows = h - at < 16 ? h - at : 16;
      transpose_panel(dst + at, width, reinterpret_cast<const float*>(src + at * line), line / 2,
                      rows < 0 ? 0 : rows, whole);
    }
    for (int i = 0; whole < pairs && i < width; ++i) {
      if (i < h)
        put(whole, i);
      else
        dst[whole * width + i] = 0;
    }
    return;
  }
  if (line == 1) {
    for (int64_t p = 0; p < pairs; ++p)
      for (int at = 0; at < width; at += 16) {
        const int left = h - at < 0 ? 0 : h - at < 16 ? h - at : 16;
        const __mmask16 mask = static_cast<__mmask16>((1u << left) - 1u);
        const BF16* from = src + 2 * p * step + at;
        const __m512i low = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(mask, from));
        const __m512i high =
            2 * p + 1 < k ? _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(mask, from + step))
                          : _mm512_setzero_si512();
        // What a narrow line writes too much is the beginning of the next one.
        _mm512_storeu_si512(dst + p * width + at,
                            _mm512_or_si512(low, _mm512_slli_epi32(high, 16)));
      }
    return;
  }
  for (int64_t p = 0; p < pairs; ++p) {
    for (int i = 0; i < h; ++i) put(p, i);
    for (int i = h; i < width; ++i) dst[p * width + i] = 0;
  }
}

void packed_pairs_block(const GemmBlock& g) {
  const BF16* a = static_cast<const BF16*>(g.a);
  const BF16* b = static_cast<const BF16*>(g.b);
  float* c = static_cast<float*>(g.c);
  float* pack_a = reinterpret_cast<float*>(g.scratch);
  float* pack_b = pack_a + (k_gemm_m + 32) * k_gemm_k;
  const bool direct_a =
      g.a_column == 1 && g.n <= k_direct_a_columns && g.k % 2 == 0 && (g.a_row * 2) % 4096 != 0;
  const int64_t all = (g.k + 1) / 2, steps = (all + k_pairs - 1) / k_pairs;
  const int64_t even = ((all + steps - 1) / steps + 7) & ~int64_t{7};
  for (int64_t p0 = 0; p0 < all; p0 += even) {
    const int64_t pairs = all - p0 < even ? all - p0 : even;
    const int64_t k0 = 2 * p0, kc = g.k - k0 < 2 * pairs ? g.k - k0 : 2 * pairs;
    for (int64_t n0 = 0; n0 < g.n; n0 += k_gemm_n) {
      const int64_t nc = g.n - n0 < k_gemm_n ? g.n - n0 : k_gemm_n;
      for (int64_t j = 0; j < nc; j += k_pair_columns) {
        const int h = static_cast<int>(nc - j < k_pair_columns ? nc - j : k_pair_columns);
        pack_pairs(pack_b + j * pairs, b + k0 * g.b_row + (n0 + j) * g.b_column, g.b_column,
                   g.b_row, h, k_pair_columns, kc);
      }
      for (int64_t m0 = 0; m0 < g.m; m0 += k_gemm_m) {
        const int64_t mc = g.m - m0 < k_gemm_m ? g.m - m0 : k_gemm_m;
        for (int64_t i = 0; !direct_a && i < mc;) {
          const int h = panel_rows<float>(mc - i);
          pack_pairs(pack_a + i * pairs, a + (m0 + i) * g.a_row + k0 * g.a_column, g.a_row,
                     g.a_column, h, h, kc);
          i += h;
        }
        for (int64_t j = 0; j < nc; j += k_pair_columns) {
          PairArgs t;
          t.pairs = pairs;
          t.columns = static_cast<int>(nc - j < k_pair_columns ? nc - j : k_pair_columns);
          t.alpha = static_cast<float>(g.alpha);
          t.add = p0 > 0 || g.beta != 0;
          t.c_row = g.c_row;
          t.b = pack_b + j * pairs;
          for (int64_t i = 0; i < mc;) {
            const int h = panel_rows<float>(mc - i);
            t.a = direct_a ? reinterpret_cast<const char*>(a + (m0 + i) * g.a_row + k0)
                           : reinterpret_cast<const char*>(pack_a + i * pairs);
            t.a_row = direct_a ? g.a_row * 2 : 4;
            t.a_pair = direct_a ? 4 : h * 4;
            t.c = c + (m0 + i) * g.c_row + n0 + j;
            k_micro_pairs.fn[h][t.columns > 16](t);
            i += h;
          }
        }
      }
    }
  }
}

}  // namespace
}  // namespace qs::driver::cpu::gemm_avx512
