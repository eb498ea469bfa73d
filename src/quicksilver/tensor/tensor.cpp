#include "quicksilver/tensor/tensor.h"

#include <cstring>

#include "quicksilver/core/error.h"
#include "quicksilver/core/free_list.h"
#include "quicksilver/core/half.h"
#include "quicksilver/tensor/record.h"

namespace qs {

void* Storage::operator new(size_t) { return FreeList<Storage>::take(); }
void Storage::operator delete(void* p, size_t) noexcept { FreeList<Storage>::give(p); }

TensorImpl::~TensorImpl() = default;
void* TensorImpl::operator new(size_t) { return FreeList<TensorImpl>::take(); }
void TensorImpl::operator delete(void* p, size_t) noexcept { FreeList<TensorImpl>::give(p); }

namespace {

template <class T>
T load(const void* p) {
  T v;
  std::memcpy(&v, p, sizeof v);
  return v;
}

Scalar scalar_from_bytes(const void* p, DType dtype) {
  switch (dtype) {
    case DType::bool_:
      return Scalar(load<uint8_t>(p) != 0);
    case DType::u8:
      return Scalar(int64_t{load<uint8_t>(p)});
    case DType::i8:
      return Scalar(int64_t{load<int8_t>(p)});
    case DType::i16:
      return Scalar(int64_t{load<int16_t>(p)});
    case DType::i32:
      return Scalar(int64_t{load<int32_t>(p)});
    case DType::i64:
      return Scalar(load<int64_t>(p));
    case DType::u16:
      return Scalar(int64_t{load<uint16_t>(p)});
    case DType::u32:
      return Scalar(int64_t{load<uint32_t>(p)});
    case DType::u64:
      return Scalar(static_cast<int64_t>(load<uint64_t>(p)));
    case DType::f16:
      return Scalar(double{f16_to_f32(load<uint16_t>(p))});
    case DType::bf16:
      return Scalar(double{bf16_to_f32(load<uint16_t>(p))});
    case DType::f32:
      return Scalar(double{load<float>(p)});
    case DType::f64:
      return Scalar(load<double>(p));
    case DType::c64:
      return Scalar(load<float>(p), load<float>(static_cast<const char*>(p) + 4));
    case DType::c128:
      return Scalar(load<double>(p), load<double>(static_cast<const char*>(p) + 8));
  }
  return {};
}

char* address(const Tensor& t) {
  return static_cast<char*>(t.storage().block->ptr()) +
         t.storage_offset() * static_cast<int64_t>(size_of(t.dtype()));
}

}  // namespace

Scalar Tensor::item() const {
  QS_CHECK(defined(), Error, "item() of an undefined tensor");
  QS_CHECK(numel() == 1, Error, "a Tensor with {} elements cannot be converted to Scalar", numel());
  plan::Tape::materialize(storage());
  alignas(16) char bytes[16];
  device_runtime(device_type()).driver().read(bytes, address(*this), size_of(dtype()));
  return scalar_from_bytes(bytes, dtype());
}

void Tensor::to_host(void* destination) const {
  if (numel() == 0) return;
  if (!is_contiguous()) {
    const Operand in[] = {*this};
    RecordOptions options;
    options.dtype = dtype();
    options.compute = dtype();
    options.row_major = true;
    Tensor packed;
    record(Op::copy, in, {}, options, {&packed, 1});
    packed.to_host(destination);
    return;
  }
  plan::Tape::materialize(storage());
  device_runtime(device_type())
      .driver()
      .read(destination, address(*this), static_cast<size_t>(numel()) * size_of(dtype()));
}

void* Tensor::data_ptr() const {
  plan::Tape::settle(storage());
  return address(*this);
}

}  // namespace qs
