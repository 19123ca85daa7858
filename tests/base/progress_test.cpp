// SPDX-License-Identifier: MIT
#include "base/progress.h"

#include <gtest/gtest.h>

#include <thread>
#include <vector>

#include "support/streams.h"

namespace moe {
namespace {

TEST(Progress, ALogGetsALineEveryTenSecondsAndASummary) {
  test::LogFile log;
  Terminal terminal(log.stream());
  double now = 100;
  Progress progress(terminal, "reading", 4000, "tokens", [&] { return now; });
  for (int second = 0; second < 25; ++second) {
    now += 1;
    progress.add(100);
  }
  progress.done();
  progress.done();
  now += 100;
  progress.add(100);
  EXPECT_EQ(log.text(),
            "reading: 25%, 1.00 K of 4.00 K tokens, 100 tokens/s, 30.0 s left\n"
            "reading: 50%, 2.00 K of 4.00 K tokens, 100 tokens/s, 20.0 s left\n"
            "reading: 2.50 K tokens in 25.0 s (100 tokens/s)\n");
}

TEST(Progress, AnUnknownTotalShowsNoShareAndNoTimeLeft) {
  test::LogFile log;
  Terminal terminal(log.stream());
  double now = 0;
  Progress progress(terminal, "fetching", 0, "bytes", [&] { return now; });
  now = 10;
  progress.add(10 << 20);
  progress.done();
  EXPECT_EQ(log.text(),
            "fetching: 10.0 MiB, 1.00 MiB/s\n"
            "fetching: 10.0 MiB in 10.0 s (1.00 MiB/s)\n");
}

TEST(Progress, ATerminalGetsALiveLine) {
  test::PseudoTerminal screen(80);
  Terminal terminal(screen.stream());
  double now = 0;
  {
    Progress progress(terminal, "reading", 2 << 20, "bytes", [&] { return now; });
    now = 0.05;
    progress.add(1 << 10);
    EXPECT_EQ(screen.take(), "") << "too soon to redraw";
    now = 1;
    progress.add((1 << 20) - (1 << 10));
    EXPECT_EQ(screen.take(), "reading: 50%, 1.00 MiB of 2.00 MiB, 1.00 MiB/s, 1.00 s left");
    now = 2;
    progress.add(1 << 20);
    EXPECT_EQ(screen.take(), "\r\033[Kreading: 100%, 2.00 MiB of 2.00 MiB, 1.00 MiB/s");
    progress.done();
    EXPECT_EQ(screen.take(), "\r\033[Kreading: 2.00 MiB in 2.00 s (1.00 MiB/s)\r\n");
  }
  EXPECT_EQ(screen.take(), "");
}

TEST(Progress, TheLiveLineGoesAwayWhenTheWorkIsGivenUp) {
  test::PseudoTerminal screen(80);
  Terminal terminal(screen.stream());
  double now = 0;
  {
    Progress progress(terminal, "reading", 10, "files", [&] { return now; });
    now = 1;
    progress.add(1);
    EXPECT_NE(screen.take(), "");
  }
  EXPECT_EQ(screen.take(), "\r\033[K");
}

TEST(Progress, CountsFromManyThreads) {
  test::LogFile log;
  Terminal terminal(log.stream());
  Progress progress(terminal, "reading", 0, "files", [] { return 0.0; });
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i)
    threads.emplace_back([&] {
      for (int n = 0; n < 1000; ++n) progress.add(1);
    });
  for (auto& thread : threads) thread.join();
  progress.done();
  EXPECT_EQ(log.text(), "reading: 4.00 K files in 0 s\n");
}

}  // namespace
}  // namespace moe
