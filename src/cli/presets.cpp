// SPDX-License-Identifier: MIT
#include "cli/presets.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <system_error>

#include "base/error.h"
#include "base/file.h"
#include "base/nearest.h"

// Made by cmake/presets.cmake.
extern "C" const char moe_presets_begin[], moe_presets_end[];

namespace moe::cli {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kOverlays = "overlays/";

// The bytes up to the next 0, which is skipped.
std::string_view next(std::string_view& rest) {
  const std::string_view found = rest.substr(0, rest.find('\0'));
  rest.remove_prefix(found.size() + 1);
  return found;
}

std::vector<Preset> unpack(std::string_view rest) {
  std::vector<Preset> list;
  while (!rest.empty()) {
    std::string_view name = next(rest);
    const bool overlay = name.starts_with(kOverlays);
    if (overlay) name.remove_prefix(kOverlays.size());
    list.push_back({std::string(name), overlay, next(rest)});
  }
  std::ranges::sort(list, [](const Preset& a, const Preset& b) {
    return a.overlay == b.overlay ? a.name < b.name : b.overlay;
  });
  return list;
}

bool has_ending(const fs::path& path) {
  const std::string ending = path.extension().string();
  return ending == ".yaml" || ending == ".yml" || ending == ".json";
}

// A word without folder and ending, which no file has. A run's folder may have the name of its preset.
bool is_name(const fs::path& given) {
  std::error_code ignored;
  const bool file = fs::exists(given, ignored) && !fs::is_directory(given, ignored);
  return !given.has_parent_path() && !has_ending(given) && !file;
}

std::vector<std::string> names() {
  std::vector<std::string> list;
  list.reserve(presets().size());
  for (const Preset& preset : presets()) list.push_back(preset.name);
  return list;
}

ConfigText read_one(const fs::path& given) {
  if (is_name(given)) return read_preset(given.string());
  const std::string stem = has_ending(given) ? given.stem().string() : "";
  std::error_code ignored;
  if (!fs::exists(given, ignored) && find_preset(stem) != nullptr)
    throw UserError("--config", "a file", fmt::format("\"{}\", which does not exist", given.string()),
                    fmt::format("the program carries this one: --config {}", stem));
  return {given.string(), read_file(given)};
}

}  // namespace

const std::vector<Preset>& presets() {
  static const std::vector<Preset> list = unpack({moe_presets_begin, moe_presets_end});
  return list;
}

const Preset* find_preset(std::string_view name) {
  const auto found = std::ranges::find(presets(), name, &Preset::name);
  return found == presets().end() ? nullptr : &*found;
}

ConfigText read_preset(const std::string& name) {
  if (const Preset* const preset = find_preset(name)) return {"preset " + name, std::string(preset->text)};
  const std::string near = nearest_name(name, names());
  throw UserError("--config", fmt::format("a file, or a preset ({})", fmt::join(names(), ", ")),
                  fmt::format("\"{}\"", name),
                  near.empty() ? "`moe presets` tells what each is" : fmt::format("did you mean {}?", near));
}

std::string summary_of(const Preset& preset) {
  std::string_view line = preset.text.substr(0, preset.text.find('\n'));
  line.remove_prefix(std::min(line.size(), line.find_first_not_of("# ")));
  return std::string(line.substr(0, line.find_last_not_of('.') + 1));
}

std::vector<ConfigText> read_configurations(const std::vector<fs::path>& given) {
  std::vector<ConfigText> list;
  list.reserve(given.size());
  for (const fs::path& each : given) list.push_back(read_one(each));
  return list;
}

std::string name_of_configurations(const std::vector<fs::path>& given) {
  std::vector<std::string> list;
  list.reserve(given.size());
  for (const fs::path& each : given)  // the name of a preset has points: moe_1.7b
    list.push_back(is_name(each) ? each.string() : each.stem().string());
  return fmt::format("{}", fmt::join(list, "-"));
}

}  // namespace moe::cli
