// SPDX-License-Identifier: MIT
// What a person sees: plain lines in a log, one live line on a terminal (here a pseudo-terminal).
#include "metrics/console.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <memory>

namespace moe::metrics {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

Row training(int64_t step) {
  Row row{step, {}};
  row.add("loss", 6.1324)
      .add("learning_rate", 0.001)
      .add("gradient_norm", 0.8437)
      .add("tokens_per_second", 3400.0)
      .add("balance_loss", 1.0221)
      .add("expert_load_cv", 0.2114);
  return row;
}

Row validation(int64_t step) {
  Row row{step, {}};
  row.add("validation_loss", 5.5).add("validation_perplexity", 244.69).add("validation_bits_per_byte", 1.75);
  return row;
}

class ConsoleTest : public ::testing::Test {
 protected:
  void TearDown() override { std::fclose(log_); }
  std::string written() {
    std::rewind(log_);
    std::string text(16384, '\0');
    text.resize(std::fread(text.data(), 1, text.size(), log_));
    return text;
  }
  std::FILE* log_ = std::tmpfile();
  double now_ = 0;
  std::function<double()> clock_ = [this] { return now_ += 2; };
};

TEST_F(ConsoleTest, LogLines) {
  Terminal terminal(log_);
  Console console(terminal, 600, 10, 0, clock_);
  for (int64_t step = 1; step <= 20; ++step) console.write(training(step));
  console.write(validation(20));
  for (int64_t step = 21; step <= 30; ++step) console.write(training(step));
  EXPECT_EQ(
      written(),
      "step   1/600  loss 6.1324  val -  lr 1.00e-03  norm 0.844  3.40 K tok/s  balance 1.022  cv 0.211  ETA "
      "-\n"
      "step  10/600  loss 6.1324  val -  lr 1.00e-03  norm 0.844  3.40 K tok/s  balance 1.022  cv 0.211  "
      "ETA 19 min 40 s\n"
      "step  20/600  loss 6.1324  val -  lr 1.00e-03  norm 0.844  3.40 K tok/s  balance 1.022  cv 0.211  "
      "ETA 19 min 20 s\n"
      "step  20/600  validation loss 5.5000  perplexity 244.69  bits per byte 1.7500\n"
      "step  30/600  loss 6.1324  val 5.5000  lr 1.00e-03  norm 0.844  3.40 K tok/s  balance 1.022  cv 0.211 "
      " "
      "ETA 19 min 00 s\n");
}

TEST_F(ConsoleTest, TheLastStepIsAlwaysShown) {
  Terminal terminal(log_);
  Console console(terminal, 15, 10, 0, clock_);
  for (int64_t step = 12; step <= 15; ++step) console.write(training(step));
  EXPECT_THAT(written(), AllOf(HasSubstr("step 12/15"), Not(HasSubstr("step 13/15")), HasSubstr("step 15/15"),
                               HasSubstr("ETA 0 s")));
}

// A run of many fast steps does not flood the file that a scheduler keeps.
TEST_F(ConsoleTest, ALogGetsALineInSoManySecondsAtMost) {
  Terminal terminal(log_);
  Console console(terminal, 100, 1, 10, clock_);  // a step takes 2 seconds
  for (int64_t step = 1; step <= 100; ++step) console.write(training(step));
  const std::string text = written();
  for (const char* shown : {"step   1/100", "step   6/100", "step  11/100", "step  96/100", "step 100/100"})
    EXPECT_THAT(text, HasSubstr(shown));
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 21);
}

TEST_F(ConsoleTest, ShowsWhatThereIs) {
  Terminal terminal(log_);
  Console console(terminal, 5, 1, 0, clock_);
  Row row{1, {}};
  row.add("loss", std::nan("")).add("gradient_norm", "text where a number belongs");
  console.write(row);
  Row other{2, {}};
  other.add("checkpoint_seconds", 3.0);  // neither kind of row: not for the console
  console.write(other);
  EXPECT_EQ(written(), "step 1/5  loss nan  val -  lr -  norm -  - tok/s  balance -  cv -  ETA -\n");
}

class LiveConsoleTest : public ::testing::Test {
 protected:
  LiveConsoleTest() {
    setenv("TERM", "xterm", 1);
    master_ = posix_openpt(O_RDWR | O_NOCTTY);
    if (master_ < 0 || grantpt(master_) != 0 || unlockpt(master_) != 0) return;
    const winsize size{24, 100, 0, 0};
    ioctl(master_, TIOCSWINSZ, &size);
    slave_ = std::fopen(ptsname(master_), "w");
  }
  void TearDown() override {
    if (slave_) std::fclose(slave_);
    if (master_ >= 0) close(master_);
  }
  // What was written since the last call, up to and beyond `part`: a terminal hands it over in pieces, some
  // later.
  std::string seen_until(const std::string& part) const {
    std::string text, piece(16384, '\0');
    pollfd ready{master_, POLLIN, 0};
    while (text.find(part) == std::string::npos && poll(&ready, 1, 10'000) == 1) {
      const ssize_t count = read(master_, piece.data(), piece.size());
      if (count <= 0) break;
      text.append(piece, 0, static_cast<size_t>(count));
    }
    return text;
  }
  int master_ = -1;
  std::FILE* slave_ = nullptr;
};

TEST_F(LiveConsoleTest, OneLineThatIsRedrawn) {
  if (!slave_) GTEST_SKIP() << "no pseudo-terminal here";
  Terminal terminal(slave_);
  ASSERT_TRUE(terminal.interactive());
  double now = 0;
  auto console = std::make_unique<Console>(terminal, 400, 10, 0, [&] { return now += 0.5; });
  for (int64_t step = 99; step <= 100; ++step) console->write(training(step));
  const std::string bar =
      "[####------------]  25% 100/400  loss 6.132  3.40 K tok/s  ETA 2 min 30 s  lr 1.0e-03";
  const std::string live = seen_until(bar);
  EXPECT_THAT(live, HasSubstr(bar));
  EXPECT_THAT(live, Not(HasSubstr("\n")));
  console->write(validation(100));
  const std::string line =
      "step 100/400  validation loss 5.5000  perplexity 244.69  bits per byte 1.7500\r\n";
  EXPECT_THAT(seen_until(line), HasSubstr(line));
  console.reset();
  EXPECT_THAT(seen_until("\r\x1b[K"), testing::EndsWith("\r\x1b[K"));  // nothing of the live line stays
}

}  // namespace
}  // namespace moe::metrics
