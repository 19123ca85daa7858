// SPDX-License-Identifier: MIT
// The bodies of tests/torture/disk.h, and tests of them: a file that is replaced without fsync may be lost,
// and one that is replaced as base/file.h does it may not.
#include "torture/disk.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <memory>
#include <set>
#include <tuple>

#include "base/error.h"
#include "base/file.h"
#include "base/random.h"

namespace moe::test {

namespace fs = std::filesystem;
using Kind = Operation::Kind;

void Disk::write_to(const fs::path& root) const {
  fs::remove_all(root);
  write(root, kRoot);
}

void Disk::lose_power(const std::vector<Operation>& log, const Each& each) {
  const std::vector<Effect> effects = effects_of(log);
  for (size_t made = 0; made <= effects.size(); ++made) lose_power_after(effects, made, log.size(), each);
}

int Disk::add(bool folder) {
  nodes_.push_back({.folder = folder});
  return static_cast<int>(nodes_.size()) - 1;
}

void Disk::read(const fs::path& path, int node) {
  if (node == kRoot) add(true);
  for (const auto& entry : fs::directory_iterator(path)) {
    const int made = add(entry.is_directory() && !entry.is_symlink());
    at(node).entries[entry.path().filename()] = made;
    if (entry.is_symlink())
      at(made).target = fs::read_symlink(entry.path());
    else if (at(made).folder)
      read(entry.path(), made);
    else
      at(made).bytes = read_file(entry.path());
  }
}

void Disk::write(const fs::path& path, int number) const {
  const Node& node = nodes_[static_cast<size_t>(number)];
  if (!node.target.empty()) return fs::create_symlink(node.target, path);
  if (!node.folder) {
    const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(path.c_str(), "w"), std::fclose);
    CHECK(std::fwrite(node.bytes.data(), 1, node.bytes.size(), file.get()) == node.bytes.size());
    return;
  }
  fs::create_directory(path);
  for (const auto& [name, entry] : node.entries) write(path / name, entry);
}

// The folder of a path, and its last name.
std::pair<int, std::string> Disk::place(const std::string& path) {
  const fs::path whole(path.ends_with('/') ? path.substr(0, path.size() - 1) : path);
  int folder = kRoot;
  for (const auto& part : whole.parent_path()) {
    const auto found = at(folder).entries.find(part);
    CHECK(found != at(folder).entries.end(), path);
    folder = found->second;
  }
  return {folder, whole.filename()};
}

// Runs the log on a copy. The nodes that it makes are made here too, empty and without names.
std::vector<Disk::Effect> Disk::effects_of(const std::vector<Operation>& log) {
  Disk now = *this;
  std::map<int64_t, int> handles;
  std::vector<Effect> effects;
  for (size_t i = 0; i < log.size(); ++i) {
    Effect effect{.kind = log[i].kind, .offset = log[i].offset, .bytes = log[i].bytes, .calls = i + 1};
    name_nodes(log[i], now, handles, effect);
    if (effect.node < 0 && effect.folder < 0) continue;
    now.apply(effect);
    effects.push_back(std::move(effect));
  }
  for (size_t node = nodes_.size(); node < now.nodes_.size(); ++node)
    nodes_.push_back({.folder = now.nodes_[node].folder, .target = now.nodes_[node].target});
  return effects;
}

// Leaves the effect without nodes where there is none.
void Disk::name_nodes(const Operation& call, Disk& now, std::map<int64_t, int>& handles, Effect& effect) {
  if (call.kind == Kind::write || call.kind == Kind::truncate || call.kind == Kind::sync) {
    effect.node = handles.at(call.handle);
    return;
  }
  if (call.path.empty()) {  // the folder itself is opened
    handles[call.handle] = kRoot;
    return;
  }
  const auto [folder, name] = now.place(call.path);
  auto& entries = now.at(folder).entries;
  const bool there = entries.contains(name);
  if (call.kind == Kind::open) {
    const int node = handles[call.handle] = there ? entries[name] : now.add(false);
    if (there && !call.truncates) return;
    effect.node = node;
    if (there) effect.kind = Kind::truncate;
    if (there) return;
  } else if (call.kind == Kind::mkdir || call.kind == Kind::link) {
    effect.node = now.add(call.kind == Kind::mkdir);
    if (call.kind == Kind::link) now.at(effect.node).target = call.to;
  } else if (call.kind == Kind::rename || call.kind == Kind::exchange) {
    effect.node = entries.at(name);
    effect.from = folder;
    effect.old = name;
    std::tie(effect.folder, effect.name) = now.place(call.to);
    return;
  }
  effect.folder = folder;
  effect.name = name;
}

void Disk::apply(const Effect& effect) {
  if (effect.kind == Kind::write) {
    std::string& bytes = at(effect.node).bytes;
    bytes.resize(std::max(bytes.size(), static_cast<size_t>(effect.offset) + effect.bytes.size()));
    bytes.replace(static_cast<size_t>(effect.offset), effect.bytes.size(), effect.bytes);
  } else if (effect.kind == Kind::truncate) {
    at(effect.node).bytes.resize(static_cast<size_t>(effect.offset));
  } else if (effect.kind == Kind::remove) {
    at(effect.folder).entries.erase(effect.name);
  } else if (effect.kind == Kind::exchange) {
    auto &a = at(effect.from).entries, &b = at(effect.folder).entries;
    if (a.contains(effect.old) && b.contains(effect.name)) std::swap(a[effect.old], b[effect.name]);
  } else if (effect.kind != Kind::sync) {
    if (effect.from >= 0) at(effect.from).entries.erase(effect.old);
    at(effect.folder).entries[effect.name] = effect.node;
  }
}

