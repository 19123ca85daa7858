// SPDX-License-Identifier: MIT
// --verify of `moe import` and `moe export`: the folder's tensors against the run's, and logits of a prompt
// by two ways, the model that was imported or that the files make, and interop/reference_model.h.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "base/terminal.h"
#include "cli/model_files.h"
#include "interop/verify_tensors.h"
#include "text/token_id.h"
#include "train/run_config.h"

namespace moe::cli {

using Prompts = std::vector<std::vector<text::TokenId>>;

// Their ids, each behind an end of text. Of one of ours, where there are none.
Prompts prompts_of(const std::vector<std::string>& prompts, const text::Tokenizer& tokenizer);

// Throws UserError at the first value that differs. Says how many there are.
void verify_tensors_of(const TrainedModel& model, const std::filesystem::path& folder,
                       interop::Direction direction, Terminal& terminal);

// Weights and a forward pass for prompts, of the run's settings.
class PromptModel {
 public:
  PromptModel(const train::RunConfig& config, const Prompts& prompts);
  // Whether the device has the memory for them; in words where it has not.
  static bool fits(const train::RunConfig& config, const Prompts& prompts, std::string& words);

  model::Weights& weights() { return row_->weights; }
  backend::Backend& backend() { return backend_; }
  std::vector<std::vector<float>> logits();

 private:
  backend::Backend backend_;
  const Prompts prompts_;
  int64_t T_;
  std::unique_ptr<Arena> arena_;
  std::unique_ptr<PlacedModel> row_;
};

// Logits of the model, as PromptModel gave them, against those that the folder's files make by the second way
// in double. Throws UserError where they are others; says so where the family has no second way.
void verify_logits(const std::vector<std::vector<float>>& logits, const Prompts& prompts,
                   const train::RunConfig& config, const std::filesystem::path& folder, Terminal& terminal);

}  // namespace moe::cli
