// SPDX-License-Identifier: MIT
#include "checkpoint/step_folder.h"

#include <fmt/format.h>

#include <algorithm>
#include <system_error>

#include "base/error.h"
#include "base/parse_number.h"
#include "checkpoint/manifest.h"

namespace moe::checkpoint {

namespace fs = std::filesystem;

std::string step_name(int64_t step) {
  return fmt::format("step-{:08}", step);
}

std::optional<int64_t> step_of(std::string_view name) {
  constexpr std::string_view kPrefix = "step-";
  if (!name.starts_with(kPrefix)) return std::nullopt;
  const auto step = parse_number<int64_t>(name.substr(kPrefix.size()));
  return step && *step >= 0 && step_name(*step) == name ? step : std::nullopt;
}

bool is_whole(const fs::path& step_folder) {
  std::error_code ignored;  // "cannot be looked at" is "not whole"
  return fs::is_regular_file(step_folder / kManifestName, ignored);
}

std::vector<int64_t> whole_steps(const fs::path& folder) {
  std::vector<int64_t> steps;
  std::error_code error;
  for (fs::directory_iterator entry(folder, error), end; !error && entry != end; entry.increment(error)) {
    const auto step = step_of(entry->path().filename().string());
    if (step && is_whole(entry->path())) steps.push_back(*step);
  }
  if (error && error != std::errc::no_such_file_or_directory) {
    throw UserError(folder.string(), "a folder of checkpoints that can be read", error.message());
  }
  std::sort(steps.begin(), steps.end());
  return steps;
}

}  // namespace moe::checkpoint
