// Who computes a matrix product, in which pieces.
//
//   dot, axpy  matrix times vector where the matrix is read along its rows: limited by memory (dot
//              has the vector laid out)
//   library    dnnl_sgemm, f32 with one stride of 1 in each matrix, when it was measured faster
//   dots       a few rows times B^T, both read along k: B is read once (GPT's decoding)
//   packed     own kernels, everything else; a moderate number of rows times B^T is computed as
//              C^T = B A^T, so that B, the larger one, need not be laid out again, and turned
//
// A product is cut into chunks: over the batch when it is deep, else over rows and columns of C,
// never over k. Own kernels give the same bits however C is cut, so the cut may follow the number
// of threads; a library may not, so its cut follows the shape alone.
//
// f16 and bf16 are widened while they are packed (bf16 is multiplied as it is where the processor
// can, gemm_pairs.inl); C is computed in f32 beside the destination and rounded once. A product is
// added to its bias (as PyTorch's addmm does), which is read where it lies or copied to C first.
#include "quicksilver/driver/cpu/gemm.h"

#include <algorithm>
#include <cstring>

#include "quicksilver/core/cpu_info.h"
#include "quicksilver/core/env.h"
#include "quicksilver/core/error.h"
#include "quicksilver/core/half.h"
#include "quicksilver/core/thread_pool.h"
#include "quicksilver/driver/cpu/cpu_memory.h"
#include "quicksilver/driver/cpu/gemm_library.h"
#include "quicksilver/driver/cpu/gemm_table.h"

