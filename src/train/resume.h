// SPDX-License-Identifier: MIT
// state.json of a checkpoint: where in the text the run was, and under which settings. Settings may change
// when a run goes on, except those that would make the saved numbers mean something else.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "data/cursor.h"
#include "data/source.h"
#include "optim/schedule.h"
#include "train/loss_scale.h"
#include "train/run_config.h"
#include "train/step_guard.h"

namespace moe::train {

// step: steps done. source: Source::identity() of the text; "" when the weights came from elsewhere and no
// text has been read yet (moe import): any text will do.
std::string state_json(int64_t step, const data::Cursor& cursor, const std::string& source,
                       const RunConfig& config, const LossScale& loss_scale = {},
                       const StepGuardState& step_guard = {});

// The parts of it, unchecked. Throws UserError naming `where` when it is not what state_json() wrote.
struct SavedState {
  int64_t step = 0;
  data::Cursor cursor;
  std::string source, config;          // config: JSON, as RunConfig::json()
  std::string tokenizer, fingerprint;  // its name, for people; before there was a choice, GPT-2's
  std::optional<LossScaleState> loss_scale;
  StepGuardState step_guard;
};
SavedState read_state(const std::string& where, std::string_view state);
// Throws UserError where the weights of this state mean the tokens of another tokenizer.
void expect_tokenizer(const std::string& where, const SavedState& saved,
                      const text::TokenizerFacts& tokenizer);

struct ResumePoint {
  int64_t step = 0;
  data::Cursor cursor;
  std::optional<LossScaleState> loss_scale;
  StepGuardState step_guard;
  bool another_text = false;         // data.stage was raised: the cursor is at the start
  bool repaired_text = false;        // it differs, and data.check_text is false
  std::vector<std::string> changed;  // "training.beta1 0.9 -> 0.95": every setting that is another now
  std::string rate;  // a line, where other settings of the schedule make the learning rate jump
};

// What to say of the rate where a run is complete, as the end of a sentence: a longer schedule has another
// one there. "": a constant rate.
std::string longer_schedule(const optim::Schedule& rates, int64_t step);

// Reads what state_json() wrote. Throws UserError naming `where` when it is not that, when the text is
// another one, when a setting of the data's order changed, or one that decides how the moments are stored.
// With a data.stage above that of the state, `text` may be any: it begins at its start.
ResumePoint resume_point(const std::string& where, std::string_view state, const data::Source& text,
                         const RunConfig& config);

}  // namespace moe::train
