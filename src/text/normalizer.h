// SPDX-License-Identifier: MIT
// The normalizer of a tokenizer.json: what text becomes before it is cut, step by step, as `tokenizers` does
// it.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "text/unicode_form.h"

namespace moe::text {

struct Lowercase {};
// White space at the ends.
struct Strip {
  bool left = true, right = true;
};
struct StripAccents {};  // all marks, wherever they are
// Each match becomes `content`.
struct Replace {
  bool regex = false;
  std::string pattern, content;
};
// In front of a text that is not empty.
struct Prepend {
  std::string content;
};
using NormalStep = std::variant<UnicodeForm, Lowercase, Strip, StripAccents, Replace, Prepend>;

class Normalizer {
 public:
  static constexpr size_t kMost = 16;            // steps
  static constexpr size_t kMostGrowth = 64;      // times: what Replace may make of a byte, all steps together
  static constexpr size_t kMostPrepended = 256;  // bytes

  // where: of the steps, for messages. Throws UserError for what is above these bounds, for a pattern that is
  // none, and for an empty text to replace.
  Normalizer(const std::string& where, std::vector<NormalStep> steps);
  ~Normalizer();

  // Of one thread. Any number of them may share a normalizer, which outlives them.
  class Pass {
   public:
    explicit Pass(const Normalizer& normalizer) : normalizer_(normalizer) {}

    // text: well-formed UTF-8. What it becomes lies in it, or in this object until the next call. Throws
    // UserError as RegexMatches does (text/matches.h).
    std::string_view apply(std::string_view text);

   private:
    const Normalizer& normalizer_;
    std::string buffers_[2];
  };

  // Whether white space of ASCII is the same before and after, and stands in the same places.
  bool keeps_white() const;
  // All that decides what text becomes.
  const std::string& description() const { return description_; }

 private:
  struct Compiled;

  std::string description_;
  std::vector<Compiled> steps_;
};

}  // namespace moe::text
