// SPDX-License-Identifier: MIT
// Ranks that meet at a port, in a file, or at a store that somebody else serves; and those that do not come.
#include <gmock/gmock.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <thread>

#include "base/error.h"
#include "comm/rendezvous.h"
#include "support/errors.h"

namespace moe::comm {
namespace {

using std::chrono::milliseconds;
using testing::AllOf;
using testing::AnyOf;
using testing::Each;
using testing::HasSubstr;

// Each rank's error; "" where it met the others and saw what rank 0 left for all.
std::vector<std::string> meet(Launch launch, int ranks, milliseconds timeout = milliseconds(10'000)) {
  std::vector<std::string> errors(static_cast<size_t>(ranks));
  std::vector<std::thread> threads;
  for (int r = 0; r < ranks; ++r)
    threads.emplace_back([&, r, launch]() mutable {
      launch.rank = r;
      launch.by = "the test";
      errors[static_cast<size_t>(r)] = test::user_error_of([&] {
        Rendezvous place(launch, timeout);
        if (r == 0) place.store().set("word", "lantern");
        EXPECT_EQ(place.store().wait("word", timeout), "lantern");
        place.store().add("done", 1);
        while (r == 0 && place.store().add("done", 0) < launch.size)
          std::this_thread::sleep_for(milliseconds(5));
      });
    });
  for (auto& thread : threads) thread.join();
  return errors;
}

int free_port() {
  return StoreServer(0).port();
}

TEST(Rendezvous, AtAPort) {
  Launch launch;
  launch.size = 4;
  launch.host = "127.0.0.1";
  launch.port = free_port();
  EXPECT_THAT(meet(launch, 4), Each(""));
}

TEST(Rendezvous, AtTheStoreOfTheAgent) {
  StoreServer agent(0);
  Launch launch;
  launch.size = 3;
  launch.host = "127.0.0.1";
  launch.port = agent.port();
  launch.agent_store = true;
  for (const char* const start : {"run.0", "run.1"}) {
    launch.run_id = start;
    EXPECT_THAT(meet(launch, 3), Each(""));
  }
}

TEST(Rendezvous, InAFileThatAnEarlierRunLeft) {
  const auto path = std::filesystem::path(testing::TempDir()) / ("moe_place_" + std::to_string(getpid()));
  std::ofstream(path) << "127.0.0.1 " << free_port() << " moe.old\n";
  Launch launch;
  launch.size = 3;
  launch.file = path.string();
  EXPECT_THAT(meet(launch, 3), Each(""));
  std::filesystem::remove(path);
}

TEST(Rendezvous, NamesWhoIsMissing) {
  Launch launch;
  launch.size = 4;
  launch.host = "127.0.0.1";
  launch.port = free_port();
  const auto messages = meet(launch, 2, milliseconds(300));
  EXPECT_THAT(messages[0], HasSubstr("these are missing: 2, 3"));
  EXPECT_THAT(messages[1],
              AnyOf(HasSubstr("these are missing: 2, 3"), HasSubstr("rank 0 or its launcher has ended")));
  Launch nowhere;
  nowhere.size = 2;
  nowhere.by = "flags";
  EXPECT_THAT(test::user_error_of([&] { Rendezvous(nowhere, milliseconds(1)); }),
              AllOf(HasSubstr("flags"), HasSubstr("--rendezvous HOST:PORT")));
}

// Processes with these numbers and worlds, at a store of an agent; each one's error.
std::vector<std::string> meet_as(const std::vector<std::pair<int, int>>& ranks) {
  StoreServer agent(0);
  std::vector<std::string> errors(ranks.size());
  std::vector<std::thread> threads;
  for (size_t i = 0; i < ranks.size(); ++i)
    threads.emplace_back([&, i] {
      Launch launch;
      launch.rank = ranks[i].first;
      launch.size = ranks[i].second;
      launch.by = "the test";
      launch.host = "127.0.0.1";
      launch.port = agent.port();
      launch.agent_store = true;
      errors[i] = test::user_error_of([&] { Rendezvous(launch, milliseconds(3000)); });
    });
  for (auto& thread : threads) thread.join();
  return errors;
}

TEST(Rendezvous, NamesARankThatIsThereTwice) {
  // Rank 2 of 3 comes twice, so that rank 1 is missing and nobody has met before the second one is there.
  EXPECT_THAT(meet_as({{0, 3}, {2, 3}, {2, 3}}), Each(HasSubstr("rank 2 twice: ")));
}

TEST(Rendezvous, RefusesOneThatComesWhenAllHaveMet) {
  StoreServer agent(0);
  Launch launch;
  launch.size = 2;
  launch.host = "127.0.0.1";
  launch.port = agent.port();
  launch.agent_store = true;
  EXPECT_THAT(meet(launch, 2), Each(""));
  launch.rank = 1;
  EXPECT_THAT(test::user_error_of([&] { Rendezvous(launch, milliseconds(1000)); }),
              HasSubstr("rank 1 twice: "));
}

TEST(Rendezvous, NamesWorldsOfOtherSizes) {
  EXPECT_THAT(meet_as({{0, 3}, {1, 3}, {2, 4}}), Each(HasSubstr("rank 2 of 4 (")));
  EXPECT_THAT(meet_as({{0, 3}, {1, 3}, {3, 4}}), Each(HasSubstr("where rank 0 is one of 3")));
}

}  // namespace
}  // namespace moe::comm
