// Kernels as text: what the families' builders share. prelude.h says what a text is.
#pragma once
#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

#include "quicksilver/kernels/kernels.h"

namespace qs::kernels {

/// A file of kernels/text/, or the prelude, as it was when the library was built.
struct TextPart {
  std::string_view name, text;
};
extern const TextPart k_text_parts[];  // ends with an empty name

inline constexpr int k_text_threads = 128;
inline constexpr int k_text_items = 8;  // neighbours that a thread of a sort takes
inline constexpr int64_t k_text_tile = k_text_threads * k_text_items;
inline constexpr size_t k_text_pointers = 10;  // QS_POINTERS

/// A text that lives for ever: the prelude, then `parts`; `options` are lines of #define beside
/// those that every text has.
const driver::KernelText* make_text(std::initializer_list<std::string_view> parts,
                                    std::string options,
                                    std::initializer_list<std::string_view> entries,
                                    driver::TextPlan (*plan)(const driver::KernelArgs&),
                                    bool needs_f64 = false);

/// "#define NAME VALUE\n"
std::string define(std::string_view name, int64_t value);

/// Options of text/order.h.
std::string order_options(DType dtype);

/// Threadgroups for `tiles` pieces of work of one group each.
int64_t groups_for(int64_t tiles);
/// The same for `points` pieces of one thread each.
int64_t groups_for_points(int64_t points);

// ---- sorting by text/merge_sort.h, whose entries are 0 merge_tiles and 1 merge_runs of the text

/// Rows of `length` keys are sorted for the places of rank 0 to `keep`. Keys come from the family's
/// source, or from half `from` of scratch, where each row's lie one after the other.
struct SortRows {
  int64_t rows = 0, length = 0, keep = 0;
  size_t key_bytes = 4, place_bytes = 4;
  int from = 0;
  bool to_results = true;  // else into a half
};
/// Appends the launches. Returns the half that holds the sorted keys and places, 0 when they went
/// to the results; scratch_bytes grows to what the two halves take.
int sort_launches(const SortRows& sort, driver::TextPlan& plan);
/// Slots of a half (steps[4]), and where half `half` begins.
int64_t sort_slots(const SortRows& sort);
inline int64_t half_bytes(const SortRows& sort, int half) {
  return half * sort_slots(sort) * static_cast<int64_t>(sort.key_bytes + sort.place_bytes);
}

/// The plan of a text whose one entry gives each item a thread; its step 0 is their number.
driver::TextPlan plan_points(const driver::KernelArgs& args);

// The families' kernels, each with its text.
const driver::PortableKernel& sort_kernel(DType dtype, bool wide);
const driver::PortableKernel& search_kernel(DType dtype);
const driver::PortableKernel& gather_kernel(int log2_bytes, bool with_text);
const driver::PortableKernel& check_kernel();
const driver::PortableKernel& scatter_kernel(DType dtype, bool with_text, bool wide);
const driver::PortableKernel& scan_extreme_kernel(DType dtype);
std::span<const driver::PortableKernel> scan_sum_kernels();
const driver::PortableKernel& nonzero_kernel(DType dtype, bool count);
const driver::PortableKernel& draw_kernel(DType dtype);
const driver::PortableKernel& random_kernel(bool f64);

/// All of them that have a text, for who compiles every text: tests, the check on a new platform.
std::vector<const driver::PortableKernel*> kernels_with_text();

}  // namespace qs::kernels
