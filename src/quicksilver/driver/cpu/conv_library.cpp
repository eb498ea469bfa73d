// Own minimal declarations of oneDNN's C interface: what dnnl.h of 2.6 says. Descriptors are
// structures of that version's size, so other versions are not opened.
#include "quicksilver/driver/cpu/conv_library.h"

#include <dlfcn.h>

#include <algorithm>
#include <optional>

#include "quicksilver/core/cpu_info.h"
#include "quicksilver/core/error.h"
#include "quicksilver/driver/cpu/gemm_library.h"

namespace qs::driver::cpu {
namespace {

struct alignas(8) MemoryDesc {
  char bytes[696];
};
struct alignas(8) ConvDesc {
  char bytes[6144];  // at least 5976
};
struct Version {
  int major, minor, patch;
};
using Handle = void*;
struct Argument {
  int index;
  Handle memory;
};

constexpr int k_cpu = 1, k_stream_default = 1, k_f32 = 3, k_any = 1;
constexpr int k_forward_inference = 96, k_direct = 1;
constexpr int k_query_src = 129, k_query_diff_src = 130, k_query_weights = 131,
              k_query_diff_weights = 132, k_query_dst = 133, k_query_diff_dst = 134,
              k_query_scratchpad = 136;
constexpr int k_src = 1, k_dst = 17, k_weights = 33, k_bias = 41, k_diff_src = 129,
              k_diff_dst = 145, k_diff_weights = 161, k_scratchpad = 80, k_scratchpad_of_user = 1;

struct Api {
  int (*engine_create)(Handle*, int kind, size_t index);
  int (*attr_create)(Handle*);
  int (*attr_set_scratchpad)(Handle, int mode);
  int (*stream_create)(Handle*, Handle engine, unsigned flags);
  int (*desc_by_strides)(MemoryDesc*, int, const int64_t*, int, const int64_t*);
  int (*desc_by_tag)(MemoryDesc*, int, const int64_t*, int, int tag);
  int (*desc_equal)(const MemoryDesc*, const MemoryDesc*);
  size_t (*desc_size)(const MemoryDesc*);
  int (*memory_create)(Handle*, const MemoryDesc*, Handle engine, void*);
  int (*memory_destroy)(Handle);
  int (*forward_init)(ConvDesc*, int prop, int alg, const MemoryDesc*, const MemoryDesc*,
                      const MemoryDesc*, const MemoryDesc*, const int64_t*, const int64_t*,
                      const int64_t*, const int64_t*);
  int (*data_init)(ConvDesc*, int alg, const MemoryDesc*, const MemoryDesc*, const MemoryDesc*,
                   const int64_t*, const int64_t*, const int64_t*, const int64_t*);
  int (*weights_init)(ConvDesc*, int alg, const MemoryDesc*, const MemoryDesc*, const MemoryDesc*,
                      const MemoryDesc*, const int64_t*, const int64_t*, const int64_t*,
                      const int64_t*);
  int (*primitive_desc_create)(Handle*, const void*, const void* attr, Handle engine, Handle hint);
  int (*reorder_desc_create)(Handle*, const MemoryDesc*, Handle, const MemoryDesc*, Handle,
                             const void* attr);
  int (*primitive_desc_destroy)(Handle);
  const MemoryDesc* (*query_md)(Handle, int what, int index);
  int (*primitive_create)(Handle*, Handle desc);
  int (*primitive_destroy)(Handle);
  int (*execute)(Handle primitive, Handle stream, int, const Argument*);
  const Version* (*version)();
  void (*set_omp_threads)(int);
  int (*omp_threads)();
  Handle engine = nullptr;
  // Scratchpads are ours: the library's own belongs to the thread that made the primitive.
  Handle attr = nullptr;

  static const Api* get() {
    static const Api* api = open();
    return api;
  }

