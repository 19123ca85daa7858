// SPDX-License-Identifier: MIT
// A model on the Hugging Face hub, for the commands that read one: its files come into the hub's cache, the
// settings first and the weights last, so that a model that moe cannot read is refused before they are
// fetched. What an interrupted fetch has brought is kept, and the next one goes on behind it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/terminal.h"
#include "hub/hub.h"
#include "interop/hf_config.h"
#include "interop/tensor_map.h"
#include "net/http.h"

namespace moe::cli {

class HubModel {
 public:
  // place: hf://USER/NAME[@REVISION][/FOLDER]. Lists the files; fetches config.json, then the index of the
  // weights. The terminal must outlive it. Throws UserError for a data set, for settings that moe cannot
  // read, and for a folder without settings or without weights in safetensors files.
  HubModel(const std::string& place, Terminal& terminal);

  const std::string& place() const { return place_; }
  const interop::HfModel& model() const { return model_; }
  std::string name() const;                                        // of the repository
  const std::filesystem::path& folder() const { return folder_; }  // in the cache; has what was fetched
  uint64_t weight_bytes() const;                                   // of the files with the weights
  size_t weight_files() const { return weights_.size(); }

  // The tokenizer, the settings of generation, the chat template: what is small, and there.
  void fetch_small();
  // Refuses by name what the index lacks or has too much. Nothing is known without an index.
  void check_index(const interop::Family& family, const model::ModelConfig& config) const;
  // Each file is checked against its hash.
  void fetch_weights();

 private:
  const hub::File* find(std::string_view name) const;
  void read_settings();
  void fetch(const std::vector<hub::File>& files, const std::string& what);
  void find_weights();

  std::string place_;
  Terminal& terminal_;
  net::Client client_;
  hub::Hub hub_;
  hub::Address address_;
  std::filesystem::path folder_;
  interop::HfModel model_ = {};
  std::vector<hub::File> files_;    // of the folder, none below it
  std::vector<hub::File> weights_;  // of these, those with the weights
};

}  // namespace moe::cli
