// QS_API marks what libquicksilver exports; everything else stays hidden in it.
//
// Mark a class when users hold, throw or catch it (its type information must be shared), a function
// when users call it. Inline functions and templates need no mark.
#pragma once

#if defined(_WIN32)
#if defined(QS_BUILDING_LIBRARY)
#define QS_API __declspec(dllexport)
#else
#define QS_API __declspec(dllimport)
#endif
#else
#define QS_API __attribute__((visibility("default")))
#endif
