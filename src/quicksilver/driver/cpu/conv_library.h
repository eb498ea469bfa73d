// oneDNN's convolution, opened at run time and called on one thread at a time from our own pool.
#pragma once
#include <cstdint>
#include <memory>

#include "quicksilver/driver/source.h"

namespace qs::driver::cpu {

/// One convolution of f32 over a piece of the batch, in the memory formats the library likes best:
/// operands and result are reordered from and to the tensors' own strides around it.
class LibraryConv {
 public:
  /// Null when the library is not on this machine or refuses the shape or the strides.
  static std::unique_ptr<LibraryConv> make(const ConvCall& call, const ConvArgs& args,
                                           int64_t batch);
  ~LibraryConv();

  /// Bytes of the weights (or their gradient) in the library's format; of scratch for one run.
  int64_t weight_bytes() const { return weight_bytes_; }
  int64_t scratch_bytes() const { return first_bytes_ + second_bytes_ + pad_bytes_ + 128; }
  bool same_weights(const LibraryConv& other) const;
  /// The tensor's weights into the library's format, and back.
  void read_weights(const void* weights, void* own, char* scratch) const;
  void write_weights(const void* own, void* weights, char* scratch) const;
  /// Forward: second (y) from first (x). Input: second (x) from first (y). Weight: `weights`, in
  /// the library's format, from first (x) and second (y). `bias` in forward runs, where the call
  /// has one.
  void run(const void* first, const void* second, const void* weights, const void* bias,
           char* scratch) const;

 private:
  LibraryConv() = default;
  struct Parts;
  std::unique_ptr<Parts> parts_;
  ConvCall call_;
  int64_t pad_bytes_ = 0;
  int64_t weight_bytes_ = 0, first_bytes_ = 0, second_bytes_ = 0;  // 0: read or written in place
};

}  // namespace qs::driver::cpu
