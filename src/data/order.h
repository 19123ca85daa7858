// SPDX-License-Identifier: MIT
// In which order a stream (data/lanes.h) takes units and documents. The units of its share are permuted anew
// each epoch and dealt to the share's streams, each to the one with the least text so far. Consecutive units of
// a stream form windows, whose documents are pooled and permuted; the windows of all streams together hold
// about data.shuffle_window_mb. All of it is a pure function of (seed, stream, epoch, window). The held-out
// units depend on the source alone, so that losses of runs with different seeds compare.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "data/source.h"

namespace moe {

// train: the units that are not held out, endlessly. train_once: the same, one pass in natural order.
// validation: the held-out units; all: every unit; both one pass in natural order. validation_sample: one pass
// over the held-out units, shuffled, so that its first few batches stand for the whole.
enum class Part : uint8_t { train, train_once, validation, validation_sample, all };

// round(data.validation_fraction * units), at least 1 and never all; 0 when the fraction is 0, when there are
// less than two units, or when data.validation_source names other files. Of a mixture: the sum over its shares.
int64_t held_out_units(const Share& share, const DataConfig& config);
int64_t held_out_units(const Source& source, const DataConfig& config);
inline bool has_validation(const Source& source, const DataConfig& config) {
  return held_out_units(source, config) > 0;
}

class Order {
 public:
  // stream: of layout(source, config, part).
  Order(std::shared_ptr<const Source> source, const DataConfig& config, uint64_t seed, Part part,
        int64_t stream = 0);

  const Source& source() const { return *source_; }
  bool endless() const { return endless_; }

  // The units of one epoch; window w takes units[begin[w]] ... units[begin[w + 1] - 1].
  struct Epoch {
    std::vector<int64_t> units;
    std::vector<int64_t> begin;
    int64_t windows() const { return static_cast<int64_t>(begin.size()) - 1; }
  };
  Epoch epoch(int64_t epoch) const;
  // Which of the window's `count` documents (numbered in unit order) comes first, second, ...
  std::vector<uint32_t> documents(int64_t epoch, int64_t window, uint32_t count) const;
  // A random order of 0 ... count - 1 for another purpose, named by a word; the natural one when nothing is to
  // be shuffled.
  std::vector<uint32_t> permutation(const std::string& purpose, int64_t epoch, int64_t window,
                                    uint32_t count) const;

 private:
  std::vector<int64_t> deal(std::vector<int64_t> units) const;

  std::shared_ptr<const Source> source_;
  std::vector<int64_t> units_;  // of this part and share, in natural order
  int64_t window_bytes_;
  uint64_t seed_;
  bool endless_, shuffle_;
  int64_t share_ = 0, stream_ = 0, streams_ = 1;  // the stream among those of its share
};

}  // namespace moe
