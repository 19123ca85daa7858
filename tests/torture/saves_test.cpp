// SPDX-License-Identifier: MIT
// Checkpoints, by one writer and by ranks behind training, and the settings of a run.
#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "backend/backend.h"
#include "checkpoint/checkpoint.h"
#include "comm/solo.h"
#include "support/thread_ranks.h"
#include "torture/torture.h"
#include "train/run_folder.h"
#include "train/saver.h"

namespace moe {
namespace {

using test::fs::path;

constexpr int64_t kValues = 600;

checkpoint::TensorStream stream_of(float value) {
  return {"w", DType::f32, {kValues}, [value](const checkpoint::TensorStream::Sink& sink) {
            const std::vector<float> values(kValues, value);
            sink(values.data(), values.size() * sizeof(float));
          }};
}

class TorturedSaves : public test::Torture {
 protected:
  // Every value of a checkpoint is its number; each step is saved with one number or another.
  static void save(const path& folder, int64_t step, int number, int64_t keep) {
    checkpoint::CheckpointStore(folder, keep, "moe test")
        .save(step, {{"model.safetensors", {stream_of(static_cast<float>(number))}}}, std::to_string(number));
  }
  // The number of the latest; every checkpoint that looks whole is looked at.
  static int latest(const path& folder) {
    const checkpoint::CheckpointStore store(folder, 0);
    for (const int64_t step : store.steps()) number_of(store.open(step));
    return number_of(store.open_latest());
  }
  static int number_of(const checkpoint::Checkpoint& checkpoint) {
    const int number = std::stoi(checkpoint.state_json());
    for (const float value : checkpoint.file("model.safetensors").values<float>("w"))
      if (value != static_cast<float>(number)) throw UserError("checkpoint", "one number", "two");
    return number;
  }
  static std::string old_or_new(const path& folder) {
    const int number = latest(folder);
    return number == 1 ? "old" : number == 2 ? "new" : "number " + std::to_string(number);
  }
};

TEST_F(TorturedSaves, ANewStepIsThereWholeOrNotAtAll) {
  torture({.prepare = [](const path& folder) { save(folder, 1, 1, 2); },
           .write = [](const path& folder) { save(folder, 2, 2, 2); },
           .state = old_or_new});
}

TEST_F(TorturedSaves, TheOneThatMakesRoomGoesAfterTheNewOneIsThere) {
  torture({.prepare =
               [](const path& folder) {
                 save(folder, 1, 0, 0);
                 save(folder, 2, 1, 0);
               },
           .write = [](const path& folder) { save(folder, 3, 2, 1); },
           .state = old_or_new});
}

TEST_F(TorturedSaves, AStepIsReplacedByAWholeOne) {
  torture({.prepare = [](const path& folder) { save(folder, 1, 1, 2); },
           .write = [](const path& folder) { save(folder, 1, 2, 2); },
           .state = old_or_new});
}

class TorturedSaver : public TorturedSaves {
 protected:
  static void save_behind(comm::Communicator& comm, const path& folder, int64_t step, int number,
                          bool in_background) {
    const std::unique_ptr<std::FILE, int (*)(std::FILE*)> quiet(std::fopen("/dev/null", "w"), std::fclose);
    Terminal terminal(quiet.get());
    const backend::Backend backend = backend::make_backend(DeviceKind::cpu, 1);
    std::vector<float> values(kValues, static_cast<float>(number));
    const int64_t begin = kValues * comm.rank() / comm.size(),
                  end = kValues * (comm.rank() + 1) / comm.size();
    const NamedShard piece{"w", Tensor(nullptr, DType::f32, {kValues}), begin,
                           Tensor(values.data() + begin, DType::f32, {end - begin})};
    train::Saver saver(checkpoint::CheckpointStore(folder, 2), {{"model.safetensors", {piece}}},
                       in_background, comm, *backend.device, terminal);
    saver.begin(step, std::to_string(number));
    saver.finish();
  }
  static test::Writer alone(bool in_background) {
    const auto save_alone = [in_background](const path& folder, int number) {
      comm::SoloCommunicator comm;
      save_behind(comm, folder, number, number, in_background);
    };
    return {.prepare = [=](const path& folder) { save_alone(folder, 1); },
            .write = [=](const path& folder) { save_alone(folder, 2); },
            .state = old_or_new};
  }
  static test::Writer on_ranks(int ranks) {
    const auto save_together = [ranks](const path& folder, int number) {
      for (const std::string& error : test::on_threads(
               ranks, [&](comm::Communicator& comm) { save_behind(comm, folder, number, number, true); }))
        if (!error.empty()) throw UserError("", "", error);
    };
    return {.prepare = [=](const path& folder) { save_together(folder, 1); },
            .write = [=](const path& folder) { save_together(folder, 2); },
            .state = old_or_new};
  }
};

TEST_F(TorturedSaver, OneRankThatWaits) {
  torture(alone(false));
}

TEST_F(TorturedSaver, OneRankThatTrainsOn) {
  torture(alone(true));
}

TEST_F(TorturedSaver, TwoRanks) {
  fail_calls(on_ranks(2));
  lose_power(on_ranks(2));
}

using TorturedRunFolder = test::Torture;

train::RunConfig config_with(const path& folder, int64_t steps) {
  train::RunConfig config;
  config.training.output_dir = (folder / "runs").string();
  config.training.run_name = "run";
  config.training.max_steps = steps;
  config.training.warmup_steps = 0;
  return config;
}

TEST_F(TorturedRunFolder, SettingsAreTheOldOnesOrTheNewOnes) {
  torture({.prepare = [](const path& folder) { train::RunFolder::create(config_with(folder, 1), ""); },
           .write =
               [](const path& folder) {
                 train::RunFolder::open(folder / "runs/run").record(config_with(folder, 2));
               },
           .state =
               [](const path& folder) {
                 const auto found =
                     train::RunConfig::load(train::RunFolder::open(folder / "runs/run").config());
                 return std::string(found.training.max_steps == 1 ? "old" : "new");
               }});
}

TEST_F(TorturedRunFolder, ARunIsMadeOrCanBeMadeAgain) {
  torture({.prepare = [](const path&) {},
           .write =
               [](const path& folder) {
                 if (test::fs::exists(folder / "runs/run/config.yaml")) return;  // the try before came so far
                 train::RunFolder::create(config_with(folder, 1), "");
               },
           .state = [](const path& folder) -> std::string {
             if (!test::fs::exists(folder / "runs/run/config.yaml")) return "old";
             const train::RunFolder run = train::RunFolder::open(folder / "runs/run");
             train::RunConfig::load(run.config());
             return test::fs::exists(run.checkpoints()) && test::fs::exists(run.samples()) ? "new"
                                                                                           : "half a run";
           }});
}

}  // namespace
}  // namespace moe
