// SPDX-License-Identifier: MIT
// Forward, and forward and backward, of one MoeLayer on random inputs, recorded as training records its
// steps. The router is measured twice: as it is initialised, where experts get somewhat different numbers of
// rows, and with inputs that send every expert the same number.
#include "cli/bench_moe_layer.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <string>
#include <utility>
#include <vector>

#include "backend/backend.h"
#include "base/error.h"
#include "base/json.h"
#include "base/random.h"
#include "base/steady_seconds.h"
#include "model/flops.h"
#include "model/moe.h"
#include "model/weights.h"
#include "tensor/host_floats.h"
#include "train/state.h"

namespace moe::cli {
namespace {

struct Bench {
  Bench(const model::ModelConfig& config, DType type, model::Recompute recompute, int64_t N, Arena& arena)
      : weights(config, {type}, model::Mode::training, arena),
        spec(config.spec().moe()),
        dispatcher(spec, N),
        saved(spec, type, N, recompute, model::Mode::training, nullptr, dispatcher, arena),
        workspace(spec, type, N, dispatcher, model::Mode::training, arena),
        layer(spec, recompute),
        plan(N, arena),
        x_ND(arena.allocate("inputs", type, {N, config.d_model})),
        y_ND(arena.allocate("inputs", type, {N, config.d_model})),
        d_ND(arena.allocate("inputs", type, {N, config.d_model})),
        scale_1(arena.allocate("inputs", DType::f32, {1})) {
    tokens.doc_start_N = arena.allocate("inputs", DType::i32, {N});
    tokens.doc_start_BT = tokens.doc_start_N.reshape({1, N});
  }

  void forward(const Capacity& capacity, Ops& ops) {
    layer.dispatch(saved, x_ND, weights.layers[0].moe, tokens, capacity, dispatcher, workspace, ops);
    layer.experts(y_ND, saved, x_ND, weights.layers[0].moe, plan, dispatcher, workspace, ops);
    layer.combine(y_ND, saved, x_ND, nullptr, dispatcher, ops);
  }
  void backward(Ops& ops) {
    layer.dispatch_gradients(saved, d_ND, x_ND, weights.layers[0].moe, dispatcher, workspace, ops);
    layer.experts_backward(saved, d_ND, {}, weights.layers[0].moe, model::GradientMode::accumulate, plan,
                           dispatcher, workspace, ops);
    layer.combine_gradients(d_ND, {}, saved, x_ND, weights.layers[0].moe, tokens, scale_1, dispatcher,
                            workspace, ops);
  }

