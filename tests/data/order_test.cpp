// SPDX-License-Identifier: MIT
#include "data/order.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "data/cursor.h"
#include "data/held_out.h"
#include "data/support.h"

namespace moe::data {
namespace {

using testing::HasSubstr;

std::shared_ptr<const Source> numbered(int64_t units, int64_t bytes = 400'000) {
  return std::make_shared<NumberedSource>(units, 3, bytes);
}

DataConfig small_windows() {
  DataConfig config;
  config.shuffle_window_mb = 1;  // three units of 400 kB
  return config;
}

std::vector<int64_t> sorted(std::vector<int64_t> units) {
  std::sort(units.begin(), units.end());
  return units;
}

TEST(Order, ARunOfVersion01HoldsOutAsThen) {
  DataConfig config;
  config.rules = 1;
  const auto units = [&](const std::shared_ptr<const Source>& source) {
    const HeldOut part = held_out(*source, source->shares()[0], config);
    EXPECT_EQ(part.cut, -1);
    return std::ssize(part.units);
  };
  EXPECT_EQ(units(numbered(1000)), 10);
  EXPECT_EQ(units(numbered(149)), 1);
  EXPECT_EQ(units(numbered(151)), 2);
  EXPECT_EQ(units(numbered(2)), 1);
  EXPECT_FALSE(has_validation(*numbered(1), config));
  config.validation_fraction = 0.999;
  EXPECT_EQ(units(numbered(3)), 2);
}

TEST(Order, NothingIsHeldOutWhereItIsNotAskedFor) {
  DataConfig config;
  config.validation_source = {"elsewhere"};
  EXPECT_FALSE(has_validation(*numbered(1000), config));
  config = {};
  config.validation_fraction = 0;
  EXPECT_FALSE(has_validation(*numbered(1000), config));
}

TEST(Order, TrainingNeverSeesHeldOutUnits) {
  DataConfig config = small_windows();
  config.validation_fraction = 0.1;
  const auto source = numbered(100);
  const auto held_out = Order(source, config, 1, Part::validation).epoch(0).units;
  EXPECT_EQ(held_out.size(), 10u);
  EXPECT_EQ(Order(source, config, 2, Part::validation).epoch(0).units, held_out);
  EXPECT_GT(held_out.back() - held_out.front(), 9);  // from all over, not a block
  for (const Part part : {Part::train, Part::train_once}) {
    const Order order(source, config, 1, part);
    for (int64_t epoch = 0; epoch < 3; ++epoch) {
      auto units = order.epoch(epoch).units;
      EXPECT_EQ(units.size(), 90u);
      units.insert(units.end(), held_out.begin(), held_out.end());
      EXPECT_EQ(sorted(units), Order(source, config, 1, Part::all).epoch(0).units);
    }
  }
}

TEST(Order, PermutesUnitsByEpochAndSeed) {
  const auto source = numbered(100);
  const auto units = [&](uint64_t seed, int64_t epoch) {
    return Order(source, small_windows(), seed, Part::train).epoch(epoch).units;
  };
  EXPECT_EQ(units(1, 0), units(1, 0));
  EXPECT_NE(units(1, 0), units(1, 1));
  EXPECT_NE(units(1, 0), units(2, 0));
  EXPECT_NE(units(1, 0), sorted(units(1, 0)));
  DataConfig natural = small_windows();
  natural.shuffle = false;
  const Order order(source, natural, 1, Part::train);
  EXPECT_EQ(order.epoch(5).units, sorted(units(1, 0)));
  EXPECT_EQ(order.documents(0, 0, 3), (std::vector<uint32_t>{0, 1, 2}));
}

TEST(Order, WindowsTakeAboutTheSizeAskedFor) {
  const auto epoch = Order(numbered(100), small_windows(), 1, Part::all).epoch(0);
  EXPECT_EQ(epoch.windows(), 34);
  for (int64_t w = 0; w + 1 < epoch.windows(); ++w)
    EXPECT_EQ(epoch.begin[static_cast<size_t>(w) + 1] - epoch.begin[static_cast<size_t>(w)], 3);
  EXPECT_EQ(epoch.begin.back(), 100);
}

TEST(Order, PermutesDocumentsByWindow) {
  const Order order(numbered(10), small_windows(), 1, Part::train);
  const auto first = order.documents(0, 0, 50);
  EXPECT_EQ(std::set<uint32_t>(first.begin(), first.end()).size(), 50u);
  EXPECT_EQ(order.documents(0, 0, 50), first);
  EXPECT_NE(order.documents(0, 1, 50), first);
  EXPECT_NE(order.documents(1, 0, 50), first);
}

TEST(Cursor, GoesThroughJson) {
  const Cursor cursor{{{1, 2, 3, 4, 5, 6, int64_t{1} << 60}, {3, 2}}};
  EXPECT_EQ(nlohmann::json::parse(nlohmann::json(cursor).dump()).get<Cursor>(), cursor);
  EXPECT_EQ(cursor.epoch(), 1);
  EXPECT_THAT(user_error_of([] { nlohmann::json::parse("{\"streams\": 1}").get<Cursor>(); }),
              HasSubstr("field \"streams\": expected a list"));
  EXPECT_THAT(user_error_of([] { nlohmann::json::parse("{\"streams\": [{}]}").get<Cursor>(); }),
              HasSubstr("field \"epoch\""));
}

TEST(Cursor, OfVersion01IsRead) {
  nlohmann::json json = {{"epoch", 1}, {"window", 2},    {"document", 3},
                         {"token", 4}, {"documents", 5}, {"tokens", 6}};
  EXPECT_EQ(json.get<Cursor>(), (Cursor{{{1, 2, 3, 4, 0, 5, 6}}}));
  json.erase("window");
  EXPECT_THAT(user_error_of([&] { json.get<Cursor>(); }), HasSubstr("field \"window\""));
  json["window"] = -1;
  EXPECT_THAT(user_error_of([&] { json.get<Cursor>(); }), HasSubstr("field \"window\""));
  json["window"] = 1.5;
  EXPECT_THAT(user_error_of([&] { json.get<Cursor>(); }), HasSubstr("field \"window\""));
  EXPECT_THAT(user_error_of([&] { nlohmann::json(3).get<Cursor>(); }), HasSubstr("found 3"));
}

}  // namespace
}  // namespace moe::data
