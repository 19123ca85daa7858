// SPDX-License-Identifier: MIT
// The regular expressions by which tokenizers cut text that are known here: each has a scan by hand in
// text/cutter.cpp.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/choices.h"

namespace moe::text {

// Named after the tokenizers that brought them.
enum class SplitPattern : uint8_t { gpt2, gpt2_digits, cl100k, llama3, qwen, o200k, tekken, deepseek3 };
constexpr auto choices_of(SplitPattern) {
  return choices<SplitPattern>({{SplitPattern::gpt2, "gpt2"},
                                {SplitPattern::gpt2_digits, "gpt2_digits"},
                                {SplitPattern::cl100k, "cl100k"},
                                {SplitPattern::llama3, "llama3"},
                                {SplitPattern::qwen, "qwen"},
                                {SplitPattern::o200k, "o200k"},
                                {SplitPattern::tekken, "tekken"},
                                {SplitPattern::deepseek3, "deepseek3"}});
}

// GPT-2's regular expression, which tokenizer.json does not spell out.
extern const std::string_view kGpt2Regex;

// The pattern of these regular expressions, each of which cuts further what the ones before left; nothing
// where they are not known, letter for letter (but a line feed may stand for \n in them).
std::optional<SplitPattern> find_pattern(std::span<const std::string> regexes);

// The other way: as tokenizer.json has them, in the syntax of Oniguruma, one after another.
std::vector<std::string> regexes_of(SplitPattern pattern);

}  // namespace moe::text