 private:
  static const Api* open() {
    if (!SgemmLibrary::get()) return nullptr;  // opens the library and sets its instruction set
    void* library = dlopen("libdnnl.so.2", RTLD_NOW | RTLD_LOCAL);
    if (!library) return nullptr;
    auto api = std::make_unique<Api>();
    bool complete = true;
    const auto find = [&](auto& function, const char* symbol) {
      function =
          reinterpret_cast<std::remove_reference_t<decltype(function)>>(dlsym(library, symbol));
      complete = complete && function;
    };
    find(api->engine_create, "dnnl_engine_create");
    find(api->attr_create, "dnnl_primitive_attr_create");
    find(api->attr_set_scratchpad, "dnnl_primitive_attr_set_scratchpad_mode");
    find(api->stream_create, "dnnl_stream_create");
    find(api->desc_by_strides, "dnnl_memory_desc_init_by_strides");
    find(api->desc_by_tag, "dnnl_memory_desc_init_by_tag");
    find(api->desc_equal, "dnnl_memory_desc_equal");
    find(api->desc_size, "dnnl_memory_desc_get_size");
    find(api->memory_create, "dnnl_memory_create");
    find(api->memory_destroy, "dnnl_memory_destroy");
    find(api->forward_init, "dnnl_dilated_convolution_forward_desc_init");
    find(api->data_init, "dnnl_dilated_convolution_backward_data_desc_init");
    find(api->weights_init, "dnnl_dilated_convolution_backward_weights_desc_init");
    find(api->primitive_desc_create, "dnnl_primitive_desc_create");
    find(api->reorder_desc_create, "dnnl_reorder_primitive_desc_create");
    find(api->primitive_desc_destroy, "dnnl_primitive_desc_destroy");
    find(api->query_md, "dnnl_primitive_desc_query_md");
    find(api->primitive_create, "dnnl_primitive_create");
    find(api->primitive_destroy, "dnnl_primitive_destroy");
    find(api->execute, "dnnl_primitive_execute");
    find(api->version, "dnnl_version");
    find(api->set_omp_threads, "omp_set_num_threads");
    find(api->omp_threads, "omp_get_max_threads");
    if (!complete || api->version()->major != 2 || api->version()->minor != 6) return nullptr;
    if (api->engine_create(&api->engine, k_cpu, 0) != 0 || api->attr_create(&api->attr) != 0 ||
        api->attr_set_scratchpad(api->attr, k_scratchpad_of_user) != 0)
      return nullptr;
    return api.release();  // stays for the process, as the library does
  }
};

/// The calling thread's stream, and one OpenMP thread while it is used.
class OneThread {
 public:
  explicit OneThread(const Api& api) : api_(api), threads_(api.omp_threads()) {
    if (threads_ != 1) api_.set_omp_threads(1);
  }
  ~OneThread() {
    if (threads_ != 1) api_.set_omp_threads(threads_);
  }
  OneThread(const OneThread&) = delete;
  OneThread& operator=(const OneThread&) = delete;
  Handle stream() const {
    static thread_local Handle stream = nullptr;  // a few hundred bytes a thread, kept
    if (!stream)
      QS_CHECK(api_.stream_create(&stream, api_.engine, k_stream_default) == 0, DeviceError,
               "oneDNN gave no stream");
    return stream;
  }

 private:
  const Api& api_;
  int threads_;
};

class Memory {
 public:
  Memory(const Api& api, const MemoryDesc& desc, const void* data) : api_(api) {
    QS_CHECK(api_.memory_create(&handle_, &desc, api_.engine, const_cast<void*>(data)) == 0,
             DeviceError, "oneDNN gave no memory object");
  }
  ~Memory() { api_.memory_destroy(handle_); }
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;
  Handle get() const { return handle_; }

 private:
  const Api& api_;
  Handle handle_ = nullptr;
};

/// A primitive and the scratchpad it wants.
struct Primitive {
  Handle handle = nullptr;
  MemoryDesc scratchpad;
  int64_t scratchpad_bytes = 0;

