// SPDX-License-Identifier: MIT
// A sink that is stuck does not hold its caller; a full queue leaves out and counts; finish() comes last.
#include "metrics/background.h"

#include <gmock/gmock.h>

#include <condition_variable>
#include <mutex>

#include "metrics/histogram.h"

namespace moe::metrics {
namespace {

// Stands in write() until it is let go.
class Stuck final : public Sink {
 public:
  explicit Stuck(std::vector<std::string>& log) : log_(log) {}
  void write(const Row& row) override {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return free_; });
    log_.push_back("row " + std::to_string(row.step));
  }
  void told(const std::string& text) override { log_.push_back(text); }
  void finish(int code) override { log_.push_back("finish " + std::to_string(code)); }
  void let_go() {
    const std::lock_guard lock(mutex_);
    free_ = true;
    changed_.notify_all();
  }

 private:
  std::vector<std::string>& log_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool free_ = false;
};

TEST(BackgroundTest, NeverHoldsItsCaller) {
  std::FILE* said = std::tmpfile();
  Terminal terminal(said);
  std::vector<std::string> log;
  auto stuck = std::make_unique<Stuck>(log);
  Stuck& inner = *stuck;
  {
    Background background(std::move(stuck), terminal, 5, "curves");
    for (int64_t step = 0; step < 100; ++step)
      background.write({step, {}});  // returns, or the test never ends
    EXPECT_GE(background.left_out(), 94);
    inner.let_go();
    background.finish(3);
    std::rewind(said);
    std::string words(4096, '\0');
    words.resize(std::fread(words.data(), 1, words.size(), said));
    EXPECT_THAT(words, testing::HasSubstr("curves: " + std::to_string(background.left_out()) +
                                          " of 100 rows and lines were left out"));
    EXPECT_EQ(log.front(), "row 0");
    EXPECT_EQ(log.back(), "finish 3");
    EXPECT_EQ(static_cast<int64_t>(log.size()), 101 - background.left_out());
    background.told("after");
  }
  EXPECT_EQ(log.back(), "after");
  std::fclose(said);
}

TEST(HistogramTest, ProfilesAndLoads) {
  EXPECT_THAT(profile({0.5, -1, NAN, 2}).weights, testing::ElementsAre(0.5, 0, 0, 2));
  EXPECT_THAT(profile({0.5, 2}).edges, testing::ElementsAre(0, 1, 2));
  const Histogram load = load_histogram({{4, 0, 0, 0}, {1, 1, 1, 1}, {0, 0, 0, 0}});
  EXPECT_EQ(load.edges.size(), 33U);
  EXPECT_EQ(load.weights[0], 3 + 4);
  EXPECT_EQ(load.weights[8], 4);
  EXPECT_EQ(load.weights[31], 1);
}

}  // namespace
}  // namespace moe::metrics
