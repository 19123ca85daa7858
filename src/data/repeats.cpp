// SPDX-License-Identifier: MIT
#include "data/repeats.h"

#include <fmt/format.h>

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "data/data_file.h"

namespace moe::data {
namespace {

constexpr int64_t kMostFiles = 4096;  // whose bytes are looked at

struct Found {
  int64_t files = 0;
  std::string one, other;  // the first two
};

// Counts those of `files` that are the same as one seen before.
class Seen {
 public:
  void expect(const std::vector<DataFilePtr>& files) {
    for (const auto& file : files) ++of_size_[file->size()];
  }
  Found repeats(const std::vector<DataFilePtr>& files) {
    Found found;
    for (const auto& file : files) {
      if (file->size() == 0 || of_size_[file->size()] < 2 || looked_at_++ >= kMostFiles) continue;
      const auto [first, fresh] = names_.emplace(file->identity(), file->name());
      if (fresh) continue;
      if (found.files++ == 0) found = {1, first->second, file->name()};
    }
    return found;
  }

 private:
  std::map<int64_t, int64_t> of_size_;
  std::map<std::string, std::string> names_;
  int64_t looked_at_ = 0;
};

}  // namespace

void warn_of_repeats(const Source& training, const Source* validation, Terminal& terminal) {
  const auto files = training.files();
  const auto others = validation == nullptr ? std::vector<DataFilePtr>() : validation->files();
  Seen seen;
  seen.expect(files);
  seen.expect(others);
  if (const Found twice = seen.repeats(files); twice.files > 0)
    terminal.warning(fmt::format(
        "the training text holds {} of its files more than once, such as {} and {}: the same bytes",
        twice.files, twice.one, twice.other));
  if (const Found both = seen.repeats(others); both.files > 0)
    terminal.warning(
        fmt::format("{} of the {} files for validation are the same bytes as others, such as {} and {}: the "
                    "loss on text that "
                    "is also trained on says little",
                    both.files, others.size(), both.one, both.other));
}

}  // namespace moe::data
