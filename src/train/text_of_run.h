// SPDX-License-Identifier: MIT
// The text of a run as its user should know it before training: that it is there, how much it is, and how
// often the run reads it.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "data/source.h"
#include "text/tokenizer.h"
#include "train/run_config.h"

namespace moe::train {

// Throws UserError for a local file or folder that the configuration names and that is not there: text to
// train on and to validate with, tasks. Reads nothing.
void expect_named_files(const RunConfig& config);

struct TextOfRun {
  std::vector<std::string> lines;  // one of local files; of a mixture, one for each local place
  std::string warning;             // very little text for so long a run; "": enough
};
// max_steps as RunConfig::set_last_step() leaves it. step, tokens: where the run goes on from; 0: new. What
// is remote has no line. A text whose units are too large to look at has its bytes alone.
TextOfRun text_of_run(const RunConfig& config, const data::Source& source, const text::Tokenizer& tokenizer,
                      int64_t ranks, int64_t step, int64_t tokens);

}  // namespace moe::train
