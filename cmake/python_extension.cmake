# Builds the Python extension _C over libquicksilver, and mirrors the Python sources beside it.
find_package(Python 3.10 REQUIRED COMPONENTS Interpreter Development.Module)

add_custom_target(qs_python_sources ALL
  COMMAND ${CMAKE_COMMAND} -DSOURCE=${CMAKE_CURRENT_SOURCE_DIR}/python/quicksilver
          -DMIRROR=${qs_package_dir} -P ${CMAKE_CURRENT_SOURCE_DIR}/cmake/mirror_package.cmake
  COMMENT "Mirroring python/quicksilver")

file(GLOB qs_python_room CONFIGURE_DEPENDS src/quicksilver/python/*.cpp)
if(NOT qs_python_room)
  message(STATUS "src/quicksilver/python has no sources yet: _C is not built")
  return()
endif()

# core/format.cpp once more: the library keeps its copy of fmt hidden, so the extension has its own.
Python_add_library(_C MODULE WITH_SOABI ${qs_python_room} src/quicksilver/core/format.cpp)
# CPython's objects are read through several struct types.
target_compile_options(_C PRIVATE -fno-strict-aliasing)
target_link_libraries(_C PRIVATE quicksilver qs_options)
set_target_properties(_C PROPERTIES LIBRARY_OUTPUT_DIRECTORY ${qs_package_dir}
                                    BUILD_WITH_INSTALL_RPATH ON)
if(APPLE)
  set_target_properties(_C PROPERTIES INSTALL_RPATH "@loader_path")
else()
  set_target_properties(_C PROPERTIES INSTALL_RPATH "$ORIGIN")
endif()
