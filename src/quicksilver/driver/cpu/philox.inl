// The random number generator in vectors. Included by files compiled for one instruction set, behind
// tile_simd.h.
namespace qs::driver::cpu::QS_ISA_NAMESPACE {
namespace {

/// Philox4x32-10: counter (linear / 4, offset), key seed; word linear % 4 of the four it gives.
/// Each 64-bit lane holds one 32-bit word; its high half is noise until the end.
struct Philox {
  vu64 c[4];

  QS_INLINE Philox(vu64 block, vu64 seed, vu64 offset) {
    c[0] = block;
    c[1] = block >> 32;
    c[2] = offset;
    c[3] = offset >> 32;
    vu64 k0 = seed, k1 = seed >> 32;
    for (int round = 0; round < 10; ++round) {
      const vu64 p0 = multiply(c[0], 0xD2511F53ull), p1 = multiply(c[2], 0xCD9E8D57ull);
      c[0] = (p1 >> 32) ^ c[1] ^ k0;
      c[1] = p1;
      c[2] = (p0 >> 32) ^ c[3] ^ k1;
      c[3] = p0;
      k0 += 0x9E3779B9ull;
      k1 += 0xBB67AE85ull;
    }
    for (vu64& word : c) word &= 0xffffffffull;
  }
  static QS_INLINE vu64 multiply(vu64 a, uint64_t b) {  // low halves
#if defined(__AVX512F__)
    return (vu64)_mm512_mul_epu32((Int)a, _mm512_set1_epi64(static_cast<int64_t>(b)));
#elif defined(__AVX2__)
    return (vu64)_mm256_mul_epu32((Int)a, _mm256_set1_epi64x(static_cast<int64_t>(b)));
#else
    return (a & 0xffffffffull) * b;
#endif
  }
};

}  // namespace
}  // namespace qs::driver::cpu::QS_ISA_NAMESPACE
