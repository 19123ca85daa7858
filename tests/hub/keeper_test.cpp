// SPDX-License-Identifier: MIT
// Files kept while they are read: the same bytes before and after, never more than the limit, nothing in use
// removed.
#include "hub/keeper.h"

#include <chrono>
#include <thread>

#include "hub/fixture.h"

namespace moe::hub {
namespace {

using testing::Contains;
using testing::HasSubstr;
using testing::Not;

// A process of its own, as far as the cache can tell: nothing is shared but the folder. (Its locks belong to
// open files, not to processes.)
struct Reader {
  Reader(std::unique_ptr<Hub> hub_, net::Client& client, int64_t limit, const Hub::Event& event)
      : hub(std::move(hub_)), keeper(*hub, client, limit, event) {}
  std::unique_ptr<Hub> hub;
  Keeper keeper;
};

class KeeperTest : public HubTest {
 protected:
  KeeperTest() {
    for (const char* name : {"a", "b", "c"})
      folder_.put(std::string("datasets/us/three/") + name + ".bin", content(name));
  }
  static std::string content(const std::string& name) { return std::string(3000, name[0]); }

  std::unique_ptr<Reader> reader(int64_t limit) {
    return std::make_unique<Reader>(hub(), *client_, limit, [this](const std::string& line) {
      const std::lock_guard lock(mutex_);
      events_.push_back(line);
    });
  }
  std::vector<std::string> events() {
    const std::lock_guard lock(mutex_);
    return events_;
  }
  std::vector<File> files(Reader& reader) { return reader.hub->list(three_); }
  bool kept(Reader& reader, const File& file) {
    return reader.hub->cache().find(three_, reader.hub->commit(three_), file).has_value();
  }
  // Holds the limit at every look; fails when it takes half a minute.
  void wait_until(Reader& reader, int64_t limit, const std::function<bool()>& true_at_last) {
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(30);
    while (!true_at_last()) {
      ASSERT_LE(reader.hub->cache().fetched_bytes(), limit);
      ASSERT_LT(std::chrono::steady_clock::now(), end);
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
    }
    ASSERT_LE(reader.hub->cache().fetched_bytes(), limit);
  }

  const Address three_ = Address::parse("hf://datasets/us/three");
};

TEST_F(KeeperTest, ReadsFromTheDiskAsSoonAsTheFileIsThere) {
  serve();
  const auto ours = reader(1'000'000);
  const File file = files(*ours).at(0);
  const auto input = ours->keeper.open(three_, file);
  EXPECT_EQ(input->read(0, 3000), content("a"));
  wait_until(*ours, 1'000'000, [&] { return kept(*ours, file); });
  // The switch follows the fetch: from some read on the server hears nothing more.
  for (int quiet = 0; quiet < 20;) {
    server_->control("{}");
    EXPECT_EQ(input->read(10, 20), std::string(10, 'a'));
    quiet = report()["counts"].value("cdn", 0) == 0 ? quiet + 1 : 0;
  }
  server_.reset();
  EXPECT_EQ(input->read(0, 3000), content("a"));
  EXPECT_EQ(input->name(), "hf://datasets/us/three/a.bin");
}

TEST_F(KeeperTest, StaysWithinTheLimitAndRemovesOnlyWhatNobodyUses) {
  serve();
  constexpr int64_t kLimit = 7000;  // two of three
  const auto first = reader(kLimit), second = reader(kLimit);
  const auto all = files(*first);
  auto a = first->keeper.open(three_, all[0]);
  wait_until(*first, kLimit, [&] { return kept(*first, all[0]); });
  const auto b = second->keeper.open(three_, all[1]);
  wait_until(*second, kLimit, [&] { return kept(*second, all[1]); });
  a = first->keeper.open(three_, all[0]);  // open as what it is now, a file of the cache

  const auto c = first->keeper.open(three_, all[2]);
  wait_until(*first, kLimit, [&] { return !events().empty(); });
  EXPECT_THAT(events(), Contains(HasSubstr("c.bin: not kept: data.hub_cache_gb is taken up")));
  EXPECT_EQ(c->read(0, 3000), content("c"));

  a.reset();  // unused from now on, though used after b
  const auto again = second->keeper.open(three_, all[2]);
  wait_until(*second, kLimit, [&] { return kept(*second, all[2]); });
  EXPECT_FALSE(kept(*first, all[0]));
  EXPECT_TRUE(kept(*first, all[1]));
  EXPECT_EQ(b->read(0, 3000), content("b"));
  EXPECT_EQ(again->read(0, 3000), content("c"));
}

TEST_F(KeeperTest, TwoAtOnceFetchOnceAndNeverExceedTheLimit) {
  serve();
  constexpr int64_t kLimit = 6500;
  const auto first = reader(kLimit), second = reader(kLimit);
  const auto all = files(*first);
  std::vector<std::shared_ptr<const Input>> inputs;
  for (const File& file : all) {
    inputs.push_back(first->keeper.open(three_, file));
    inputs.push_back(second->keeper.open(three_, file));
  }
  // Either has been told that one file has no room.
  wait_until(*first, kLimit, [&] { return events().size() == 2; });
  EXPECT_EQ(first->hub->cache().fetched_bytes(), 6000);
  EXPECT_EQ(report()["counts"].value("bytes", 0), 6000);
  for (size_t i = 0; i < inputs.size(); ++i) EXPECT_EQ(inputs[i]->read(0, 3000), content(all[i / 2].path));
}

TEST_F(KeeperTest, WhatCannotBeKeptIsReadFromTheHub) {
  serve();
  const auto ours = reader(2999);
  const auto input = ours->keeper.open(three_, files(*ours).at(0));
  wait_until(*ours, 0, [&] { return !events().empty(); });
  EXPECT_THAT(events(), Contains(HasSubstr("more than data.hub_cache_gb")));
  EXPECT_EQ(input->read(0, 3000), content("a"));
}

TEST_F(KeeperTest, EndsAtOnceWhileTheServerStalls) {
  serve();
  auto ours = reader(1'000'000);
  const File file = files(*ours).at(0);
  server_->control(R"({"rate": 1, "kinds": ["stall"], "seconds": 5, "scope": "cdn"})");
  const auto input = ours->keeper.open(three_, file);
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  const auto begin = std::chrono::steady_clock::now();
  ours.reset();
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::milliseconds(500));
  EXPECT_THAT(events(), Not(Contains(HasSubstr("not kept"))));
}

}  // namespace
}  // namespace moe::hub
