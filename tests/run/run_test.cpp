// SPDX-License-Identifier: MIT
// Guarantees of whole runs: the same settings give the same bits, a resumed run equals an undisturbed one
// bit for bit, a run killed at any moment can go on, signals and bad losses end a run with its state saved.
#include <gmock/gmock.h>

#include <chrono>
#include <csignal>
#include <fstream>
#include <thread>

#include "base/error.h"
#include "run/fixture.h"
#include "train/resume.h"

namespace moe {
namespace {

namespace fs = std::filesystem;
using test::Run;

// A run straight to its end, and one that goes on from its first checkpoint in another folder.
struct Resumed : Run {
  struct Folders {
    train::RunFolder straight, resumed;
  };
  // Expects equal bits of weights and states at the end. settings keeps the name of the second.
  static Folders expect_same_bits(train::RunConfig& settings) {
    const int64_t first = settings.training.checkpoint_every, last = settings.training.max_steps;
    settings.training.run_name = "straight";
    train::RunFolder straight = train::RunFolder::create(settings, "");
    train(settings, straight, false);
    settings.training.run_name = "resumed";
    train::RunFolder resumed = train::RunFolder::create(settings, "");
    fs::copy(checkpoint::CheckpointStore(straight.checkpoints(), 0).folder_of(first),
             checkpoint::CheckpointStore(resumed.checkpoints(), 0).folder_of(first));
    train(settings, resumed, true);
    EXPECT_EQ(weights(straight, last), weights(resumed, last));
    EXPECT_EQ(states(straight, last), states(resumed, last));
    return {straight, resumed};
  }
};

TEST_F(Run, TwiceGivesTheSameBits) {
  const train::RunConfig first = config("first"), second = config("second");
  const train::RunFolder a = train::RunFolder::create(first, ""), b = train::RunFolder::create(second, "");
  EXPECT_EQ(train(first, a, false), train::Outcome::finished);
  EXPECT_EQ(train(second, b, false), train::Outcome::finished);
  EXPECT_EQ(weights(a, 10), weights(b, 10));
  EXPECT_EQ(states(a, 10), states(b, 10));
  EXPECT_NE(weights(a, 5), weights(a, 10));
}

TEST_F(Resumed, AtFiveEqualsStraightToTenBitForBit) {
  train::RunConfig settings = config("straight");
  const Folders folders = expect_same_bits(settings);
  const checkpoint::CheckpointStore store(folders.resumed.checkpoints(), 0);
  EXPECT_EQ(checkpoint::Checkpoint(store.folder_of(10)).step(), 10);
}

// bf16 weights are rounded at random: the numbers must be those of the step, not of the run.
TEST_F(Resumed, LowMemoryRunsHaveTheSameBitsAndKeepTheirTypes) {
  train::RunConfig settings = config("straight");
  settings.training.mixed_precision = train::MixedPrecision::bf16;
  settings.training.master_weights = train::StoredType::bf16;
  settings.training.gradient_type = train::StoredType::bf16;
  settings.validate();
  const train::RunFolder resumed = expect_same_bits(settings).resumed;

  settings.training.max_steps = 11;
  settings.training.master_weights = train::StoredType::fp32;
  try {
    train(settings, resumed, true);
    FAIL() << "weights of another type were taken";
  } catch (const UserError& error) {
    EXPECT_THAT(error.expected, ::testing::HasSubstr("training.master_weights \"bf16\""));
  }
}

TEST_F(Resumed, MuonHasTheSameBitsAndKeepsItsOptimizer) {
  train::RunConfig settings = config("straight");
  settings.training.mixed_precision = train::MixedPrecision::bf16;
  settings.training.optimizer = train::OptimizerKind::muon8bit;
  settings.training.muon_momentum_warmup_steps = 8;
  settings.training.muon_beta2 = 0.9;
  settings.validate();
  const train::RunFolder resumed = expect_same_bits(settings).resumed;

  settings.training.max_steps = 11;
  for (const auto other : {train::OptimizerKind::adamw8bit, train::OptimizerKind::muon}) {
    settings.training.optimizer = other;
    try {
      train(settings, resumed, true);
      FAIL() << "another optimizer was taken";
    } catch (const UserError& error) {
      EXPECT_THAT(error.expected, ::testing::HasSubstr("training.optimizer \"muon8bit\""));
    }
  }
  settings.training.optimizer = train::OptimizerKind::muon8bit;
  settings.training.muon_beta2 = 0;
  try {
    train(settings, resumed, true);
    FAIL() << "moments of rows were lost";
  } catch (const UserError& error) {
    EXPECT_THAT(error.expected, ::testing::HasSubstr("training.muon_beta2 above 0: true"));
  }
}

// Biases lie among the weights, the shares of the step before in a file of their own.
TEST_F(Resumed, BalancedRoutersHaveTheSameBitsAndKeepTheirBiases) {
  train::RunConfig settings = config("straight");
  settings.model.router_score = RouterScore::sigmoid;
  settings.model.router_scale = 2.5;
  settings.model.router_bias_rate = 0.01;
  settings.model.sequence_loss_weight = 0.01;
  settings.model.aux_loss_weight = 0.1;
  settings.distributed.balance_loss = train::BalanceScope::previous_step;
  settings.validate();
  const auto [straight, resumed] = expect_same_bits(settings);
  EXPECT_EQ(file(straight, 10, "balance.safetensors"), file(resumed, 10, "balance.safetensors"));
  EXPECT_NE(file(straight, 5, "balance.safetensors"), file(straight, 10, "balance.safetensors"));
  const checkpoint::Checkpoint last(checkpoint::CheckpointStore(resumed.checkpoints(), 0).folder_of(10));
  for (const char* const name : {"layers.0.moe.router.bias", "layers.1.moe.router.bias"}) {
    const auto bias = last.file("model.safetensors").values<float>(name);
    EXPECT_GT(*std::max_element(bias.begin(), bias.end()), 0) << name;
  }

  settings.training.max_steps = 11;
  settings.model.router_bias_rate = 0;
  try {
    train(settings, resumed, true);
    FAIL() << "biases were lost";
  } catch (const UserError& error) {
    EXPECT_THAT(error.expected, ::testing::HasSubstr("router_bias_rate above 0: true"));
  }
  settings.model.router_bias = true;  // with a rate of 0 they stay
  settings.distributed.balance_loss = train::BalanceScope::rank;
  EXPECT_EQ(train(settings, resumed, true), train::Outcome::finished) << "another scope is no other model";
  const checkpoint::Checkpoint later(checkpoint::CheckpointStore(resumed.checkpoints(), 0).folder_of(11));
  for (const char* const name : {"layers.0.moe.router.bias", "layers.1.moe.router.bias"})
    EXPECT_EQ(later.file("model.safetensors").values<float>(name),
              last.file("model.safetensors").values<float>(name));
}

// The scale, its count of good steps and the steps it cost are part of the state: here it overflows before
// the checkpoint and doubles after it.
TEST_F(Resumed, LossScalingEqualsStraightBitForBit) {
  train::RunConfig settings = config("straight");
  settings.training.mixed_precision = train::MixedPrecision::fp16;
  settings.training.loss_scale = 67108864;
  settings.training.loss_scale_growth_every = 3;
  settings.training.max_steps = 16;
  settings.training.checkpoint_every = 8;
  const auto [straight, resumed] = expect_same_bits(settings);
  EXPECT_THAT(file(resumed, 8, "state.json"), ::testing::HasSubstr("\"loss_scale\""));
  EXPECT_EQ(train::read_state("", file(straight, 16, "state.json")).loss_scale->value,
            train::read_state("", file(resumed, 16, "state.json")).loss_scale->value);
  EXPECT_GT(train::read_state("", file(straight, 8, "state.json")).loss_scale->skipped, 0);

  std::ifstream rows(resumed.metrics());
  std::string row;
  while (std::getline(rows, row) && row.find("\"loss\"") == std::string::npos) {
  }
  EXPECT_THAT(row, ::testing::HasSubstr("\"loss_scale\":"));
  EXPECT_THAT(row, ::testing::HasSubstr("\"skipped_steps\":"));
}

TEST_F(Resumed, ABatchRampHasTheSameBits) {
  train::RunConfig settings = config("straight");
  settings.training.gradient_accumulation_steps = 4;
  settings.training.batch_ramp = {"1:288", "2:864"};
  settings.training.max_tokens = 2880;
  settings.training.max_steps = 8;  // what it comes to
  settings.training.checkpoint_every = 3;
  settings.training.weight_decay_schedule = optim::DecaySchedule::with_lr;
  expect_same_bits(settings);
}

// What is kept is the average of what was saved at each step; a resumed run goes on with it.
TEST_F(Resumed, AveragedWeightsAreThoseOfTheFormulaAndHaveTheSameBits) {
  train::RunConfig settings = config("straight");
  settings.training.mixed_precision = train::MixedPrecision::bf16;
  settings.training.ema_decay = 0.5;
  settings.training.ema_every = 2;
  settings.training.checkpoint_every = 1;
  settings.training.max_steps = 8;
  const Folders folders = expect_same_bits(settings);
  const train::RunFolder &straight = folders.straight, &resumed = folders.resumed;
  EXPECT_EQ(file(straight, 8, checkpoint::kAverageFile), file(resumed, 8, checkpoint::kAverageFile));

  const auto values = [&](int64_t step, const char* name) {
    const checkpoint::Safetensors saved(
        checkpoint::CheckpointStore(straight.checkpoints(), 0).folder_of(step) / name);
    std::vector<double> all;
    for (const auto& entry : saved.entries())
      for (const float value : saved.values<float>(entry.name)) all.push_back(static_cast<double>(value));
    return all;
  };
  std::vector<double> average = values(3, checkpoint::kAverageFile);  // after one update
  for (int64_t n = 1; n < 4; ++n) {
    const double decay = std::min(0.5, static_cast<double>(1 + n) / static_cast<double>(10 + n));
    const std::vector<double> weights = values(2 * n + 2, checkpoint::kModelFile);
    ASSERT_EQ(weights.size(), average.size());
    for (size_t i = 0; i < average.size(); ++i) average[i] = decay * average[i] + (1 - decay) * weights[i];
  }
  const std::vector<double> found = values(8, checkpoint::kAverageFile);
  for (size_t i = 0; i < found.size(); ++i) ASSERT_NEAR(found[i], average[i], 1e-6) << i;
  EXPECT_NE(found, values(8, checkpoint::kModelFile));
}

// With so low a limit some steps are skipped on both sides of the checkpoint.
TEST_F(Resumed, SkippedSpikesHaveTheSameBitsAndAreCounted) {
  train::RunConfig settings = config("straight");
  settings.training.spike_sigma = 0.2;
  settings.training.spike_window = 4;
  settings.training.max_steps = 12;
  settings.training.checkpoint_every = 4;
  const auto [straight, resumed] = expect_same_bits(settings);
  const auto middle = train::read_state("", file(straight, 4, "state.json")).step_guard;
  const auto end = train::read_state("", file(straight, 12, "state.json")).step_guard;
  const auto other = train::read_state("", file(resumed, 12, "state.json")).step_guard;
  EXPECT_EQ(middle.losses.size(), 4U);
  EXPECT_GT(middle.skipped, 0);
  EXPECT_GT(end.skipped, middle.skipped);
  EXPECT_LT(end.skipped, 12);
  EXPECT_EQ(end.skipped, other.skipped);
  EXPECT_EQ(end.losses, other.losses);
  EXPECT_EQ(end.norms, other.norms);
  EXPECT_NE(read_file(resumed.metrics()).find("\"spike_skipped\""), std::string::npos);
}

TEST_F(Run, ASkippedSpikeChangesNoWeight) {
  train::RunConfig settings = config("spikes");
  settings.training.spike_sigma = 1e-3;
  settings.training.spike_window = 4;
  settings.training.checkpoint_every = 1;
  settings.training.keep_checkpoints = 20;
  const train::RunFolder folder = train::RunFolder::create(settings, "");
  train(settings, folder, false);
  int64_t before = 0;
  for (int64_t step = 2; step <= settings.training.max_steps; ++step) {
    const auto skipped = train::read_state("", file(folder, step, "state.json")).step_guard.skipped;
    EXPECT_EQ(weights(folder, step) == weights(folder, step - 1), skipped > before) << step;
    EXPECT_EQ(states(folder, step) == states(folder, step - 1), skipped > before) << step;
    before = skipped;
  }
  EXPECT_GT(before, 0);
}

// The program is killed, not a fork of this process: a fork has one thread of many, which ThreadSanitizer
// refuses.
TEST_F(Run, KilledAtRandomMomentsGoesOnToTheSameBits) {
  train::RunConfig settings = config("straight");
  settings.training.checkpoint_every = 1;
  settings.training.keep_checkpoints = 2;
  settings.training.threads = 2;
  const train::RunFolder straight = train::RunFolder::create(settings, "");
  const auto started = std::chrono::steady_clock::now();
  train(settings, straight, false);
  const auto whole = std::chrono::steady_clock::now() - started;

  settings.training.run_name = "killed";
  train::RunFolder::create(settings, "");  // and leaves it to the program
  const train::RunFolder killed = train::RunFolder::open(folder_ / "killed");
  const Random random(3, "kill");
  int kills = 0;
  for (uint64_t attempt = 0; attempt < 8; ++attempt) {
    const pid_t child = start_program({"train", "--resume", killed.path().string()});
    std::this_thread::sleep_for(whole * random.below(attempt, 1000) / 3000);  // some end within a save
    kill(child, SIGKILL);
    int status = 0;
    waitpid(child, &status, 0);
    EXPECT_TRUE(WIFSIGNALED(status) || WEXITSTATUS(status) == 0) << "attempt " << attempt << ": " << status;
    kills += WIFSIGNALED(status);
  }
  EXPECT_GT(kills, 0);
  train(settings, killed, true);
  EXPECT_EQ(weights(straight, 10), weights(killed, 10));
  EXPECT_EQ(states(straight, 10), states(killed, 10));

  // The record has each step once, whatever happened.
  std::ifstream lines(killed.metrics());
  std::vector<std::string> steps;
  for (std::string line; std::getline(lines, line);)
    if (line.find("\"loss\"") != std::string::npos) steps.push_back(line.substr(0, line.find(',')));
  ASSERT_EQ(steps.size(), 10U);
  for (size_t i = 0; i < steps.size(); ++i) EXPECT_EQ(steps[i], "{\"step\":" + std::to_string(i + 1));
}

// The signal came before the run began: it is served after the first step.
TEST_F(Run, SignalSavesAndTheRunGoesOn) {
  train::RunConfig settings = config("straight");
  settings.training.eval_every = 0;
  const train::RunFolder straight = train::RunFolder::create(settings, "");
  train(settings, straight, false);

  train::RunConfig again = settings;
  again.training.run_name = "stopped";
  const train::RunFolder stopped = train::RunFolder::create(again, "");
  const std::atomic<int> stop{SIGTERM};
  EXPECT_EQ(train(again, stopped, false, stop), train::Outcome::signal);
  EXPECT_EQ(checkpoint::CheckpointStore(stopped.checkpoints(), 0).latest(), 1);
  EXPECT_EQ(train(again, stopped, true), train::Outcome::finished);
  EXPECT_EQ(weights(straight, 10), weights(stopped, 10));
}

TEST_F(Run, LossThatIsNotFiniteStopsNamingTheStepOrIsSkipped) {
  train::RunConfig settings = config("diverges");
  settings.training.learning_rate = 1e25;
  settings.training.max_grad_norm = 0;
  settings.training.warmup_steps = 0;
  const train::RunFolder folder = train::RunFolder::create(settings, "");
  try {
    train(settings, folder, false);
    FAIL() << "the loss stayed finite";
  } catch (const UserError& error) {
    EXPECT_THAT(error.where, ::testing::StartsWith("step "));
    EXPECT_EQ(error.expected, "a finite loss");
    EXPECT_THAT(error.hint, ::testing::HasSubstr("training.learning_rate"));
  }
  EXPECT_TRUE(checkpoint::CheckpointStore(folder.checkpoints(), 0).latest().has_value());

  settings.training.on_nan = train::OnNan::skip;
  EXPECT_EQ(train(settings, folder, true), train::Outcome::finished);
}

// Rows of the vocabulary's padding have no gradient: with an epsilon of 0 in f32 their steps are 0 / 0, and
// no loss shows it.
TEST_F(Run, WeightsThatAreNotFiniteAreNotSavedAndTakeNoCheckpointsPlace) {
  train::RunConfig settings = config("good");
  settings.training.max_steps = 2;
  settings.training.keep_checkpoints = 1;
  const train::RunFolder folder = train::RunFolder::create(settings, "");
  train(settings, folder, false);
  const std::string good = weights(folder, 2);
  settings.training.max_steps = 8;
  settings.training.checkpoint_every = 1;
  settings.training.epsilon = 1e-50;  // as validate() does not let pass
  for (const auto on_nan : {train::OnNan::stop, train::OnNan::skip}) {
    settings.training.on_nan = on_nan;
    try {
      train(settings, folder, true);
      ADD_FAILURE() << "bad weights were saved";
    } catch (const UserError& error) {
      EXPECT_EQ(error.where, "step 3");
      EXPECT_EQ(error.expected, "finite weights to save");
      EXPECT_THAT(error.found, ::testing::HasSubstr("embedding"));
    }
    EXPECT_EQ(checkpoint::CheckpointStore(folder.checkpoints(), 0).latest(), 2) << name_of(on_nan);
    EXPECT_EQ(weights(folder, 2), good);
  }
  settings.training.epsilon = 1e-8;
  EXPECT_EQ(train(settings, folder, true), train::Outcome::finished);
}

TEST_F(Run, ResumeRefusesAnotherTextAndAnotherModel) {
  train::RunConfig settings = config("run");
  settings.training.max_steps = 2;
  const train::RunFolder folder = train::RunFolder::create(settings, "");
  train(settings, folder, false);
  EXPECT_THROW(train::RunFolder::create(settings, ""), UserError);

  train::RunConfig wider = settings;
  wider.model.expert_intermediate_dim = 64;
  EXPECT_THROW(train(wider, folder, true), UserError);
  train::RunConfig reseeded = settings;
  reseeded.training.seed += 1;
  EXPECT_THROW(train(reseeded, folder, true), UserError);
  train::RunConfig held_out = settings;
  held_out.data.validation_fraction = 0.5;
  EXPECT_THROW(train(held_out, folder, true), UserError);
  train::RunConfig packed = settings;
  packed.data.packing = data::Packing::pad;
  EXPECT_THROW(train(packed, folder, true), UserError);
  std::ofstream(folder_ / "corpus.txt", std::ios::app) << "one more line\n";
  EXPECT_THROW(train(settings, folder, true), UserError);
}

TEST_F(Run, TextThatCannotBeReadEndsTheRunWithItsStateSaved) {
  train::RunConfig settings = config("straight");
  settings.data.source = {(folder_ / "corpus.jsonl").string()};
  settings.data.streams = 1;
  settings.training.eval_every = 0;
  settings.training.checkpoint_every = 0;
  settings.training.max_steps = 14;
  settings.data.shuffle = false;
  settings.data.shuffle_window_mb = 1;
  settings.data.unit_kb = 64;
  const std::string lines = test::lines_in_windows();

  // In the first window, nothing is trained yet, so nothing is saved.
  for (const bool at_once : {true, false}) {
    settings.training.run_name = at_once ? "broken" : "broken later";
    std::string broken = lines;
    broken[at_once ? 0 : lines.rfind('{')] = '"';
    write_file_atomically(folder_ / "corpus.jsonl", broken);
    const train::RunFolder folder = train::RunFolder::create(settings, "");
    try {
      train(settings, folder, false);
      ADD_FAILURE() << "no error";
    } catch (const UserError& error) {
      EXPECT_THAT(error.where, ::testing::HasSubstr("corpus.jsonl, line "));
    }
    const auto saved = checkpoint::CheckpointStore(folder.checkpoints(), 0).latest();
    ASSERT_EQ(saved.has_value(), !at_once);
    write_file_atomically(folder_ / "corpus.jsonl", lines);
    if (at_once) continue;
    EXPECT_GT(*saved, 0);
    settings.data.check_text = false;  // the text was repaired
    train(settings, folder, true);
    settings.training.run_name = "straight";
    const train::RunFolder straight = train::RunFolder::create(settings, "");
    train(settings, straight, false);
    EXPECT_EQ(weights(folder, 14), weights(straight, 14));
  }
}

}  // namespace
}  // namespace moe
