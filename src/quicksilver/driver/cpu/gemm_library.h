// oneDNN's dnnl_sgemm, opened at run time and called on one thread at a time from our own pool.
#pragma once
#include <cstdint>
#include <string>

namespace qs::driver::cpu {

class SgemmLibrary {
 public:
  /// Opened at the first call, with QS_ISA's instruction set; null when it is not on this machine.
  static const SgemmLibrary* get();

  /// Row-major C = alpha * op(A) @ op(B) + beta * C in the calling thread; `ta`, `tb`: 'N' or 'T'.
  /// False when the library refused the arguments (C is untouched then).
  bool sgemm(char ta, char tb, int64_t m, int64_t n, int64_t k, float alpha, const float* a,
             int64_t lda, const float* b, int64_t ldb, float beta, float* c, int64_t ldc) const;
  /// "oneDNN 2.6.3"
  const std::string& name() const { return name_; }

 private:
  SgemmLibrary() = default;
  static SgemmLibrary* open();

  using Sgemm = int (*)(char, char, int64_t, int64_t, int64_t, float, const float*, int64_t,
                        const float*, int64_t, float, float*, int64_t);
  Sgemm sgemm_ = nullptr;
  void (*set_omp_threads_)(int) = nullptr;
  int (*omp_threads_)() = nullptr;
  std::string name_;
};

}  // namespace qs::driver::cpu
