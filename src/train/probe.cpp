// SPDX-License-Identifier: MIT
#include "train/probe.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "base/error.h"
#include "metrics/meters.h"
#include "tensor/host_floats.h"

namespace moe::train {
namespace {

double dot(const float* x, const float* y, int64_t n) {
  double sum = 0;
  for (int64_t i = 0; i < n; ++i) sum += static_cast<double>(x[i]) * static_cast<double>(y[i]);
  return sum;
}

// A sum and how much went into it.
struct Mean {
  double sum = 0;
  int64_t count = 0;
  void add(double value) { sum += value, ++count; }
  double value() const { return count > 0 ? sum / static_cast<double>(count) : 0; }
};

}  // namespace

Probe::Probe(const model::ModelConfig& config, int64_t T, const model::Weights& weights,
             const std::vector<std::string>& groups, Tensor squares_g, Replicas& replicas, Device& device,
             Ops& ops)
    : config_(config),
      heads_(config.heads()),
      T_(T),
      parameters_(weights.list()),
      groups_(groups),
      squares_g_(squares_g),
      replicas_(replicas),
      device_(device),
      ops_(ops) {
  for (const Parameter& parameter : parameters_) {
    const auto group = std::find(groups_.begin(), groups_.end(), parameter.group);
    CHECK(group != groups_.end(), parameter.group);
    group_.push_back(static_cast<size_t>(group - groups_.begin()));
    if (!heads_.gated || !parameter.name.ends_with("attention.qkvg.weight")) continue;
    for (int64_t h = 0; h < heads_.query; ++h) {
      const int64_t begin = heads_.gate(h), end = begin + heads_.dim;
      gates_.push_back(cut(parameter, begin * config.d_model, end * config.d_model));
    }
  }
}

Probe::Cut Probe::cut(const Parameter& parameter, int64_t begin, int64_t end) {
  const Parameter::LocalShard local = parameter.local();
  const int64_t n = local.weight.numel();
  const int64_t from = std::clamp<int64_t>(begin - local.offset, 0, n);
  const int64_t to = std::clamp<int64_t>(end - local.offset, 0, n);
  return {local.weight.rows(from, to), local.gradient.rows(from, to)};
}

std::vector<std::vector<float>> Probe::slices() const {
  std::vector<std::vector<float>> all;
  for (const Parameter& parameter : parameters_) {
    std::vector<float>& values = all.emplace_back();
    const int64_t n = parameter.global_shape(DType::f32).numel();
    const bool small = n <= kSlices * kSlice;
    for (int64_t i = 0; i < (small ? 1 : kSlices); ++i) {
      const int64_t begin = i * (n - kSlice) / (kSlices - 1);
      append(cut(parameter, small ? 0 : begin, small ? n : begin + kSlice).weight, values);
    }
  }
  return all;
}

std::vector<float> Probe::gate_weights() const {
  std::vector<float> all;
  for (const Cut& gate : gates_) append(gate.weight, all);
  return all;
}

void Probe::append(const Tensor& flat, std::vector<float>& values) const {
  if (flat.numel() == 0) return;
  const auto more = host_floats(flat, device_);
  values.insert(values.end(), more.begin(), more.end());
}

Probe::GateStep Probe::gate_step(double loss_scale) const {
  const auto after = gate_weights();
  std::array<double, 3> sums{};
  auto& [moved, size, gradient] = sums;
  for (size_t i = 0; i < after.size(); ++i) {
    const double was = gates_before_[i], step = static_cast<double>(after[i]) - was;
    moved += step * step, size += was * was;
  }
  for (const Cut& gate : gates_) {
    std::vector<float> values;
    append(gate.gradient, values);
    gradient += dot(values.data(), values.data(), std::ssize(values));
  }
  replicas_.all_reduce_shards(sums);
  return {.update_ratio = size > 0 ? std::sqrt(moved / size) : 0,
          .gradient_norm = std::sqrt(gradient) / loss_scale};
}

void Probe::before_update() {
  before_ = slices();
  gates_before_ = gate_weights();
}

void Probe::after_update(double loss_scale) {
  gate_step_ = gate_step(loss_scale);
  gates_before_.clear();
  const auto after = slices();
  std::vector<double> moved(groups_.size()), size(groups_.size());
  for (size_t p = 0; p < after.size(); ++p)
    for (size_t i = 0; i < after[p].size(); ++i) {
      const double was = before_[p][i], step = static_cast<double>(after[p][i]) - was;
      moved[group_[p]] += step * step;
      size[group_[p]] += was * was;
    }
  replicas_.all_reduce_shards(moved);
  replicas_.all_reduce_shards(size);
  update_ratio_.clear();
  for (size_t g = 0; g < groups_.size(); ++g)
    update_ratio_.push_back(size[g] > 0 ? std::sqrt(moved[g] / size[g]) : 0);
  before_.clear();
}

model::BlockObserver Probe::observer() {
  layers_.clear();
  return [this](int64_t layer, const model::BlockView& block) { layers_.push_back(measure(layer, block)); };
}

Probe::Layer Probe::measure(int64_t number, const model::BlockView& block) const {
  const int64_t window = config_.window_of(number);
  const int64_t H = heads_.query, G = heads_.kv, d = heads_.dim, P = heads_.packed();
  const int64_t N = std::min(block.y_ND.dim(0), kRows * T_), D = block.y_ND.dim(1);
  std::vector<int32_t> first(static_cast<size_t>(N));
  device_.to_host(first.data(), block.doc_start_N.rows(0, N));
  const auto fetch = [&](const Tensor& tensor) { return host_floats(tensor.rows(0, N), device_); };
  const auto q = fetch(block.attention.q_NHd), k = fetch(block.attention.k_NGd),
             lse = fetch(block.attention.lse_NH);
  const auto packed = fetch(block.attention.packed_NP), y = fetch(block.y_ND);

  const double scale = 1 / std::sqrt(static_cast<double>(d));
  Mean sink, uniform, gate;
  Layer layer;
  for (int64_t n = 0; n < N; ++n) {
    const int64_t start = first[static_cast<size_t>(n)], t = n % T_;
    if (start < 0) continue;  // padding
    for (int64_t h = 0; h < H; ++h) {
      const float* gates = packed.data() + n * P + heads_.gate(h);
      for (int64_t i = 0; heads_.gated && i < d; ++i)
        gate.add(1 / (1 + std::exp(-static_cast<double>(gates[i]))));
      if (t - start < kFirstQuery || (window > 0 && t - start >= window)) continue;  // does not see the first
      const float* key = k.data() + ((n - t + start) * G + h / (H / G)) * d;
      const double score = scale * dot(q.data() + (n * H + h) * d, key, d);
      sink.add(std::exp(score - static_cast<double>(lse[static_cast<size_t>(n * H + h)])));
      uniform.add(1 / static_cast<double>(t - start + 1));
    }
    for (int64_t i = 0; i < D; ++i)
      layer.largest =
          std::max(layer.largest, std::abs(static_cast<double>(y[static_cast<size_t>(n * D + i)])));
  }
  layer.sink = sink.value(), layer.uniform = uniform.value();
  layer.gate = gate.value();
  if (block.router != nullptr) layer.confidence = confidence(block.router->probability_NE.rows(0, N), first);
  return layer;
}

double Probe::confidence(const Tensor& probability_NE, const std::vector<int32_t>& first) const {
  const int64_t E = probability_NE.dim(1);
  const auto probability = host_floats(probability_NE, device_);
  Mean mean;
  for (size_t n = 0; n < first.size(); ++n) {
    if (first[n] < 0) continue;  // padding
    const auto row = probability.begin() + static_cast<int64_t>(n) * E;
    mean.add(*std::max_element(row, row + E));
  }
  return mean.value();
}

void Probe::add_weights(metrics::Row& row) {
  ops_.fill(squares_g_, 0);
  for (size_t p = 0; p < parameters_.size(); ++p) {
    const auto slot = static_cast<int64_t>(group_[p]);
    const Tensor local = parameters_[p].local().weight;
    if (local.numel() > 0) ops_.sum_squares(squares_g_.rows(slot, slot + 1), local);
  }
  replicas_.all_reduce_shards(squares_g_);
  std::vector<double> squares(groups_.size());
  device_.to_host(squares.data(), squares_g_);
  double all = 0;
  for (const double square : squares) all += square;
  row.add("weight_norm", std::sqrt(all));
  for (size_t g = 0; g < groups_.size(); ++g) row.add("weight_norm/" + groups_[g], std::sqrt(squares[g]));
  if (heads_.gated) add_gates(row);
  for (size_t g = 0; g < update_ratio_.size(); ++g) row.add("update_ratio/" + groups_[g], update_ratio_[g]);
  update_ratio_.clear();
  if (gate_step_ && heads_.gated)
    row.add("update_ratio/gate", gate_step_->update_ratio)
        .add("gradient_norm/gate", gate_step_->gradient_norm);
  gate_step_.reset();
}

void Probe::add_gates(metrics::Row& row) {
  const auto gates = gate_weights();
  std::array<double, 1> square{dot(gates.data(), gates.data(), std::ssize(gates))};
  replicas_.all_reduce_shards(square);
  row.add("weight_norm/gate", std::sqrt(square[0]));
}

void Probe::report(metrics::Row& row) {
  add_weights(row);
  if (layers_.empty()) return;
  const auto all = [&](double Layer::*member) {
    std::vector<double> values;
    for (const Layer& layer : layers_) values.push_back(layer.*member);
    return values;
  };
  const auto sink = all(&Layer::sink), gate = all(&Layer::gate), largest = all(&Layer::largest);
  std::vector<double> confidence;  // of the layers that have a router
  for (const Layer& layer : layers_)
    if (layer.confidence) confidence.push_back(*layer.confidence);
  row.add("attention_sink", metrics::mean(sink))
      .add("attention_sink_uniform", metrics::mean(all(&Layer::uniform)))
      .add("max_activation", *std::max_element(largest.begin(), largest.end()))
      .add("router_confidence", metrics::mean(confidence))
      .add("layers/attention_sink", sink)
      .add("layers/max_activation", largest)
      .add("layers/router_confidence", confidence);
  if (heads_.gated) row.add("gate_mean", metrics::mean(gate)).add("layers/gate_mean", gate);
  layers_.clear();
}

}  // namespace moe::train
