// Text formatting, {fmt}'s syntax: qs::format("expected {}, got {}", a, b).
#pragma once
#include <fmt/core.h>

#include <string>

namespace qs {

template <class... Args>
std::string format(fmt::format_string<Args...> text, Args&&... args) {
  return fmt::format(text, std::forward<Args>(args)...);
}
inline std::string format(const std::string& text) { return text; }

}  // namespace qs
