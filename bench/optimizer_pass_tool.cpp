// SPDX-License-Identifier: MIT
// optimizer_pass_tool CONFIG [section.key=value...]: the time of the optimizer alone over all parameters of a
// configuration, without a model around it: the sums of squares of the gradients, and the pass (clipping
// factor, AdamW, weights and their copies). Beside each the bytes it must move, each once, and the rate of
// plain copies.
//   optimizer_pass_tool configs/train_config.yaml training.device=gpu
#include <fmt/core.h>

#include <algorithm>
#include <functional>
#include <string>
#include <vector>

#include "backend/backend.h"
#include "base/error.h"
#include "base/random.h"
#include "base/steady_seconds.h"
#include "train/state.h"

namespace moe {
namespace {

constexpr int kWarmUp = 3, kRepeats = 20;
constexpr int64_t kPiece = int64_t{1} << 20;

struct Measured {
  Measured(const train::RunConfig& config, Ops& ops, Arena& arena)
      : weights(config.model, train::weight_types(config.training), model::Mode::training, arena),
        optimizer(train::optimizer_config(config.training), weights.list(), arena, ops),
        squares_g(arena.allocate("small", DType::f64, {static_cast<int64_t>(optimizer.groups().size())})),
        scale_1(arena.allocate("small", DType::f32, {1})),
        normal(arena.allocate("small", DType::f32, {kPiece})) {}
  model::Weights weights;
  optim::OptimizerSet optimizer;
  Tensor squares_g, scale_1, normal;
};

// The median of many runs.
double median_of(Device& device, const std::function<void(int)>& body) {
  std::vector<double> times;
  for (int i = 0; i < kWarmUp + kRepeats; ++i) {
    device.synchronize();
    const double begin = steady_seconds();
    body(i);
    device.synchronize();
    if (i >= kWarmUp) times.push_back(steady_seconds() - begin);
  }
  std::nth_element(times.begin(), times.begin() + kRepeats / 2, times.end());
  return times[kRepeats / 2];
}

// Normal numbers of a gradient's size; the same million again and again.
void fill_with_numbers(const Tensor& tensor, const Tensor& normal, Ops& ops) {
  const Tensor flat = tensor.reshape({tensor.numel()});
  for (int64_t begin = 0; begin < flat.numel(); begin += kPiece) {
    const int64_t end = std::min(flat.numel(), begin + kPiece);
    ops.cast(flat.rows(begin, end), normal.rows(0, end - begin));
  }
}

void report(const std::string& name, double time, double bytes, double copies) {
  fmt::print("{:<16}{:>8.2f} ms  {:>6.1f} GB  {:>6.0f} GB/s  {:>4.0f} % of the rate of copies\n", name,
             1e3 * time, 1e-9 * bytes, 1e-9 * bytes / time, 100 * bytes / time / copies);
}

void measure(const train::RunConfig& config) {
  const backend::Backend backend = backend::make_backend(
      config.training.device, static_cast<int>(config.training.threads), train::arithmetic(config.training));
  Device& device = *backend.device;
  Ops& ops = *backend.ops;
  const auto [arena, placed] = train::place<Measured>(device, config, ops);
  Measured& state = *placed;
  std::vector<float> numbers(kPiece);
  const Random random(1, "optimizer pass");
  for (size_t i = 0; i < numbers.size(); ++i) numbers[i] = 1e-3F * random.normal(i);
  device.to_device(state.normal, numbers.data());

  double parameters = 0, gradients = 0, pass = 0;
  for (const Parameter& parameter : state.weights.list()) {
    fill_with_numbers(parameter.weight, state.normal, ops);
    fill_with_numbers(parameter.gradient, state.normal, ops);
    parameters += static_cast<double>(parameter.weight.numel());
    gradients += static_cast<double>(parameter.gradient.bytes());
    pass += 2.0 * static_cast<double>(parameter.weight.bytes());
    if (parameter.compute.data() != parameter.weight.data())
      pass += static_cast<double>(parameter.compute.bytes());
  }
  for (const NamedShard& moments : state.optimizer.state())
    pass += 2.0 * static_cast<double>(moments.local.bytes());
  pass += gradients;

  const Tensor half = state.weights.layers.front().moe.experts.gate_up.gradient;
  const Tensor from = half.reshape({half.numel()}).rows(0, half.numel() / 2),
               to = half.reshape({half.numel()}).rows(half.numel() / 2, half.numel() / 2 * 2);
  const double copies =
      2 * static_cast<double>(from.bytes()) / median_of(device, [&](int) { ops.copy(to, from); });
  const double norm = median_of(device, [&](int) { state.optimizer.gradient_squares(state.squares_g); });
  ops.clip_scale(state.scale_1, state.squares_g, static_cast<float>(config.training.max_grad_norm), 1);
  const double step = median_of(device, [&](int i) {
    state.optimizer.step({i, config.training.learning_rate}, state.scale_1);
  });

  fmt::print("{}\n{:.0f} parameters; copies {:.0f} GB/s; medians of {}\n", backend.description, parameters,
             1e-9 * copies, kRepeats);
  report("sums of squares", norm, gradients, copies);
  report("optimizer pass", step, pass, copies);
}

}  // namespace
}  // namespace moe

int main(int argc, char** argv) {
  if (argc < 2) {
    fmt::print(stderr, "usage: {} CONFIG [section.key=value...]\n", argv[0]);
    return 1;
  }
  try {
    moe::measure(moe::train::RunConfig::load(argv[1], {argv + 2, argv + argc}));
  } catch (const moe::UserError& error) {
    fmt::print(stderr, "error: {}\n", error.what());
    return 1;
  }
  return 0;
}
