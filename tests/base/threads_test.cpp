// SPDX-License-Identifier: MIT
#include "base/threads.h"

#include <gmock/gmock.h>
#include <pthread.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "base/start_thread.h"
#include "support/errors.h"

namespace moe {
namespace {

struct Chunk {
  int64_t begin, end;
};

// The chunk that each index fell into, as seen by the body.
std::vector<Chunk> chunks(ThreadPool& pool, int64_t count, int64_t grain) {
  std::vector<Chunk> seen(static_cast<size_t>(count), Chunk{-1, -1});
  std::atomic<int64_t> visits{0};
  pool.parallel_for(count, grain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) seen[static_cast<size_t>(i)] = {begin, end};
    visits += end - begin;
  });
  EXPECT_EQ(visits.load(), count);
  return seen;
}

TEST(AvailableCores, IsAtLeastOne) {
  EXPECT_GE(available_cores(), 1);
  EXPECT_EQ(ThreadPool(0).size(), available_cores());
  EXPECT_EQ(ThreadPool(5).size(), 5);
}

TEST(ThreadPool, CutsChunksBySizeAlone) {
  for (const int threads : {1, 2, 7}) {
    ThreadPool pool(threads);
    for (const int64_t count : {1, 5, 6, 7, 100, 1001}) {
      for (const int64_t grain : {1, 3, 6, 5000}) {
        const auto seen = chunks(pool, count, grain);
        for (int64_t i = 0; i < count; ++i) {
          const Chunk chunk = seen[static_cast<size_t>(i)];
          ASSERT_EQ(chunk.begin, i / grain * grain) << threads << " " << count << " " << grain;
          ASSERT_EQ(chunk.end, std::min(chunk.begin + grain, count));
        }
      }
    }
  }
}

TEST(ThreadPool, NothingToDoCallsNobody) {
  ThreadPool pool(3);
  for (const int64_t count : {0, -4}) pool.parallel_for(count, 1, [](int64_t, int64_t) { FAIL(); });
}

TEST(ThreadPool, SumsAreTheSameBitsOnAnyNumberOfThreads) {
  std::vector<float> x(100'000);
  for (size_t i = 0; i < x.size(); ++i) x[i] = std::sin(static_cast<float>(i));
  const auto sum = [&](int threads) {
    ThreadPool pool(threads);
    std::vector<float> parts(100);
    pool.parallel_for(100'000, 1000, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i)
        parts[static_cast<size_t>(begin / 1000)] += x[static_cast<size_t>(i)];
    });
    float total = 0;
    for (const float part : parts) total += part;
    return total;
  };
  EXPECT_EQ(sum(1), sum(2));
  EXPECT_EQ(sum(1), sum(5));
}

TEST(ThreadPool, ManyShortRoundsEachFinish) {
  ThreadPool pool(4);
  std::vector<int> x(16, 0);  // plain ints: a round that returned early would lose counts
  constexpr int kRounds = 5000;
  for (int round = 0; round < kRounds; ++round)
    pool.parallel_for(16, 1, [&](int64_t begin, int64_t) { ++x[static_cast<size_t>(begin)]; });
  EXPECT_EQ(x, std::vector<int>(16, kRounds));
}

TEST(ThreadPool, AnExceptionReachesTheCallerAndThePoolLivesOn) {
  for (const int threads : {1, 4}) {
    ThreadPool pool(threads);
    for (int round = 0; round < 50; ++round) {
      try {
        pool.parallel_for(64, 1, [&](int64_t begin, int64_t) {
          if (begin == 17) throw std::runtime_error("seventeen");
        });
        FAIL() << "nothing thrown";
      } catch (const std::runtime_error& error) {
        EXPECT_EQ(error.what(), std::string("seventeen"));
      }
      std::atomic<int> visits{0};
      pool.parallel_for(64, 1, [&](int64_t, int64_t) { ++visits; });
      ASSERT_EQ(visits.load(), 64);
    }
  }
}

TEST(ThreadPool, WaitsForTheSlowest) {
  ThreadPool pool(2);
  const auto caller = std::this_thread::get_id();
  std::atomic<int> started{0}, finished{0};
  pool.parallel_for(2, 1, [&](int64_t, int64_t) {
    ++started;
    while (started.load() < 2) std::this_thread::yield();
    // Far longer than the caller spins before it sleeps.
    if (std::this_thread::get_id() != caller) std::this_thread::sleep_for(std::chrono::milliseconds(50));
    ++finished;
  });
  EXPECT_EQ(finished.load(), 2);
}

TEST(ThreadPool, UsesItsThreads) {
  ThreadPool pool(2);
  std::atomic<int> waiting{0};
  // Each chunk waits for the other: one thread alone would never get past this.
  pool.parallel_for(2, 1, [&](int64_t, int64_t) {
    ++waiting;
    while (waiting.load() < 2) std::this_thread::yield();
  });
  EXPECT_EQ(waiting.load(), 2);
}

// A stack of 2^46 bytes is what no system gives: the place of a limit on processes or memory.
TEST(ThreadPool, NoMoreThreadsIsAUsersError) {
  pthread_attr_t before, huge;
  ASSERT_EQ(pthread_getattr_default_np(&before), 0);
  ASSERT_EQ(pthread_getattr_default_np(&huge), 0);
  ASSERT_EQ(pthread_attr_setstacksize(&huge, size_t{1} << 60), 0);  // more than any address space has
  ASSERT_EQ(pthread_setattr_default_np(&huge), 0);
  EXPECT_THAT(test::user_error_of([] { (void)start_thread([] {}); }), testing::HasSubstr("ulimit -u"));
  EXPECT_THAT(test::user_error_of([] { ThreadPool pool(4); }), testing::HasSubstr("ulimit -u"));
  ASSERT_EQ(pthread_setattr_default_np(&before), 0);
  ThreadPool pool(4);
}

}  // namespace
}  // namespace moe
