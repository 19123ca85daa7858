// SPDX-License-Identifier: MIT
#include "text/split_pattern.h"

#include <algorithm>
#include <vector>

#include "base/error.h"

namespace moe::text {
namespace {

using Regexes = std::vector<std::string>;

const std::string kAnyCase = "(?i:'s|'t|'re|'ve|'m|'ll|'d)";
const std::string kSymbols = R"(| ?[^\s\p{L}\p{N}]+[\r\n]*)";
const std::string kWhiteEnd = R"(|\s*[\r\n]+|\s+(?!\S)|\s+)";

std::string llama3(const std::string& number) {
  return kAnyCase + R"(|[^\r\n\p{L}\p{N}]?\p{L}+|)" + number + kSymbols + kWhiteEnd;
}

std::string o200k(const std::string& number, const std::string& suffix) {
  const std::string prefix = R"([^\r\n\p{L}\p{N}]?)", upper = R"([\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}])",
                    lower = R"([\p{Ll}\p{Lm}\p{Lo}\p{M}])", symbols = R"(| ?[^\s\p{L}\p{N}]+[\r\n/]*)";
  std::string words = prefix + upper + '*' + lower + '+' + suffix;
  words += '|' + prefix + upper + '+' + lower + '*' + suffix;
  return words + '|' + number + symbols + kWhiteEnd;
}

std::string deepseek3() {
  const std::string names = R"([!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+)";
  return names + R"(|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*)" + kWhiteEnd;
}

// There {1,3}+ repeats the group, and $ is the end of a line, too.
const std::string kCl100kOniguruma =
    R"('(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*)"
    R"(|\s+\z|\s*[\r\n]|\s+(?!\S)|\s)";

// All that are written for a pattern; those after the first cut in the same places.
std::vector<Regexes> spellings(SplitPattern pattern) {
  const std::string three = R"(\p{N}{1,3})", one = R"(\p{N})", gpt2(kGpt2Regex);
  switch (pattern) {
    case SplitPattern::gpt2:
      return {{gpt2}, {R"('(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s)"}};
    case SplitPattern::gpt2_digits:
      return {{one, gpt2}};
    case SplitPattern::cl100k:
      return {{R"('(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+)"
               R"(|\s++$|\s*[\r\n]|\s+(?!\S)|\s)"},
              {kCl100kOniguruma}};
    case SplitPattern::llama3:
      return {{llama3(three)},
              {R"('(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]++[\r\n]*)"
               R"(|\s*[\r\n]|\s+(?!\S)|\s+)"}};
    case SplitPattern::qwen:
      return {{llama3(one)}};
    case SplitPattern::o200k:
      return {{o200k(three, kAnyCase + '?')}};
    case SplitPattern::tekken:
      return {{o200k(one, "")}};
    case SplitPattern::deepseek3:
      return {{three, "[\u4E00-\u9FA5\u3040-\u309F\u30A0-\u30FF]+", deepseek3()}};
  }
  CHECK(false, "a pattern without a regular expression");
}

std::string escaped(std::string_view regex) {
  std::string result;
  for (const char c : regex) {
    if (c == '\r' || c == '\n') {
      result += c == '\r' ? "\\r" : "\\n";
    } else {
      result += c;
    }
  }
  return result;
}

}  // namespace

const std::string_view kGpt2Regex =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

std::optional<SplitPattern> find_pattern(std::span<const std::string> regexes) {
  Regexes wanted;
  for (const std::string& regex : regexes) wanted.push_back(escaped(regex));
  for (const auto& choice : choices_of(SplitPattern())) {
    const std::vector<Regexes> known = spellings(choice.value);
    if (std::find(known.begin(), known.end(), wanted) != known.end()) return choice.value;
  }
  return std::nullopt;
}

std::vector<std::string> regexes_of(SplitPattern pattern) {
  if (pattern == SplitPattern::cl100k) return {kCl100kOniguruma};
  return spellings(pattern).front();
}

}  // namespace moe::text
