// Text part: Philox4x32-10, the random bits of every driver; behind number.h. An op's draw i is
// word i % 4 of the block with counter (i / 4, offset) under key seed (runtime/generator.h).

struct Philox {
  u32 word[4];
};

QS_FUNCTION Philox philox_block(u64 low, u64 high, u64 seed) {
  Philox p = {{(u32)low, (u32)(low >> 32), (u32)high, (u32)(high >> 32)}};
  u32 k0 = (u32)seed, k1 = (u32)(seed >> 32);
  for (u32 round = 0; round < 10; ++round) {
    const u64 a = (u64)0xD2511F53u * p.word[0], b = (u64)0xCD9E8D57u * p.word[2];
    const Philox next = {
        {(u32)(b >> 32) ^ p.word[1] ^ k0, (u32)b, (u32)(a >> 32) ^ p.word[3] ^ k1, (u32)a}};
    p = next;
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  return p;
}

/// 32 random bits. Draws 0, 1, .. of one point are independent.
QS_FUNCTION u32 random_bits(i64 linear, u64 seed, u64 offset, u32 draw) {
  const Philox p = philox_block((u64)linear >> 2, offset + ((u64)draw << 60), seed);
  return p.word[linear & 3];
}