  model::Weights weights;
  model::MoeSpec spec;
  model::LocalDispatcher dispatcher;
  model::MoeSaved saved;
  model::MoeWorkspace workspace;
  model::MoeLayer layer;
  model::DensePlan plan;  // of a shared expert
  Tensor x_ND, y_ND, d_ND, scale_1;
  model::Tokens tokens;
};

struct Row {
  std::string routing;
  int64_t least = 0, most = 0;   // rows of an expert
  double forward = 0, both = 0;  // seconds
};

// scale * normal numbers; each row is a window, at a random place, of a million of them: quickly made, and no
// two alike.
std::vector<float> random_rows(const char* name, int64_t rows, int64_t columns, float scale) {
  constexpr int64_t kPool = 1 << 20;
  const Random random(1, name);
  std::vector<float> pool(static_cast<size_t>(kPool + columns));
  for (size_t i = 0; i < pool.size(); ++i) pool[i] = scale * random.normal(i);
  std::vector<float> values(static_cast<size_t>(rows * columns));
  for (int64_t n = 0; n < rows; ++n) {
    const auto begin = static_cast<std::ptrdiff_t>(random.below(static_cast<uint64_t>(n), kPool));
    std::copy_n(pool.begin() + begin, columns, values.begin() + n * columns);
  }
  return values;
}

// balanced: router row e reads coordinate e, and token n has its largest values where its turn of experts is:
// n K, n K + 1, ...
void set_inputs(Bench& bench, const model::ModelConfig& config, bool balanced, Device& device) {
  const int64_t N = bench.x_ND.dim(0), D = config.d_model, E = config.num_experts, K = config.top_k;
  std::vector<float> x = random_rows("tokens", N, D, 1);
  for (int64_t n = 0; balanced && n < N; ++n)
    for (int64_t k = 0; k < K; ++k)
      x[static_cast<size_t>(n * D + (n * K + k) % E)] = 12.0F - static_cast<float>(k) / static_cast<float>(K);
  upload_floats(bench.x_ND, x, device);
  upload_floats(bench.d_ND, random_rows("gradient", N, D, 1e-3F), device);
  if (!balanced) return;
  std::vector<float> router(static_cast<size_t>(E * D));
  for (int64_t e = 0; e < E; ++e) router[static_cast<size_t>(e * D + e)] = 1;
  upload_floats(bench.weights.layers[0].moe.router.weight, router, device);
}

// The median of a few measurements of `repeats` runs each, for one run, after one that is not counted.
template <class Body>
double seconds_of(Body&& body, int64_t repeats, Ops& ops, Device& device) {
  constexpr int kMeasurements = 5;
  const auto region = ops.captured_region();
  std::vector<double> seconds;
  for (int i = 0; i <= kMeasurements; ++i) {
    device.synchronize();
    const double started = steady_seconds();
    for (int64_t j = 0; j < repeats; ++j) region->run(body);
    device.synchronize();
    if (i > 0) seconds.push_back((steady_seconds() - started) / static_cast<double>(repeats));
  }
  std::sort(seconds.begin(), seconds.end());
  return seconds[seconds.size() / 2];
}

Row measure(Bench& bench, const model::ModelConfig& config, bool balanced, int64_t repeats, Ops& ops,
            Device& device) {
  set_inputs(bench, config, balanced, device);
  const Capacity capacity{model::expert_capacity(config, bench.x_ND.dim(0))};
  const auto forward = [&] { bench.forward(capacity, ops); };
  Row row{.routing = balanced ? "balanced" : "learned"};
  row.forward = seconds_of(forward, repeats, ops, device);
  std::vector<int32_t> count(static_cast<size_t>(config.num_experts));
  device.to_host(count.data(), bench.saved.router.plan.count_E);
  const auto [least, most] = std::minmax_element(count.begin(), count.end());
  row.least = *least;
  row.most = *most;
  row.both = seconds_of(
      [&] {
        forward();
        bench.backward(ops);
      },
      repeats, ops, device);
  return row;
}

void print_table(const std::vector<Row>& rows, const std::string& device, int64_t tokens, double flops) {
  fmt::print("{}\nthe MoE layer alone, {} tokens; arithmetic of its router and experts\n\n", device, tokens);
  fmt::print("{:<10}{:>18}{:>14}{:>10}{:>14}{:>10}{:>12}{:>10}\n", "routing", "rows an expert", "forward ms",
             "TFLOP/s", "backward ms", "TFLOP/s", "both ms", "TFLOP/s");
  for (const Row& row : rows) {
    const double backward = row.both - row.forward;
    fmt::print("{:<10}{:>18}{:>14.3f}{:>10.1f}{:>14.3f}{:>10.1f}{:>12.3f}{:>10.1f}\n", row.routing,
               fmt::format("{} to {}", row.least, row.most), 1e3 * row.forward,
               1e-12 * flops / 3 / row.forward, 1e3 * backward, 1e-12 * flops * 2 / 3 / backward,
               1e3 * row.both, 1e-12 * flops / row.both);
  }
}

void print_json(const std::vector<Row>& rows, const std::string& device, int64_t tokens, double flops) {
  OrderedJson json{{"device", device}, {"tokens", tokens}};
  for (const Row& row : rows)
    json[row.routing] = {{"least_rows", row.least},
                         {"most_rows", row.most},
                         {"forward_ms", 1e3 * row.forward},
                         {"backward_ms", 1e3 * (row.both - row.forward)},
                         {"ms", 1e3 * row.both},
                         {"forward_tflops", 1e-12 * flops / 3 / row.forward},
                         {"backward_tflops", 1e-12 * flops * 2 / 3 / (row.both - row.forward)},
                         {"tflops", 1e-12 * flops / row.both}};
  fmt::print("{}\n", json.dump(1));
}

}  // namespace

void bench_moe_layer(const train::RunConfig& run, int64_t tokens, int64_t repeats, bool json) {
  model::ModelConfig config = run.model;
  if (config.num_experts > config.d_model)
    throw UserError("model.num_experts",
                    fmt::format("at most model.d_model ({}) to balance the router", config.d_model),
                    std::to_string(config.num_experts), "measure whole steps: --part step");
  config.check_capacity(tokens);
  config.n_layers = 1;
  config.first_dense_layers = 0;
  config.vocab_size = 1;  // the weights of the rest are not used
  const backend::Backend backend = backend::make_backend(
      run.training.device, static_cast<int>(run.training.threads), train::arithmetic(run.training));
  Device& device = *backend.device;
  const DType type = train::arithmetic(run.training).type;
  const model::Recompute recompute = train::micro_batch(run, run.vocabulary()).recompute;
  const auto [arena, bench] = train::place<Bench>(device, config, type, recompute, tokens);
  bench->plan.upload(device);
  bench->weights.initialise(1, *backend.ops);
  model::cast_weights(bench->weights, *backend.ops);
  backend.ops->fill(bench->scale_1, 1);
  std::vector<Row> rows;
  for (const bool balanced : {false, true})
    rows.push_back(measure(*bench, config, balanced, repeats, *backend.ops, device));
  const model::FlopsPerToken per_token = model::flops_per_token(config, config.max_seq_len);
  const double flops = (per_token.router + per_token.experts + per_token.dense) * static_cast<double>(tokens);
  json ? print_json(rows, backend.description, tokens, flops)
       : print_table(rows, backend.description, tokens, flops);
}

}  // namespace moe::cli
