// SPDX-License-Identifier: MIT
// In which order a stream (data/interleave.h) takes units and documents. The units of its share are permuted
// anew each epoch and dealt to the share's streams, each to the one with the least text so far. Consecutive
// units of a stream form windows, whose documents are pooled and permuted; the windows of all streams
// together hold about data.shuffle_window_mb. All of it is a pure function of (seed, stream, epoch, window).
// What is held out: data/held_out.h.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "data/source.h"

namespace moe::data {

// train: what is not held out, endlessly. train_once: the same, one pass in natural order. validation: what
// is held out; all: everything; both one pass in natural order. validation_sample: one pass over what is held
// out, shuffled, so that its first few batches stand for the whole.
enum class Part : uint8_t { train, train_once, validation, validation_sample, all };

class Order {
 public:
  // stream: of layout(source, config, part).
  Order(std::shared_ptr<const Source> source, const DataConfig& config, uint64_t seed, Part part,
        int64_t stream = 0);

  // The documents of a unit that belong to this part.
  Documents read(int64_t unit) const;
  int64_t share() const { return share_; }
  bool one_of_many() const { return source_->shares().size() > 1; }  // a mixture has several shares
  const Source& source() const { return *source_; }
  bool endless() const { return endless_; }

  // The units of one epoch; window w takes units[begin[w]] ... units[begin[w + 1] - 1].
  struct Epoch {
    std::vector<int64_t> units;
    std::vector<int64_t> begin;
    int64_t windows() const { return static_cast<int64_t>(begin.size()) - 1; }
  };
  // Whether each epoch of the stream has all units of the share.
  bool has_all() const { return streams_ == 1; }
  // whole: all units of the share, for a stream whose own hold no documents.
  Epoch epoch(int64_t epoch, bool whole = false) const;
  // Which of the window's `count` documents (numbered in unit order) comes first, second, ...
  std::vector<uint32_t> documents(int64_t epoch, int64_t window, uint32_t count) const;
  // A random order of 0 ... count - 1 for another purpose, named by a word; the natural one when nothing is
  // to be shuffled.
  std::vector<uint32_t> permutation(const std::string& purpose, int64_t epoch, int64_t window,
                                    uint32_t count) const;

 private:
  std::vector<int64_t> deal(std::vector<int64_t> units) const;

  std::shared_ptr<const Source> source_;
  std::vector<int64_t> units_;                    // of this part and share, in natural order
  std::vector<std::pair<int64_t, double>> cuts_;  // units that are on both sides, and their held-out part
  bool held_out_ = false;                         // of which side this is
  int64_t window_bytes_;
  uint64_t seed_;
  bool endless_, shuffle_;
  int64_t share_ = 0, stream_ = 0, streams_ = 1;  // the stream among those of its share
};

}  // namespace moe::data
