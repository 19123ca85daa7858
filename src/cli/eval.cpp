// SPDX-License-Identifier: MIT
// moe eval: loss, perplexity and bits per byte of a trained model on any text, and its scores in common
// evaluations.
#include <fmt/format.h>

#include <cmath>
#include <cstdio>
#include <memory>
#include <string>
#include <tuple>
#include <vector>

#include "base/error.h"
#include "base/json.h"
#include "base/progress.h"
#include "base/terminal.h"
#include "cli/arguments.h"
#include "cli/commands.h"
#include "cli/model_files.h"
#include "comm/solo.h"
#include "data/held_out.h"
#include "data/loader.h"
#include "data/text.h"
#include "tasks/item_log.h"
#include "tasks/task_set.h"
#include "text/tokenizer.h"
#include "train/evaluate.h"
#include "train/state.h"

namespace moe::cli {
namespace {

struct EvalOptions {
  std::string model, output;
  std::vector<std::string> source, tasks, overrides;
  int64_t max_batches = 0, limit = 0;
  bool json = false, average = false;
};

train::Evaluation measure(model::Transformer& transformer, data::Loader& loader, const EvalOptions& options,
                          backend::Backend& backend, Terminal& terminal) {
  train::Evaluation evaluation;
  Progress progress(terminal, "evaluating", 0, "tokens");
  for (int64_t i = 0; options.max_batches == 0 || i < options.max_batches; ++i) {
    const auto batch = loader.next();
    if (!batch) break;
    train::evaluate(transformer, *batch, *backend.device, *backend.ops, evaluation);
    progress.add(static_cast<uint64_t>(batch->targets));
  }
  progress.done();
  return evaluation;
}

class Evaluator {
 public:
  Evaluator(const EvalOptions& options, const TrainedModel& model)
      : options_(options),
        model_(model),
        backend_(backend::make_backend(model.config.training.device,
                                       static_cast<int>(model.config.training.threads),
                                       train::arithmetic(model.config.training))),
        shape_(train::micro_batch(model.config, model.config.vocabulary())),
        tokenizer_(model.config.data.tokenizer.open()) {}

  void open() {
    const model::WeightTypes types = train::weight_types(model_.config.training);
    std::tie(arena_, placed_) =
        train::place<PlacedModel>(*backend_.device, model_.config.model, types, shape_);
    load_weights(placed_->weights, model_, backend_);
    placed_->transformer.prepare(*backend_.device);
  }

  // Before anything is computed.
  void prepare(tasks::TaskSet& tasks) { tasks.leave_out_longer_than(shape_.T, *tokenizer_, terminal_); }

  void text(OrderedJson& json) {
    const train::RunConfig& config = model_.config;
    const bool held_out = options_.source.empty() && config.data.validation_source.empty();
    if (held_out && config.data.source.empty() && config.data.mixture.empty())
      throw UserError(options_.model, "a held-out part of the run's text", "a model without its text",
                      "name a text with --source");
    const auto& paths = options_.source.empty() ? config.data.validation_source : options_.source;
    const data::DataConfig data = options_.source.empty() ? config.data : foreign_text();
    const auto source =
        held_out ? data::open_training_source(data, terminal_) : data::open_source(paths, data, terminal_);
    if (held_out && !data::has_validation(*source, data))
      throw UserError(options_.model, "a held-out part of the run's text", "none",
                      "name a text with --source");
    data::Loader loader(source, *tokenizer_, data, 1, shape_.B, shape_.T, {},
                        held_out ? data::Part::validation : data::Part::all);
    const train::Evaluation result = measure(placed_->transformer, loader, options_, backend_, terminal_);
    if (result.targets == 0)
      throw UserError(held_out ? options_.model : paths.front(), "text to evaluate on", "none");
    if (!std::isfinite(result.loss()))
      throw UserError(options_.model, "a finite loss",
                      fmt::format("{} over {} tokens", result.loss(), result.targets),
                      "the model's activations overflow on this text: try training.mixed_precision=fp32");
    if (loader.replaced() > 0) terminal_.warning(data::replaced_words(loader.replaced()));
    json.update({{"loss", result.loss()},
                 {"perplexity", result.perplexity()},
                 {"bits_per_byte", result.bits_per_byte()},
                 {"tokens", result.targets},
                 {"bytes", result.bytes},
                 {"replaced", loader.replaced()}});
    if (!options_.json)
      std::printf(
          "loss %.4f nats/token   perplexity %.2f   %.4f bits/byte   (%lld tokens, %lld bytes, step %lld)\n",
          result.loss(), result.perplexity(), result.bits_per_byte(), static_cast<long long>(result.targets),
          static_cast<long long>(result.bytes), static_cast<long long>(model_.checkpoint.step()));
  }

