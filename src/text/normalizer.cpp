// SPDX-License-Identifier: MIT
#include "text/normalizer.h"

#include <fmt/core.h>

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "text/matches.h"
#include "text/regex.h"
#include "text/scan.h"

namespace moe::text {
namespace {

constexpr const char* kHint = "docs/tokenizers.md says what is read";

template <class... Visits>
struct Overloaded : Visits... {
  using Visits::operator()...;
};
template <class... Visits>
Overloaded(Visits...) -> Overloaded<Visits...>;  // clang 14 does not find it by itself

std::string describe(const NormalStep& step) {
  return std::visit(
      Overloaded{[](UnicodeForm form) {  // NFC as it was written before there were others
                   return form == UnicodeForm::nfc ? std::string(" nfc") : fmt::format(" {}", name_of(form));
                 },
                 [](Lowercase) { return std::string(" lowercase"); },
                 [](Strip strip) { return fmt::format(" strip {} {}", strip.left, strip.right); },
                 [](StripAccents) { return std::string(" strip_accents"); },
                 [](const Replace& replace) {
                   return fmt::format("\nreplace {} {} {} {} {}", replace.regex ? "regex" : "text",
                                      replace.pattern.size(), replace.pattern, replace.content.size(),
                                      replace.content);
                 },
                 [](const Prepend& prepend) {
                   return fmt::format("\nprepend {} {}", prepend.content.size(), prepend.content);
                 }},
      step);
}

std::string_view stripped(Strip strip, std::string_view text) {
  const Scan scan(text);
  size_t begin = strip.left ? scan.run(0, kWhite) : 0, end = text.size();
  while (strip.right && end > begin) {
    size_t last = end - 1;
    while (is_continuation(text[last])) --last;
    if ((scan.classes(last) & kWhite) == 0) break;
    end = last;
  }
  return text.substr(begin, end - begin);
}

std::string_view without_accents(std::string_view text, std::string& buffer) {
  constexpr CharacterClasses kMarks = classes_of(CharacterClass::kMark);
  buffer.clear();
  const Scan scan(text);
  for (size_t at = 0; at < text.size();) {
    const size_t end = scan.run(at, ~kMarks);
    buffer.append(text.substr(at, end - at));
    at = scan.run(end, kMarks);
  }
  return buffer;
}

std::string_view replaced(std::string_view text, Segments& segments, std::string_view content,
                          std::string& buffer) {
  buffer.clear();
  segments.begin(text);
  size_t begin = 0;
  for (auto segment = segments.next(); segment; segment = segments.next()) {
    buffer.append(segment->match ? content : text.substr(begin, segment->end - begin));
    begin = segment->end;
  }
  return buffer;
}

}  // namespace

struct Normalizer::Compiled {
  NormalStep step;
  std::unique_ptr<const Regex> regex;  // of a Replace that has one

  // text must not lie in `buffer`.
  std::string_view apply(std::string_view text, std::string& buffer) const {
    return std::visit(Overloaded{[&](UnicodeForm form) { return to_form(form, text, buffer); },
                                 [&](Lowercase) { return to_lowercase(text, buffer); },
                                 [&](Strip strip) { return stripped(strip, text); },
                                 [&](StripAccents) { return without_accents(text, buffer); },
                                 [&](const Replace& replace) { return apply(replace, text, buffer); },
                                 [&](const Prepend& prepend) -> std::string_view {
                                   if (text.empty()) return text;
                                   return (buffer = prepend.content).append(text);
                                 }},
                      step);
  }

  std::string_view apply(const Replace& replace, std::string_view text, std::string& buffer) const {
    if (text.empty()) return text;  // where no pattern matches
    if (!regex) {
      TextMatches matches(replace.pattern);
      return replaced(text, matches, replace.content, buffer);
    }
    Budget budget(text.size());
    RegexMatches matches(*regex, budget);
    return replaced(text, matches, replace.content, buffer);
  }
};

Normalizer::Normalizer(const std::string& where, std::vector<NormalStep> steps) {
  if (steps.size() > kMost)
    throw UserError(where, fmt::format("at most {} steps", kMost), std::to_string(steps.size()), kHint);
  size_t growth = 1;
  for (NormalStep& step : steps) {
    description_ += describe(step);
    Compiled compiled{.step = std::move(step), .regex = {}};
    if (const auto* replace = std::get_if<Replace>(&compiled.step)) {
      if (replace->pattern.empty())
        throw UserError(where, "a text of at least one byte to replace", "none", kHint);
      // A regular expression may match between all bytes, and each stays.
      const size_t least = replace->regex ? 1 : replace->pattern.size();
      const size_t kept = replace->regex ? 1 : 0;
      growth *= std::max<size_t>(1, kept + (replace->content.size() + least - 1) / least);
      if (growth > kMostGrowth)
        throw UserError(where,
                        fmt::format("replacements that make a text at most {} times as long", kMostGrowth),
                        "more", kHint);
      if (replace->regex) compiled.regex = std::make_unique<const Regex>(where, replace->pattern);
    }
    if (const auto* prepend = std::get_if<Prepend>(&compiled.step);
        prepend && prepend->content.size() > kMostPrepended)
      throw UserError(where, fmt::format("at most {} bytes in front of a text", kMostPrepended),
                      std::to_string(prepend->content.size()), kHint);
    steps_.push_back(std::move(compiled));
  }
}

Normalizer::~Normalizer() = default;

bool Normalizer::keeps_white() const {
  return std::all_of(steps_.begin(), steps_.end(), [](const Compiled& compiled) {
    const auto* form = std::get_if<UnicodeForm>(&compiled.step);
    return form && (*form == UnicodeForm::nfc || *form == UnicodeForm::nfd);
  });
}

std::string_view Normalizer::Pass::apply(std::string_view text) {
  size_t free = 0;  // the buffer that does not hold `text`
  for (const Compiled& compiled : normalizer_.steps_) {
    const std::string_view result = compiled.apply(text, buffers_[free]);
    if (result.data() == buffers_[free].data()) free ^= 1;
    text = result;
  }
  return text;
}

}  // namespace moe::text
