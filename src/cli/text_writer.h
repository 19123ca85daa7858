// SPDX-License-Identifier: MIT
// A trained model that writes, for the commands that ask for text.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "backend/backend.h"
#include "base/terminal.h"
#include "cli/model_files.h"
#include "generate/generate.h"
#include "model/decoder.h"
#include "model/weights.h"
#include "tensor/arena.h"

namespace moe::cli {

class TextWriter {
 public:
  static constexpr int64_t kPromptTokens = 4096;

  explicit TextWriter(const TrainedModel& model);  // which must outlive it

  // Room for `batch` texts of at most `length` tokens; the weights are read. prompt_tokens: read at a time,
  // of all texts together.
  void open(int64_t batch, int64_t length, int64_t prompt_tokens = kPromptTokens);

  std::vector<generate::Completion> write(std::span<const generate::Prompt> prompts,
                                          const generate::TokenTable& table,
                                          const generate::SamplingOptions& sampling,
                                          const generate::OnText& on_text = {},
                                          const generate::Interrupted& interrupted = {});
  // Once before, unseen: then libraries have made their kernels, and speeds are those of a warm machine.
  void warm_up(std::span<const generate::Prompt> prompts, const generate::TokenTable& table,
               const generate::SamplingOptions& sampling);
  // The speeds since the last report.
  void report();

  Terminal& terminal() { return terminal_; }

 private:
  struct Placed {
    Placed(const model::ModelConfig& config, const model::WeightTypes& types, int64_t batch, int64_t length,
           int64_t chunk, Arena& arena)
        : weights(config, types, model::Mode::inference, arena),
          decoder(config, types.compute, batch, length, chunk, weights, arena) {}

    model::Weights weights;
    model::Decoder decoder;
  };

  const TrainedModel& model_;
  backend::Backend backend_;
  Terminal terminal_;
  std::unique_ptr<Arena> arena_;
  std::unique_ptr<Placed> placed_;
  generate::GenerateTimes times_;
};

}  // namespace moe::cli
