# In a wheel: the two binaries, beside the Python sources. Elsewhere: library, headers and a CMake
# package, so that find_package(Quicksilver) gives Quicksilver::quicksilver.
if(SKBUILD)
  install(TARGETS quicksilver LIBRARY DESTINATION quicksilver)
  if(TARGET _C)
    install(TARGETS _C LIBRARY DESTINATION quicksilver)
  endif()
  return()
endif()

include(CMakePackageConfigHelpers)
set(package_dir lib/cmake/Quicksilver)
install(TARGETS quicksilver qs_headers EXPORT QuicksilverTargets LIBRARY DESTINATION lib)
install(DIRECTORY src/quicksilver/ DESTINATION include/quicksilver
        FILES_MATCHING PATTERN "*.h" PATTERN "*.def" PATTERN "python" EXCLUDE)
install(EXPORT QuicksilverTargets NAMESPACE Quicksilver:: DESTINATION ${package_dir})
configure_package_config_file(cmake/QuicksilverConfig.cmake.in QuicksilverConfig.cmake
                              INSTALL_DESTINATION ${package_dir})
write_basic_package_version_file(QuicksilverConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/QuicksilverConfig.cmake
              ${CMAKE_CURRENT_BINARY_DIR}/QuicksilverConfigVersion.cmake
        DESTINATION ${package_dir})
