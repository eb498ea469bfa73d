#include "quicksilver/driver/cpu/gemm_library.h"

#include <dlfcn.h>

#include "quicksilver/core/cpu_info.h"
#include "quicksilver/core/error.h"

namespace qs::driver::cpu {
namespace {

// What we need of dnnl.h.
struct DnnlVersion {
  int major, minor, patch;
};
constexpr int k_dnnl_isa_avx2 = 0x7, k_dnnl_isa_avx512 = 0x27;

template <class F>
void find(void* library, const char* symbol, F& function) {
  function = reinterpret_cast<F>(dlsym(library, symbol));
}

}  // namespace

SgemmLibrary* SgemmLibrary::open() {
  if (cpu_info().isa == Isa::generic) return nullptr;  // it could not be held to that
  void* library = dlopen("libdnnl.so.2", RTLD_NOW | RTLD_LOCAL);
  if (!library) return nullptr;
  auto made = new SgemmLibrary;  // stays for the process, as the library does
  const DnnlVersion* (*version)() = nullptr;
  int (*set_max_isa)(int) = nullptr;
  find(library, "dnnl_sgemm", made->sgemm_);
  find(library, "dnnl_version", version);
  find(library, "dnnl_set_max_cpu_isa", set_max_isa);
  find(library, "omp_set_num_threads", made->set_omp_threads_);
  find(library, "omp_get_max_threads", made->omp_threads_);
  if (!made->sgemm_ || !version) return nullptr;
  if (set_max_isa && cpu_info().isa < cpu_info().best)
    set_max_isa(cpu_info().isa == Isa::avx2 ? k_dnnl_isa_avx2 : k_dnnl_isa_avx512);
  const DnnlVersion* v = version();
  made->name_ = format("oneDNN {}.{}.{}", v->major, v->minor, v->patch);
  return made;
}

const SgemmLibrary* SgemmLibrary::get() {
  static const SgemmLibrary* library = open();
  return library;
}

bool SgemmLibrary::sgemm(char ta, char tb, int64_t m, int64_t n, int64_t k, float alpha,
                         const float* a, int64_t lda, const float* b, int64_t ldb, float beta,
                         float* c, int64_t ldc) const {
  // The number of OpenMP threads is kept for each thread, and may be somebody else's setting.
  const int threads = omp_threads_ ? omp_threads_() : 1;
  if (threads != 1 && set_omp_threads_) set_omp_threads_(1);
  const int status = sgemm_(ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
  if (threads != 1 && set_omp_threads_) set_omp_threads_(threads);
  return status == 0;
}

}  // namespace qs::driver::cpu
