// SPDX-License-Identifier: MIT
// What `moe plan` takes in place of a configuration: a model of others, by its config.json, before its
// weights are there.
#pragma once

#include <string>
#include <vector>

#include "base/terminal.h"
#include "train/run_config.h"

namespace moe::cli {

struct PlannedModel {
  train::RunConfig config;
  std::string words;  // lines of the plan: which model, its files, what was assumed
};

// place: config.json, a folder that has one, or hf://USER/NAME, of which the settings are fetched. The
// settings of training are the defaults and what the overrides say; but a row has at most 4,096 tokens, and
// a micro-batch one row, unless they say otherwise. The vocabulary is that of config.json, whatever
// data.tokenizer is.
PlannedModel plan_of_model(const std::string& place, const std::vector<std::string>& overrides,
                           Terminal& terminal);

}  // namespace moe::cli
