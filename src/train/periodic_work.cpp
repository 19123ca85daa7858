// SPDX-License-Identifier: MIT
#include "train/periodic_work.h"

#include <algorithm>

namespace moe::train {

bool PeriodicWork::made_one_of(std::span<const std::string> names) const {
  return std::any_of(names.begin(), names.end(),
                     [this](const std::string& found) { return found.starts_with(mark); });
}

void PeriodicWorks::take_as_made(int64_t step, const std::function<bool(const PeriodicWork&)>& was_made) {
  for (auto& [work, made] : works_)
    if (was_made(work)) made = step;
}

void PeriodicWorks::each_due(int64_t step, bool at_end,
                             const std::function<void(const PeriodicWork&)>& body) {
  for (auto& [work, made] : works_) {
    const bool due = work.every > 0 && step % work.every == 0 && (step > 0 || work.of_initial_weights);
    if (made == step || !(due || at_end)) continue;
    body(work);
    made = step;
  }
}

}  // namespace moe::train
