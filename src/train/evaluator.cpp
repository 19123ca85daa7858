// SPDX-License-Identifier: MIT
#include "train/evaluator.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstddef>
#include <filesystem>
#include <span>
#include <string>
#include <system_error>
#include <utility>
#include <variant>

#include "base/error.h"
#include "base/file.h"
#include "base/format.h"
#include "base/utf8.h"
#include "data/held_out.h"
#include "data/loader.h"
#include "data/repeats.h"
#include "generate/generate.h"
#include "train/evaluate.h"
#include "train/report.h"

namespace moe::train {
namespace {

// Validation and samples use fixed seeds so that runs compare.
constexpr uint64_t kFixedSeed = 1;
constexpr int kSamples = 3;  // texts in a sample

// `one`, of one row, in place of this row, which was padding.
void put_row(data::Batch& batch, int64_t row, const data::Batch& one) {
  const auto place = static_cast<std::ptrdiff_t>(row * batch.length);
  std::copy(one.input.begin(), one.input.end(), batch.input.begin() + place);
  std::copy(one.target.begin(), one.target.end(), batch.target.begin() + place);
  std::copy(one.first.begin(), one.first.end(), batch.first.begin() + place);
  batch.targets += one.targets;
  batch.target_bytes += one.target_bytes;
}

}  // namespace

Evaluator::Evaluator(const RunConfig& config, const RunFolder& folder,
                     const std::shared_ptr<const data::Source>& text, const text::Tokenizer& tokenizer,
                     TrainingState& state, comm::Communicator& communicator, Device& device, Ops& ops,
                     Terminal& terminal, std::function<void()> between)
    : config_(config),
      folder_(folder),
      tokenizer_(tokenizer),
      state_(state),
      communicator_(communicator),
      device_(device),
      ops_(ops),
      terminal_(terminal),
      between_(std::move(between)),
      probe_(config.model, config.model.max_seq_len, state.weights, state.optimizer.groups(), state.squares_g,
             state.replicas, device, ops) {
  open_validation(text);
  encode_sample_prompt();
  const TrainingConfig& training = config_.training;
  if (training.tasks.empty()) return;
  tasks_ = std::make_unique<tasks::TaskSet>(training.tasks, training.tasks_items, config_.data.cache_dir,
                                            terminal_);
  tasks_->leave_out_longer_than(config_.model.max_seq_len, tokenizer_, terminal_);
}

// Half of the room is for what the model writes.
void Evaluator::encode_sample_prompt() {
  std::vector<text::TokenId> ids = tokenizer_.encode(config_.training.sample_prompt);
  if (const int64_t room = state_.decoder.capacity(); std::ssize(ids) + 1 >= room) {
    const int64_t kept = std::max<int64_t>(0, room / 2 - 1);
    terminal_.warning(
        fmt::format("training.sample_prompt has {} tokens, and a row takes {} (model.max_seq_len); samples "
                    "begin with the last {} of them",
                    ids.size(), room, kept));
    ids.erase(ids.begin(), ids.end() - kept);
  }
  sample_prompt_ = {tokenizer_.end_of_text()};
  sample_prompt_.insert(sample_prompt_.end(), ids.begin(), ids.end());
}

void Evaluator::open_validation(const std::shared_ptr<const data::Source>& text) {
  const TrainingConfig& training = config_.training;
  const auto& places = config_.data.validation_source;
  const bool wanted = training.eval_every > 0;
  const auto other = wanted && !places.empty() ? data::open_source(places, config_.data, terminal_)
                                               : std::shared_ptr<const data::Source>();
  data::warn_of_repeats(*text, other.get(), terminal_);
  if (!wanted) return;
  read_validation(other ? other : text, other ? data::Part::all : data::Part::validation_sample);
  const std::string what =
      other ? format_bytes(static_cast<double>(other->bytes())) + " of data.validation_source"
            : data::describe_held_out(*text, config_.data);
  terminal_.line(fmt::format("held out  {}; a validation reads {} tokens of it", what, validation_tokens_));
  if (validation_tokens_ == 0)
    terminal_.warning(
        "no validation: there is no document for it; set data.validation_source to text of its "
        "own, or raise data.validation_fraction");
}

// Row by row, so that the text is the same for any number of ranks and any batch_size. Rows go to the ranks
// as those of training do: B to each in turn. All ranks have equally many batches, of which the last may be
// padding.
void Evaluator::read_validation(const std::shared_ptr<const data::Source>& text, data::Part part) {
  const int64_t B = config_.training.batch_size, T = config_.model.max_seq_len, W = communicator_.size();
  const int64_t rows = (config_.tokens_of_evaluation(W) + T - 1) / T;
  data::Loader loader(text, tokenizer_, config_.data, kFixedSeed, 1, T, {}, part);
  for (int64_t i = 0; i < rows; ++i) {
    const auto row = loader.next();
    if (!row) break;
    validation_tokens_ += row->targets;
    if (i % (W * B) == 0) validation_.push_back(data::Batch::padding(B, T, tokenizer_.facts().filler()));
    if (i / B % W == communicator_.rank()) put_row(validation_.back(), i % B, *row);
  }
}

metrics::Row Evaluator::validate(int64_t step, int64_t tokens) {
  Evaluation evaluation;
  state_.replicas.run_collectively([&] {
    for (const data::Batch& batch : validation_) {
      between_();
      evaluate(state_.transformer, batch, device_, ops_, evaluation,
               &batch == &validation_.front() ? probe_.observer() : model::BlockObserver());
    }
  });
  metrics::Row row = validation_row(all_reduce(evaluation, communicator_), step, tokens);
  probe_.report(row);
  return row;
}

metrics::Row Evaluator::run_tasks(int64_t step, int64_t tokens) {
  tasks::Scorer scorer(state_.transformer, micro_batch(config_, tokenizer_.vocabulary()), communicator_,
                       device_, ops_, between_);
  std::vector<tasks::TaskSet::Measured> measured;
  state_.replicas.run_collectively([&] { measured = tasks_->evaluate(scorer, tokenizer_, terminal_); });
  metrics::Row row = tasks_row(measured, step, tokens);
  for (const auto& [name, value] : row.values)
    if (const auto* number = std::get_if<double>(&value); number != nullptr && !name.ends_with("_stderr"))
      terminal_.line(fmt::format("{} {:.4f}", name, *number));
  return row;
}

// The record has the text too: that the file cannot be written does not end a run.
void Evaluator::keep_sample(int64_t step, const std::string& text) {
  try {
    std::error_code ignored;  // writing tells
    std::filesystem::create_directories(folder_.samples(), ignored);
    write_file_atomically(folder_.samples() / fmt::format("step-{:08}.txt", step), text);
  } catch (const UserError& error) {
    terminal_.warning(error.what());
  }
}

metrics::Row Evaluator::sample(int64_t step) {
  const std::string prompt = tokenizer_.decode(std::span(sample_prompt_).subspan(1));
  const generate::SamplingOptions options{.max_new_tokens = 120, .temperature = 0.7, .top_p = 0.95};
  std::string text;
  state_.replicas.run_collectively([&] {
    generate::GenerateTimes times;
    for (int i = 0; i < kSamples; ++i) {
      between_();
      const generate::Prompt numbered{sample_prompt_, kFixedSeed + static_cast<uint64_t>(i)};
      text += prompt;
      text += generate::generate(state_.decoder, {&numbered, 1}, tokenizer_, options, device_, ops_, times)
                  .front()
                  .text;
      text += "\n";
    }
  });
  if (communicator_.rank() == 0) keep_sample(step, text);  // all have written the same
  std::string readable;                                    // a sample may end inside a character
  repair_utf8(text, readable);
  terminal_.line(fmt::format("--- {} samples at step {} ---\n{}---", kSamples, step, readable));
  return metrics::Row{step, {}}.add("sample", readable);
}

}  // namespace moe::train
