// SPDX-License-Identifier: MIT
// How a trainer resumes and saves.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <utility>

#include "base/error.h"
#include "base/format.h"
#include "base/json.h"
#include "base/version.h"
#include "train/good_weights.h"
#include "train/resume.h"
#include "train/trainer.h"

namespace moe::train {
namespace {

// What all ranks know of the place in the text.
data::Cursor merged(const data::Cursor& mine, comm::Communicator& communicator) {
  std::vector<data::Cursor> cursors;
  for (const std::string& text : communicator.gather_text(Json(mine).dump()))
    cursors.push_back(parse_json("the cursors of the ranks", text).get<data::Cursor>());
  return data::merge(cursors);
}

int64_t checkpoints_to_come(const TrainingConfig& training, int64_t step) {
  const int64_t every = training.checkpoint_every, last = training.max_steps;
  if (step >= last) return step == 0 ? 1 : 0;
  const int64_t due = every > 0 ? last / every - step / every : 0;
  return due + (every == 0 || last % every != 0 ? 1 : 0);
}

}  // namespace

void Trainer::open_saver(const checkpoint::CheckpointStore& store) {
  const bool in_background =
      config_.training.checkpoint_in_background && config_.training.checkpoint_every > 0;
  saver_ = std::make_unique<Saver>(store, state_->checkpoint_files(), in_background, communicator_, device_,
                                   terminal_,
                                   Saver::Retry{.total = 60 * config_.training.checkpoint_retry_minutes});
  saver_->expect_room(checkpoints_to_come(config_.training, step_));
  if (in_background)
    terminal_.line(fmt::format("saving    in the background, from a copy of {} in the memory of the host",
                               format_bytes(static_cast<double>(saver_->copy_bytes()))));
}

// All ranks together, before something is written: where the run's folder is by now.
void Trainer::find_folder() {
  std::string news;
  comm::propagate_errors(communicator_, [&] {
    if (communicator_.rank() == 0) news = folder_.find_again(config_);
  });
  news = communicator_.gather_text(news).front();
  if (news.empty()) return;
  terminal_.warning(news);
  if (communicator_.rank() == 0) {
    saver_->use(checkpoint::CheckpointStore(folder_.checkpoints(), config_.training.keep_checkpoints,
                                            program_version()));
    sinks_->moved(folder_.path());
  }
  saved_step_ = -1;  // it may be gone with the folder
  try {
    saver_->finish();  // of a folder that moved it becomes whole
  } catch (const UserError& error) {
    terminal_.warning(error.what());
  }
}

void Trainer::resume_from(const checkpoint::Checkpoint& checkpoint) {
  const ResumePoint point =
      resume_point((checkpoint.folder() / "state.json").string(), checkpoint.state_json(), *source_, config_);
  cursor_ = point.cursor;
  open_loader(cursor_);
  const PartFiles files = state_->checkpoint_files();
  for (const auto& [name, parts] : files)
    if (name == files.front().first || checkpoint.contains(name)) checkpoint.load_parts(name, parts, device_);
  if (!checkpoint.contains(checkpoint::kOptimizerFile))
    terminal_.line("imported  weights only: the optimizer's moments start from zero");
  if (state_->average.enabled() && !checkpoint.contains(checkpoint::kAverageFile)) {
    state_->average.begin(ops_);
    terminal_.line("average   of the weights begins with those of the checkpoint");
  }
  step_ = saved_step_ = point.step;
  tokens_ = cursor_.tokens();
  if (point.loss_scale && state_->loss_scale.dynamic()) state_->loss_scale.restore(*point.loss_scale);
  state_->step_guard.restore(point.step_guard, device_);
  terminal_.line(fmt::format("resumed from {} at step {}", checkpoint.folder().string(), step_));
  if (point.another_text)
    terminal_.line(fmt::format("stage     {}: the text begins at its start, after {} tokens of other text",
                               config_.data.stage, tokens_));
  if (point.repaired_text)
    terminal_.warning(
        "the text is not the one that the checkpoint read: going on at the same place "
        "(data.check_text=false)");
  if (!config_.model.text_trains_router())
    terminal_.warning(
        "model.top_k is 1 and model.renormalize_top_k true: no loss of the text reaches the router. Version "
        "0.1 began "
        "this run so, and it goes on so; false is as in Switch Transformers");
  if (!point.changed.empty()) terminal_.line(fmt::format("changed   {}", fmt::join(point.changed, ", ")));
  if (!point.rate.empty()) terminal_.line("rate      " + point.rate);
}

void Trainer::begin_saving() {
  find_folder();
  if (saved_step_ == step_) return;
  state_->replicas.finish_parameter_all_gather();
  check_weights(state_->weights.stored(), step_, state_->squares_g.rows(0, 1), communicator_, device_, ops_);
  const std::string state = state_json(step_, merged(cursor_, communicator_), source_->identity(), config_,
                                       state_->loss_scale, state_->step_guard.state(device_));
  sinks_->settle();  // a small file, once for each checkpoint: the run may wait for it
  saver_->begin(step_, state);
  saved_step_ = step_;
}

void Trainer::save() {
  begin_saving();
  saver_->finish();
}

// What may go wrong while the state is that of the last step ends the run, but loses nothing.
void Trainer::or_save(const std::function<void()>& body) {
  try {
    body();
  } catch (const UserError& error) {
    if (!of_all(error) || !has_trained()) throw;
    save();
    terminal_.line(fmt::format("step {} is saved", step_));
    throw;
  }
}

}  // namespace moe::train
