// SPDX-License-Identifier: MIT
// Sizes come from /proc/meminfo and from the limits of the control groups (v2) this process is in.
#include "base/host_memory.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <optional>
#include <string>

namespace moe {
namespace {

namespace fs = std::filesystem;

// A field of /proc/meminfo in bytes.
std::optional<int64_t> meminfo(const std::string& field) {
  std::ifstream file("/proc/meminfo");
  std::string key, unit;
  int64_t kib = 0;
  while (file >> key >> kib) {
    std::getline(file, unit);
    if (key == field + ":") return kib * 1024;
  }
  return std::nullopt;
}

std::optional<int64_t> number_in(const fs::path& path) {
  std::ifstream file(path);
  int64_t value = 0;
  if (file >> value) return value;  // "max" is no number: no limit
  return std::nullopt;
}

// "inactive_file" of memory.stat: page cache that counts as used but is given up on demand.
int64_t reclaimable(const fs::path& group) {
  std::ifstream file(group / "memory.stat");
  std::string key;
  int64_t value = 0;
  while (file >> key >> value)
    if (key == "inactive_file") return value;
  return 0;
}

// The folder of this process's control group: line "0::/path" of /proc/self/cgroup.
fs::path own_group() {
  std::ifstream file("/proc/self/cgroup");
  std::string line;
  while (std::getline(file, line))
    if (line.rfind("0::", 0) == 0) return fs::path("/sys/fs/cgroup" + line.substr(3)).lexically_normal();
  return "/sys/fs/cgroup";
}

// Calls visit(folder, limit) for every enclosing group that has a memory limit.
template <class Visit>
void each_limit(Visit&& visit) {
  const fs::path root = "/sys/fs/cgroup";
  for (fs::path group = own_group();; group = group.parent_path()) {
    if (const auto limit = number_in(group / "memory.max")) visit(group, *limit);
    if (group == root || group == group.parent_path()) return;
  }
}

}  // namespace

int64_t machine_memory_total() {
  return meminfo("MemTotal").value_or(0);
}

int64_t host_memory_total() {
  int64_t total = machine_memory_total();
  each_limit([&](const fs::path&, int64_t limit) { total = std::min(total, limit); });
  return total;
}

int64_t host_memory_available() {
  int64_t available = meminfo("MemAvailable").value_or(0);
  each_limit([&](const fs::path& group, int64_t limit) {
    const int64_t used = number_in(group / "memory.current").value_or(0) - reclaimable(group);
    available = std::min(available, std::max<int64_t>(0, limit - used));
  });
  return available;
}

}  // namespace moe