  explicit operator bool() const { return handle != nullptr; }
  /// From a descriptor, which is destroyed.
  bool make(const Api& api, Handle desc) {
    if (const MemoryDesc* md = api.query_md(desc, k_query_scratchpad, 0)) {
      scratchpad = *md;
      scratchpad_bytes = static_cast<int64_t>(api.desc_size(md));
    }
    const int status = api.primitive_create(&handle, desc);
    api.primitive_desc_destroy(desc);
    return status == 0;
  }
  void run(const Api& api, Handle stream, std::initializer_list<Argument> given,
           char* scratch) const {
    Argument args[6];
    int count = static_cast<int>(std::copy(given.begin(), given.end(), args) - args);
    std::optional<Memory> pad;
    if (scratchpad_bytes > 0) {
      pad.emplace(api, scratchpad, scratch);
      args[count++] = {k_scratchpad, pad->get()};
    }
    QS_CHECK(api.execute(handle, stream, count, args) == 0, DeviceError,
             "oneDNN's convolution failed");
  }
};

/// Strides that name every element once, in any order of the dimensions.
bool is_regular(const int64_t* sizes, const int64_t* strides, int rank) {
  Dims shape, own;
  for (int d = 0; d < rank; ++d) {
    if (sizes[d] > 1 && strides[d] <= 0) return false;
    shape.push_back(sizes[d]);
    own.push_back(sizes[d] > 1 ? strides[d] : 1);
  }
  return !Layout(shape, own).may_self_overlap();
}

}  // namespace

struct LibraryConv::Parts {
  const Api* api = nullptr;
  Primitive primitive;
  Primitive first_in, second_in, second_out, weights_in, weights_out;  // reorders, where needed
  MemoryDesc first, second, weights;                                   // the tensors'
  MemoryDesc own_first, own_second, own_weights;                       // the library's
  MemoryDesc bias;

