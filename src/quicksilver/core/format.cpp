// Compiles fmt's implementation into this library, hidden.
//
// Our sources include only <fmt/core.h>, which declares without defining: that keeps them quick to
// compile. The definitions usually come from libfmt.so, which would make its version a run-time
// dependency of ours. So this file takes libfmt's place. It instantiates what libfmt's own source
// instantiates for char (nothing here uses wchar_t), for fmt 9 to 12.
#include <fmt/format-inl.h>

FMT_BEGIN_NAMESPACE

#if FMT_VERSION < 120000
#define QS_LOCALE_REF detail::locale_ref
#else
#define QS_LOCALE_REF locale_ref
#endif
template QS_LOCALE_REF::locale_ref(const std::locale&);
template auto QS_LOCALE_REF::get<std::locale>() const -> std::locale;
#undef QS_LOCALE_REF

namespace detail {

template auto thousands_sep_impl(locale_ref) -> thousands_sep_result<char>;
template auto decimal_point_impl(locale_ref) -> char;
template void buffer<char>::append(const char*, const char*);
template auto dragonbox::to_decimal(float) noexcept -> dragonbox::decimal_fp<float>;
template auto dragonbox::to_decimal(double) noexcept -> dragonbox::decimal_fp<double>;

#if FMT_VERSION < 100000
using FormatArgs = basic_format_args<FMT_BUFFER_CONTEXT(type_identity_t<char>)>;
#elif FMT_VERSION < 110100
using FormatArgs = typename vformat_args<>::type;
#endif
#if FMT_VERSION < 110100
template void vformat_to(buffer<char>&, string_view, FormatArgs, locale_ref);
#endif

}  // namespace detail
FMT_END_NAMESPACE
