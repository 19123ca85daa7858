// SPDX-License-Identifier: MIT
#include "data/count_pieces.h"

#include <atomic>
#include <vector>

#include "base/error.h"
#include "base/progress.h"
#include "base/terminal.h"
#include "base/threads.h"

namespace moe::data {

text::PieceCounts count_pieces(const Source& source, text::SplitPattern pattern, int64_t threads,
                               Terminal& terminal) {
  ThreadPool pool(static_cast<int>(threads));
  std::vector<text::PieceCounts> parts(static_cast<size_t>(pool.size()), text::PieceCounts(pattern));
  Progress progress(terminal, "reading", static_cast<uint64_t>(source.bytes()), "bytes");
  std::atomic<int64_t> next{0};
  pool.parallel_for(std::ssize(parts), 1, [&](int64_t part, int64_t) {
    Documents documents;
    for (int64_t unit = next++; unit < source.units(); unit = next++) {
      documents.clear();
      source.read(unit, documents);
      for (int64_t i = 0; i < documents.size(); ++i) {
        if (!documents.ids(i).empty())
          throw UserError("moe tokenizer train", "text", "a token file", "name the text that it was made of");
        parts[static_cast<size_t>(part)].add(documents.text(i));
      }
      progress.add(static_cast<uint64_t>(source.unit_bytes(unit)));
    }
  });
  progress.done();
  for (size_t part = 1; part < parts.size(); ++part) parts.front().add(parts[part]);
  return std::move(parts.front());
}

}  // namespace moe::data
