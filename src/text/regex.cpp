// SPDX-License-Identifier: MIT
#include "text/regex.h"

#include <fmt/core.h>
#include <oniguruma.h>

#include <array>
#include <deque>
#include <mutex>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/utf8.h"
#include "text/unicode.h"

namespace moe::text {
namespace {

constexpr const char* kHint = "docs/tokenizers.md says what is read";
constexpr size_t kLongest = 1 << 16;  // bytes of a pattern
constexpr unsigned long kMostRetries = 10'000'000;
constexpr unsigned int kDeepest = 1 << 24;  // entries of the stack

const OnigUChar* bytes_of(std::string_view text) {
  return reinterpret_cast<const OnigUChar*>(text.data());
}

// As Oniguruma takes them: how many ranges, then the first and the last code point of each.
std::vector<OnigCodePoint> ranges_of(CharacterClasses set) {
  const UnicodeClasses& classes = UnicodeClasses::instance();
  std::vector<OnigCodePoint> ranges{0};
  bool inside = false;
  for (OnigCodePoint c = 0; c < 0x110000; ++c) {
    const bool has = (classes_of(classes(c)) & set) != 0;
    if (has && !inside) ranges.insert(ranges.end(), {c, c});
    if (has) ranges.back() = c;
    inside = has;
  }
  ranges.front() = static_cast<OnigCodePoint>(ranges.size() / 2);
  return ranges;
}

// Oniguruma's classes are of the Unicode that was new with its version. Those that the patterns ask for most
// become the ones of our table, by their short names: a name of a user goes before one of its own.
void define_classes() {
  static std::deque<std::vector<OnigCodePoint>> kept;  // it keeps pointers
  constexpr CharacterClasses kMarks = classes_of(CharacterClass::kMark);
  constexpr CharacterClasses kLower = classes_of(CharacterClass::kLower);
  for (const auto& [name, set] : {std::pair("L", kLetters), std::pair("N", kNumbers), std::pair("M", kMarks),
                                  std::pair("Ll", kLower)}) {
    const int status = onig_unicode_define_user_property(name, kept.emplace_back(ranges_of(set)).data());
    CHECK(status == ONIG_NORMAL);
  }
}

void initialise() {
  static std::once_flag once;
  std::call_once(once, [] {
    std::array<OnigEncoding, 1> encodings{ONIG_ENCODING_UTF8};
    CHECK(onig_initialize(encodings.data(), static_cast<int>(encodings.size())) == ONIG_NORMAL);
    onig_set_warn_func(onig_null_warn);
    define_classes();
  });
}

std::string message_of(int status, OnigErrorInfo* info) {
  std::array<OnigUChar, ONIG_MAX_ERROR_MESSAGE_LEN> text{};
  const int length = info != nullptr ? onig_error_code_to_str(text.data(), status, info)
                                     : onig_error_code_to_str(text.data(), status);
  return {reinterpret_cast<const char*>(text.data()), static_cast<size_t>(length)};
}

}  // namespace

struct Regex::Program {
  regex_t* regex = nullptr;

  Program() = default;
  Program(const Program&) = delete;
  Program& operator=(const Program&) = delete;
  ~Program() { onig_free(regex); }
};

struct Regex::Search::Limits {
  OnigMatchParam* const parameters = onig_new_match_param();

  Limits() {
    CHECK(parameters != nullptr);
    onig_initialize_match_param(parameters);
    onig_set_match_stack_limit_size_of_match_param(parameters, kDeepest);
    onig_set_retry_limit_in_match_of_match_param(parameters, kMostRetries);
  }
  Limits(const Limits&) = delete;
  Limits& operator=(const Limits&) = delete;
  ~Limits() { onig_free_match_param(parameters); }
};

Regex::Regex(std::string where, const std::string& pattern) : where_(std::move(where)) {
  initialise();
  if (pattern.size() > kLongest || well_formed_prefix(pattern) != pattern.size()) {
    throw UserError(where_, fmt::format("a pattern of at most {} bytes of UTF-8", kLongest),
                    fmt::format("{} bytes", pattern.size()), kHint);
  }
  auto program = std::make_unique<Program>();
  OnigErrorInfo info{};
  const int status = onig_new(&program->regex, bytes_of(pattern), bytes_of(pattern) + pattern.size(),
                              ONIG_OPTION_NONE, ONIG_ENCODING_UTF8, ONIG_SYNTAX_DEFAULT, &info);
  if (status != ONIG_NORMAL) {
    throw UserError(where_, "a regular expression in Oniguruma's syntax", message_of(status, &info), kHint);
  }
  program_ = std::move(program);
}

Regex::~Regex() = default;

Regex::Search::Search(const Regex& regex) : regex_(regex), limits_(std::make_unique<Limits>()) {}

Regex::Search::~Search() = default;

void Regex::Search::begin(std::string_view text) {
  text_ = text;
  onig_set_retry_limit_in_search_of_match_param(limits_->parameters, kMostRetries + 16 * text.size());
}

std::optional<Regex::Match> Regex::Search::find(size_t at) {
  OnigRegion region{};
  const OnigUChar *const begin = bytes_of(text_), *const end = begin + text_.size();
  const int status = onig_search_with_param(regex_.program_->regex, begin, end, begin + at, end, &region,
                                            ONIG_OPTION_NONE, limits_->parameters);
  Match match{};
  if (status >= 0) match = {static_cast<size_t>(region.beg[0]), static_cast<size_t>(region.end[0])};
  onig_region_free(&region, 0);
  if (status >= 0 && (match.begin < at || match.begin > match.end)) {  // of \K in a look ahead
    throw UserError(regex_.where(), "a pattern whose matches begin before they end", "one that does not",
                    kHint);
  }
  if (status >= 0) return match;
  if (status == ONIG_MISMATCH) return std::nullopt;
  throw UserError(regex_.where(), "a pattern that finds its next match in ten million steps",
                  fmt::format("{} behind byte {} of a text", message_of(status, nullptr), at), kHint);
}

}  // namespace moe::text
