// SPDX-License-Identifier: MIT
// The pre-tokenizers of a tokenizer.json that are no known pattern (text/split_pattern.h): steps, each of
// which cuts further what the ones before left.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/choices.h"
#include "text/cutter.h"

namespace moe::text {

// What becomes of the matches of a step and of what lies between them: each is a piece by itself, neighbours
// of one kind are one, a match goes with what is in front of it, or with what is behind it.
enum class SplitBehavior : uint8_t { isolated, contiguous, merged_with_previous, merged_with_next };
constexpr auto choices_of(SplitBehavior) {  // names as in tokenizer.json
  return choices<SplitBehavior>({{SplitBehavior::isolated, "Isolated"},
                                 {SplitBehavior::contiguous, "Contiguous"},
                                 {SplitBehavior::merged_with_previous, "MergedWithPrevious"},
                                 {SplitBehavior::merged_with_next, "MergedWithNext"}});
}

struct SplitStep {
  enum class By : uint8_t { regex, text, number };  // number: each character of \p{N}

  By by = By::regex;
  std::string pattern = {};  // of regex and text
  SplitBehavior behavior = SplitBehavior::isolated;
  bool invert = false;  // matches and what lies between change places
};

class SplitSteps {
 public:
  static constexpr size_t kMost = 16;

  // where: of the steps, for messages. Throws UserError for more than kMost, and for a pattern that is none.
  SplitSteps(const std::string& where, std::vector<SplitStep> steps);
  ~SplitSteps();

  // text: well-formed UTF-8; it and this object outlive the cutter. Without steps a text is one piece. next()
  // throws UserError as Regex::Search::find() does, and where the text takes more than a second of processor
  // time and ten for each megabyte: a pattern that looks to the end of a text at each place of it.
  std::unique_ptr<Cutter> cutter(std::string_view text) const;
  // All that decides where text is cut.
  const std::string& description() const { return description_; }

 private:
  struct Compiled;

  std::string description_;
  std::vector<Compiled> steps_;
};

}  // namespace moe::text
