// The prelude of kernel texts: the words in which kernels/text/*.h are written, for MSL, CUDA C++
// and the host's C++. A driver compiles  prelude + options (#define lines) + parts  as one text.
//
// The common subset. Texts use integers u8 to u64 and i8 to i64, f32, and f64 where QS_HAS_F64 is
// 1; functions, templates and structs of plain members; nothing of a standard library, no
// recursion, no function pointers, no initialised globals. Every pointer names its address space:
//
//   QS_DEVICE     memory of the launch: tensors and scratch        QS_GROUP    of one threadgroup
//   QS_CONSTANT   what the command says: ints, words, steps        QS_THREAD   a thread's own
//
// An entry point is  QS_KERNEL(name) { QS_BEGIN; ... }.  It runs on a grid of one dimension:
// QS_GROUPS threadgroups of QS_THREADS threads (a constant of the text's options); it must give the
// same result whatever their number and order, so it walks its work in strides of the grid. Inside
// it:
//
//   QS_LOCAL, QS_AT          index of the thread in its group, of the group in the grid (uint32)
//   QS_SHARED(T, name, n)    T name[n] shared by the group, undefined at first; at the top only
//   QS_UNROLL                before a loop whose arrays should live in registers
//   QS_BARRIER()             all threads of the group, or none; device and group memory are seen
//   qs                       what the command says, a QsLaunch; functions take it as QS_CALL
//
// Kernels of one command run one after the other; nothing else is synchronised between groups.
//
// What a driver owes: no contraction of a * b + c, no fast mathematics (these texts promise bits),
// simdgroups of k_simd_width, pointers aligned to their elements, and ints, words and steps in
// memory that is constant while the kernel runs.
#if defined(__METAL_VERSION__)
#include <metal_stdlib>
using namespace metal;
#define QS_HAS_F64 0
#define QS_DEVICE device
#define QS_GROUP threadgroup
#define QS_CONSTANT constant
#define QS_THREAD thread
#define QS_FUNCTION static inline
typedef uchar u8;
typedef ushort u16;
typedef uint u32;
typedef ulong u64;
typedef char i8;
typedef short i16;
typedef int i32;
typedef long i64;
typedef float f32;
#elif defined(__CUDACC__)
#define QS_HAS_F64 1
#define QS_DEVICE
#define QS_GROUP
#define QS_CONSTANT
#define QS_THREAD
#define QS_FUNCTION static __device__ inline
typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef signed char i8;
typedef short i16;
typedef int i32;
typedef long long i64;
typedef float f32;
typedef double f64;
#else
#include <math.h>
#include <stdint.h>
#include <string.h>
#define QS_HAS_F64 1
#define QS_DEVICE
#define QS_GROUP
#define QS_CONSTANT
#define QS_THREAD
#define QS_FUNCTION [[maybe_unused]] static inline
typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;
typedef int8_t i8;
typedef int16_t i16;
typedef int32_t i32;
typedef int64_t i64;
typedef float f32;
typedef double f64;
#endif

#if defined(__METAL_VERSION__) || defined(__CUDACC__)
#define QS_UNROLL _Pragma("unroll")
#else
#define QS_UNROLL
#endif
#define QS_POINTERS 10  // operands of a call
#define QS_STEPS 8      // numbers that tell one launch of a call from the others
#define QS_SIMD_WIDTH 32

/// driver::ErrorRecord; `failed` in halves, for devices without 64-bit atomics.
struct QsError {
  i32 set;
  i32 reason;
  i64 value;
  i64 bound;
  u32 failed[2];
  u64 run;
};

/// The pointers, ints and scalars of driver::KernelArgs, resolved; steps of driver::TextLaunch.
struct QsLaunch {
  QS_DEVICE u8* pointers[QS_POINTERS];
  QS_DEVICE u8* scratch;
  QS_CONSTANT const i64* ints;
  QS_CONSTANT const u64* words;
  QS_CONSTANT const i64* steps;
  QS_DEVICE QsError* error;
  i32 tag;
};
#define QS_OPERAND(T, i) ((QS_DEVICE T*)qs.pointers[i])
#define QS_SCRATCH(T, bytes) ((QS_DEVICE T*)(qs.scratch + (bytes)))
#define QS_CALL QS_THREAD const QsLaunch& qs  // how a function takes it

// ---- entry points, barriers, bits ----

#if defined(__METAL_VERSION__)
// Buffers 0 to 9 are the operands (bind anything where there is none), 10 scratch, 11 ints, 12
// words, 13 steps (an array of QS_STEPS, then the tag), 14 the error record.
#define QS_KERNEL(name)                                                                            \
  [[max_total_threads_per_threadgroup(QS_THREADS)]] kernel void name(                              \
      device u8* qs_0 [[buffer(0)]], device u8* qs_1 [[buffer(1)]], device u8* qs_2 [[buffer(2)]], \
      device u8* qs_3 [[buffer(3)]], device u8* qs_4 [[buffer(4)]], device u8* qs_5 [[buffer(5)]], \
      device u8* qs_6 [[buffer(6)]], device u8* qs_7 [[buffer(7)]], device u8* qs_8 [[buffer(8)]], \
      device u8* qs_9 [[buffer(9)]], device u8* qs_scratch [[buffer(10)]],                         \
      constant i64* qs_ints [[buffer(11)]], constant u64* qs_words [[buffer(12)]],                 \
      constant i64* qs_steps [[buffer(13)]], device QsError* qs_error [[buffer(14)]],              \
      u32 QS_LOCAL [[thread_position_in_threadgroup]], u32 QS_AT [[threadgroup_position_in_grid]], \
      u32 QS_GROUPS [[threadgroups_per_grid]])