  void tasks(const tasks::TaskSet& tasks, OrderedJson& json) {
    std::unique_ptr<tasks::ItemLog> log;
    if (!options_.output.empty()) {
      log = std::make_unique<tasks::ItemLog>(
          options_.output, fmt::format("{} ({}), items {}", model_.checkpoint.folder().string(),
                                       name_of(model_.config.training.mixed_precision), tasks.identity()));
      if (log->known() > 0)
        terminal_.line(fmt::format("{}: going on after {} results", options_.output, log->known()));
    }
    comm::SoloCommunicator alone;
    tasks::Scorer scorer(placed_->transformer, shape_, alone, *backend_.device, *backend_.ops);
    for (const auto& measured :
         tasks.evaluate(scorer, *tokenizer_, terminal_, log ? log->record() : tasks::TaskSet::Record{}))
      add(measured, json);
  }

  Terminal& terminal() { return terminal_; }

 private:
  // For a text that is not the run's: what its files are is for their endings to say, or for this command
  // line.
  data::DataConfig foreign_text() const {
    train::RunConfig config = model_.config;
    const data::DataConfig defaults;
    config.data.format = defaults.format;
    config.data.filters = defaults.filters;
    config.data.rules = defaults.rules;
    auto sections = config.sections();
    for (const std::string& text : options_.overrides) apply_override(text, sections);
    return config.data;
  }

  void add(const tasks::TaskSet::Measured& measured, OrderedJson& json) const {
    const std::string task(name_of(measured.task)), convention(name_of(measured.convention));
    OrderedJson& values = json["tasks"][task][convention];
    values["items"] = measured.items;
    std::string line = fmt::format("{:<10} {:<8} {:>6} items", task, convention, measured.items);
    for (size_t i = 0; i + 1 < measured.values.size(); i += 2) {
      const auto& [name, value] = measured.values[i];
      const double error = measured.values[i + 1].second;
      values[name] = value;
      values[measured.values[i + 1].first] = error;  // null when there is one item only
      line += fmt::format("   {} {:.4f} +- {:.4f}", name, value, error);
    }
    if (!options_.json) std::printf("%s\n", line.c_str());
  }

  const EvalOptions& options_;
  const TrainedModel& model_;
  backend::Backend backend_;
  model::MicroBatch shape_;
  Terminal terminal_;
  std::shared_ptr<const text::Tokenizer> tokenizer_;
  std::unique_ptr<Arena> arena_;
  std::unique_ptr<PlacedModel> placed_;
};

int run(const EvalOptions& options) {
  if (!options.output.empty() && options.tasks.empty())
    throw UserError("--output", "a --task whose items it is for", "none");
  const TrainedModel model = open_model(options.model, options.overrides, options.average);
  Evaluator evaluator(options, model);
  std::unique_ptr<tasks::TaskSet> tasks;
  if (!options.tasks.empty()) {
    tasks = std::make_unique<tasks::TaskSet>(options.tasks, options.limit, model.config.data.cache_dir,
                                             evaluator.terminal());
    evaluator.prepare(*tasks);
  }
  evaluator.open();
  OrderedJson json{{"step", model.checkpoint.step()}};
  if (!options.source.empty() || !tasks) evaluator.text(json);
  if (tasks) evaluator.tasks(*tasks, json);
  if (options.json) std::printf("%s\n", json.dump().c_str());
  return 0;
}

}  // namespace

void add_eval(CLI::App& app, Command& chosen) {
  auto options = std::make_shared<EvalOptions>();
  CLI::App* command = app.add_subcommand("eval", "Loss on any text, and scores in common evaluations");
  command->add_option("model", options->model, "A run, or one checkpoint of it")
      ->required()
      ->type_name("RUN");
  command->add_option("--source", options->source, "Files or folders; default: the text the run held out")
      ->type_name("PATH");
  command->add_option("--max-batches", options->max_batches, "Stop after so many batches; 0: read it all")
      ->capture_default_str();
  command
      ->add_option("--task", options->tasks,
                   "hellaswag, lambada, arc_easy or piqa, and its items: JSON lines or Parquet, on disk, "
                   "hf:// or https://")
      ->type_name("TASK=PLACE")
      ->allow_extra_args(false);
  command->add_option("--limit", options->limit, "Only the first so many items of a task; 0: all")
      ->capture_default_str()
      ->check(CLI::NonNegativeNumber);
  command
      ->add_option("-o,--output", options->output,
                   "Write each item's result here; interrupted, it goes on from there")
      ->type_name("FILE.jsonl");
  command->add_flag("--json", options->json, "One JSON object on standard output");
  add_average(*command, options->average);
  add_settings(*command, options->overrides, "Settings that replace those of the run");
  command->footer(
      "Examples:\n"
      "  moe eval runs/latest\n"
      "  moe eval runs/latest --source book.txt --json data.document_split=blank_line\n"
      "  moe eval runs/latest --task hellaswag=hellaswag_val.jsonl --task piqa=piqa_valid.jsonl --output "
      "items.jsonl\n"
      "  moe eval runs/latest --task "
      "hellaswag=hf://datasets/Rowan/hellaswag@refs/convert/parquet/default/validation\n"
      "With --task the run's held-out text is left out unless --source names a text. docs/evaluation.md has "
      "the\n"
      "conventions and what others reach.\n"
      "Tokens are never dropped here, whatever model.capacity_factor is.");
  command->callback([options, &chosen] { chosen = [options] { return run(*options); }; });
}

}  // namespace moe::cli
