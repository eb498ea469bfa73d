// Random ops as a kernel of their own: uniform, normal, Bernoulli and integer draws.
//
// A device runs these ops as generated code, fused with their neighbours (graph/ops.def); the cpu
// driver has no other form of them, and this kernel has no host function. Its text is what a device
// without generated code would launch, and where the functions of text/random.h are run against the
// cpu driver's draws.
//
// pointers  out, and the probabilities when they are a tensor's
// ints      which, dtype of out (and of the probabilities), attribute 0 of the op, rank, shape,
// strides of
//           out, whether there is a second pointer, its strides
// scalars   the op's two numbers, seed, offset
// items     points, row-major
#include "quicksilver/core/error.h"
#include "quicksilver/kernels/strided.h"
#include "quicksilver/kernels/texts.h"

namespace qs::kernels {

const driver::PortableKernel& random_kernel(bool f64) {
  static const driver::PortableKernel kernels[] = {
      {"random_f32",
       make_text({"walk", "number", "philox", "random"}, define("QS_F64", 0), {"random_points"},
                 plan_points),
       nullptr},
      {"random_f64",
       make_text({"walk", "number", "philox", "random"}, define("QS_F64", 1), {"random_points"},
                 plan_points, true),
       nullptr}};
  return kernels[f64];
}

KernelCall random(Random which, const View& out, const View* probabilities, int64_t attribute,
                  const driver::ScalarRef (&numbers)[2], const driver::ScalarRef& seed,
                  const driver::ScalarRef& offset) {
  QS_ASSERT(!probabilities ||
            (probabilities->shape == out.shape && probabilities->dtype == out.dtype));
  KernelCall call;
  call.kernel = &random_kernel(out.dtype == DType::f64);
  driver::KernelArgs& args = call.args;
  args.pointers = {out.ptr};
  if (probabilities) args.pointers.push_back(probabilities->ptr);
  args.scalars = {numbers[0], numbers[1], seed, offset};
  args.ints = {static_cast<int64_t>(which), static_cast<int64_t>(out.dtype), attribute,
               static_cast<int64_t>(out.shape.size())};
  append(args.ints, out.shape);
  append(args.ints, out.strides);
  args.ints.push_back(probabilities != nullptr);
  if (probabilities) append(args.ints, probabilities->strides);
  args.items = 1;
  for (int64_t s : out.shape) args.items *= s;
  return call;
}

}  // namespace qs::kernels
