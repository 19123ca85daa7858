// SPDX-License-Identifier: MIT
// Files of base/, and checkpoints made of them.
#include <algorithm>
#include <string>

#include "base/file.h"
#include "base/part_writer.h"
#include "torture/torture.h"

namespace moe {
namespace {

using test::Torture;
using test::fs::path;

using TorturedFiles = Torture;

std::string old_or_new(const path& file, const std::string& before, const std::string& after) {
  const std::string bytes = read_file(file);
  return bytes == before  ? "old"
         : bytes == after ? "new"
                          : "a mixture of " + std::to_string(bytes.size()) + " bytes";
}

TEST_F(TorturedFiles, AreTheOldOneOrTheNewOne) {
  const std::string before(3000, 'o'), after((3 << 20) + 5, 'n');
  torture({.prepare = [&](const path& folder) { write_file_atomically(folder / "a", before); },
           .write =
               [&](const path& folder) {
                 FileWriter writer(folder / "a", after.size());
                 for (size_t at = 0; at < after.size(); at += 700'000)
                   writer.write(std::string_view(after).substr(at, 700'000));
                 writer.commit();
               },
           .state = [&](const path& folder) { return old_or_new(folder / "a", before, after); }});
}

// The old state of a stretch is not kept: who writes parts renames the folder when all are there.
TEST_F(TorturedFiles, PartsAreThereWhenTheyAreCommitted) {
  const std::string all(5000, 'x');
  const auto write = [&](const path& folder) {
    write_file_atomically(folder / "parts", "");
    PartWriter first(folder / "parts"), second(folder / "parts");
    second.write_at(2000, all.data(), 3000);
    first.write_at(0, all.data(), 2000);
    first.commit();
    second.commit();
    write_file_atomically(folder / "done", "");
  };
  torture({.prepare = [](const path&) {},
           .write = write,
           .state = [&](const path& folder) -> std::string {
             if (!test::fs::exists(folder / "done")) return "old";
             return read_file(folder / "parts") == all ? "new" : "done without all parts";
           }});
}

}  // namespace
}  // namespace moe
