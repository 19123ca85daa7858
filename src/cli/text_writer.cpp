// SPDX-License-Identifier: MIT
#include "cli/text_writer.h"

#include <fmt/format.h>

#include <algorithm>
#include <tuple>

#include "train/state.h"

namespace moe::cli {

TextWriter::TextWriter(const TrainedModel& model)
    : model_(model),
      backend_(backend::make_backend(model.config.training.device,
                                     static_cast<int>(model.config.training.threads),
                                     train::arithmetic(model.config.training))) {}

void TextWriter::open(int64_t batch, int64_t length, int64_t prompt_tokens) {
  const model::ModelConfig& config = model_.config.model;
  if (length > config.max_seq_len)
    terminal_.warning(fmt::format("{} tokens in all, but the model was trained on {} at a time", length,
                                  config.max_seq_len));
  const model::WeightTypes types = train::weight_types(model_.config.training);
  const int64_t chunk = std::clamp<int64_t>(prompt_tokens / batch, 1, length);
  std::tie(arena_, placed_) = train::place<Placed>(*backend_.device, config, types, batch, length, chunk);
  load_weights(placed_->weights, model_, backend_);
  placed_->decoder.prepare(*backend_.device, model_.config.training.cuda_graph
                                                 ? backend_.ops->captured_region()
                                                 : std::make_unique<CapturedRegion>());
}

std::vector<generate::Completion> TextWriter::write(std::span<const generate::Prompt> prompts,
                                                    const generate::TokenTable& table,
                                                    const generate::SamplingOptions& sampling,
                                                    const generate::OnText& on_text,
                                                    const generate::Interrupted& interrupted) {
  return generate::generate(placed_->decoder, prompts, table, sampling, *backend_.device, *backend_.ops,
                            times_, on_text, interrupted);
}

void TextWriter::warm_up(std::span<const generate::Prompt> prompts, const generate::TokenTable& table,
                         const generate::SamplingOptions& sampling) {
  write(prompts, table, sampling);
  times_ = {};
}

void TextWriter::report() {
  const auto rate = [](int64_t tokens, double seconds) {
    return seconds > 0 ? static_cast<double>(tokens) / seconds : 0;
  };
  terminal_.line(fmt::format(
      "[prefill {} tokens, {:.1f} tokens/s; decode {} tokens, {:.1f} tokens/s; step {}]",
      times_.prompt_tokens, rate(times_.prompt_tokens, times_.prefill_seconds), times_.decoded_tokens,
      rate(times_.decoded_tokens, times_.decode_seconds), model_.checkpoint.step()));
  times_ = {};
}

}  // namespace moe::cli
