// SPDX-License-Identifier: MIT
// moe generate: text from a trained model.
#include <fmt/format.h>

#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "base/terminal.h"
#include "cli/commands.h"
#include "cli/model_files.h"
#include "metrics/meters.h"
#include "text/tokenizer.h"
#include "train/generate.h"
#include "train/state.h"

namespace moe::cli {
namespace {

struct GenerateOptions {
  std::string model, prompt;
  std::vector<std::string> overrides;
  SamplingOptions sampling;
  int64_t samples = 1;
};

struct Writer {
  Writer(const ModelConfig& config, const WeightTypes& types, int64_t length, Arena& arena)
      : weights(config, types, Purpose::inference, arena),
        decoder(config, types.compute, 1, length, std::min<int64_t>(length, 64), weights, arena) {}

  Weights weights;
  Decoder decoder;
};

int run(const GenerateOptions& options) {
  options.sampling.validate();
  TrainedModel model = open_model(options.model, options.overrides);
  const TrainingConfig& training = model.config.training;
  Backend backend = make_backend(training.device, static_cast<int>(training.threads), arithmetic(training));
  Terminal terminal;

  const Tokenizer tokenizer;
  Tokenizer::Encoder encoder;
  std::vector<int32_t> prompt{Tokenizer::kEndOfText};  // documents were learnt with one in front
  tokenizer.encode(options.prompt, prompt, encoder);
  const auto length = static_cast<int64_t>(prompt.size()) + options.sampling.max_new_tokens;
  if (length > model.config.model.max_seq_len)
    terminal.warning(fmt::format("{} tokens in all, but the model was trained on {} at a time", length,
                                 model.config.model.max_seq_len));

  const WeightTypes types = weight_types(training);
  const auto [arena, writer] = place<Writer>(*backend.device, model.config.model, types, length);
  load_weights(writer->weights, model.checkpoint, backend);
  writer->decoder.prepare(*backend.device);

  SamplingOptions sampling = options.sampling;
  for (int64_t i = 0; i < options.samples; ++i, ++sampling.seed) {
    std::fputs(options.prompt.c_str(), stdout);
    const double started = steady_seconds();
    const int64_t made = generate(writer->decoder, prompt, Tokenizer::kEndOfText, Tokenizer::kVocabulary,
                                  sampling, *backend.device, *backend.ops, [&](int32_t id) {
                                    const std::string_view bytes = tokenizer.bytes(id);
                                    std::fwrite(bytes.data(), 1, bytes.size(), stdout);
                                    std::fflush(stdout);
                                  });
    std::fputs("\n", stdout);
    std::fflush(stdout);
    terminal.line(fmt::format("[{} tokens, {:.1f} tokens/s, step {}, seed {}]", made,
                              static_cast<double>(made) / (steady_seconds() - started),
                              model.checkpoint.step(), sampling.seed));
  }
  return 0;
}

}  // namespace

void add_generate(CLI::App& app, Command& chosen) {
  auto options = std::make_shared<GenerateOptions>();
  CLI::App* command = app.add_subcommand("generate", "Write text with a trained model");
  command->add_option("model", options->model, "A run, or one checkpoint of it")
      ->required()
      ->type_name("RUN");
  command->add_option("--prompt", options->prompt, "Text to continue; empty: start a new document");
  command->add_option("--max-new-tokens", options->sampling.max_new_tokens, "Stop after so many")
      ->capture_default_str();
  command->add_option("--temperature", options->sampling.temperature, "0: always the most likely token")
      ->capture_default_str();
  command->add_option("--top-k", options->sampling.top_k, "Only the k most likely tokens; 0: all")
      ->capture_default_str();
  command->add_option("--top-p", options->sampling.top_p, "Only the most likely that together reach p")
      ->capture_default_str();
  command->add_option("--seed", options->sampling.seed, "The same seed writes the same text")
      ->capture_default_str();
  command->add_option("--samples", options->samples, "How many texts, each with the next seed")
      ->capture_default_str()
      ->check(CLI::Range(1, 1000000));
  command->add_option("overrides", options->overrides, "Settings that replace those of the run")
      ->type_name("section.key=value");
  command->footer(
      "Examples:\n"
      "  moe generate runs/latest --prompt \"Lantern\" --temperature 0.7 --top-p 0.95\n"
      "  moe generate runs/latest/checkpoints/step-00000400 --temperature 0 training.threads=1\n"
      "The text goes to standard output, everything else to standard error.");
  command->callback([options, &chosen] { chosen = [options] { return run(*options); }; });
}

}  // namespace moe::cli
