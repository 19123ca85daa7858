// SPDX-License-Identifier: MIT
#include "metrics/sink.h"

#include <gmock/gmock.h>

namespace moe::metrics {
namespace {

class Recorder final : public Sink {
 public:
  Recorder(std::vector<std::string>& record, std::string name) : record_(record), name_(std::move(name)) {}
  void write(const Row& row) override { record_.push_back(name_ + std::to_string(row.step)); }

 private:
  std::vector<std::string>& record_;
  std::string name_;
};

TEST(FanOutTest, EachSinkGetsEachRowInOrder) {
  std::vector<std::string> record;
  FanOut sinks;
  sinks.write({1, {}});  // to nobody
  sinks.add(std::make_unique<Recorder>(record, "a"));
  sinks.add(std::make_unique<Recorder>(record, "b"));
  sinks.write({2, {}});
  sinks.write({3, {}});
  EXPECT_THAT(record, ::testing::ElementsAre("a2", "b2", "a3", "b3"));
}

TEST(RowTest, FindsByName) {
  Row row;
  row.add("x", 1.5).add("y", true);
  EXPECT_EQ(std::get<double>(*row.find("x")), 1.5);
  EXPECT_EQ(std::get<int64_t>(*row.find("y")), 1);
  EXPECT_EQ(row.find("z"), nullptr);
}

}  // namespace
}  // namespace moe::metrics
