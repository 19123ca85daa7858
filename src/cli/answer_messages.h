// SPDX-License-Identifier: MIT
// moe generate --messages: a file of conversations, an answer to each.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "cli/model_files.h"
#include "generate/sampling.h"

namespace moe::cli {

struct MessageOptions {
  std::string file;
  generate::SamplingOptions sampling;
  int64_t samples = 1, batch = 32;
  bool warm_up = false, quiet = false;
  std::vector<std::string> variables;  // as parse_variables() takes them
};

// A conversation is answered where it ends with a user's message, or with another that is not an
// assistant's; where it ends with an answer, that one is left out and printed as "reference". Prints a JSON
// line for each answer, in the file's order. All lines are read first: throws UserError where one is bad,
// after all bad ones were told.
void answer_messages(const TrainedModel& model, const MessageOptions& options);

}  // namespace moe::cli