#define QS_BEGIN                                                                     \
  const QsLaunch qs = {{qs_0, qs_1, qs_2, qs_3, qs_4, qs_5, qs_6, qs_7, qs_8, qs_9}, \
                       qs_scratch,                                                   \
                       qs_ints,                                                      \
                       qs_words,                                                     \
                       qs_steps,                                                     \
                       qs_error,                                                     \
                       (i32)qs_steps[QS_STEPS]}
#define QS_LOCAL qs_local
#define QS_AT qs_at
#define QS_GROUPS qs_groups
#define QS_SHARED(T, name, n) threadgroup T name[n]
#define QS_BARRIER() threadgroup_barrier(mem_flags::mem_device | mem_flags::mem_threadgroup)
QS_FUNCTION u32 qs_bits(f32 x) { return as_type<u32>(x); }
QS_FUNCTION f32 qs_f32(u32 bits) { return as_type<f32>(bits); }
QS_FUNCTION u32 qs_simd_prefix_sum(u32 x) { return simd_prefix_inclusive_sum(x); }
QS_FUNCTION void qs_atomic_or(device u32* p, u32 x) {
  atomic_fetch_or_explicit((device atomic_uint*)p, x, memory_order_relaxed);
}
/// True for the one thread that turns 0 into x.
QS_FUNCTION bool qs_atomic_claim(device i32* p, i32 x) {
  i32 none = 0;
  while (!atomic_compare_exchange_weak_explicit((device atomic_int*)p, &none, x,
                                                memory_order_relaxed, memory_order_relaxed))
    if (none != 0) return false;
  return true;
}

#elif defined(__CUDACC__)
#define QS_KERNEL(name) \
  extern "C" __global__ void __launch_bounds__(QS_THREADS) name(const QsLaunch qs)
#define QS_BEGIN ((void)0)
#define QS_LOCAL threadIdx.x
#define QS_AT blockIdx.x
#define QS_GROUPS gridDim.x
#define QS_SHARED(T, name, n) __shared__ T name[n]
#define QS_BARRIER() __syncthreads()
QS_FUNCTION u32 qs_bits(f32 x) { return __float_as_uint(x); }
QS_FUNCTION f32 qs_f32(u32 bits) { return __uint_as_float(bits); }
QS_FUNCTION u64 qs_bits(f64 x) { return (u64)__double_as_longlong(x); }
QS_FUNCTION f64 qs_f64(u64 bits) { return __longlong_as_double((i64)bits); }
QS_FUNCTION u32 qs_simd_prefix_sum(u32 x) {
  for (u32 step = 1; step < QS_SIMD_WIDTH; step *= 2) {
    const u32 before = __shfl_up_sync(0xffffffffu, x, step);
    if (threadIdx.x % QS_SIMD_WIDTH >= step) x += before;
  }
  return x;
}
QS_FUNCTION void qs_atomic_or(u32* p, u32 x) { atomicOr(p, x); }
QS_FUNCTION bool qs_atomic_claim(i32* p, i32 x) { return atomicCAS(p, 0, x) == 0; }

#else
// The host: somebody defines these and calls entry points as functions, once a thread of the grid.
namespace qs_grid {
u32 local();
u32 at();
u32 groups();
void barrier(int line);
u32 simd_prefix_sum(u32 x, int line);
void* shared(int line, u64 bytes);
}  // namespace qs_grid
#define QS_KERNEL(name) [[maybe_unused]] static void name(const QsLaunch& qs)
#define QS_BEGIN ((void)qs)
#define QS_LOCAL qs_grid::local()
#define QS_AT qs_grid::at()
#define QS_GROUPS qs_grid::groups()
#define QS_SHARED(T, name, n) \
  T* const name = static_cast<T*>(qs_grid::shared(__LINE__, sizeof(T) * (n)))
#define QS_BARRIER() qs_grid::barrier(__LINE__)
#define qs_simd_prefix_sum(x) qs_grid::simd_prefix_sum(x, __LINE__)
QS_FUNCTION u32 qs_bits(f32 x) {
  u32 bits;
  memcpy(&bits, &x, sizeof bits);
  return bits;
}
QS_FUNCTION f32 qs_f32(u32 bits) {
  f32 x;
  memcpy(&x, &bits, sizeof x);
  return x;
}
QS_FUNCTION u64 qs_bits(f64 x) {
  u64 bits;
  memcpy(&bits, &x, sizeof bits);
  return bits;
}
QS_FUNCTION f64 qs_f64(u64 bits) {
  f64 x;
  memcpy(&x, &bits, sizeof x);
  return x;
}
QS_FUNCTION void qs_atomic_or(u32* p, u32 x) { *p |= x; }
QS_FUNCTION bool qs_atomic_claim(i32* p, i32 x) {
  if (*p != 0) return false;
  *p = x;
  return true;
}
#endif
