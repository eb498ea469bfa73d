#include "quicksilver/kernels/texts.h"

#include <algorithm>
#include <bit>
#include <deque>
#include <mutex>

#include "quicksilver/core/error.h"

namespace qs::kernels {

using driver::KernelText;
using driver::TextPlan;

namespace {

std::string_view part_named(std::string_view name) {
  for (const TextPart* p = k_text_parts; !p->name.empty(); ++p)
    if (p->name == name) return p->text;
  throw InternalError(format("there is no kernel text {}", name));
}

}  // namespace

std::string define(std::string_view name, int64_t value) {
  return format("#define {} {}\n", name, value);
}

const KernelText* make_text(std::initializer_list<std::string_view> parts, std::string options,
                            std::initializer_list<std::string_view> entries,
                            TextPlan (*plan)(const driver::KernelArgs&), bool needs_f64) {
  // They live for ever: a device may ask for one while the process ends.
  static std::mutex& making = *new std::mutex;
  static std::deque<KernelText>& texts = *new std::deque<KernelText>;
  std::lock_guard lock(making);
  KernelText* text = &texts.emplace_back();
  text->options = define("QS_THREADS", k_text_threads) + std::move(options);
  text->parts.push_back(part_named("prelude"));
  for (std::string_view name : parts) text->parts.push_back(part_named(name));
  for (std::string_view name : entries) text->entries.emplace_back(name);
  text->threads = k_text_threads;
  text->needs_f64 = needs_f64;
  text->plan = plan;
  return text;
}

std::string order_options(DType dtype) {
  std::string options = define("QS_BYTES", static_cast<int64_t>(size_of(dtype)));
  options += define("QS_ORDER", is_floating(dtype) ? 2 : info(dtype).is_signed ? 1 : 0);
  switch (dtype) {
    case DType::f16:
      return options + define("QS_INFINITY", 0x7c00);
    case DType::bf16:
      return options + define("QS_INFINITY", 0x7f80);
    case DType::f32:
      return options + define("QS_INFINITY", 0x7f800000);
    case DType::f64:
      return options + define("QS_INFINITY", 0x7ff0000000000000);
    default:
      return options;
  }
}

int64_t groups_for(int64_t tiles) { return std::clamp<int64_t>(tiles, 1, int64_t{1} << 20); }

int64_t groups_for_points(int64_t points) {
  return groups_for((points + k_text_threads - 1) / k_text_threads);
}

int64_t sort_slots(const SortRows& sort) {
  const int64_t tiles = (sort.length + k_text_tile - 1) / k_text_tile;
  if (tiles <= 1 && sort.from == 0 && sort.to_results) return 0;
  const bool rounds = sort.from == 0 && sort.keep <= k_text_tile / 2;
  const int64_t row = rounds ? tiles * std::min(sort.keep, sort.length) : sort.length;
  return (sort.rows * row + 63) / 64 * 64;
}

int sort_launches(const SortRows& sort, TextPlan& plan) {
  const int64_t slots = sort_slots(sort);
  int from = sort.from;
  int64_t length = sort.length;
  const auto tiles_of = [](int64_t n) { return (n + k_text_tile - 1) / k_text_tile; };
  const auto launch = [&](int entry, int to, int64_t width, int64_t keep, int64_t run) {
    const int64_t packed = k_text_tile / width, tiles = tiles_of(length);
    plan.launches.push_back(
        {entry,
         groups_for(tiles > 1 ? sort.rows * tiles : (sort.rows + packed - 1) / packed),
         {from, to, sort.rows, length, slots, width, keep, run}});
    from = to;
  };
  const auto other = [&] { return from == 1 ? 2 : 1; };
  const int results = sort.to_results ? 0 : -1;
  plan.scratch_bytes = std::max(plan.scratch_bytes, half_bytes(sort, 2));

  const bool rounds = sort.keep <= k_text_tile / 2;
  while (rounds && length > k_text_tile) {
    launch(0, other(), k_text_tile, sort.keep, 0);
    const int64_t tiles = tiles_of(length);
    length = (tiles - 1) * sort.keep + std::min(sort.keep, length - (tiles - 1) * k_text_tile);
  }
  if (length <= k_text_tile) {
    const auto width = static_cast<int64_t>(std::bit_ceil(static_cast<uint64_t>(length)));
    launch(0, results < 0 ? other() : 0, std::max<int64_t>(width, k_text_items), sort.keep, 0);
    return from;
  }
  launch(0, other(), k_text_tile, k_text_tile, 0);
  for (int64_t run = k_text_tile; run < length; run *= 2)
    launch(1, results == 0 && 2 * run >= length ? 0 : other(), k_text_tile, 0, run);
  return from;
}

TextPlan plan_points(const driver::KernelArgs& args) {
  TextPlan plan;
  if (args.items > 0) plan.launches.push_back({0, groups_for_points(args.items), {args.items}});
  return plan;
}

std::vector<const driver::PortableKernel*> kernels_with_text() {
  std::vector<const driver::PortableKernel*> list;
  for (int d = 0; d < k_dtype_count; ++d) {
    const auto dtype = static_cast<DType>(d);
    for (bool wide : {false, true}) list.push_back(&scatter_kernel(dtype, true, wide));
    for (bool count : {false, true}) list.push_back(&nonzero_kernel(dtype, count));
    if (is_floating(dtype)) list.push_back(&draw_kernel(dtype));
    if (is_complex(dtype)) continue;
    for (bool wide : {false, true}) list.push_back(&sort_kernel(dtype, wide));
    list.push_back(&search_kernel(dtype));
    list.push_back(&scan_extreme_kernel(dtype));
  }
  for (int log2 = 0; log2 < 5; ++log2) list.push_back(&gather_kernel(log2, true));
  for (const driver::PortableKernel& k : scan_sum_kernels())
    if (k.text) list.push_back(&k);
  list.push_back(&check_kernel());
  for (bool f64 : {false, true}) list.push_back(&random_kernel(f64));
  return list;
}

}  // namespace qs::kernels
