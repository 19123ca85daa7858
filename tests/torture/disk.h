// SPDX-License-Identifier: MIT
// A disk that loses its power: from a folder before some calls and the calls (tests/torture/calls.h), the
// folders that a machine may find when it comes back. Only what was synchronised is certain: the bytes of a
// file after its fsync, the names in a folder after the folder's. All else may be there or not, each call by
// itself and in any order; of a write a half, or zeros in its place. A rename is there or not there, never
// half. The weakest file system that POSIX allows is meant, as in ALICE (Pillai et al., OSDI 2014).
// tests/torture/disk_test.cpp has the bodies.
#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "torture/calls.h"

namespace moe::test {

class Disk {
 public:
  // As it is now, all of it certain.
  explicit Disk(const std::filesystem::path& root) { read(root, kRoot); }

  // Makes the folder what this disk holds.
  void write_to(const std::filesystem::path& root) const;

  // Calls each(disk, calls) for the states that are tried after each number of calls.
  using Each = std::function<void(const Disk&, size_t calls)>;
  void lose_power(const std::vector<Operation>& log, const Each& each);

 private:
  static constexpr int kRoot = 0;
  struct Node {
    bool folder = false;
    std::string bytes{}, target{};  // of a file; of a link
    std::map<std::string, int> entries{};
  };
  // What a call does, with nodes in place of names.
  struct Effect {
    Operation::Kind kind;
    int node = -1;    // that is written, synchronised or gets a name
    int folder = -1;  // where the name is
    std::string name{};
    int from = -1;  // where it was: folder and name
    std::string old{};
    int64_t offset = 0;
    std::string bytes{};
    size_t calls = 0;  // made when it is done

    bool of_data() const { return kind == Operation::Kind::write || kind == Operation::Kind::truncate; }
  };

  int add(bool folder);
  Node& at(int node) { return nodes_[static_cast<size_t>(node)]; }
  void read(const std::filesystem::path& path, int node);
  void write(const std::filesystem::path& path, int number) const;
  std::pair<int, std::string> place(const std::string& path);
  std::vector<Effect> effects_of(const std::vector<Operation>& log);
  void name_nodes(const Operation& call, Disk& now, std::map<int64_t, int>& handles, Effect& effect);
  void apply(const Effect& effect);
  static bool certain(const std::vector<Effect>& effects, size_t i, size_t made);
  void lose_power_after(const std::vector<Effect>& effects, size_t made, size_t calls,
                        const Each& each) const;

  std::vector<Node> nodes_;
};

}  // namespace moe::test
