# Writes build/kernel_texts.cpp: the texts of kernels/prelude.h and kernels/text/*.h as string
# literals, which kernels/texts.h hands out. A changed text configures again.
set(qs_text_folder ${CMAKE_CURRENT_SOURCE_DIR}/src/quicksilver/kernels)
file(GLOB sources CONFIGURE_DEPENDS ${qs_text_folder}/text/*.h)
set(rows "")
foreach(source IN ITEMS ${qs_text_folder}/prelude.h ${sources})
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${source})
  cmake_path(GET source STEM name)
  file(READ ${source} text)
  string(APPEND rows "    {\"${name}\", R\"QS_TEXT(${text})QS_TEXT\"},\n")
endforeach()
file(CONFIGURE OUTPUT ${CMAKE_CURRENT_BINARY_DIR}/kernel_texts.cpp @ONLY CONTENT
"// Written by cmake/kernel_texts.cmake.
#include \"quicksilver/kernels/texts.h\"

namespace qs::kernels {

const TextPart k_text_parts[] = {
@rows@    {},
};

}  // namespace qs::kernels
")
list(PREPEND qs_room_sources ${CMAKE_CURRENT_BINARY_DIR}/kernel_texts.cpp)
