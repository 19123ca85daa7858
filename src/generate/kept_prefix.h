// SPDX-License-Identifier: MIT
// What a decoder of one text holds from one prompt to the next: of a prompt that begins with the same tokens
// only the rest is read.
#pragma once

#include <algorithm>
#include <cstdint>
#include <utility>
#include <vector>

#include "generate/generate.h"

namespace moe::generate {

class KeptPrefix {
 public:
  // The prompt, with what of it is cached. Nothing counts as held until keep(): writing may fail.
  Prompt prompt(std::vector<text::TokenId> ids, uint64_t seed) {
    const std::vector<text::TokenId> held = std::exchange(held_, {});
    const auto last = ids.end() - 1;  // it is read in any case: what follows is asked of it
    const auto same = std::mismatch(ids.begin(), last, held.begin(), held.end()).first - ids.begin();
    return {std::move(ids), seed, same};
  }
  void keep(const Prompt& prompt, const Completion& completion) {
    held_ = prompt.ids;
    held_.insert(held_.end(), completion.ids.begin(), completion.ids.end());
    held_.resize(static_cast<size_t>(completion.cached));
  }

 private:
  std::vector<text::TokenId> held_;
};

}  // namespace moe::generate
