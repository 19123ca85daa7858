// SPDX-License-Identifier: MIT
// moe eval: loss, perplexity and bits per byte of a trained model on any text.
#include <fmt/format.h>

#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/progress.h"
#include "base/terminal.h"
#include "cli/commands.h"
#include "cli/model_files.h"
#include "data/loader.h"
#include "text/tokenizer.h"
#include "train/evaluate.h"
#include "train/state.h"

namespace moe::cli {
namespace {

struct EvalOptions {
  std::string model;
  std::vector<std::string> source, overrides;
  int64_t max_batches = 0;
  bool json = false;
};

struct EvaluatedModel {
  EvaluatedModel(const ModelConfig& config, const WeightTypes& types, const MicroBatch& shape, Arena& arena)
      : weights(config, types, Purpose::inference, arena), transformer(config, shape, weights, arena) {}

  Weights weights;
  Transformer transformer;
};

Evaluation measure(Transformer& transformer, Loader& loader, const EvalOptions& options, Backend& backend,
                   Terminal& terminal) {
  Evaluation evaluation;
  Progress progress(terminal, "evaluating", 0, "tokens");
  for (int64_t i = 0; options.max_batches == 0 || i < options.max_batches; ++i) {
    const auto batch = loader.next();
    if (!batch) break;
    evaluate(transformer, *batch, *backend.device, *backend.ops, evaluation);
    progress.add(static_cast<uint64_t>(batch->targets));
  }
  progress.done();
  return evaluation;
}

int run(const EvalOptions& options) {
  TrainedModel model = open_model(options.model, options.overrides);
  const RunConfig& config = model.config;
  Backend backend = make_backend(config.training.device, static_cast<int>(config.training.threads),
                                 arithmetic(config.training));
  Terminal terminal;
  const bool held_out = options.source.empty() && config.data.validation_source.empty();
  const auto& paths = options.source.empty() ? config.data.validation_source : options.source;
  const auto source =
      held_out ? open_training_source(config.data, terminal) : open_source(paths, config.data, terminal);
  if (held_out && !has_validation(*source, config.data))
    throw UserError(options.model, "a held-out part of the run's text", "none: the text is too small",
                    "name a text with --source");

  const MicroBatch shape = micro_batch(config, Tokenizer::kVocabulary);
  const WeightTypes types = weight_types(config.training);
  const auto [arena, placed] = place<EvaluatedModel>(*backend.device, config.model, types, shape);
  load_weights(placed->weights, model.checkpoint, backend);
  placed->transformer.prepare(*backend.device);

  const Tokenizer tokenizer;
  Loader loader(source, tokenizer, config.data, 1, shape.B, shape.T, {},
                held_out ? Part::validation : Part::all);
  const Evaluation result = measure(placed->transformer, loader, options, backend, terminal);
  if (result.targets == 0)
    throw UserError(held_out ? options.model : paths.front(), "text to evaluate on", "none");
  if (options.json) {
    const nlohmann::ordered_json json{
        {"step", model.checkpoint.step()},   {"loss", result.loss()},
        {"perplexity", result.perplexity()}, {"bits_per_byte", result.bits_per_byte()},
        {"tokens", result.targets},          {"bytes", result.bytes}};
    std::printf("%s\n", json.dump().c_str());
  } else {
    std::printf(
        "loss %.4f nats/token   perplexity %.2f   %.4f bits/byte   (%lld tokens, %lld bytes, step %lld)\n",
        result.loss(), result.perplexity(), result.bits_per_byte(), static_cast<long long>(result.targets),
        static_cast<long long>(result.bytes), static_cast<long long>(model.checkpoint.step()));
  }
  return 0;
}

}  // namespace

void add_eval(CLI::App& app, Command& chosen) {
  auto options = std::make_shared<EvalOptions>();
  CLI::App* command = app.add_subcommand("eval", "Loss, perplexity and bits per byte on any text");
  command->add_option("model", options->model, "A run, or one checkpoint of it")
      ->required()
      ->type_name("RUN");
  command->add_option("--source", options->source, "Files or folders; default: the text the run held out")
      ->type_name("PATH");
  command->add_option("--max-batches", options->max_batches, "Stop after so many batches; 0: read it all")
      ->capture_default_str();
  command->add_flag("--json", options->json, "One JSON object on standard output");
  command->add_option("overrides", options->overrides, "Settings that replace those of the run")
      ->type_name("section.key=value");
  command->footer(
      "Examples:\n"
      "  moe eval runs/latest\n"
      "  moe eval runs/latest --source book.txt --json data.document_split=blank_line\n"
      "Tokens are never dropped here, whatever model.capacity_factor is.");
  command->callback([options, &chosen] { chosen = [options] { return run(*options); }; });
}

}  // namespace moe::cli
