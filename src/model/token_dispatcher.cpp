// SPDX-License-Identifier: MIT
#include "model/token_dispatcher.h"

#include "model/all_to_all_dispatcher.h"

namespace moe::model {

std::unique_ptr<TokenDispatcher> make_dispatcher(const MoeSpec& spec, DType type, int64_t N,
                                                 Recompute recompute, AllToAll* all_to_all, Mode mode,
                                                 Arena& arena) {
  if (all_to_all == nullptr) return std::make_unique<LocalDispatcher>(spec, N);
  return std::make_unique<AllToAllDispatcher>(spec, type, N, recompute, *all_to_all, mode, arena);
}

}  // namespace moe::model
