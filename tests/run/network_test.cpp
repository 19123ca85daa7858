// SPDX-License-Identifier: MIT
// A run whose text comes from a server that goes away: it waits, hears a signal while it waits, and loses no
// step.
#include <gmock/gmock.h>

#include <chrono>
#include <csignal>
#include <filesystem>
#include <functional>
#include <optional>
#include <thread>

#include "data/opening.h"
#include "net/stop_scope.h"
#include "run/ranks_fixture.h"
#include "support/errors.h"
#include "support/hub_server.h"

namespace moe {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

class NetworkRun : public test::Ranks {
 protected:
  void SetUp() override {
    Ranks::SetUp();
    fs::create_directories(folder_ / "served/files");
    fs::rename(folder_ / "corpus.txt", folder_ / "served/files/corpus.txt");
    server_.emplace(folder_ / "served");
    ::setenv("MOE_NET_FIRST_WAIT", "0.01", 1);
    ::setenv("MOE_NET_LONGEST_WAIT", "0.02", 1);
  }
  void TearDown() override {
    ::unsetenv("MOE_NET_FIRST_WAIT");
    ::unsetenv("MOE_NET_LONGEST_WAIT");
    Ranks::TearDown();
  }

  train::RunConfig endless(int ranks) const {
    train::RunConfig config = config_of("run", ranks);
    config.data.source = {server_->endpoint() + "/files/corpus.txt"};
    config.data.validation_fraction = 0;
    config.training.max_steps = 1'000'000;
    return config;
  }
  // As soon as the first step is done the server answers nobody; `then` is called when that has been felt for
  // a while.
  std::thread outage(const train::RunFolder& folder, const std::function<void()>& then) const {
    return std::thread([this, metrics = folder.metrics(), then] {
      const auto pause = [] { std::this_thread::sleep_for(std::chrono::milliseconds(20)); };
      for (int i = 0; i < 1500 && !(fs::exists(metrics) && fs::file_size(metrics) > 0); ++i) pause();
      server_->control(R"({"rate": 1, "kinds": ["close"], "scope": "files"})");
      for (int i = 0; i < 1500; ++i) {
        const auto report = nlohmann::json::parse(server_->control());
        if (report["faults"].value("close", 0) >= 60) break;
        pause();
      }
      then();
    });
  }

  std::optional<test::HubServer> server_;
};

TEST_F(NetworkRun, ASignalToAnyRankDuringAnOutageSavesAndEnds) {
  const train::RunConfig config = endless(2);
  const train::RunFolder folder = train::RunFolder::create(config, "");
  std::vector<std::atomic<int>> stops(2);
  std::thread server = outage(folder, [&] { stops[1] = SIGTERM; });
  std::vector<train::Outcome> outcomes(2);
  const auto errors = test::on_threads(2, [&](comm::Communicator& comm) {
    const auto r = static_cast<size_t>(comm.rank());
    outcomes[r] = train_rank(comm, 1, config, folder, false, stops[r]);
  });
  server.join();
  EXPECT_THAT(errors, testing::Each(""));
  EXPECT_THAT(outcomes, testing::Each(train::Outcome::signal));
  const auto steps = column(folder, "step");
  ASSERT_FALSE(steps.empty());
  EXPECT_EQ(checkpoint::CheckpointStore(folder.checkpoints(), 0).open_latest().step(),
            static_cast<int64_t>(steps.back()));
}

TEST_F(NetworkRun, AnOutageLongerThanThePatienceSavesAndEnds) {
  train::RunConfig config = endless(1);
  config.data.network_patience_minutes = 0.02;
  const train::RunFolder folder = train::RunFolder::create(config, "");
  std::thread server = outage(folder, [] {});
  const std::string error = test::user_error_of([&] { train(config, folder, false); });
  server.join();
  EXPECT_THAT(error, testing::AllOf(HasSubstr("corpus.txt"), HasSubstr("times in a row")));
  const auto steps = column(folder, "step");
  EXPECT_EQ(checkpoint::CheckpointStore(folder.checkpoints(), 0).open_latest().step(),
            static_cast<int64_t>(steps.back()));
}

TEST_F(NetworkRun, ASignalEndsAStartThatWaits) {
  const train::RunConfig config = endless(1);
  const train::RunFolder folder = train::RunFolder::create(config, "");
  server_->control(R"({"rate": 1, "kinds": ["close"], "scope": "files"})");
  std::stop_source stop;
  std::thread signal([&] {
    while (nlohmann::json::parse(server_->control())["faults"].empty())
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    stop.request_stop();
  });
  const net::StopScope scope(stop.get_token());
  EXPECT_THROW(train(config, folder, false), net::Cancelled);
  signal.join();
}

// Beside the device: a signal ends it, and so does an error elsewhere, after which nobody asks for the text.
TEST_F(NetworkRun, AnOpeningThatWaitsCanBeEnded) {
  const train::RunConfig config = endless(1);
  server_->control(R"({"rate": 1, "kinds": ["close"], "scope": "files"})");
  Terminal terminal;
  const auto wait_for_a_fault = [&] {
    while (nlohmann::json::parse(server_->control())["faults"].empty())
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
  };
  std::stop_source stop;
  data::Opening text(config.data, terminal, stop.get_token());
  wait_for_a_fault();
  stop.request_stop();
  EXPECT_THROW(text.get(), net::Cancelled);
  const data::Opening unused(config.data, terminal, {});
  wait_for_a_fault();
}

}  // namespace
}  // namespace moe
