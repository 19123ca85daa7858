// SPDX-License-Identifier: MIT
// A tiny model with weights of chance that writes, and a tokenizer whose ids are parts of characters.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "generate/generate.h"
#include "support/tiny_model.h"
#include "text/tokenizer.h"

namespace moe::generate {

// Id i is one byte: by i % 4 one of the three of "€", or a letter. 90 ends a text.
class PartsTokenizer final : public text::Tokenizer {
 public:
  static constexpr text::TokenId kVocabulary = 91, kEnd = 90;

  PartsTokenizer()
      : Tokenizer({.name = "parts",
                   .vocabulary = kVocabulary,
                   .end_of_text = kEnd,
                   .end_of_text_name = "<end>",
                   .padding = std::nullopt}) {
    for (text::TokenId id = 0; id < kEnd; ++id)
      bytes_.push_back(id % 4 == 3 ? std::string(1, static_cast<char>('a' + id % 26))
                                   : std::string("\xE2\x82\xAC").substr(static_cast<size_t>(id % 4), 1));
  }
  std::unique_ptr<Encoder> encoder() const override { return nullptr; }  // nobody asks
  std::string_view bytes(text::TokenId id) const override {
    return id < 0 || id >= kEnd ? std::string_view() : bytes_[static_cast<size_t>(id)];
  }

 private:
  std::vector<std::string> bytes_;
};

class WrittenModel {
 public:
  explicit WrittenModel(int64_t batch = 1, int64_t length = 64, int64_t chunk = 4)
      : model_(test::tiny_config({.vocab_size = 96, .max_seq_len = 64}), 1, PartsTokenizer::kVocabulary) {
    model_.weights->initialise(7, *model_.backend.ops);
    Arena plan;
    { const model::Decoder counted(model_.config, DType::f32, batch, length, chunk, *model_.weights, plan); }
    arena_ = std::make_unique<Arena>(*model_.backend.device, plan.used());
    decoder_ = std::make_unique<model::Decoder>(model_.config, DType::f32, batch, length, chunk,
                                                *model_.weights, *arena_);
    decoder_->prepare(*model_.backend.device, model_.backend.ops->captured_region());
  }

  std::vector<Completion> write(const std::vector<Prompt>& prompts, const TokenTable& table,
                                const SamplingOptions& options, const OnText& on_text = {},
                                const Interrupted& interrupted = {}) {
    return generate(*decoder_, prompts, table, options, *model_.backend.device, *model_.backend.ops, times,
                    on_text, interrupted);
  }

  GenerateTimes times;

 private:
  test::TinyModel model_;
  std::unique_ptr<Arena> arena_;
  std::unique_ptr<model::Decoder> decoder_;
};

}  // namespace moe::generate
