// SPDX-License-Identifier: MIT
// Cuts text into pre-tokens, the pieces inside which BPE merges. Tokenizers say where by regular expressions;
// here each known one is a scan by hand, chosen by comparing its text, over the classes of Unicode 16.0.
// Others are steps of text/split_steps.h.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string_view>

#include "text/split_pattern.h"

namespace moe::text {

class Cutter {
 public:
  static constexpr size_t kMaxBatch = 192;  // the most that next() gives at once

  Cutter() = default;
  virtual ~Cutter() = default;
  Cutter(const Cutter&) = delete;
  Cutter& operator=(const Cutter&) = delete;

  // The ends of the next hundred or so pre-tokens, as ascending offsets into the text; each begins where the
  // one before ends. Empty when the text is used up. Valid until the next call.
  virtual std::span<const size_t> next() = 0;
};

// text: well-formed UTF-8 that outlives the cutter.
std::unique_ptr<Cutter> make_cutter(SplitPattern pattern, std::string_view text);

}  // namespace moe::text
