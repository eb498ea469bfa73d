# Lists the rooms' sources (qs_room_sources), decides which device drivers exist in this build, and
# sets the flags of files that are compiled for one instruction set.
set(qs_rooms core graph plan codegen kernels runtime driver tensor autograd io nn optim)

set(qs_room_sources)
foreach(room IN LISTS qs_rooms)
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS src/quicksilver/${room}/*.cpp)
  list(APPEND qs_room_sources ${sources})
endforeach()

set(qs_has_cuda 0)
set(qs_has_metal 0)
set(qs_platform_libraries)
if(QS_MPS AND NOT APPLE AND EXISTS ${CMAKE_CURRENT_SOURCE_DIR}/src/quicksilver/driver/cuda)
  set(qs_has_cuda 1)
endif()
if(QS_MPS AND APPLE AND EXISTS ${CMAKE_CURRENT_SOURCE_DIR}/src/quicksilver/driver/metal)
  set(qs_has_metal 1)
  enable_language(OBJCXX)
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS src/quicksilver/driver/metal/*.mm)
  set_source_files_properties(${sources} PROPERTIES COMPILE_OPTIONS "-fobjc-arc")
  list(APPEND qs_room_sources ${sources})
  list(APPEND qs_platform_libraries "-framework Foundation" "-framework Metal"
       "-framework MetalPerformanceShaders" "-framework MetalPerformanceShadersGraph")
endif()
if(NOT qs_has_cuda)
  list(FILTER qs_room_sources EXCLUDE REGEX "/driver/cuda/")
endif()
if(NOT qs_has_metal)
  list(FILTER qs_room_sources EXCLUDE REGEX "/driver/metal/")
endif()
target_compile_definitions(qs_options INTERFACE QS_HAS_CUDA=${qs_has_cuda}
                                                QS_HAS_METAL=${qs_has_metal})

# Host kernels are loops over elements, which -O2 leaves scalar.
set(sources ${qs_room_sources})
list(FILTER sources INCLUDE REGEX "/kernels/(gather|nonzero|scan_rows_generic|scatter|sort|pool)\\.cpp$")
set_source_files_properties(${sources} PROPERTIES COMPILE_OPTIONS "-O3")

set(qs_avx2_flags -O3 -mavx2 -mfma -mf16c -mbmi2)
set(qs_avx512_flags -O3 -mavx512f -mavx512bw -mavx512dq -mavx512vl -mavx512bf16 -mfma -mf16c
                    -mprefer-vector-width=512)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  # gcc 12 takes the deliberately undefined registers inside its own intrinsics for a mistake of ours.
  list(APPEND qs_avx512_flags -Wno-uninitialized -Wno-maybe-uninitialized)
endif()
foreach(isa IN ITEMS avx2 avx512)
  set(sources ${qs_room_sources})
  list(FILTER sources INCLUDE REGEX "_${isa}\\.cpp$")
  list(FILTER qs_room_sources EXCLUDE REGEX "_${isa}\\.cpp$")
  if(CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|AMD64)$")
    set_source_files_properties(${sources} PROPERTIES COMPILE_OPTIONS "${qs_${isa}_flags}")
    # Last on purpose: of an inline function compiled in several files the linker keeps the first,
    # and that copy must run on every processor.
    list(APPEND qs_room_sources ${sources})
  endif()
endforeach()
