// SPDX-License-Identifier: MIT
// In which order units and documents are taken. Units are permuted anew each epoch; consecutive units form
// windows of about data.shuffle_window_mb, whose documents are pooled and permuted. All of it is a pure
// function of (seed, epoch, window). The held-out units depend on the source alone, so that losses of runs
// with different seeds compare.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "data/source.h"

namespace moe {

// train: the units that are not held out, endlessly. train_once: the same, one pass in natural order.
// validation: the held-out units; all: every unit; both one pass in natural order. validation_sample: one pass
// over the held-out units, shuffled, so that its first few batches stand for the whole.
enum class Part : uint8_t { train, train_once, validation, validation_sample, all };

// round(data.validation_fraction * units), at least 1 and never all; 0 when the fraction is 0, when there are
// less than two units, or when data.validation_source names other files.
int64_t held_out_units(const Source& source, const DataConfig& config);
inline bool has_validation(const Source& source, const DataConfig& config) {
  return held_out_units(source, config) > 0;
}

class Order {
 public:
  Order(std::shared_ptr<const Source> source, const DataConfig& config, uint64_t seed, Part part);

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

 private:
  std::shared_ptr<const Source> source_;
  std::vector<int64_t> units_;  // of this part, in natural order
  int64_t window_bytes_;
  uint64_t seed_;
  bool endless_, shuffle_;
};

}  // namespace moe
