// SPDX-License-Identifier: MIT
// From the scores of an item's continuations to right or wrong, and from many items to the numbers that are
// published.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "tasks/question.h"
#include "tasks/scorer.h"

namespace moe::tasks {

struct ItemResult {
  int64_t index = 0;  // of the item in its file, from 0
  int64_t choice = 0,
          choice_normalised = 0;  // the likeliest continuation; the same per character, or per token
  bool right = false, right_normalised = false;
  std::vector<double> log_likelihood;  // of each continuation
};

// LAMBADA's one continuation is right when each of its tokens is the most likely one.
ItemResult judge(const Question& question, Task task, Convention convention, std::span<const Score> scores);

// Names and values: acc, acc_stderr, and acc_norm, or perplexity for LAMBADA, each with its standard error:
// that of a mean over items, (sum (x - mean)^2 / (n - 1) / n)^1/2; for perplexity, times perplexity.
std::vector<std::pair<std::string, double>> summarise(Task task, std::span<const ItemResult> items);

}  // namespace moe::tasks
