// SPDX-License-Identifier: MIT
// The names under which Weights & Biases and TensorBoard show the metrics of the record. Both make a section
// of what stands before the first slash, so that here each name has one: train, val, router, perf and so on.
// The record keeps its own names: other programs read them.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "metrics/sink.h"

namespace moe::metrics {

enum class Best : uint8_t { none, lowest, highest };

// A name that ends with * stands for all that begin so; the rest takes the place of the * in `shown`.
struct ShownMetric {
  std::string_view name;   // in metrics.jsonl
  std::string_view shown;  // in Weights & Biases and TensorBoard
  Best best = Best::none;  // which value of a run is its best, for a table of runs
};
// The one declaration. docs/metrics.md has it as a table, which a test keeps true.
std::span<const ShownMetric> shown_metrics();

// A name that is not declared is shown as it is.
std::string shown_name(std::string_view name);
Best best_of(std::string_view shown);

// A sink that gets rows by the names that are shown. Rows with "alert" pass as they are. The load's entropy
// and its largest over the mean come as a number a layer, too: router_layers/entropy/03.
class ShownNames final : public Sink {
 public:
  // first_layer: the layer of the first number in a list of the routers' (model.first_dense_layers).
  ShownNames(std::unique_ptr<Sink> sink, int64_t first_layer)
      : sink_(std::move(sink)), first_layer_(first_layer) {}
  void write(const Row& row) override;
  void told(const std::string& text) override { sink_->told(text); }
  void moved(const std::filesystem::path& folder) override { sink_->moved(folder); }
  void settle() override { sink_->settle(); }
  void finish(int exit_code) override { sink_->finish(exit_code); }

 private:
  std::unique_ptr<Sink> sink_;
  int64_t first_layer_;
};

}  // namespace moe::metrics
