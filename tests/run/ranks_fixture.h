// SPDX-License-Identifier: MIT
// What tests of runs on several ranks share: ranks as threads of this process, and the program under mpirun.
#pragma once

#include <fmt/format.h>
#include <gmock/gmock.h>

#include <cstdlib>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "comm/mpi.h"
#include "run/fixture.h"
#include "support/thread_ranks.h"

namespace moe::test {

class Ranks : public Run {
 protected:
  static constexpr int64_t kRows = 12;  // of a step, on all ranks

  // Losses of single micro-batches would differ with their size: none here.
  train::RunConfig config_of(const std::string& name, int64_t ranks, int64_t micro_batches = 1) const {
    train::RunConfig config = Run::config(name);
    config.model.d_model = 16;
    config.model.max_seq_len = 16;
    config.model.capacity_factor = 0;
    config.model.aux_loss_weight = 0;
    config.training.batch_size = kRows / ranks / micro_batches;
    config.training.gradient_accumulation_steps = micro_batches;
    config.training.optimizer =
        train::OptimizerKind::adamw;  // 8-bit codes turn a last bit into a step of 1/100
    config.training.checkpoint_every = 0;
    config.training.eval_every = 0;
    return config;
  }

  // Each rank's outcome, or what it threw.
  static std::vector<std::string> run(int ranks, const train::RunConfig& config,
                                      const train::RunFolder& folder, bool resume = false,
                                      const std::function<int(int)>& stop_of = {}) {
    std::vector<std::atomic<int>> stops(static_cast<size_t>(ranks));
    for (int r = 0; r < ranks; ++r) stops[static_cast<size_t>(r)] = stop_of ? stop_of(r) : 0;
    std::vector<train::Outcome> outcomes(stops.size());
    auto errors = on_threads(ranks, [&](comm::Communicator& comm) {
      const auto r = static_cast<size_t>(comm.rank());
      outcomes[r] = train_rank(comm, 1, config, folder, resume, stops[r]);
    });
    for (size_t r = 0; r < errors.size(); ++r)
      if (errors[r].empty()) errors[r] = outcomes[r] == train::Outcome::finished ? "finished" : "stopped";
    return errors;
  }
  train::RunFolder finished(int ranks, const train::RunConfig& config) {
    train::RunFolder folder = train::RunFolder::create(config, "");
    EXPECT_THAT(run(ranks, config, folder), ::testing::Each("finished"));
    return folder;
  }

  static std::vector<double> column(const train::RunFolder& folder, const std::string& name) {
    std::vector<double> values;
    std::ifstream rows(folder.metrics());
    for (std::string row; std::getline(rows, row);) {
      const auto json = nlohmann::json::parse(row);
      if (json.contains(name)) values.push_back(json.at(name).get<double>());
    }
    return values;
  }
  static double largest_difference(const std::vector<double>& a, const std::vector<double>& b) {
    EXPECT_EQ(a.size(), b.size());
    double most = 0;
    for (size_t i = 0; i < std::min(a.size(), b.size()); ++i) most = std::max(most, std::abs(a[i] - b[i]));
    return most;
  }
};

// mpirun -n N with these arguments to moe; its exit code, or a reason why there is none.
class OverMpi : public Ranks {
 protected:
  void SetUp() override {
    Ranks::SetUp();
    if (!comm::why_no_mpi().empty()) GTEST_SKIP() << comm::why_no_mpi();
    if (std::system("command -v mpirun >/dev/null") != 0)
      GTEST_SKIP() << "no mpirun here: scripts/setup.sh openmpi-bin";
  }
  int mpirun(int ranks, const std::string& arguments) const {
    const std::string command =
        "OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 ASAN_OPTIONS=detect_leaks=0 mpirun "
        "--oversubscribe -n " +
        std::to_string(ranks) + " " + MOE_PROGRAM + " " + arguments + " >" + (folder_ / "log").string() +
        " 2>&1";
    const int status = std::system(command.c_str());
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }
  std::string log() const { return read_file(folder_ / "log"); }
  // Of this rank of the program that mpirun started with these words; -1: none.
  static pid_t process_of(int rank, const std::string& words) {
    const std::string variable = fmt::format("OMPI_COMM_WORLD_RANK={}", rank) + '\0';
    for (const auto& entry : fs::directory_iterator("/proc")) {
      const std::string number = entry.path().filename().string();
      if (number.find_first_not_of("0123456789") != std::string::npos) continue;
      if (contents(entry.path() / "cmdline").find(words) != std::string::npos &&
          contents(entry.path() / "environ").find(variable) != std::string::npos)
        return std::stoi(number);
    }
    return -1;
  }

 private:
  // Of a process that may have ended: nothing then.
  static std::string contents(const fs::path& path) {
    std::ifstream file(path);
    return {std::istreambuf_iterator<char>(file), {}};
  }
};

}  // namespace moe::test