bool Disk::certain(const std::vector<Effect>& effects, size_t i, size_t made) {
  const Effect& effect = effects[i];
  for (size_t j = i + 1; j < made; ++j) {
    const Effect& later = effects[j];
    if (later.kind != Kind::sync) continue;
    if (effect.of_data() ? later.node == effect.node
                         : later.node == effect.folder && (effect.from < 0 || effect.from == effect.folder))
      return true;
  }
  return false;
}

void Disk::lose_power_after(const std::vector<Effect>& effects, size_t made, size_t calls,
                            const Each& each) const {
  std::vector<size_t> open;  // effects that are not certain
  for (size_t i = 0; i < made; ++i)
    if (effects[i].kind != Kind::sync && !certain(effects, i, made)) open.push_back(i);
  enum class Got : uint8_t { all, half, zeros, nothing };
  const auto attempt = [&](const std::function<Got(size_t)>& got) {
    Disk disk = *this;
    for (size_t i = 0, o = 0; i < made; ++i) {
      const bool sure = o == open.size() || open[o] != i;
      const Got through = sure ? Got::all : got(i);
      if (!sure) ++o;
      Effect effect = effects[i];
      if (through == Got::half) effect.bytes.resize(effect.bytes.size() / 2);
      if (through == Got::zeros) std::fill(effect.bytes.begin(), effect.bytes.end(), '\0');
      if (through != Got::nothing) disk.apply(effect);
    }
    each(disk, made == effects.size() ? calls : made == 0 ? 0 : effects[made - 1].calls);
  };
  attempt([](size_t) { return Got::all; });
  if (open.empty()) return;
  attempt([](size_t) { return Got::nothing; });
  attempt([&](size_t i) { return effects[i].of_data() ? Got::nothing : Got::all; });
  attempt([&](size_t i) { return effects[i].of_data() ? Got::all : Got::nothing; });
  attempt([&](size_t i) { return effects[i].of_data() ? Got::half : Got::all; });
  attempt([&](size_t i) { return effects[i].of_data() ? Got::zeros : Got::all; });
  for (const size_t one : open) {
    attempt([&](size_t i) { return i == one ? Got::nothing : Got::all; });
    attempt([&](size_t i) { return i == one ? Got::all : Got::nothing; });
  }
  for (uint64_t draw = 0; draw < 4; ++draw) {
    const Random random(made, "power" + std::to_string(draw));
    attempt([&](size_t i) { return static_cast<Got>(random.below(i, 4)); });
  }
}

namespace {

// What `name` may hold after a power loss during `body`, which begins with "old" there; "-" where it is gone.
template <class Body>
std::set<std::string> after_power_loss(const std::string& name, Body&& body) {
  const fs::path folder = fs::path(::testing::TempDir()) / ("disk-" + std::to_string(getpid()));
  const fs::path found = folder.string() + "-found";
  fs::remove_all(folder);
  fs::create_directories(folder);
  write_file_atomically(folder / name, "old");
  Disk disk(folder);
  Watch watch(folder);
  body(folder);
  watch.stop();
  std::set<std::string> states;
  disk.lose_power(watch.log(), [&](const Disk& state, size_t) {
    state.write_to(found);
    states.insert(fs::exists(found / name) ? read_file(found / name) : "-");
  });
  fs::remove_all(folder);
  fs::remove_all(found);
  return states;
}

void write_and_rename(const fs::path& folder, bool synchronises) {
  const fs::path fresh = folder / "fresh";
  const int file = ::open(fresh.c_str(), O_WRONLY | O_CREAT, 0666);
  ASSERT_EQ(::write(file, "new!", 4), 4);
  if (synchronises) ::fsync(file);
  ::close(file);
  fs::rename(fresh, folder / "a");
}

TEST(DiskTest, ARenameMayComeBeforeTheBytes) {
  const auto states = after_power_loss("a", [](const fs::path& folder) { write_and_rename(folder, false); });
  EXPECT_EQ(states, (std::set<std::string>{"old", "", "ne", "new!", std::string(4, '\0')}));
}

TEST(DiskTest, BytesThatWereSynchronisedAreThere) {
  const auto states = after_power_loss("a", [](const fs::path& folder) { write_and_rename(folder, true); });
  EXPECT_EQ(states, (std::set<std::string>{"old", "new!"}));
}

TEST(DiskTest, WritingOverAFileMayLoseBoth) {
  const auto states = after_power_loss("a", [](const fs::path& folder) {
    const int file = ::open((folder / "a").c_str(), O_WRONLY | O_TRUNC);
    ASSERT_EQ(::write(file, "new!", 4), 4);
    ::fsync(file);
    ::close(file);
  });
  EXPECT_TRUE(states.contains("")) << "after O_TRUNC";
  EXPECT_TRUE(states.contains("new!"));
}

}  // namespace
}  // namespace moe::test
