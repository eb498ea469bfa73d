// Compiles fmt's implementation into this library, hidden.
//
// Our sources include only <fmt/core.h>, which declares without defining: that keeps them quick to
// compile. The definitions usually come from libfmt.so, which would make its version a run-time
// dependency of ours. So this file takes libfmt's place. It instantiates what libfmt's own source
// instantiates for char; nothing here uses wchar_t.
#include <fmt/format-inl.h>

FMT_BEGIN_NAMESPACE
namespace detail {

#if FMT_VERSION < 110000
template auto dragonbox::to_decimal(float x) noexcept -> dragonbox::decimal_fp<float>;
template auto dragonbox::to_decimal(double x) noexcept -> dragonbox::decimal_fp<double>;
template void vformat_to(buffer<char>&, string_view,
                         basic_format_args<FMT_BUFFER_CONTEXT(type_identity_t<char>)>, locale_ref);
#endif
template void buffer<char>::append(const char*, const char*);
template auto thousands_sep_impl(locale_ref) -> thousands_sep_result<char>;
template auto decimal_point_impl(locale_ref) -> char;
template locale_ref::locale_ref(const std::locale&);
template auto locale_ref::get<std::locale>() const -> std::locale;

}  // namespace detail
FMT_END_NAMESPACE
