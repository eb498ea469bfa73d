// Special functions in double, one element a call: what neither the C library nor
// vector_special.inl has.
#pragma once

namespace qs::driver::cpu::special {

double i0(double x);  // modified Bessel functions of the first kind; e: times e^-|x|
double i0e(double x);
double i1(double x);
double i1e(double x);
double k0e(double x);  // of the second kind, times e^x
double k1e(double x);
double zeta(double s, double q);     // Hurwitz: sum of (k + q)^-s
double igamma(double a, double x);   // regularised lower incomplete gamma function
double igammac(double a, double x);  // 1 - igamma

}  // namespace qs::driver::cpu::special
