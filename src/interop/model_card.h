// SPDX-License-Identifier: MIT
// README.md of an exported model: what it is, how it was trained, what it reached, how to use it. Figures are
// those of the run's record; what is not known is left out.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "interop/family.h"
#include "model/config.h"
#include "text/tokenizer.h"

namespace moe::interop {

struct CardFacts {
  std::string name, program, dtype;
  text::TokenizerFacts tokenizer;
  int64_t step = 0;
  bool imported = false;
  bool answers = false;                                       // it has a chat template
  std::vector<std::string> sources;                           // of the text, as the settings name it
  std::vector<std::pair<std::string, std::string>> training;  // setting, value
  std::vector<std::pair<std::string, double>> figures;        // "validation loss (nats/token)", value
  std::string llama_cpp;                                      // llama_cpp_card(), where it was asked for
};

std::string model_card(const model::ModelConfig& config, const CardFacts& facts,
                       const Family& family = own_family());

// The last value of each named number in a metrics.jsonl, at or before `step`; names that do not occur are
// left out; a name that ends in "/" stands for all that begin with it.
// Lines that are not JSON are skipped: the file may be being written.
std::vector<std::pair<std::string, double>> last_figures(const std::string& metrics, int64_t step,
                                                         const std::vector<std::string>& names);

}  // namespace moe::interop
