// SPDX-License-Identifier: MIT
// Looks into the model at a validation, and nowhere else: how strongly attention falls on the first token,
// how open the gates are, how large activations get, how sure the router is, and how large weights and their
// updates are. What it needs is copied to the host and computed there in f64: the same on every device, and
// no step pays for it. Of weights and gradients each rank takes what is its own, and the sums are those of
// all.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "metrics/row.h"
#include "model/transformer.h"
#include "model/weights.h"
#include "ops/ops.h"
#include "tensor/device.h"
#include "train/replicas.h"

namespace moe::train {

class Probe {
 public:
  static constexpr int64_t kRows = 2;  // sequences looked at, the first ones of the batch
  static constexpr int64_t kFirstQuery =
      8;  // the sink is a mean over queries with at least so many tokens before
  static constexpr int64_t kSlices = 16, kSlice = 4096;  // of each weight, for the update: evenly spaced

  // squares_g: f64, one for each group; overwritten by report(). All are used while the object lives.
  Probe(const model::ModelConfig& config, int64_t T, const model::Weights& weights,
        const std::vector<std::string>& groups, Tensor squares_g, Replicas& replicas, Device& device,
        Ops& ops);

  // All ranks call these together. Before and after an update: how far it moved the weights, from the same
  // slices of each.
  void before_update();
  // loss_scale: that the gradients carry.
  void after_update(double loss_scale);
  // For Transformer::forward: takes the numbers of each block, in order.
  model::BlockObserver observer();
  // Adds what is known since the last call (docs/metrics.md has the names), the norms of the weights among
  // it.
  void report(metrics::Row& row);

 private:
  struct Layer {
    double sink = 0, uniform = 0, gate = 0, largest = 0;
    std::optional<double> confidence;  // of its router
  };
  // Elements of a parameter, flat, as far as they are this rank's own.
  struct Cut {
    Tensor weight, gradient;
  };
  // What the gates' part of a step was.
  struct GateStep {
    double update_ratio = 0, gradient_norm = 0;
  };
  static Cut cut(const Parameter& parameter, int64_t begin, int64_t end);
  Layer measure(int64_t number, const model::BlockView& block) const;
  // first: of each token, as Transformer::upload has it.
  double confidence(const Tensor& probability_NE, const std::vector<int32_t>& first) const;
  void append(const Tensor& flat, std::vector<float>& values) const;
  std::vector<float> gate_weights() const;
  GateStep gate_step(double loss_scale) const;
  std::vector<std::vector<float>> slices() const;
  void add_weights(metrics::Row& row);
  void add_gates(metrics::Row& row);

  model::ModelConfig config_;
  Heads heads_;
  int64_t T_;
  std::vector<Parameter> parameters_;
  std::vector<size_t> group_;  // of each parameter
  std::vector<Cut> gates_;     // the rows of each head's gate in each fused projection: norms of their own
  const std::vector<std::string>& groups_;
  Tensor squares_g_;
  Replicas& replicas_;
  Device& device_;
  Ops& ops_;
  std::vector<std::vector<float>> before_;
  std::vector<float> gates_before_;
  std::vector<double> update_ratio_;  // by group
  std::optional<GateStep> gate_step_;
  std::vector<Layer> layers_;
};

}  // namespace moe::train
