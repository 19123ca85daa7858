// SPDX-License-Identifier: MIT
// What is put around operations changes nothing about them and sees each one: the clock, the marks, the
// forced balance.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "ops/balanced_ops.h"
#include "ops/clocked_ops.h"
#include "ops/marked_ops.h"
#include "support/fixture.h"

namespace moe::test {
namespace {

using ::testing::ElementsAre;
using ::testing::Key;

class ObservedOpsTest : public OpsTest {};

TEST_F(ObservedOpsTest, TheClockTellsProductsApartAndKnowsTheHead) {
  ClockedOps timed(ops(), device());
  const Tensor a = normal("a", DType::f32, {4, 2}), b = normal("b", DType::f32, {6, 2}),
               c = zeros(DType::f32, {4, 6}), small = zeros(DType::f32, {4, 4});
  const MatmulRole role = MatmulRole::head;
  timed.matmul({c, a, b, MatmulLayout::NT, false, role});  // not counted: the clock is off
  timed.start();
  timed.matmul({c, a, b, MatmulLayout::NT, false, role});
  timed.matmul({c, a, b, MatmulLayout::NT, true, role});
  timed.matmul({small, a, a, MatmulLayout::NT, false});
  timed.stop();
  EXPECT_THAT(timed.entries(), ElementsAre(Key("matmul NT 4x4x2"), Key("matmul NT 4x6x2")));
  const ClockedOps::Entry& head = timed.entries().at("matmul NT 4x6x2");
  EXPECT_STREQ(head.phase, "head");
  EXPECT_EQ(head.calls, 2);
  EXPECT_EQ(head.flops, 2 * 2.0 * 4 * 6 * 2);
  EXPECT_EQ(head.bytes, 2 * 4.0 * (4 * 6 + 4 * 2 + 6 * 2) + 4.0 * 4 * 6);  // the second one reads c, too
  EXPECT_STREQ(timed.entries().at("matmul NT 4x4x2").phase, "projections");

  const Tensor twice = zeros(DType::f32, {4, 6});
  ops().matmul(twice, a, b, MatmulLayout::NT, false);
  ops().matmul(twice, a, b, MatmulLayout::NT, true);
  EXPECT_EQ(values(c), values(twice));
}

int64_t& fills() {
  static int64_t count = 0;
  return count;
}

// A device whose counter goes on by 2 J with each fill, and moves when 1,000 J have come together.
class MeteredDevice final : public Device {
 public:
  explicit MeteredDevice(Device& inner) : inner_(inner) {}
  std::string name() const override { return inner_.name(); }
  int64_t memory_total() const override { return inner_.memory_total(); }
  int64_t memory_available() const override { return inner_.memory_available(); }
  void* allocate(int64_t bytes) override { return inner_.allocate(bytes); }
  void release(void* memory) override { inner_.release(memory); }
  void* allocate_host(int64_t bytes) override { return inner_.allocate_host(bytes); }
  void release_host(void* memory) override { inner_.release_host(memory); }
  void to_device(Tensor dst, const void* src) override { inner_.to_device(dst, src); }
  void to_host(void* dst, const Tensor& src) override { inner_.to_host(dst, src); }
  void synchronize() override { inner_.synchronize(); }
  std::optional<double> joules() override { return std::floor(static_cast<double>(fills()) / 500) * 1000; }

 private:
  Device& inner_;
};

TEST_F(ObservedOpsTest, EnergyIsThatOfOneRunTimesTheCalls) {
  MeteredDevice metered(device());
  backend::Backend backend = backend::make_backend(DeviceKind::cpu, 1);
  MarkedOps counted(std::move(backend.ops), {.begin = [](const char*) { ++fills(); }, .end = [] {}});
  ClockedOps timed(counted, metered);
  std::vector<float> memory(2);
  const Tensor x(memory.data(), DType::f32, {2});
  timed.start();
  timed.fill({x, 3});
  EXPECT_EQ(timed.entries().at("fill").joules, 0);  // nobody asked
  timed.measure_energy(0.05);
  for (int i = 0; i < 3; ++i) timed.fill({x, 3});
  const int64_t done = fills();
  EXPECT_GT(done, 1000);
  EXPECT_NEAR(timed.entries().at("fill").joules, 3 * 2.0, 0.6);
  timed.fill({x, 3});
  EXPECT_EQ(fills(), done + 1);  // measured once
  EXPECT_NEAR(timed.entries().at("fill").joules, 4 * 2.0, 0.8);
}

std::vector<std::string>& events() {
  static std::vector<std::string> list;
  return list;
}

TEST_F(ObservedOpsTest, MarksBeginAndEndAroundEachOperation) {
  events().clear();
  backend::Backend backend = backend::make_backend(DeviceKind::cpu, 1);
  MarkedOps marked(std::move(backend.ops), {.begin = [](const char* name) { events().emplace_back(name); },
                                            .end = [] { events().emplace_back("end"); }});
  std::vector<float> memory(2);
  const Tensor x(memory.data(), DType::f32, {2});
  marked.fill({x, 3});
  EXPECT_THROW(marked.fill({{}, 3}),
               InternalError);  // a mark that is left open would swallow all that follow
  EXPECT_THAT(memory, ElementsAre(3, 3));
  EXPECT_THAT(events(), ElementsAre("fill", "end", "fill", "end"));
}

TEST_F(ObservedOpsTest, ForcedBalanceGivesEachExpertTheSame) {
  constexpr int64_t n = 8, experts = 4, choices = 2;
  BalancedOps balanced(ops(), device(), n + 5, choices, experts);
  const Tensor logits = normal("logits", DType::f32, {n, experts}),
               probability = zeros(DType::f32, {n, experts}), lse = zeros(DType::f32, {n}),
               expert = zeros(DType::i32, {n, choices}), weight = zeros(DType::f32, {n, choices}),
               first = zeros(DType::i32, {n});
  balanced.route({probability, lse, expert, weight, logits, first, RouterRule{}});
  std::vector<int> count(experts);
  for (const double e : values(expert)) ++count.at(static_cast<size_t>(e));
  EXPECT_THAT(count, ElementsAre(4, 4, 4, 4));
  for (int64_t token = 0; token < n; ++token) {
    const auto e = values(expert.rows(token, token + 1));
    EXPECT_NE(e[0], e[1]);
  }
}

}  // namespace
}  // namespace moe::test
