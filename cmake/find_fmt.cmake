# Finds fmt's headers: the system's, else third_party/staged/include (machines without a network).
# libfmt itself is never linked: core/format.cpp compiles fmt's implementation, hidden, into us.
find_path(QS_FMT_INCLUDE_DIR fmt/format-inl.h
          PATHS ${CMAKE_CURRENT_SOURCE_DIR}/third_party/staged/include)
if(NOT QS_FMT_INCLUDE_DIR)
  message(FATAL_ERROR "fmt's headers are missing: install libfmt-dev, or stage them with "
                      "scripts/stage on a machine that has them.")
endif()
if(NOT QS_FMT_INCLUDE_DIR STREQUAL "/usr/include")
  target_include_directories(qs_options SYSTEM INTERFACE ${QS_FMT_INCLUDE_DIR})
endif()
