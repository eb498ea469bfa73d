// A stand-in for what NVRTC declares by itself: what kernel texts use of it, for checking them with
// clang as device code (tests/cpp/test_text_dialects.cpp). Clang knows which functions run where;
// the declarations below are ours.
#pragma once
#define __CUDACC__ 1
#define __device__ __attribute__((device))
#define __global__ __attribute__((global))
#define __shared__ __attribute__((shared))
#define __launch_bounds__(...) __attribute__((launch_bounds(__VA_ARGS__)))

struct Index {
  unsigned x, y, z;
};
extern const __device__ Index threadIdx, blockIdx, gridDim;
__device__ void __syncthreads();
__device__ unsigned __float_as_uint(float);
__device__ float __uint_as_float(unsigned);
__device__ long long __double_as_longlong(double);
__device__ double __longlong_as_double(long long);
__device__ unsigned __shfl_up_sync(unsigned, unsigned, unsigned);
__device__ unsigned atomicOr(unsigned*, unsigned);
__device__ int atomicCAS(int*, int, int);

#define QS_TEST_FUNCTION(name)  \
  __device__ float name(float); \
  __device__ double name(double);
QS_TEST_FUNCTION(exp)
QS_TEST_FUNCTION(log)
QS_TEST_FUNCTION(log1p)
QS_TEST_FUNCTION(lgamma)
QS_TEST_FUNCTION(sqrt)
QS_TEST_FUNCTION(cos)
QS_TEST_FUNCTION(floor)
QS_TEST_FUNCTION(ceil)
QS_TEST_FUNCTION(fabs)
#undef QS_TEST_FUNCTION
__device__ double pow(double, double);
__device__ double fmin(double, double);
__device__ double fmax(double, double);
