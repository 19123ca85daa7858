// SPDX-License-Identifier: MIT
#include "train/trainer.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <tuple>
#include <utility>

#include "base/error.h"
#include "base/file.h"
#include "base/format.h"
#include "base/version.h"
#include "metrics/alerts.h"
#include "metrics/meters.h"
#include "model/flops.h"
#include "train/generate.h"
#include "train/observers.h"
#include "train/peak_flops.h"
#include "train/resume.h"
#include "train/step.h"

namespace moe {
namespace {

// Validation and samples use fixed seeds so that runs compare.
constexpr uint64_t kFixedSeed = 1;
constexpr int kSamples = 3;  // texts in a sample

}  // namespace

Trainer::Trainer(const RunConfig& config, const RunFolder& folder, bool resume, Device& device, Ops& ops,
                 const std::atomic<int>& stop, Terminal& terminal)
    : config_(config),
      folder_(folder),
      device_(device),
      ops_(ops),
      stop_(stop),
      terminal_(terminal),
      store_(folder.checkpoints(), config.training.keep_checkpoints, program_version()) {
  std::tie(arena_, state_) = place<TrainingState>(device_, config_, Tokenizer::kVocabulary, ops_);
  terminal_.line(fmt::format("memory    {}\n{}", format_bytes(static_cast<double>(arena_->used())),
                             memory_table(*arena_)));
  source_ = open_training_source(config_.data, terminal_);

  state_->transformer.prepare(device_);
  state_->decoder.prepare(device_);
  if (resume && store_.latest()) {
    resume_from(store_.open_latest());
  } else {
    state_->weights.initialise(static_cast<uint64_t>(config_.training.seed), device_);
  }
  cast_weights(state_->weights, ops_);
  open_data(cursor_);

  probe_ = std::make_unique<Probe>(config_.model, config_.model.max_seq_len, state_->weights,
                                   state_->optimizer.groups(), state_->squares_g, device_, ops_);
  sinks_ = make_observers(config_, folder_, resume, step_ + 1, terminal_);
}

Trainer::~Trainer() = default;

void Trainer::open_data(const Cursor& start) {
  const auto& training = config_.training;
  const int64_t B = training.batch_size, T = config_.model.max_seq_len;
  loader_ = std::make_unique<Loader>(source_, tokenizer_, config_.data, static_cast<uint64_t>(training.seed),
                                     B, T, start, Part::train);
  if (training.eval_every == 0 || training.eval_batches == 0) return;

  const bool separate = !config_.data.validation_source.empty();
  const auto held_out =
      separate ? open_source(config_.data.validation_source, config_.data, terminal_) : source_;
  if (!separate && !has_validation(*source_, config_.data)) {
    terminal_.warning(
        "no validation: the text has one unit only, so no part can be held out; set data.validation_source, "
        "or "
        "data.document_split if the file holds many documents");
    return;
  }
  Loader validation(held_out, tokenizer_, config_.data, kFixedSeed, B, T, {},
                    separate ? Part::all : Part::validation_sample);
  while (static_cast<int64_t>(validation_.size()) < training.eval_batches) {
    auto batch = validation.next();
    if (!batch) break;
    validation_.push_back(std::move(*batch));
  }
}

void Trainer::resume_from(const Checkpoint& checkpoint) {
  const ResumePoint point = resume_point((checkpoint.folder() / "state.json").string(),
                                         checkpoint.state_json(), source_->identity(), config_);
  checkpoint.load("model.safetensors", state_->weights.named(), device_);
  if (checkpoint.contains("optimizer.safetensors")) {
    checkpoint.load("optimizer.safetensors", state_->optimizer.state(), device_);
  } else {
    terminal_.line("imported  weights only: the optimizer's moments start from zero");
  }
  step_ = saved_step_ = point.step;
  cursor_ = point.cursor;
  if (point.loss_scale && state_->loss_scale.dynamic()) state_->loss_scale.restore(*point.loss_scale);
  terminal_.line(fmt::format("resumed from {} at step {}", checkpoint.folder().string(), step_));
  if (!point.changed.empty()) terminal_.line(fmt::format("changed   {}", fmt::join(point.changed, ", ")));
}

void Trainer::save() {
  if (saved_step_ == step_) return;
  store_.save(
      step_,
      {{"model.safetensors", state_->weights.named()}, {"optimizer.safetensors", state_->optimizer.state()}},
      state_json(step_, cursor_, source_->identity(), config_, state_->loss_scale), device_);
  saved_step_ = step_;
}

// Text that cannot be read ends the run, but loses nothing.
Batch Trainer::next_batch() {
  try {
    return *loader_->next();
  } catch (const UserError&) {
    save();
    terminal_.line(fmt::format("the data cannot be read: step {} is saved", step_));
    throw;
  }
}

StepResult Trainer::train_step(double rate, StepContext& context) {
  // All of the step's data first: the loss is a mean over the targets of the whole step.
  const double waited = loader_->waited_seconds();
  std::vector<Batch> batches;
  int64_t targets = 0, positions = 0;
  context.data_queue = loader_->queued();
  for (int64_t i = 0; i < config_.training.gradient_accumulation_steps; ++i) {
    batches.push_back(next_batch());
    targets += batches.back().targets;
    positions += batches.back().positions();
  }
  context.data_wait_seconds = loader_->waited_seconds() - waited;
  context.data_padding_share = 1 - static_cast<double>(targets) / static_cast<double>(positions);
  context.data_text_bytes = loader_->text_bytes();
  context.network = source_->network();

  if (looks_at_next_step()) probe_->before_update();
  const double begin = steady_seconds();
  run_step(*state_, config_.training, batches, step_, rate, device_, ops_);
  // The one wait for the device in a step: the row needs its numbers, and a bad loss must stop the run now.
  StepResult result = read_step(state_->transformer.sums(), state_->squares_g, state_->clip_scale_1,
                                state_->loss_scale.value(), targets, std::ssize(batches), device_);
  phase_seconds_["compute"] += steady_seconds() - begin;
  if (looks_at_next_step()) probe_->after_update();
  cursor_ = batches.back().after;
  return result;
}

// The probe wants the update of the step before a validation.
bool Trainer::looks_at_next_step() const {
  const int64_t every = config_.training.eval_every;
  return !validation_.empty() &&
         ((every > 0 && (step_ + 1) % every == 0) || step_ + 1 == config_.training.max_steps);
}

void Trainer::timed(const char* phase, const std::function<void()>& body) {
  const double begin = steady_seconds();
  body();
  phase_seconds_[phase] += steady_seconds() - begin;
}

void Trainer::write_row(const StepResult& result, StepContext& context, int64_t tokens_before,
                        double seconds) {
  context.step = step_;
  context.tokens = cursor_.tokens();
  context.step_seconds = seconds;
  context.tokens_per_second = static_cast<double>(cursor_.tokens() - tokens_before) / seconds;
  context.memory_bytes = arena_->used();
  if (std::exchange(first_row_, false)) context.memory_table = &arena_->table();
  context.flops_per_token = flops_per_token(config_.model, config_.model.max_seq_len).total();
  context.peak_flops = peak_flops(device_.name(), arithmetic(config_.training).type != DType::f32);
  context.groups = &state_->optimizer.groups();
  context.loss_scale = &state_->loss_scale;
  context.phase_seconds = std::exchange(phase_seconds_, {});
  timed("report", [&] { sinks_->write(training_row(result, context)); });
}

void Trainer::not_finite(const StepResult& result) {
  const std::string where = fmt::format("step {}", step_ + 1);
  const std::string found = fmt::format("loss {}, gradient norm {}", result.loss, result.gradient_norm);
  const bool skipped = config_.training.on_nan == "skip";
  sinks_->write(not_finite_alert(
      step_ + 1, found + (skipped ? "; the step is skipped, weights are unchanged (training.on_nan = skip)"
                                  : "; the run ends with its last good state saved")));
  if (skipped) return;
  throw UserError(
      where, "a finite loss", found,
      fmt::format("the state before this step is saved in {}; lower training.learning_rate, or continue "
                  "with `moe train --resume {} training.on_nan=skip`",
                  store_.folder_of(step_).string(), folder_.path().string()));
}

void Trainer::overflow(const StepResult& result) {
  const LossScale& scale = state_->loss_scale;
  terminal_.line(fmt::format(
      "step {}: loss {}, gradient norm {}: too large for f16; the step is skipped ({} so far), "
      "loss scale {} -> {}",
      step_ + 1, result.loss, result.gradient_norm, scale.skipped(), result.loss_scale, scale.value()));
}

std::optional<Evaluation> Trainer::validate() {
  if (validation_.empty()) return std::nullopt;
  Evaluation evaluation;
  timed("validation", [&] {
    for (const Batch& batch : validation_)
      evaluate(state_->transformer, batch, device_, ops_, evaluation,
               &batch == &validation_.front() ? probe_->look() : Look());
    Row row = validation_row(evaluation, step_, cursor_.tokens());
    probe_->report(row);
    sinks_->write(row);
  });
  return evaluation;
}

void Trainer::sample() {
  std::vector<int32_t> prompt{Tokenizer::kEndOfText};
  Tokenizer::Encoder encoder;
  tokenizer_.encode(config_.training.sample_prompt, prompt, encoder);
  SamplingOptions options{.max_new_tokens = 120, .temperature = 0.7, .top_p = 0.95, .seed = kFixedSeed};
  std::string text;
  for (int i = 0; i < kSamples; ++i, ++options.seed) {
    text += config_.training.sample_prompt;
    generate(state_->decoder, prompt, Tokenizer::kEndOfText, Tokenizer::kVocabulary, options, device_, ops_,
             [&](int32_t id) { text += tokenizer_.bytes(id); });
    text += "\n";
  }
  write_file_atomically(folder_.samples() / fmt::format("step-{:08}.txt", step_), text);
  terminal_.line(fmt::format("--- {} samples at step {} ---\n{}---", kSamples, step_, text));
}

Outcome Trainer::run() {
  const auto& training = config_.training;
  if (training.max_steps == 0 && saved_step_ < 0) {
    save();
    terminal_.line("the initial weights are saved (training.max_steps = 0)");
    return Outcome::finished;
  }
  if (step_ >= training.max_steps) {
    terminal_.line(fmt::format("the run is complete: step {} of {}. To go on, raise training.max_steps",
                               step_, training.max_steps));
    return Outcome::finished;
  }
  const Schedule rates = schedule(training);
  const double started = steady_seconds();
  Outcome outcome = Outcome::finished;
  if (step_ == 0) validate();
  double before = steady_seconds();
  while (step_ < training.max_steps) {
    StepContext context;
    context.learning_rate = learning_rate(rates, step_);
    const Cursor cursor_before = cursor_;
    const StepResult result = train_step(context.learning_rate, context);
    if (!state_->loss_scale.update(result.finite())) {
      if (training.on_nan == "stop") {
        cursor_ = cursor_before;
        save();
      }
      not_finite(result);
    } else if (!result.finite()) {
      overflow(result);
    }
    ++step_;
    const double now = steady_seconds();
    write_row(result, context, cursor_before.tokens(), now - before);

    if (stop_ != 0) {
      outcome = Outcome::signal;
    } else if (training.max_minutes > 0 && now - started > 60 * training.max_minutes) {
      outcome = Outcome::time_limit;
    }
    if (outcome != Outcome::finished) break;
    if (due(training.eval_every) && step_ < training.max_steps) validate();
    if (due(training.sample_every) && step_ < training.max_steps) timed("sample", [&] { sample(); });
    if (due(training.checkpoint_every)) timed("checkpoint", [&] { save(); });
    before = steady_seconds();
  }
  save();
  if (loader_->replaced() > 0)
    terminal_.warning(
        fmt::format("{} stretches of invalid UTF-8 in the text became U+FFFD", loader_->replaced()));
  if (outcome != Outcome::signal) {
    validate();
    sample();
  }
  sinks_->finish(outcome == Outcome::signal ? 128 + stop_ : 0);
  return outcome;
}

}  // namespace moe