  ~Parts() {
    for (const Primitive* p :
         {&primitive, &first_in, &second_in, &second_out, &weights_in, &weights_out})
      if (*p) api->primitive_destroy(p->handle);
  }
  bool reorder(const MemoryDesc& from, const MemoryDesc& to, Primitive& made) const {
    if (api->desc_equal(&from, &to)) return true;
    Handle desc = nullptr;
    return api->reorder_desc_create(&desc, &from, api->engine, &to, api->engine, api->attr) == 0 &&
           made.make(*api, desc);
  }
};

LibraryConv::~LibraryConv() = default;

std::unique_ptr<LibraryConv> LibraryConv::make(const ConvCall& call, const ConvArgs& a,
                                               int64_t batch) {
  const Api* api = call.dtype == DType::f32 ? Api::get() : nullptr;
  if (!api || (call.bias && (call.kind != ConvCall::forward || a.bias_stride != 1))) return nullptr;
  // A primitive is made for the number of threads at its creation, and some wait for all of them.
  const OneThread thread(*api);
  const int skip = 3 - call.dims, rank = 2 + call.dims;
  std::unique_ptr<LibraryConv> made(new LibraryConv);
  made->call_ = call;
  made->parts_ = std::make_unique<Parts>();
  Parts& p = *made->parts_;
  p.api = api;
  // Descriptions of the tensors as they lie, and with the format left to the library.
  bool fine = true;
  const auto describe = [&](const ConvArgs::Tensor& t, int64_t channels, const int64_t (&size)[3],
                            MemoryDesc& own, MemoryDesc& any) {
    int64_t sizes[5] = {batch, channels}, strides[5] = {t.strides[0], t.strides[1]};
    for (int d = 0; d < call.dims; ++d) {
      sizes[2 + d] = size[skip + d];
      strides[2 + d] = t.strides[2 + skip + d];
    }
    fine = fine && is_regular(sizes, strides, rank) &&
           api->desc_by_strides(&own, rank, sizes, k_f32, strides) == 0 &&
           api->desc_by_tag(&any, rank, sizes, k_f32, k_any) == 0;
  };
  MemoryDesc x, any_x, y, any_y, w, any_w;
  describe(a.x, a.in, a.x_size, x, any_x);
  describe(a.y, a.out, a.y_size, y, any_y);
  {
    int64_t sizes[6], strides[6];
    int n = 0;
    const auto add = [&](int64_t size, int64_t stride) {
      sizes[n] = size;
      strides[n++] = stride;
    };
    const int64_t rows = a.out / a.groups;
    if (a.groups > 1) add(a.groups, rows * a.w.strides[0]);
    add(rows, a.w.strides[0]);
    add(a.in / a.groups, a.w.strides[1]);
    for (int d = skip; d < 3; ++d) add(a.kernel[d], a.w.strides[2 + d]);
    fine = fine && is_regular(sizes, strides, n) &&
           api->desc_by_strides(&w, n, sizes, k_f32, strides) == 0 &&
           api->desc_by_tag(&any_w, n, sizes, k_f32, k_any) == 0;
  }
  if (!fine) return nullptr;
  const int64_t out_channels[] = {a.out}, one[] = {1};
  if (api->desc_by_strides(&p.bias, 1, out_channels, k_f32, one) != 0) return nullptr;
  int64_t strides[3], dilates[3], before[3], behind[3];
  for (int d = 0; d < call.dims; ++d) {
    const int s = skip + d;
    strides[d] = a.stride[s];
    dilates[d] = a.dilation[s] - 1;
    before[d] = a.padding[s];
    behind[d] = (a.y_size[s] - 1) * a.stride[s] + (a.kernel[s] - 1) * a.dilation[s] + 1 -
                a.x_size[s] - a.padding[s];
  }
  // Both backward primitives want the forward one as a hint.
  ConvDesc desc;
  Handle forward = nullptr, chosen = nullptr;
  if (api->forward_init(&desc, k_forward_inference, k_direct, &any_x, &any_w,
                        call.bias ? &p.bias : nullptr, &any_y, strides, dilates, before,
                        behind) != 0 ||
      api->primitive_desc_create(&forward, &desc, api->attr, api->engine, nullptr) != 0)
    return nullptr;
  const bool input = call.kind == ConvCall::input, weight = call.kind == ConvCall::weight;
  int status = 0;
  if (input)
    status =
        api->data_init(&desc, k_direct, &any_x, &any_w, &any_y, strides, dilates, before, behind);
  else if (weight)
    status = api->weights_init(&desc, k_direct, &any_x, &any_w, nullptr, &any_y, strides, dilates,
                               before, behind);
  if (status == 0 && (input || weight))
    status = api->primitive_desc_create(&chosen, &desc, api->attr, api->engine, forward);
  else
    std::swap(chosen, forward);
  if (forward) api->primitive_desc_destroy(forward);
  if (status != 0 || !chosen) return nullptr;
  const auto format_of = [&](int what, MemoryDesc& to) {
    const MemoryDesc* found = api->query_md(chosen, what, 0);
    if (found) to = *found;
    return found != nullptr;
  };
  p.weights = w;
  p.first = input ? y : x;
  p.second = input ? x : y;
  fine = format_of(weight ? k_query_diff_weights : k_query_weights, p.own_weights) &&
         format_of(input ? k_query_diff_dst : k_query_src, p.own_first) &&
         format_of(input    ? k_query_diff_src
                   : weight ? k_query_diff_dst
                            : k_query_dst,
                   p.own_second);
  fine = p.primitive.make(*api, chosen) && fine;
  fine = fine && p.reorder(p.first, p.own_first, p.first_in);
  fine = fine && (weight ? p.reorder(p.second, p.own_second, p.second_in)
                         : p.reorder(p.own_second, p.second, p.second_out));
  fine = fine && (weight ? p.reorder(p.own_weights, p.weights, p.weights_out)
                         : p.reorder(p.weights, p.own_weights, p.weights_in));
  if (!fine) return nullptr;
  const auto padded = [&](const MemoryDesc& d) {
    return static_cast<int64_t>((api->desc_size(&d) + 63) / 64 * 64);
  };
  made->weight_bytes_ = padded(p.own_weights);
  if (p.first_in) made->first_bytes_ = padded(p.own_first);
  if (p.second_in || p.second_out) made->second_bytes_ = padded(p.own_second);
  for (const Primitive* one :
       {&p.primitive, &p.first_in, &p.second_in, &p.second_out, &p.weights_in, &p.weights_out})
    made->pad_bytes_ = std::max(made->pad_bytes_, one->scratchpad_bytes);
  return made;
}

bool LibraryConv::same_weights(const LibraryConv& other) const {
  return parts_->api->desc_equal(&parts_->own_weights, &other.parts_->own_weights) != 0;
}

void LibraryConv::read_weights(const void* weights, void* own, char* scratch) const {
  const Parts& p = *parts_;
  const OneThread thread(*p.api);
  const Memory to(*p.api, p.own_weights, own);
  const Memory from(*p.api, p.weights, weights);
  if (p.weights_in)
    p.weights_in.run(*p.api, thread.stream(), {{k_src, from.get()}, {k_dst, to.get()}}, scratch);
  else
    std::copy_n(static_cast<const char*>(weights), p.api->desc_size(&p.weights),
                static_cast<char*>(own));
}

void LibraryConv::write_weights(const void* own, void* weights, char* scratch) const {
  const Parts& p = *parts_;
  const OneThread thread(*p.api);
  const Memory from(*p.api, p.own_weights, own);
  const Memory to(*p.api, p.weights, weights);
  if (p.weights_out)
    p.weights_out.run(*p.api, thread.stream(), {{k_src, from.get()}, {k_dst, to.get()}}, scratch);
  else
    std::copy_n(static_cast<const char*>(own), p.api->desc_size(&p.weights),
                static_cast<char*>(weights));
}

void LibraryConv::run(const void* first, const void* second, const void* weights, const void* bias,
                      char* scratch) const {
  const Parts& p = *parts_;
  const OneThread thread(*p.api);
  const Handle stream = thread.stream();
  char* pad = scratch + first_bytes_ + second_bytes_;
  const Memory user_first(*p.api, p.first, first), user_second(*p.api, p.second, second);
  const Memory own_first(*p.api, p.own_first, p.first_in ? scratch : first);
  const Memory own_second(*p.api, p.own_second,
                          p.second_in || p.second_out ? scratch + first_bytes_ : second);
  const Memory own_weights(*p.api, p.own_weights, weights);
  if (p.first_in)
    p.first_in.run(*p.api, stream, {{k_src, user_first.get()}, {k_dst, own_first.get()}}, pad);
  if (p.second_in)
    p.second_in.run(*p.api, stream, {{k_src, user_second.get()}, {k_dst, own_second.get()}}, pad);
  switch (call_.kind) {
    case ConvCall::forward: {
      const Memory added(*p.api, p.bias, bias);
      if (call_.bias)
        p.primitive.run(*p.api, stream,
                        {{k_src, own_first.get()},
                         {k_weights, own_weights.get()},
                         {k_bias, added.get()},
                         {k_dst, own_second.get()}},
                        pad);
      else
        p.primitive.run(
            *p.api, stream,
            {{k_src, own_first.get()}, {k_weights, own_weights.get()}, {k_dst, own_second.get()}},
            pad);
      break;
    }
    case ConvCall::input:
      p.primitive.run(*p.api, stream,
                      {{k_diff_dst, own_first.get()},
                       {k_weights, own_weights.get()},
                       {k_diff_src, own_second.get()}},
                      pad);
      break;
    case ConvCall::weight:
      p.primitive.run(*p.api, stream,
                      {{k_src, own_first.get()},
                       {k_diff_dst, own_second.get()},
                       {k_diff_weights, own_weights.get()}},
                      pad);
      break;
  }
  if (p.second_out)
    p.second_out.run(*p.api, stream, {{k_src, own_second.get()}, {k_dst, user_second.get()}}, pad);
}

}  // namespace qs::driver::cpu
