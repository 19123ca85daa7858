// SPDX-License-Identifier: MIT
// Bits per byte count the bytes of the source, but a byte that is not UTF-8 is learnt as U+FFFD, which has
// three. So an id on its way from the tokenizer to the batch carries, above its 16 bits, how many bytes its
// token has more than the source has there. Batches (data/batch.h) hold plain ids.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "text/tokenizer.h"

namespace moe {

inline constexpr int kIdBits = 16;
static_assert(Tokenizer::kVocabulary <= 1 << kIdBits);

inline int32_t id_of(int32_t marked) {
  return marked & ((1 << kIdBits) - 1);
}
inline int32_t excess_of(int32_t marked) {
  return marked >> kIdBits;
}

// ids: what the tokenizer made of `text`, in which it replaced something.
void mark_excess(std::string_view text, std::span<int32_t> ids, const Tokenizer& tokenizer);

}  // namespace moe
