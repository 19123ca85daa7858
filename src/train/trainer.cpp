// SPDX-License-Identifier: MIT
#include "train/trainer.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <tuple>
#include <utility>

#include "base/error.h"
#include "base/format.h"
#include "base/steady_seconds.h"
#include "base/version.h"
#include "data/text.h"
#include "metrics/alerts.h"
#include "metrics/record.h"
#include "model/flops.h"
#include "train/observers.h"
#include "train/peak_flops.h"
#include "train/resume.h"
#include "train/step.h"
#include "train/text_of_run.h"

namespace moe::train {
namespace {

// Thrown on all ranks together, where a signal ends work beside the steps.
struct Interrupted {};

}  // namespace

Trainer::Trainer(const RunConfig& config, const RunFolder& folder, bool resume, Device& device, Ops& ops,
                 comm::Communicator& communicator, const std::atomic<int>& stop, Terminal& terminal,
                 Begun begun)
    : config_(config),
      folder_(folder),
      device_(device),
      ops_(ops),
      communicator_(communicator),
      terminal_(terminal),
      groups_(config.distributed, config.model, communicator, device, has_muon(config.training.optimizer)),
      control_(config.training.max_minutes, stop, communicator, terminal),
      flops_per_token_(model::flops_per_token(config.model, config.model.max_seq_len).total()),
      peak_flops_(peak_flops(device.name(), arithmetic(config.training).type != DType::f32)),
      start_(std::move(begun.times)) {
  comm::propagate_errors(communicator_, [&] {
    if (communicator_.rank() == 0) folder_.own(terminal_);
  });
  if (peak_flops_) *peak_flops_ *= communicator_.size();
  config_.set_last_step(communicator_.size());
  std::tie(arena_, state_) = place<TrainingState>(device_, config_, config_.vocabulary(), groups_, ops_);
  start_->end("memory");
  source_ = begun.text != nullptr ? begun.text->get() : data::open_training_source(config_.data, terminal_);
  start_->end("text");
  const checkpoint::CheckpointStore store(folder.checkpoints(), config.training.keep_checkpoints,
                                          program_version());
  tell_memory(!resume || !store.latest());

  state_->transformer.prepare(device_);
  state_->step_guard.clear(ops_);
  state_->decoder.prepare(device_, captured_region(config_.training, groups_, ops_));
  begin(store, resume);
  start_->end("weights");
  config_.set_last_step(communicator_.size(), step_, tokens_);
  tell_text();
  epochs_.emplace(config_.data.mixture, Epochs::counts(loader_->epochs_of_all(cursor_)));
  evaluator_ = std::make_unique<Evaluator>(config_, folder_, source_, *tokenizer_, *state_, communicator_,
                                           device_, ops_, terminal_, [this] {
                                             if (control_.interrupted()) throw Interrupted();
                                           });
  list_periodic_work();
  start_->end("held_out");
  open_saver(store);
  sinks_ = communicator_.rank() == 0 ? make_observers(config_, folder_, resume, step_ + 1, terminal_)
                                     : std::make_unique<metrics::FanOut>();
  look_what_was_made();
  start_->end("record");
}

Trainer::~Trainer() = default;

// Behind the opening of the text, so that what is wrong with it is told first. in_full: with the tables. Who
// resumes a run has seen them.
void Trainer::tell_memory(bool in_full) {
  terminal_.line(fmt::format("memory    {}{}", format_bytes(static_cast<double>(arena_->used())),
                             in_full ? "\n" + memory_table(*arena_) : ""));
  terminal_.line(fmt::format("optimizer {}{}", name_of(config_.training.optimizer),
                             in_full ? "\n" + optimizer_table(state_->optimizer, config_.training) : ""));
  if (communicator_.size() > 1)
    terminal_.line("layout    " +
                   describe_layout(config_, config_.vocabulary(), communicator_.size(), device_, ops_));
}

void Trainer::tell_text() {
  if (communicator_.rank() != 0) return;
  const TextOfRun text = text_of_run(config_, *source_, *tokenizer_, communicator_.size(), step_, tokens_);
  for (const std::string& line : text.lines) terminal_.line(line);
  if (!text.warning.empty()) terminal_.warning(text.warning);
}

// The first batches are read beside what the weights need.
void Trainer::begin(const checkpoint::CheckpointStore& store, bool resume) {
  if (resume && store.latest()) {
    resume_from(store.open_latest());
  } else {
    if (resume)
      terminal_.warning(fmt::format("{}: there is no checkpoint to resume from; the run begins at its start",
                                    folder_.checkpoints().string()));
    open_loader(cursor_);
    state_->weights.initialise(static_cast<uint64_t>(config_.training.seed), ops_);
    state_->average.begin(ops_);
  }
  model::cast_weights(state_->weights, ops_);
  state_->replicas.start_parameter_all_gather();
}

void Trainer::open_loader(const data::Cursor& start) {
  const auto& training = config_.training;
  loader_ = std::make_unique<data::Loader>(
      source_, *tokenizer_, config_.data, static_cast<uint64_t>(training.seed), training.batch_size,
      config_.model.max_seq_len, start, data::Part::train, Shard{communicator_.rank(), communicator_.size()});
}

// Of initial weights there is a validation only: their texts and scores say nothing.
void Trainer::list_periodic_work() {
  const auto& training = config_.training;
  if (evaluator_->has_validation())
    periodic_.add(
        {.every = training.eval_every, .name = "validation", .mark = "validation_loss", .body = [this] {
           return evaluator_->validate(step_, tokens_);
         }});
  if (evaluator_->has_tasks())
    periodic_.add({.every = training.tasks_every,
                   .name = "tasks",
                   .mark = "tasks/",
                   .of_initial_weights = false,
                   .body = [this] { return evaluator_->run_tasks(step_, tokens_); }});
  periodic_.add({.every = training.sample_every,
                 .name = "sample",
                 .mark = "sample",
                 .of_initial_weights = false,
                 .body = [this] { return evaluator_->sample(step_); }});
}

// The record says what was made at this step before the run broke off. What is due and not there is made
// then.
void Trainer::look_what_was_made() {
  std::vector<std::string> names;
  if (communicator_.rank() == 0) names = metrics::names_of_step(folder_.metrics(), step_);
  periodic_.take_as_made(step_, [&](const PeriodicWork& work) {
    return communicator_.sum(work.made_one_of(names) ? 1 : 0) > 0;
  });
}

Outcome Trainer::do_due_work(bool at_end) {
  try {
    periodic_.each_due(step_, at_end, [this](const PeriodicWork& work) {
      timed(work.name, [&] {
        state_->replicas.finish_parameter_all_gather();
        or_save([&] { sinks_->write(work.body()); });
      });
    });
    return Outcome::finished;
  } catch (const Interrupted&) {
    return Outcome::signal;
  }
}

void Trainer::accept() {
  if (auto body = std::exchange(accepted_, nullptr))
    or_save([&] { comm::propagate_errors(communicator_, body); });
}

// All of the step's data first: the loss is a mean over the targets of the whole step. No rank waits alone:
// where one's text is late, the network may be away for long, all meet again and again, so that none counts
// as lost and a signal is heard.
Outcome Trainer::next_batches(std::vector<data::Batch>& batches) {
  constexpr auto kMeeting = std::chrono::milliseconds(1000);
  constexpr double kLate = 60;
  const auto wanted = static_cast<size_t>(config_.training.ramp().micro_batches(tokens_));
  const double begin = steady_seconds();
  for (bool told = false;;) {
    std::exception_ptr error;
    try {
      while (batches.size() < wanted && loader_->wait_for(kMeeting)) batches.push_back(*loader_->next());
    } catch (const UserError&) {
      error = std::current_exception();
    }
    const Supply mine = error ? Supply::failed : batches.size() == wanted ? Supply::complete : Supply::late;
    Outcome outcome = Outcome::finished;
    const Supply all = control_.supply(mine, outcome);
    if (all == Supply::failed)
      or_save([&] {
        comm::propagate_errors(communicator_, [&] {
          if (error) std::rethrow_exception(error);
        });
      });
    if (all == Supply::complete || outcome != Outcome::finished) return outcome;
    if (const double seconds = steady_seconds() - begin; seconds > kLate && !std::exchange(told, true))
      tell_late(seconds);
  }
}

void Trainer::tell_late(double seconds) {
  const data::NetworkCounts network = source_->network();
  std::string text = fmt::format("no text for {:.0f} s", seconds);
  if (communicator_.size() > 1) text += fmt::format(" on ranks {}", fmt::join(control_.late_ranks(), ", "));
  if (network.retries > 0)
    text += fmt::format(
        "; after a failure of the network it is tried again for {:g} minutes "
        "(data.network_patience_minutes)",
        config_.data.network_patience_minutes);
  sinks_->write(metrics::alert_row(step_, "data_late", text));
}

StepRates Trainer::next_rates() const {
  const TrainingConfig& training = config_.training;
  const optim::Schedule rates = schedule(training);
  const BatchRamp ramp = training.ramp();
  const int64_t each = training.batch_size * config_.model.max_seq_len * communicator_.size();
  const int64_t place = ramp.place(step_, tokens_, each);
  return {.step = step_,
          .learning_rate = optim::learning_rate(rates, place) * ramp.rate_scale(tokens_),
          .decay_scale = optim::weight_decay_scale(training.weight_decay_schedule, rates, place)};
}

StepResult Trainer::train_step(const StepRates& rates, const std::vector<data::Batch>& batches,
                               StepContext& context) {
  int64_t targets = 0, positions = 0;
  for (const data::Batch& batch : batches) {
    targets += batch.targets;
    positions += batch.positions();
  }
  context.data_padding_share = 1 - static_cast<double>(targets) / static_cast<double>(positions);
  context.data_text_bytes = loader_->text_bytes();
  context.network = source_->network();
  if (!config_.training.ramp().constant()) context.micro_batches = std::ssize(batches);

  if (looks_at_next_step()) evaluator_->probe().before_update();
  const double begin = steady_seconds();
  StepTotals totals;
  or_save([&] { totals = run_step(*state_, config_.training, batches, rates, device_, ops_); });
  // The one wait for the device in a step: the row needs its numbers, and a bad loss must stop the run now.
  StepResult result = read_step(state_->transformer.sums(), state_->transformer.fp8_census(),
                                state_->squares_g, state_->clip_scale_1, state_->loss_scale.value(),
                                totals.targets, totals.micro_batches, device_);
  phase_seconds_["compute"] += steady_seconds() - begin;
  if (looks_at_next_step()) evaluator_->probe().after_update(result.loss_scale);
  cursor_ = batches.back().after;
  tokens_ += totals.targets;
  return result;
}

bool Trainer::epochs_are_over() const {
  const int64_t most = config_.training.max_epochs;
  return most > 0 && epochs_->complete() >= most;
}

bool Trainer::is_complete() const {
  return step_ >= config_.training.max_steps || epochs_are_over();
}

// The probe wants the update of the step before a validation.
bool Trainer::looks_at_next_step() const {
  const int64_t every = config_.training.eval_every;
  return evaluator_->has_validation() &&
         ((every > 0 && (step_ + 1) % every == 0) || step_ + 1 == config_.training.max_steps);
}

void Trainer::timed(const char* phase, const std::function<void()>& body) {
  const double begin = steady_seconds();
  body();
  phase_seconds_[phase] += steady_seconds() - begin;
}

Hardware Trainer::hardware() const {
  const model::ParameterCount count = model::count_parameters(config_.model);
  const int ranks = communicator_.size();
  const std::string device = device_.name();
  return {.device = ranks > 1 ? fmt::format("{} x {}", ranks, device) : device,
          .parameters = count.total,
          .active_parameters = count.active};
}

void Trainer::write_row(const StepResult& result, StepContext& context, int64_t tokens_before,
                        double seconds) {
  context.step = step_;
  context.tokens = tokens_;
  context.step_seconds = seconds;
  context.tokens_per_second = static_cast<double>(tokens_ - tokens_before) / seconds;
  context.memory_bytes = arena_->used();
  context.data_stage = config_.data.stage;
  context.data_epoch = epochs_->complete();
  context.epochs = epochs_->of_places();
  if (start_) {
    context.memory_table = &arena_->table();
    context.start = &start_->parts();
    context.hardware = hardware();
  }
  context.flops_per_token = flops_per_token_;
  context.peak_flops = peak_flops_;
  context.groups = &state_->optimizer.groups();
  context.loss_scale = &state_->loss_scale;
  if (state_->step_guard.enabled()) context.spikes = state_->step_guard.skipped();
  context.phase_seconds = std::exchange(phase_seconds_, {});
  context.checkpoint_write_seconds = saver_->write_seconds();
  context.stragglers = control_.stragglers();
  timed("report", [&] { sinks_->write(training_row(result, context)); });
}

void Trainer::not_finite(const StepResult& result) {
  const std::string where = fmt::format("step {}", step_ + 1);
  const std::string found = fmt::format("loss {}, gradient norm {}", result.loss, result.gradient_norm);
  const bool skipped = goes_on(config_.training.on_nan);
  sinks_->write(metrics::alert_row(
      step_ + 1, "not_finite",
      found + (skipped ? "; the step is skipped, weights are unchanged (training.on_nan = skip)"
                       : "; the run ends with its last good state saved")));
  if (skipped) return;
  throw comm::SharedError(
      where, "a finite loss", found,
      fmt::format("the state before this step is saved in {}; lower training.learning_rate, or continue "
                  "with `moe train --resume {} training.on_nan=skip`",
                  saver_->store().folder_of(step_).string(), folder_.path().string()));
}

void Trainer::overflow(const StepResult& result) {
  const LossScale& scale = state_->loss_scale;
  terminal_.line(fmt::format(
      "step {}: loss {}, gradient norm {}: too large for f16; the step is skipped ({} so far), "
      "loss scale {} -> {}",
      step_ + 1, result.loss, result.gradient_norm, scale.skipped(), result.loss_scale, scale.value()));
}

void Trainer::skip_spike(const StepResult& result) {
  state_->step_guard.count();
  sinks_->write(metrics::alert_row(
      step_ + 1, "spike_skipped",
      fmt::format("loss {:.4f}, gradient norm {:.4f}: more than {} standard deviations above the "
                  "steps before (training.spike_sigma); the step is skipped ({} so far)",
                  result.loss, result.gradient_norm, config_.training.spike_sigma,
                  state_->step_guard.skipped())));
}

Outcome Trainer::decide(double step_seconds) {
  const Outcome outcome = control_.meet(saver_->state(), step_seconds, folder_.is_lost(),
                                        Epochs::counts(loader_->epochs(cursor_)));
  epochs_->advance(control_.epochs(), step_, tokens_, terminal_);
  if (saver_->busy()) timed("checkpoint", [&] { saver_->advance(control_.saving()); });
  return outcome;
}

bool Trainer::of_all(const UserError& error) const {
  return communicator_.size() == 1 || dynamic_cast<const comm::SharedError*>(&error) != nullptr;
}

Outcome Trainer::run() {
  try {
    return train();
  } catch (const UserError& error) {
    // What all ranks know they can act on together: a checkpoint that is being written becomes whole.
    if (of_all(error) && !control_.folder_lost()) {
      try {
        saver_->finish();
      } catch (const UserError& second) {
        terminal_.warning(second.what());
      }
    }
    sinks_->broke(error.what());
    throw;
  }
}

void Trainer::end_start(const char* part) {
  if (start_) start_->end(part);
}

void Trainer::tell_start() {
  if (!start_) return;
  terminal_.line("start     " + start_->describe());
  start_.reset();
}

Outcome Trainer::train() {
  const bool only_initial = config_.training.max_steps == 0 && saved_step_ < 0;
  const bool complete = is_complete();
  Outcome outcome = Outcome::finished;
  if (!only_initial) outcome = do_due_work(complete);  // what a run that broke off owes to its record
  end_start("validation");
  if (outcome == Outcome::finished && !complete) outcome = train_steps();
  if (has_trained() || only_initial) save();
  if (!complete) say_where_the_rate_is();
  if (loader_->replaced() > 0) terminal_.warning(data::replaced_words(loader_->replaced()));
  if (outcome != Outcome::signal && !only_initial && do_due_work(true) == Outcome::signal)
    outcome = Outcome::signal;
  if (only_initial)
    terminal_.line("the initial weights are saved (training.max_steps = 0)");
  else if (complete && outcome == Outcome::finished)
    say_complete();
  if (outcome != Outcome::signal) accept();
  sinks_->finish(outcome == Outcome::signal ? 128 + control_.signal() : 0);
  return outcome;
}

void Trainer::say_complete() {
  const auto& training = config_.training;
  terminal_.line(epochs_are_over()
                     ? fmt::format("the run is complete: {} epochs. To go on, raise training.max_epochs",
                                   epochs_->complete())
                     : fmt::format("the run is complete: step {} of {}. To go on, raise training.max_{}",
                                   step_, training.max_steps, training.max_tokens > 0 ? "tokens" : "steps"));
}

void Trainer::say_where_the_rate_is() {
  const auto& training = config_.training;
  if (epochs_are_over() && step_ < training.max_steps && training.ramp().constant() &&
      training.lr_schedule != optim::Schedule::Kind::constant)
    terminal_.line(fmt::format(
        "{} epochs ended at step {}, where the learning rate was {:.3g}: it follows "
        "training.max_steps, which is {}",
        epochs_->complete(), step_, optim::learning_rate(schedule(training), step_ - 1), training.max_steps));
}

// Until the last one, a signal or the end of the time.
Outcome Trainer::train_steps() {
  const auto& training = config_.training;
  double before = steady_seconds();
  for (;;) {
    StepContext context;
    const StepRates rates = next_rates();
    context.learning_rate = rates.learning_rate;
    const data::Cursor cursor_before = cursor_;
    const int64_t tokens_before = tokens_;
    const double waited = loader_->waited_seconds();
    context.data_queue = loader_->queued();
    std::vector<data::Batch> batches;
    Outcome outcome = next_batches(batches);
    if (outcome != Outcome::finished) return outcome;
    context.data_wait_seconds = loader_->waited_seconds() - waited;
    end_start("batches");
    const StepResult result = train_step(rates, batches, context);
    end_start("step");
    if (!state_->loss_scale.update(result.finite())) {
      if (!goes_on(training.on_nan)) {
        cursor_ = cursor_before;
        tokens_ = tokens_before;
        save();
      }
      not_finite(result);
    } else if (!result.finite()) {
      overflow(result);
    }
    if (result.spike) skip_spike(result);
    ++step_;
    const double now = steady_seconds();
    write_row(result, context, tokens_before, now - before);
    tell_start();
    accept();

    outcome = decide(now - before);
    if (outcome != Outcome::finished || is_complete()) return outcome;
    saver_->take_memory();
    if (due(training.checkpoint_every)) timed("checkpoint", [&] { begin_saving(); });
    outcome = do_due_work(false);
    if (outcome != Outcome::finished) return outcome;
    before = steady_seconds();
  }
}

}  // namespace moe::train
