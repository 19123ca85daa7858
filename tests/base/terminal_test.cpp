// SPDX-License-Identifier: MIT
#include "base/terminal.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "support/streams.h"

namespace moe {
namespace {

TEST(Terminal, ALogHoldsLinesAndNoStatus) {
  test::LogFile log;
  Terminal terminal(log.stream());
  EXPECT_FALSE(terminal.interactive());
  terminal.line("one");
  terminal.status("never written");
  terminal.warning("two");
  terminal.clear_status();
  EXPECT_EQ(log.text(), "one\nwarning: two\n");
}

TEST(Terminal, AStatusLineIsRedrawnBelowTheLines) {
  test::PseudoTerminal screen(40);
  Terminal terminal(screen.stream());
  ASSERT_TRUE(terminal.interactive());
  terminal.status("10%");
  EXPECT_EQ(screen.take(), "10%");
  terminal.status("20%");
  EXPECT_EQ(screen.take(), "\r\033[K20%");
  terminal.line("a line");
  EXPECT_EQ(screen.take(), "\r\033[Ka line\r\n20%");
  terminal.clear_status();
  EXPECT_EQ(screen.take(), "\r\033[K");
  terminal.line("the end");
  EXPECT_EQ(screen.take(), "the end\r\n");
}

TEST(Terminal, AStatusLineNeverWraps) {
  test::PseudoTerminal screen(20);
  Terminal terminal(screen.stream());
  terminal.status(std::string(50, 'x'));
  EXPECT_EQ(screen.take(), std::string(19, 'x'));
}

TEST(Terminal, ADumbTerminalIsALog) {
  test::PseudoTerminal screen(40, "dumb");
  EXPECT_FALSE(Terminal(screen.stream()).interactive());
}

TEST(Terminal, ShortLinesAreTheLiveLineAlone) {
  test::LogFile log;
  Terminal quiet(log.stream());
  std::vector<std::string> told;
  quiet.listen([&](const std::string& line) { told.push_back(line); });
  {
    const ShortLines lines(quiet, "run 1");
    quiet.line("memory\n  table");
    quiet.warning("of a run");
  }
  quiet.line("done");
  EXPECT_EQ(log.text(), "warning: of a run\ndone\n");
  EXPECT_EQ(told, (std::vector<std::string>{"memory\n  table", "warning: of a run", "done"}));

  test::PseudoTerminal screen(40);
  Terminal terminal(screen.stream());
  {
    const ShortLines lines(terminal, "run 1");
    terminal.line("memory\n  table");
    EXPECT_EQ(screen.take(), "run 1: memory");
    terminal.status("10 %");
    EXPECT_EQ(screen.take(), "\r\033[Krun 1: 10 %");
  }
  terminal.line("done");
  EXPECT_EQ(screen.take(), "\r\033[Kdone\r\n");
}

}  // namespace
}  // namespace moe
