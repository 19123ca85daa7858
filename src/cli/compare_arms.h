// SPDX-License-Identifier: MIT
// The arms of `moe compare`: configurations that may be compared, and runs of equal length of each.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "train/run_config.h"

namespace moe::cli {

struct Arm {
  std::string name;  // of its file, without the ending; numbered where two are the same
  train::RunConfig config;
};

// One for each file, laid over the base files, with the overrides on top; runs go into folder. All get what a
// fair comparison needs to be equal, from the first arm: training.seed and the tokens of a validation. Limits
// by epochs, minutes and tokens are taken out: set_length() says how long a run is. Throws UserError where
// the arms cannot be compared, naming the setting: other data, tokenizer, tokens in a step or max_seq_len.
std::vector<Arm> load_arms(const std::vector<std::filesystem::path>& files,
                           const std::vector<std::filesystem::path>& base,
                           const std::vector<std::string>& overrides, const std::filesystem::path& folder);

// So many steps, with about this number of validations after the one before training, equally far apart, the
// last one at the end. A run that is shorter than the configuration's has its warm-up shortened in
// proportion.
void set_length(train::RunConfig& config, int64_t steps, int64_t validations);

// The run of an arm with seed number `k`, from 0.
train::RunConfig run_of(const Arm& arm, int64_t k);

// Settings that `other` has otherwise, where the run lies left out: "training.learning_rate: 0.001, other
// 0.002".
std::vector<std::string> setting_differences(const train::RunConfig& config, const train::RunConfig& other);

// What a comparison was begun with, in its folder, so that it goes on with the same.
class ArmsFile {
 public:
  explicit ArmsFile(const std::filesystem::path& folder) : path_(folder / "arms.json") {}

  bool exists() const;
  // Gives the arms the lengths of their runs from the file. Throws UserError where anything else differs.
  void take_lengths(std::vector<Arm>& arms, const std::string& length, int64_t validations) const;
  // length: as the user gave it, and compared as a text.
  void write(const std::vector<Arm>& arms, const std::string& length) const;
  void remove() const;

 private:
  std::filesystem::path path_;
};

}  // namespace moe::cli
