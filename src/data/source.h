// SPDX-License-Identifier: MIT
// Where documents come from: an ordered list of units, each read in one go (a row group of Parquet, a range
// of a text file). Every unit holds whole documents, and every document is in exactly one unit. Filters,
// mixtures and remote data sets are other Sources around or beside the ones here.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "text/token_id.h"

namespace moe {
class Terminal;
}

namespace moe::data {

struct DataConfig;
class DataFile;
using DataFilePtr = std::shared_ptr<const DataFile>;
class Remote;

// The documents of one unit, back to back in one buffer. Each is text, or the ids of a token file.
class Documents {
 public:
  int64_t size() const { return static_cast<int64_t>(spans_.size()); }
  // Exactly one of the two is not empty: no document is empty.
  std::string_view text(int64_t i) const;
  std::span<const text::TokenId> ids(int64_t i) const;  // without the end-of-text token
  int64_t bytes(int64_t i) const { return std::ssize(text(i)) + kBytesOfId * std::ssize(ids(i)); }

  // Empty ones are dropped. ending: put after a text that is not empty.
  void add_text(std::string_view text, std::string_view ending = "");
  void add_ids(std::span<const text::TokenId> ids);
  // Marked as in data/source_bytes.h: is_conversation(). Never cut.
  void add_conversation(std::span<const text::TokenId> marked);
  void clear();
  // The end of the text that is about a `tail` of its bytes, or (keep_tail false) all before it. Cut between
  // documents where that comes near enough, else inside one, at the end of a line or a word.
  void keep_part(double tail, bool keep_tail);

 private:
  // As in a token file of GPT-2. The memory is twice that, but cuts and pieces stay where they were.
  static constexpr int64_t kBytesOfId = 2;

  void cut(size_t document, int64_t byte, bool keep_tail);
  struct Span {
    size_t begin, end;
    bool is_text;
  };
  std::string text_;
  std::vector<text::TokenId> ids_;
  std::vector<Span> spans_;
  bool whole_ = false;  // conversations, which are kept or left out as wholes
};

// Units [begin, end) of a mixture, and their part of the tokens: weight over the sum of all weights.
struct Share {
  int64_t begin = 0, end = 0;
  int64_t weight = 1;
};

// What reading has cost so far, over all users of a source; zero for local files.
struct NetworkCounts {
  int64_t requests = 0, bytes = 0, retries = 0, rate_limited = 0, too_slow = 0;
  double waited_seconds = 0;  // between attempts, summed over the threads that read
};

class Source {
 public:
  virtual ~Source() = default;

  virtual int64_t units() const = 0;
  // One, of all units, unless this is a mixture. In order, without gaps.
  virtual std::vector<Share> shares() const { return {{0, units(), 1}}; }
  // About how many bytes of memory the documents of a unit take; for windows and progress.
  virtual int64_t unit_bytes(int64_t unit) const = 0;
  // Adds the unit's documents, in order. Safe to call from many threads. Throws UserError naming the file.
  virtual void read(int64_t unit, Documents& documents) const = 0;
  // Changes when the same unit number would hold something else (other bytes, other splitting): a cursor is
  // only good for the same identity. Says nothing of places, names and times.
  virtual std::string identity() const = 0;
  // As version 0.1 said it: checkpoints hold it.
  virtual std::string old_identity() const { return identity(); }
  // That are read, where it is made of files.
  virtual std::vector<DataFilePtr> files() const { return {}; }
  virtual NetworkCounts network() const { return {}; }
  // Of its Parquet files, before filters; 0 without any.
  virtual int64_t rows() const { return 0; }

  int64_t bytes() const;  // of all units
};

// Whether a checkpoint's identity is that of this text, written by this version or by 0.1.
bool is_identity_of(const std::string& identity, const Source& source);
// The number of units that an identity tells; 0 where it tells none.
int64_t units_of_identity(const std::string& identity);

// The places of data.source as one source: local files, folders and patterns ("shards/*.bin"), addresses on
// the hub (hf://datasets/USER/NAME[@REVISION]/PATH, a file or a folder) and plain https:// addresses. The
// format follows data.format, or each file's ending: .txt .text .md, .jsonl .ndjson, .parquet, .bin, each
// also compressed (.gz .dz .zst .zstd). Compressed files are decoded once into a cache. Throws UserError when
// there is nothing to read or a file is not what it should be. The terminal must outlive a source with remote
// files.
// remote: what those are read through; null makes one when it is needed.
std::shared_ptr<const Source> open_source(const std::vector<std::string>& places, const DataConfig& config,
                                          Terminal& terminal, std::shared_ptr<Remote> remote = nullptr);
// data.source, or the places of data.mixture. Throws UserError for an entry that is none.
std::vector<std::string> training_places(const DataConfig& config);
// data.source, or data.mixture as a source with a share for each entry.
std::shared_ptr<const Source> open_training_source(const DataConfig& config, Terminal& terminal);

}  // namespace moe::data