namespace qs::driver::cpu {
namespace {

bool is_half(DType d) { return d == DType::f16 || d == DType::bf16; }

enum class Preference : uint8_t { own, library, automatic };
Preference preference() {
  const std::string& text = env().gemm;
  return text == "own"    ? Preference::own
         : text == "dnnl" ? Preference::library
                          : Preference::automatic;
}

// dnnl_sgemm wants one stride of 1 and the other at least as long as a line.
bool library_stride(int64_t unit, int64_t other, int64_t lines, int64_t length) {
  return unit == 1 && (other >= std::max<int64_t>(length, 1) || lines <= 1);
}

bool library_fits(const GemmShape& s) {
  const bool a = library_stride(s.a.column, s.a.row, s.m, s.k) ||
                 library_stride(s.a.row, s.a.column, s.k, s.m);
  const bool b = library_stride(s.b.column, s.b.row, s.k, s.n) ||
                 library_stride(s.b.row, s.b.column, s.n, s.k);
  return s.dtype == DType::f32 && a && b && s.c.column == 1 &&
         library_stride(s.c.column, s.c.row, s.m, s.n) && s.m > 0 && s.n > 0 && s.k > 0;
}

// As measured on Zen 5 with AVX-512 (bench/, docs/decisions.md): own kernels are as fast or faster
// except where B is large, few rows pass over it and it comes from memory at a stride.
bool library_is_better(const GemmShape& s) {
  return s.m >= 4 && s.m <= 96 && s.b.column == 1 && s.k * s.n >= 1 << 20;
}

// Few rows times B^T: dot products, or C^T.
constexpr int64_t k_most_dot_rows = 8, k_most_turned_rows = 128;
constexpr int64_t k_column_grain = 16;  // chunks begin at a cache line of C; halves differ by less
bool reads_along_k(const GemmShape& s) {
  return s.b.row == 1 && s.b.column != 1 && s.n >= 16 && s.k >= 32;
}
/// bf16 is multiplied as it is, not widened.
bool multiplies_pairs(const GemmShape& s) {
  return s.dtype == DType::bf16 && cpu_info().has_avx512_bf16 && gemm_table().packed_pairs;
}
bool turning_pays(const GemmShape& s) {
  return (s.dtype == DType::f32 || multiplies_pairs(s)) && reads_along_k(s) &&
         std::max(s.m, s.whole_m) > 1 && s.m <= k_most_turned_rows && s.n >= 2 * s.m &&
         s.c.column == 1 && s.beta == 0 && s.k > 0;
}

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

double load_element(DType d, const char* p) {
  switch (d) {
    case DType::f32: {
      float v;
      std::memcpy(&v, p, 4);
      return v;
    }
    case DType::f64: {
      double v;
      std::memcpy(&v, p, 8);
      return v;
    }
    case DType::f16: {
      uint16_t v;
      std::memcpy(&v, p, 2);
      return f16_to_f32(v);
    }
    case DType::bf16: {
      uint16_t v;
      std::memcpy(&v, p, 2);
      return bf16_to_f32(v);
    }
    default:
      return 0;
  }
}

// C = beta * C + bias over a piece, in C's own dtype; `bias` may be null (0).
template <class T>
void prepare_piece(T* c, const GemmMatrix& cs, const T* bias, const GemmMatrix& bs, T beta,
                   int64_t rows, int64_t columns) {
  for (int64_t i = 0; i < rows; ++i) {
    T* to = c + i * cs.row;
    const T* from = bias ? bias + i * bs.row : nullptr;
    if (beta == T(0) && from && bs.column == 1 && cs.column == 1) {
      std::memcpy(to, from, static_cast<size_t>(columns) * sizeof(T));
      continue;
    }
    for (int64_t j = 0; j < columns; ++j) {
      const T old = beta == T(0) ? T(0) : beta * to[j * cs.column];
      to[j * cs.column] = old + (from ? from[j * bs.column] : T(0));
    }
  }
}

// A dense f32 copy of a piece, the bias.
template <class T>
void widen_piece(T* to, const char* from, DType dtype, const GemmMatrix& s, int64_t rows,
                 int64_t columns) {
  const int64_t size = static_cast<int64_t>(size_of(dtype));
  for (int64_t i = 0; i < rows; ++i) {
    if (i > 0 && s.row == 0) {
      std::memcpy(to + i * columns, to, static_cast<size_t>(columns) * sizeof(T));
      continue;
    }
    if (s.column == 0) {
      std::fill_n(to + i * columns, columns,
                  static_cast<T>(load_element(dtype, from + i * s.row * size)));
      continue;
    }
    for (int64_t j = 0; j < columns; ++j)
      to[i * columns + j] =
          static_cast<T>(load_element(dtype, from + (i * s.row + j * s.column) * size));
  }
}

// C = AB + beta * C + bias for a C that the kernels cannot write: half precision, or no stride
// of 1. `ab` is dense, in the compute dtype, or null for 0.
template <class T>
void store_piece(const T* ab, char* c, DType dtype, const GemmMatrix& cs, const char* bias,
                 const GemmMatrix& bs, double beta, int64_t rows, int64_t columns,
                 void (*narrow)(void*, const float*, int64_t)) {
  const int64_t size = static_cast<int64_t>(size_of(dtype));
  for (int64_t i = 0; i < rows; ++i) {
    const T* line = ab ? ab + i * columns : nullptr;
    char* to = c + i * cs.row * size;
    if constexpr (std::is_same_v<T, float>) {
      if (line && narrow && beta == 0 && !bias && cs.column == 1) {
        narrow(to, line, columns);
        continue;
      }
    }
    for (int64_t j = 0; j < columns; ++j) {
      char* out = to + j * cs.column * size;
      T value = line ? line[j] : T(0);
      const char* add = bias ? bias + (i * bs.row + j * bs.column) * size : nullptr;
      if constexpr (std::is_integral_v<T>) {
        T x;
        if (beta != 0) {
          std::memcpy(&x, out, sizeof x);
          value += static_cast<T>(static_cast<int64_t>(beta)) * x;
        }
        if (add) {
          std::memcpy(&x, add, sizeof x);
          value += x;
        }
        std::memcpy(out, &value, sizeof value);
      } else {
        if (beta != 0) value += static_cast<T>(beta) * static_cast<T>(load_element(dtype, out));
        if (add) value += static_cast<T>(load_element(dtype, add));
        if (dtype == DType::f16 || dtype == DType::bf16) {
          const float f = static_cast<float>(value);
          const uint16_t half = dtype == DType::f16 ? f32_to_f16(f) : f32_to_bf16(f);
          std::memcpy(out, &half, 2);
        } else {
          std::memcpy(out, &value, sizeof value);
        }
      }
    }
  }
}

template <class F>
auto with_compute_type(DType d, F&& f) {
  switch (d) {
    case DType::f64:
      return f(double{});
    case DType::i32:
      return f(uint32_t{});
    case DType::i64:
      return f(uint64_t{});
    default:
      return f(float{});
  }
}

}  // namespace

const GemmTable& gemm_table() {
#if defined(__x86_64__)
  if (cpu_info().isa == Isa::avx512) return gemm_avx512_table();
  if (cpu_info().isa == Isa::avx2) return gemm_avx2_table();
#endif
  return gemm_generic_table();
}

GemmType gemm_type(DType d) {
  switch (d) {
    case DType::f32:
      return g_f32;
    case DType::f64:
      return g_f64;
    case DType::f16:
      return g_f16;
    case DType::bf16:
      return g_bf16;
    case DType::i32:
      return g_i32;
    case DType::i64:
      return g_i64;
    default:
      return g_types;
  }
}

GemmShape GemmShape::of(const MatmulCall& call, const MatmulArgs& args) {
  const auto strides = [](const MatmulArgs::Matrix& x) {
    return GemmMatrix{x.row, x.column, x.batch};
  };
  GemmShape s;
  s.dtype = call.dtype;
  s.has_bias = call.bias;
  s.batch = args.batch;
  s.m = args.m;
  s.n = args.n;
  s.k = args.k;
  s.a = strides(args.a);
  s.b = strides(args.b);
  s.c = strides(args.c);
  s.bias = strides(args.bias);
  s.alpha = args.alpha;
  s.beta = args.beta;
  s.whole_m = args.whole_m;
  return s;
}

bool GemmPlan::accepts(DType dtype) { return gemm_type(dtype) != g_types; }

std::string GemmPlan::description() {
  std::string text = format("own {}", name_of(cpu_info().isa));
  if (preference() != Preference::own)
    if (const SgemmLibrary* library = SgemmLibrary::get()) text += " and " + library->name();
  return text;
}

GemmPlan::GemmPlan(const GemmShape& shape, bool followed) : s_(shape) {
  if (s_.batch <= 0 || s_.m <= 0 || s_.n <= 0) {
    batch_chunks_ = 0;
    return;
  }
  if (s_.alpha == 0) s_.k = 0;
  // C^T = B^T A^T: afterwards C's rows are contiguous, or a vector times a matrix is C's one
  // column.
  const auto transpose = [this] {
    const auto flip = [](GemmMatrix& x) { std::swap(x.row, x.column); };
    std::swap(s_.m, s_.n);
    std::swap(s_.a, s_.b);
    flip(s_.a), flip(s_.b), flip(s_.c), flip(s_.bias);
    swapped_ = !swapped_;
  };
  const bool same_type = !is_half(s_.dtype);
  // Some rows of a product: who computes the whole, whose bits packed and turned products share.
  const bool part = s_.whole_m > s_.m;
  int64_t rows = part ? s_.whole_m : s_.m;
  if (rows == 1 && s_.n > 1 && s_.b.row == 1) transpose();
  if (s_.n == 1 && s_.a.row == 1 && s_.a.column != 1) transpose();
  if (swapped_) rows = s_.m;  // one of B's columns, or all of them: they are never taken in part
  if (s_.n == 1 && s_.a.column == 1) {
    method_ = Method::dot;
    gathers_ = s_.b.row != 1;
  } else if (rows == 1 && s_.n > 1 && s_.b.column == 1 && (s_.c.column == 1 || !same_type)) {
    method_ = Method::axpy;
  } else if (rows <= k_most_dot_rows && s_.a.column == 1 && reads_along_k(s_) && s_.k > 0) {
    method_ = Method::dots;
  } else {
    if (s_.c.column != 1 && s_.c.row == 1) transpose();
    const Preference p = preference();
    if (p != Preference::own && !part && library_fits(s_) &&
        (p == Preference::library || library_is_better(s_)) && SgemmLibrary::get())
      method_ = Method::library;
    if (method_ == Method::packed && turning_pays(s_)) {
      transpose();
      turned_ = true;
      if (s_.n == 1) s_.c.column = s_.m;  // one row has any stride, turning wants a line's
    }
  }
  choose_pieces(followed);
}

const char* GemmPlan::method() const {
  constexpr const char* names[] = {"own packed", "own dot", "own dots", "own axpy", "dnnl_sgemm"};
  if (turned_) return "own turned";
  return names[static_cast<int>(method_)];
}

int64_t GemmPlan::Cut::start(int64_t chunk) const {
  return std::min(extent, ceil_div(extent, unit) * chunk / chunks * unit);
}

// Pieces are worth a few microseconds at least; own kernels are cut no finer than the threads need.
void GemmPlan::choose_pieces(bool followed) {
  const int64_t threads = ThreadPool::instance().threads();
  const bool vector = method_ == Method::dot || method_ == Method::dots || method_ == Method::axpy;
  // In multiply-adds: about 4 us either way (a vector product waits for memory).
  const int64_t least = vector ? 64 << 10 : 512 << 10;
  const int64_t item = std::max<int64_t>(s_.m * s_.n * std::max<int64_t>(s_.k, 1), 1);
  const int64_t total = item * s_.batch;
  batch_step_ = s_.batch;
  rows_ = {s_.m, 1, s_.m};
  columns_ = {s_.n, 1, s_.n};
  const bool fixed = method_ == Method::library;
  const int64_t most = fixed ? 16 : 4 * threads;
  const int64_t wanted = std::min(most, total / least);
  if ((threads > 1 || fixed) && wanted > 1) {
    if (s_.batch >= (fixed ? 8 : threads)) {
      batch_step_ = ceil_div(s_.batch, std::min(s_.batch, wanted));
    } else {
      batch_step_ = 1;
      const int64_t pieces = ceil_div(wanted, s_.batch);
      // Cutting columns lays A out once more for each cut, cutting rows B: worth it in large pieces
      // or, when there are too few of them for the threads, in small ones.
      int64_t rows = 1, columns = 1;
      const auto cut = [&](int64_t row_unit, int64_t column_unit, int64_t enough) {
        while (rows * columns < enough) {
          const bool can_rows = s_.m / (rows * 2) >= row_unit;
          const bool can_columns = s_.n / (columns * 2) >= column_unit;
          if (!can_rows && !can_columns) break;
          const bool cut_rows = can_rows && (!can_columns || s_.m / rows >= s_.n / columns);
          (cut_rows ? rows : columns) *= 2;
        }
      };
      const int64_t row_unit = vector ? 16 : 28, column_unit = 64;
      const int64_t few = std::min(pieces, fixed ? pieces : 2 * threads);
      // Whole rows of C are one run of memory to what follows; parts of rows would be gathered and
      // scattered. They pay where the other factor is short, or is read in place (turned products).
      if (followed && turned_ && s_.n / (column_unit / 2) >= threads) {
        columns = threads;
      } else if (followed && !fixed && !vector && !swapped_ && s_.k <= s_.m) {
        while (rows < pieces && s_.m / (rows * 2) >= (rows < few ? row_unit : 196)) rows *= 2;
        if (rows < threads) rows = 1;
      }
      if (rows * columns == 1) {
        if (!vector) cut(196, 192, pieces);
        cut(row_unit, column_unit, few);
      }
      const auto in_units = [](int64_t extent, int64_t chunks, int64_t unit) {
        return Cut{extent, std::min(chunks, ceil_div(extent, unit)), unit};
      };
      rows_ = in_units(s_.m, rows, row_unit / 2);
      columns_ = in_units(s_.n, columns, k_column_grain);
    }
  }
  batch_chunks_ = ceil_div(s_.batch, batch_step_);
}

GemmPlan::Box GemmPlan::box(int64_t chunk) const {
  const int64_t column = chunk % columns_.chunks, row = chunk / columns_.chunks % rows_.chunks;
  Box x;
  x.column = columns_.start(column);
  x.row = rows_.start(row);
  x.batch = chunk / (columns_.chunks * rows_.chunks) * batch_step_;
  x.columns = columns_.size(column);
  x.rows = rows_.size(row);
  x.items = std::min(batch_step_, s_.batch - x.batch);
  if (swapped_) {
    std::swap(x.row, x.column);
    std::swap(x.rows, x.columns);
  }
  return x;
}

void GemmPlan::run(const GemmPointers& given, int64_t first, int64_t last) const {
  GemmPointers p = given;
  if (swapped_) std::swap(p.a, p.b);
  const int64_t size = static_cast<int64_t>(size_of(s_.dtype));
  const auto at = [size](const void* base, int64_t elements) {
    return base ? static_cast<const char*>(base) + elements * size : nullptr;
  };
  for (int64_t chunk = first; chunk < last; ++chunk) {
    const int64_t in_row = chunk % columns_.chunks,
                  in_column = chunk / columns_.chunks % rows_.chunks;
    const int64_t column = columns_.start(in_row), row = rows_.start(in_column);
    const int64_t b0 = chunk / (columns_.chunks * rows_.chunks) * batch_step_;
    const int64_t b1 = std::min(s_.batch, b0 + batch_step_);
    for (int64_t b = b0; b < b1; ++b) {
      GemmPointers item;
      item.a = at(p.a, b * s_.a.batch + row * s_.a.row);
      item.b = at(p.b, b * s_.b.batch + column * s_.b.column);
      item.c = const_cast<char*>(at(p.c, b * s_.c.batch + row * s_.c.row + column * s_.c.column));
      item.bias = s_.has_bias
                      ? at(p.bias, b * s_.bias.batch + row * s_.bias.row + column * s_.bias.column)
                      : nullptr;
      run_piece(item, rows_.size(in_column), columns_.size(in_row));
    }
  }
}

// `p` points at the first element of the piece in each matrix.
void GemmPlan::run_piece(const GemmPointers& p, int64_t rows, int64_t columns) const {
  with_compute_type(s_.dtype, [&]<class T>(T) {
    const bool half = is_half(s_.dtype);
    const bool column_result = method_ == Method::dot;  // writes with any stride
    const bool direct = !half && s_.k > 0 && (s_.c.column == 1 || column_result);
    GemmBlock g;
    g.a = p.a;
    g.b = p.b;
    g.m = rows;
    g.n = columns;
    g.k = s_.k;
    g.a_row = s_.a.row;
    g.a_column = s_.a.column;
    g.b_row = s_.b.row;
    g.b_column = s_.b.column;
    g.alpha = s_.alpha;
    const T* bias = static_cast<const T*>(p.bias);
    const size_t gathered = gathers_ ? static_cast<size_t>(s_.k) * size_of(s_.dtype) : 0;
    if (direct) {
      g.c = p.c;
      g.c_row = s_.c.row;
      g.beta = s_.beta;
      const bool adds_to_bias = method_ == Method::packed && s_.bias.column == 1 && s_.beta == 0;
      if (p.bias && adds_to_bias) {
        g.start = p.bias;
        g.start_row = s_.bias.row;
      } else if (p.bias) {
        T* c = static_cast<T*>(p.c);
        const T beta = std::is_integral_v<T> ? static_cast<T>(static_cast<int64_t>(s_.beta))
                                             : static_cast<T>(s_.beta);
        prepare_piece<T>(c, s_.c, bias, s_.bias, beta, rows, columns);
        g.beta = 1;
      }
      if (method_ == Method::library && call_library(g)) return;
      g.scratch = static_cast<char*>(thread_scratch(k_gemm_scratch_bytes + gathered));
      if (gathers_) gather_vector(g, g.scratch + k_gemm_scratch_bytes);
      kernel()(g);
      return;
    }
    const size_t piece_bytes = static_cast<size_t>(rows * columns) * sizeof(T);
    const size_t aligned = (piece_bytes + 127) & ~size_t{63};
    T* ab = nullptr;
    // f32 and halves: the product is added to the bias, and what comes out is stored as it is.
    const bool bias_first =
        std::is_same_v<T, float> && s_.k > 0 && p.bias && s_.beta == 0 && s_.alpha != 0;
    if (s_.k > 0) {
      const size_t pieces = turned_ && half ? 2 : 1;  // one more to turn in
      char* scratch =
          static_cast<char*>(thread_scratch(pieces * aligned + k_gemm_scratch_bytes + gathered));
      ab = reinterpret_cast<T*>(scratch);
      g.c = ab;
      g.c_row = columns;
      g.scratch = scratch + pieces * aligned;
      if (gathers_) gather_vector(g, g.scratch + k_gemm_scratch_bytes);
      if (bias_first) {
        widen_piece(ab, static_cast<const char*>(p.bias), s_.dtype, s_.bias, rows, columns);
        g.beta = 1;
      }
      kernel()(g);
    }
    if constexpr (std::is_same_v<T, float>) {
      if (turned_ && !half)
        return gemm_table().turn(static_cast<float*>(p.c), s_.c.column, ab, columns, rows, columns);
      if (turned_) {
        float* turned = ab + aligned / sizeof(T);
        gemm_table().turn(turned, rows, ab, columns, rows, columns);
        for (int64_t j = 0; j < columns; ++j)
          gemm_table().narrow[gemm_type(s_.dtype)](static_cast<uint16_t*>(p.c) + j * s_.c.column,
                                                   turned + j * rows, rows);
        return;
      }
    }
    store_piece<T>(ab, static_cast<char*>(p.c), s_.dtype, s_.c,
                   bias_first ? nullptr : static_cast<const char*>(p.bias), s_.bias, s_.beta, rows,
                   columns, gemm_table().narrow[gemm_type(s_.dtype)]);
  });
}

// What dot reads of B, side by side.
void GemmPlan::gather_vector(GemmBlock& g, char* to) const {
  const size_t size = size_of(s_.dtype);
  const char* from = static_cast<const char*>(g.b);
  const int64_t step = g.b_row * static_cast<int64_t>(size);
  const auto copy = [&]<class T>(T) {
    for (int64_t k = 0; k < g.k; ++k)
      std::memcpy(to + k * static_cast<int64_t>(sizeof(T)), from + k * step, sizeof(T));
  };
  size == 2 ? copy(uint16_t{}) : size == 4 ? copy(uint32_t{}) : copy(uint64_t{});
  g.b = to;
  g.b_row = 1;
}

GemmBlockFn GemmPlan::kernel() const {
  const GemmTable& t = gemm_table();
  const GemmType type = gemm_type(s_.dtype);
  return method_ == Method::dot    ? t.dot[type]
         : method_ == Method::dots ? t.dots[type]
         : method_ == Method::axpy ? t.axpy[type]
         : multiplies_pairs(s_)    ? t.packed_pairs
                                   : t.packed[type];
}

bool GemmPlan::call_library(const GemmBlock& g) const {
  const bool a_plain = library_stride(g.a_column, g.a_row, g.m, g.k);
  const bool b_plain = library_stride(g.b_column, g.b_row, g.k, g.n);
  const auto at_least = [](int64_t stride, int64_t length) {
    return std::max(stride, std::max<int64_t>(length, 1));
  };
  const int64_t lda = a_plain ? at_least(g.a_row, g.k) : at_least(g.a_column, g.m);
  const int64_t ldb = b_plain ? at_least(g.b_row, g.n) : at_least(g.b_column, g.k);
  return SgemmLibrary::get()->sgemm(
      a_plain ? 'N' : 'T', b_plain ? 'N' : 'T', g.m, g.n, g.k, static_cast<float>(g.alpha),
      static_cast<const float*>(g.a), lda, static_cast<const float*>(g.b), ldb,
      static_cast<float>(g.beta), static_cast<float*>(g.c), at_least(g.c_row, g.n));
}

}  // namespace qs::driver::cpu
