// SPDX-License-Identifier: MIT
// Passes over the text. Streams of rows come to the end of a pass at places of their own (data/interleave.h);
// a pass is complete when all of them have. The places of a mixture have passes of their own.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/terminal.h"

namespace moe::train {

class Epochs {
 public:
  // As ranks tell each other: by place; those beyond are not followed. The most there is: not known to this
  // rank, or no such place.
  static constexpr size_t kMost = 16;
  using Counts = std::array<int64_t, kMost>;
  static Counts counts(std::span<const int64_t> epochs);
  static Counts least(const Counts& a, const Counts& b);

  // places: of data.mixture; empty for one text. start: where the run begins or goes on.
  Epochs(const std::vector<std::string>& places, const Counts& start) : places_(places), now_(start) {}

  // All streams of all ranks. Says which passes begin.
  void advance(const Counts& now, int64_t step, int64_t tokens, Terminal& terminal);
  int64_t complete() const;                // passes over all places
  std::vector<int64_t> of_places() const;  // of each

 private:
  std::vector<std::string> places_;
  Counts now_;
};

}  // namespace moe::train
