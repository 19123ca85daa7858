// SPDX-License-Identifier: MIT
// What the watch says of ranks that fall silent, hang or give up; that it says it once; and that it lets the
// living be.
#include <gmock/gmock.h>

#include <memory>

#include "comm/watchdog.h"

namespace moe::comm {
namespace {

using std::chrono::milliseconds;
using testing::HasSubstr;

// Three ranks of one process; `idle` and the words of each are at hand.
class WatchTest : public testing::Test {
 protected:
  struct Rank {
    std::unique_ptr<Store> store;
    std::atomic<bool> idle{true}, ended{false};
    std::string words;  // read once `ended`
    std::unique_ptr<Watchdog> watch;
  };
  void start(int r, milliseconds timeout, milliseconds silence) {
    Rank& rank = ranks_[static_cast<size_t>(r)];
    rank.store = std::make_unique<Store>("127.0.0.1", server_.port(), "run", milliseconds(5000));
    rank.store->set("here " + std::to_string(r), "process " + std::to_string(100 + r) + " on box");
    rank.watch = std::make_unique<Watchdog>(
        *rank.store, r, 3, timeout, silence,
        Watchdog::Hooks{[&] { return rank.idle.load(); }, [] { return std::string(); },
                        [&](const std::string& message) {
                          rank.words = message;
                          rank.ended = true;
                        }});
  }
  // The words of all that have ended after a while; "" where another rank spoke.
  std::string said(std::initializer_list<int> ranks) {
    std::string all;
    for (const int r : ranks) {
      Rank& rank = ranks_[static_cast<size_t>(r)];
      for (int i = 0; i < 1000 && !rank.ended; ++i) std::this_thread::sleep_for(milliseconds(10));
      EXPECT_TRUE(rank.ended) << r;
      if (!all.empty() && rank.ended) {
        EXPECT_EQ(rank.words, "") << "said twice";
      }
      if (rank.ended) all += rank.words;
    }
    return all;
  }

  StoreServer server_{0};
  std::array<Rank, 3> ranks_;
};

TEST_F(WatchTest, ARankThatFallsSilentIsNamedOnce) {
  for (const int r : {0, 1}) start(r, milliseconds(60'000), milliseconds(400));
  Store dead("127.0.0.1", server_.port(), "run", milliseconds(5000));
  dead.set("here 2", "process 102 on box");
  dead.set("beat 2", "7 7");
  const std::string words = said({0, 1});
  EXPECT_THAT(words, HasSubstr("no sign of life for 0.4 s from rank 2 of 3 (process 102 on box)"));
}

TEST_F(WatchTest, ARankThatHangsIsNamedOnce) {
  for (const int r : {0, 1, 2}) start(r, milliseconds(3000), milliseconds(30'000));  // longer than a beat
  for (const int r : {0, 1}) {
    ranks_[static_cast<size_t>(r)].idle = false;
    ranks_[static_cast<size_t>(r)].watch->begin();
  }
  std::string words;
  for (const int r : {0, 1, 2}) words += said({r});
  EXPECT_THAT(words, HasSubstr("no answer for 3 s from rank 2 of 3 (process 102 on box); all ranks end"));
  EXPECT_EQ(words.find("all ranks end"), words.rfind("all ranks end"));
}

// It has begun what the others wait in, and its process stands still: its last beat is old, but not yet
// silence.
TEST_F(WatchTest, ARankThatIsPausedIsNamedOnce) {
  Store paused("127.0.0.1", server_.port(), "run", milliseconds(5000));
  paused.set("here 2", "process 102 on box");
  paused.set("beat 2", "1 7");
  for (const int r : {0, 1}) start(r, milliseconds(3000), milliseconds(30'000));  // longer than a beat
  for (const int r : {0, 1}) {
    ranks_[static_cast<size_t>(r)].idle = false;
    ranks_[static_cast<size_t>(r)].watch->begin();
  }
  EXPECT_THAT(said({0, 1}),
              HasSubstr("no answer for 3 s from rank 2 of 3 (process 102 on box); all ranks end"));
}

TEST_F(WatchTest, ARankThatGivesUpIsHeard) {
  for (const int r : {0, 1, 2}) start(r, milliseconds(60'000), milliseconds(10'000));
  ranks_[1].watch->tell("the disk is full");
  EXPECT_EQ(said({1, 0, 2}), "rank 1 of 3: the disk is full; all ranks end");
}

TEST_F(WatchTest, PatienceAndAnOrderlyEndAreNoFailures) {
  for (const int r : {0, 1, 2}) start(r, milliseconds(100), milliseconds(500));
  for (auto& rank : ranks_) {
    rank.idle = false;
    rank.watch->suspend_timeout(true);
    rank.watch->begin();
  }
  ranks_[2].watch.reset();
  std::this_thread::sleep_for(milliseconds(1200));
  for (auto& rank : ranks_) EXPECT_FALSE(rank.ended);
  ranks_[1].watch->suspend_timeout(false);
  EXPECT_THAT(said({1}), HasSubstr("all ranks"));
}

}  // namespace
}  // namespace moe::comm
