// SPDX-License-Identifier: MIT
// How much text there is, from the sizes of its units and a small sample: nothing is read as a whole.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "data/config.h"
#include "data/source.h"

namespace moe::text {
class Tokenizer;
}

namespace moe::data {

// Reads units of a share from all over, in an order that is the same each time, until they hold so many bytes
// by Source::unit_bytes(). Calls `take` with the documents of each.
using TakeUnit = std::function<void(int64_t unit, const Documents& documents)>;
void sample_units(const Source& source, const Share& share, int64_t bytes, const TakeUnit& take);

// What of a share is trained on: the held-out part is left out.
struct TextSize {
  int64_t bytes = 0;     // before filters
  double tokens = 0;     // estimated; each document's end counts as one
  double documents = 0;  // estimated
};

// By a sample of a quarter of a MiB. Nothing where a unit would take too long to read. Throws UserError where
// the text cannot be read.
std::optional<TextSize> training_text_size(const Source& source, const Share& share, const DataConfig& config,
                                           const text::Tokenizer& tokenizer);

}  // namespace moe::data
