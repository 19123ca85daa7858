// SPDX-License-Identifier: MIT
#include "metrics/record.h"

#include <string_view>

#include "base/file.h"
#include "base/json.h"

namespace moe::metrics {

std::vector<std::string> names_of_step(const std::filesystem::path& record, int64_t step) {
  std::vector<std::string> names;
  if (!std::filesystem::exists(record)) return names;
  const MappedFile file(record);
  std::string_view text(reinterpret_cast<const char*>(file.data()), file.size());
  // From the end, as far as rows are of this step or later ones: steps only rise.
  while (!text.empty()) {
    if (text.ends_with('\n')) text.remove_suffix(1);
    const size_t newline = text.rfind('\n');
    const std::string_view line = text.substr(newline == std::string_view::npos ? 0 : newline + 1);
    text.remove_suffix(line.size());
    const auto row = try_parse_json(line);
    if (!row || !row->is_object() || !row->contains("step") || !row->at("step").is_number_integer()) continue;
    const auto found = row->at("step").get<int64_t>();
    if (found < step) break;
    if (found == step)
      for (const auto& [name, value] : row->items()) names.push_back(name);
  }
  return names;
}

}  // namespace moe::metrics
