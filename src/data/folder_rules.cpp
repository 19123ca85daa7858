// SPDX-License-Identifier: MIT
#include "data/folder_rules.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <map>
#include <utility>

#include "base/ascii.h"

namespace moe::data {
namespace {

bool is_letter(char c) {
  return std::isalpha(static_cast<unsigned char>(c)) != 0;
}

bool is_digit(char c) {
  return std::isdigit(static_cast<unsigned char>(c)) != 0;
}

// The words that the hub's library takes for splits.
enum class Split : uint8_t { none, train, other };
Split split_of(std::string_view word) {
  constexpr std::array<std::string_view, 2> kTrain{"train", "training"};
  constexpr std::array<std::string_view, 9> kOther{"validation", "valid", "val",        "dev",    "test",
                                                   "testing",    "eval",  "evaluation", "heldout"};
  if (std::find(kTrain.begin(), kTrain.end(), word) != kTrain.end()) return Split::train;
  return std::find(kOther.begin(), kOther.end(), word) != kOther.end() ? Split::other : Split::none;
}

// A name with its last word for a split and all numbers made equal, and that split.
std::pair<std::string, Split> family_of(std::string_view name) {
  const std::string text = lower(name);
  std::string family;
  Split split = Split::none;
  size_t split_at = 0, split_size = 0;
  for (size_t at = 0; at < text.size();) {
    size_t end = at + 1;
    if (is_letter(text[at])) {
      while (end < text.size() && is_letter(text[end])) ++end;
      const std::string word = text.substr(at, end - at);
      if (const Split found = split_of(word); found != Split::none) {
        split = found;
        split_at = family.size();
        split_size = word.size();
      }
      family += word;
    } else if (is_digit(text[at])) {
      while (end < text.size() && is_digit(text[end])) ++end;
      family += '0';
    } else {
      family += text[at];
    }
    at = end;
  }
  if (split != Split::none) family.replace(split_at, split_size, "*");
  return {family, split};
}

}  // namespace

bool is_card(std::string_view name) {
  constexpr std::array<std::string_view, 11> kStems{"readme",  "license",   "licence",        "copying",
                                                    "notice",  "changelog", "contributing",   "citation",
                                                    "authors", "security",  "code_of_conduct"};
  constexpr std::array<std::string_view, 6> kEndings{"", ".md", ".txt", ".rst", ".text", ".cff"};
  constexpr std::array<std::string_view, 8> kNames{
      "dataset_infos.json", "dataset_info.json", "dataset_dict.json", "state.json",
      "config.json",        "package.json",      "metadata.json",     "tokenizer_config.json"};
  const std::string text = lower(name);
  if (std::find(kNames.begin(), kNames.end(), text) != kNames.end()) return true;
  const size_t dot = std::min(text.rfind('.'), text.size());
  if (std::find(kEndings.begin(), kEndings.end(), text.substr(dot)) == kEndings.end()) return false;
  return std::any_of(kStems.begin(), kStems.end(), [&](std::string_view stem) {  // LICENSE-MIT, README.de.md
    return text.starts_with(stem) && (text.size() == stem.size() || !is_letter(text[stem.size()]));
  });
}

std::vector<bool> other_splits(const std::vector<std::string>& names) {
  std::map<std::string, bool> has_train;
  std::vector<std::pair<std::string, Split>> families;
  families.reserve(names.size());
  for (const std::string& name : names) {
    families.push_back(family_of(name));
    if (families.back().second == Split::train) has_train[families.back().first] = true;
  }
  std::vector<bool> left_out;
  left_out.reserve(names.size());
  for (const auto& [family, split] : families)
    left_out.push_back(split == Split::other && has_train.contains(family));
  return left_out;
}

}  // namespace moe::data
