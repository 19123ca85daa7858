// SPDX-License-Identifier: MIT
// What a tokenizer learns from (text/train_bpe.h): the pieces of all documents of a source, counted.
#pragma once

#include <cstdint>

#include "data/source.h"
#include "text/split_pattern.h"
#include "text/train_bpe.h"

namespace moe::data {

// threads: 0 is all cores; the counts do not depend on them. Throws UserError for token files, which have no
// text.
text::PieceCounts count_pieces(const Source& source, text::SplitPattern pattern, int64_t threads,
                               Terminal& terminal);

}  // namespace moe::data
