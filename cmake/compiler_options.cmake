# Flags of every target, kept in two interface targets:
#   qs_options   how our own code is compiled (never seen by users of the library)
#   qs_headers   include folder and definitions that users need as well

if(NOT CMAKE_BUILD_TYPE AND NOT CMAKE_CONFIGURATION_TYPES)
  set(CMAKE_BUILD_TYPE Release CACHE STRING "Release or Debug" FORCE)
endif()
set(CMAKE_CXX_FLAGS_RELEASE "-O2 -DNDEBUG")
set(CMAKE_CXX_FLAGS_DEBUG "-Og -g")
set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_CXX_VISIBILITY_PRESET hidden)
set(CMAKE_VISIBILITY_INLINES_HIDDEN ON)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_CXX_SCAN_FOR_MODULES OFF)

find_program(QS_CCACHE ccache)
if(QS_CCACHE AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  set(CMAKE_CXX_COMPILER_LAUNCHER ${QS_CCACHE})
endif()

add_library(qs_options INTERFACE)
# Results are compared bit for bit between fused and unfused runs: the compiler may neither contract
# a * b + c nor assume anything about rounding, NaN or infinity.
target_compile_options(qs_options INTERFACE -ffp-contract=off -Wall -Wextra)
if(QS_WERROR AND NOT QS_SANITIZE)
  target_compile_options(qs_options INTERFACE -Werror)
endif()
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  # gcc notes every function whose vector arguments changed ABI between releases; none is exported.
  target_compile_options(qs_options INTERFACE -Wno-psabi)
endif()
if(CMAKE_CXX_FLAGS MATCHES "-ffast-math|-Ofast|-funsafe-math-optimizations")
  message(FATAL_ERROR "Quicksilver must not be built with -ffast-math or its parts.")
endif()

if(QS_SANITIZE)
  if(NOT QS_SANITIZE MATCHES "^(address|undefined|thread)$")
    message(FATAL_ERROR "QS_SANITIZE is address, undefined or thread, not '${QS_SANITIZE}'.")
  endif()
  # Reaches every target, third-party ones too, or reports would have holes.
  add_compile_options(-fsanitize=${QS_SANITIZE} -fno-omit-frame-pointer -g)
  add_link_options(-fsanitize=${QS_SANITIZE})
  if(QS_SANITIZE STREQUAL "undefined")
    add_compile_options(-fno-sanitize-recover=all)
  endif()
endif()

add_library(qs_headers INTERFACE)
target_compile_features(qs_headers INTERFACE cxx_std_20)
target_include_directories(qs_headers INTERFACE
  $<BUILD_INTERFACE:${CMAKE_CURRENT_SOURCE_DIR}/src> $<INSTALL_INTERFACE:include>)
target_compile_definitions(qs_headers INTERFACE QS_HAS_MPS=$<BOOL:${QS_MPS}>)
