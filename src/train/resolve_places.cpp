// SPDX-License-Identifier: MIT
// Settings that name places, as seen from anywhere.
#include <algorithm>
#include <filesystem>
#include <string>

#include "data/remote.h"
#include "train/run_config.h"

namespace moe::train {
namespace {

// A local place as seen from anywhere. What is remote, or empty, stays.
std::string absolute_place(const std::string& place) {
  namespace fs = std::filesystem;
  if (place.empty() || data::is_remote(place) || fs::path(place).is_absolute()) return place;
  fs::path here = fs::current_path();
  // In a pattern only the part that was given means more than it says.
  if (place.find_first_of("*?[") != std::string::npos && !fs::exists(place)) {
    std::string plain;
    for (const char c : here.string())
      plain += std::string(std::string_view("*?[\\").find(c) < 4 ? "\\" : "") + c;
    here = plain;
  }
  // Not through "..": behind a link it leads elsewhere than it seems.
  fs::path given = place;
  while (given != "." && *given.begin() == ".") given = given.lexically_relative(".");
  return (here / given).string();
}

// The same for the place behind the first of these signs, and the blanks that follow.
std::string absolute_behind(const std::string& entry, char sign) {
  const size_t begin = entry.find_first_not_of(' ', entry.find(sign, entry.find_first_not_of(' ')) + 1);
  if (entry.find(sign) == std::string::npos || begin == std::string::npos) return entry;  // refused later
  return entry.substr(0, begin) + absolute_place(entry.substr(begin));
}

}  // namespace

void RunConfig::resolve_places() {
  for (auto* list : {&data.source, &data.validation_source})
    for (std::string& place : *list) place = absolute_place(place);
  for (std::string& entry : data.mixture) entry = absolute_behind(entry, ' ');
  for (std::string& entry : training.tasks) entry = absolute_behind(entry, '=');
  if (const std::string path = text::tokenizer_path(data.tokenizer.name); !path.empty())
    data.tokenizer.name = text::with_tokenizer_path(data.tokenizer.name, absolute_place(path));
  const auto templates = text::built_in_templates();
  if (data.chat_template != "auto" &&
      std::find(templates.begin(), templates.end(), data.chat_template) == templates.end())
    data.chat_template = absolute_place(data.chat_template);
  data.cache_dir = absolute_place(data.cache_dir);
  training.output_dir = absolute_place(training.output_dir);
}

}  // namespace moe::train
