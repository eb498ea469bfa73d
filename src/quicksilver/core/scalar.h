// A Python number: bool, int, float or complex. As an operand it is a launch argument, never key.
#pragma once
#include <bit>
#include <cstdint>

#include "quicksilver/core/dtype.h"

namespace qs {

class Scalar {
 public:
  enum class Kind : uint8_t { boolean, integer, floating, complex };
  Scalar() : Scalar(int64_t{0}) {}
  Scalar(bool v) : kind_(Kind::boolean), i_(v) {}
  Scalar(int v) : kind_(Kind::integer), i_(v) {}
  Scalar(int64_t v) : kind_(Kind::integer), i_(v) {}
  Scalar(double v) : kind_(Kind::floating), re_(v) {}
  Scalar(double re, double im) : kind_(Kind::complex), re_(re), im_(im) {}

  Kind kind() const { return kind_; }
  bool is_integral() const { return kind_ <= Kind::integer; }
  /// The dtype the number has in promotion: bool, i64, f64 or c128.
  DType dtype() const {
    constexpr DType of[] = {DType::bool_, DType::i64, DType::f64, DType::c128};
    return of[static_cast<int>(kind_)];
  }
  double to_double() const { return is_integral() ? static_cast<double>(i_) : re_; }
  double imag() const { return im_; }
  int64_t to_int() const { return is_integral() ? i_ : static_cast<int64_t>(re_); }
  bool to_bool() const { return is_integral() ? i_ != 0 : (re_ != 0 || im_ != 0); }

  /// The 64-bit word a kernel reads: an int64 when `as` is integral (or bool), else the bits of a
  /// double. The kernel converts the word to its own register type.
  uint64_t word(DType as) const {
    if (qs::is_integral(as))
      return static_cast<uint64_t>(as == DType::bool_ ? to_bool() : to_int());
    return std::bit_cast<uint64_t>(to_double());
  }

 private:
  Kind kind_;
  int64_t i_ = 0;
  double re_ = 0, im_ = 0;
};

}  // namespace qs
