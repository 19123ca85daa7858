// SPDX-License-Identifier: MIT
// The whole model against PyTorch (tools/reference_model.py, tools/make_goldens.py): logits, losses, routing
// and the gradient of every weight: dropless, with capacity, without gates, with windows, other norms of
// queries and keys, other head widths
// and an untied head, other routers, shared experts and dense layers, biases and multipliers; and ten losses
// of an optimizer trajectory.
#include <gtest/gtest.h>

#include <cmath>

#include "optim/optimizer_set.h"
#include "support/tiny_model.h"

namespace moe::model {
namespace {

// The largest difference relative to the largest value: what "relative error" means for a tensor.
double relative_error(const std::vector<float>& ours, const std::vector<float>& theirs) {
  double difference = 0, scale = 0;
  EXPECT_EQ(ours.size(), theirs.size());
  for (size_t i = 0; i < theirs.size(); ++i) {
    difference = std::max(difference, std::abs(static_cast<double>(ours[i]) - theirs[i]));
    scale = std::max(scale, std::abs(static_cast<double>(theirs[i])));
  }
  return difference / scale;
}

int64_t count_targets(const std::vector<int32_t>& target) {
  return std::count_if(target.begin(), target.end(), [](int32_t id) { return id >= 0; });
}

class Golden : public ::testing::TestWithParam<const char*> {
 protected:
  // scale: of the loss, and so of the gradients.
  explicit Golden(DType type = DType::f32, float scale = 1)
      : file(test::golden_path(GetParam())),
        json(nlohmann::json::parse(file.metadata().at("config"))),
        model(test::golden_config(json, file.find("input")->shape[1]), file.find("input")->shape[0],
              json.at("real_vocab"), type) {
    model.load(file);
    model.transformer->upload(*model.backend.device, file.values<int32_t>("input").data(),
                              file.values<int32_t>("target").data(), file.values<int32_t>("first").data());
    targets = count_targets(file.values<int32_t>("target"));
    model.transformer->set_gradient_scales(*model.backend.device, scale / static_cast<float>(targets), scale);
    model.transformer->forward_backward(GradientMode::overwrite, *model.backend.ops);
  }

  // The whole objective at the weights on the device; gradients are written meanwhile, which nobody reads.
  double objective() {
    model.transformer->zero_sums(*model.backend.ops);
    model.transformer->forward_backward(GradientMode::overwrite, *model.backend.ops);
    double total =
        model.fetch<double>(model.transformer->sums().loss_1).front() / static_cast<double>(targets);
    const auto router = model.fetch<float>(model.transformer->sums().router_loss_L2);
    for (size_t i = 0; i < router.size(); ++i)
      total += router[i] * (i % 2 == 0 ? model.config.aux_loss_weight : model.config.z_loss_weight);
    for (const float loss : sequence_losses()) total += model.config.sequence_loss_weight * loss;
    return total;
  }

  // By layer; none without such a loss.
  std::vector<float> sequence_losses() {
    const Tensor& loss_L = model.transformer->sums().sequence_loss_L;
    return loss_L.empty() ? std::vector<float>() : model.fetch<float>(loss_L);
  }

  checkpoint::Safetensors file;
  nlohmann::json json;
  test::TinyModel model;
  int64_t targets = 0;
};

TEST_P(Golden, LossesAndRouting) {
  const StepSums& sums = model.transformer->sums();
  const double cross_entropy = model.fetch<double>(sums.loss_1).front() / static_cast<double>(targets);
  EXPECT_NEAR(cross_entropy, file.values<float>("loss.cross_entropy").front(), 1e-5 * cross_entropy);

  const auto router = model.fetch<float>(sums.router_loss_L2);
  const auto balance = file.values<float>("loss.balance"), z = file.values<float>("loss.z");
  double total = cross_entropy;
  for (size_t layer = 0; layer < balance.size(); ++layer) {
    EXPECT_NEAR(router[2 * layer], balance[layer], 1e-5F * balance[layer]);
    EXPECT_NEAR(router[2 * layer + 1], z[layer], 1e-5F * z[layer]);
    total +=
        model.config.aux_loss_weight * router[2 * layer] + model.config.z_loss_weight * router[2 * layer + 1];
  }
  const auto sequence = sequence_losses();
  for (size_t layer = 0; layer < sequence.size(); ++layer) {
    EXPECT_NEAR(sequence[layer], file.values<float>("loss.sequence")[layer], 1e-5F * sequence[layer]);
    total += model.config.sequence_loss_weight * sequence[layer];
  }
  EXPECT_NEAR(total, file.values<float>("loss").front(), 1e-5 * total);

  EXPECT_EQ(model.fetch<int32_t>(sums.count_LE), file.values<int32_t>("expert_count"));
  const auto dropped = file.values<int32_t>("expert_dropped");
  const auto counts = file.values<int32_t>("expert_count");
  const auto offsets = model.fetch<int32_t>(sums.offset_LE1);
  const auto E = static_cast<size_t>(model.config.num_experts);
  for (size_t i = 0; i < counts.size(); ++i) {
    const size_t at = i / E * (E + 1) + i % E;
    EXPECT_EQ(offsets[at + 1] - offsets[at], counts[i] - dropped[i]) << "expert " << i;
  }
}

TEST_P(Golden, Logits) {
  const auto theirs = file.values<float>("logits");
  const auto input = file.values<int32_t>("first");
  const auto V = static_cast<size_t>(model.config.vocab_size);
  std::vector<float> ours;
  const auto N = static_cast<int64_t>(input.size());
  for (int64_t begin = 0; begin < N; begin += 7) {
    const auto rows = model.fetch<float>(
        model.transformer->logits(begin, std::min<int64_t>(7, N - begin), *model.backend.ops));
    ours.insert(ours.end(), rows.begin(), rows.end());
  }
  // Padding rows and columns past the vocabulary carry no meaning.
  std::vector<float> ours_real, theirs_real;
  const auto vocabulary = json.at("real_vocab").get<size_t>();
  for (size_t n = 0; n < input.size(); ++n)
    for (size_t v = 0; v < vocabulary && input[n] >= 0; ++v) {
      ours_real.push_back(ours[n * V + v]);
      theirs_real.push_back(theirs[n * V + v]);
    }
  EXPECT_LT(relative_error(ours_real, theirs_real), 1e-5);
}

TEST_P(Golden, GradientOfEveryWeight) {
  for (const Parameter& parameter : model.weights->list())
    EXPECT_LT(relative_error(model.fetch<float>(parameter.gradient),
                             file.values<float>("gradient." + parameter.name)),
              1e-5)
        << parameter.name;
}

// Finite differences of our own loss along each gradient: d/dh f(w + h g/|g|) = |g|. The loss jumps where a
// token changes its expert, so the step shrinks until no jump lies inside it.
TEST_P(Golden, GradientOfEveryWeightAgainstFiniteDifferences) {
  for (const Parameter& parameter : model.weights->list()) {
    const auto weight = model.fetch<float>(parameter.weight);
    const auto gradient = file.values<float>("gradient." + parameter.name);
    double squares = 0;
    for (const float g : gradient) squares += static_cast<double>(g) * g;
    const double norm = std::sqrt(squares);
    const auto loss_at = [&](double step) {
      auto moved = weight;
      for (size_t i = 0; i < moved.size(); ++i)
        moved[i] += static_cast<float>(step * static_cast<double>(gradient[i]) / norm);
      model.backend.device->to_device(parameter.weight, moved.data());
      return objective();
    };
    const auto slope_at = [&](double h) { return (loss_at(h) - loss_at(-h)) / (2 * h); };
    // A jump J adds J / 2h to the slope, which doubles when h halves: two steps that agree have none inside.
    double h = 2e-3, slope = slope_at(h), before = 0;
    do {
      h /= 2;
      before = std::exchange(slope, slope_at(h));
    } while (h > 1e-4 && std::abs(slope - before) > 2e-3 * std::abs(slope) + 4e-7 / h);
    model.backend.device->to_device(parameter.weight, weight.data());
    // f32 noise of the loss, about 2e-7 over 2h, and the third derivative times h^2.
    EXPECT_NEAR(slope, norm, 5e-3 * norm + 4e-7 / h) << parameter.name << " with step " << h;
  }
}

// The same files, computed in f16: roundings of 2^-12 at most each, some forty on the way to a gradient. No
// token changes its expert by them; 1e-2 is forty of them that all go one way. The loss is scaled as in
// training: gradients of scores on a GPU would be subnormal without.
class GoldenF16 : public Golden {
 protected:
  static constexpr float kLossScale = 1024;
  GoldenF16() : Golden(DType::f16, kLossScale) {}

  std::vector<float> gradient_of(const Parameter& parameter) {
    auto gradient = model.fetch<float>(parameter.gradient);
    for (float& g : gradient) g /= kLossScale;
    return gradient;
  }
};

TEST_P(GoldenF16, LossRoutingAndGradientOfEveryWeight) {
  const StepSums& sums = model.transformer->sums();
  const double cross_entropy = model.fetch<double>(sums.loss_1).front() / static_cast<double>(targets);
  EXPECT_NEAR(cross_entropy, file.values<float>("loss.cross_entropy").front(), 1e-3 * cross_entropy);
  EXPECT_EQ(model.fetch<int32_t>(sums.count_LE), file.values<int32_t>("expert_count"));
  for (const Parameter& parameter : model.weights->list())
    EXPECT_LT(relative_error(gradient_of(parameter), file.values<float>("gradient." + parameter.name)), 1e-2)
        << parameter.name;
}

// Of the type; that windows and dense parts are right is seen in f32, and that 16 bits change little of dense
// parts in Transformer.RoundedTypesAreCloseToF32.
INSTANTIATE_TEST_SUITE_P(Model, GoldenF16,
                         ::testing::Values("model_dropless.safetensors", "model_capacity.safetensors",
                                           "model_ungated.safetensors"));

INSTANTIATE_TEST_SUITE_P(Model, Golden,
                         ::testing::Values("model_dropless.safetensors", "model_capacity.safetensors",
                                           "model_ungated.safetensors", "model_windowed.safetensors",
                                           "model_qk_projection.safetensors", "model_qk_none.safetensors",
                                           "model_sigmoid.safetensors", "model_biased.safetensors",
                                           "model_shared.safetensors", "model_dense.safetensors",
                                           "model_qkv_bias.safetensors", "model_scaled.safetensors"));

TEST(GoldenTrajectory, TenLossesOfAdamW) {
  const checkpoint::Safetensors start(test::golden_path("model_dropless.safetensors")),
      file(test::golden_path("trajectory.safetensors"));
  const auto json = nlohmann::json::parse(file.metadata().at("config"));
  const auto optimizer_json = nlohmann::json::parse(file.metadata().at("optimizer"));
  const auto& shape = file.find("input")->shape;
  test::TinyModel model(test::golden_config(json, shape[2]), shape[1], json.at("real_vocab"));
  model.load(start);
  Device& device = *model.backend.device;
  Ops& ops = *model.backend.ops;

  Arena plan;
  const optim::OptimizerConfig config{.eight_bit = false,
                                      .order = AdamW::Order::pytorch,
                                      .beta1 = optimizer_json.at("beta1"),
                                      .beta2 = optimizer_json.at("beta2"),
                                      .epsilon = optimizer_json.at("epsilon"),
                                      .weight_decay = optimizer_json.at("weight_decay")};
  const optim::OptimizerSet counted(config, model.weights->list(), plan, ops);
  Arena arena(device, plan.used() + 2 * Arena::kAlignment);
  optim::OptimizerSet optimizer(config, model.weights->list(), arena, ops);
  const Tensor squares =
      arena.allocate("small", DType::f64, {static_cast<int64_t>(optimizer.groups().size())});
  const Tensor scale = arena.allocate("small", DType::f32, {1});

  const auto input = file.values<int32_t>("input"), target = file.values<int32_t>("target"),
             first = file.values<int32_t>("first");
  const auto losses = file.values<float>("loss.cross_entropy"), norms = file.values<float>("gradient_norm");
  const auto N = static_cast<size_t>(shape[1] * shape[2]);
  for (size_t step = 0; step < losses.size(); ++step) {
    const std::vector<int32_t> step_target(target.begin() + static_cast<long>(step * N),
                                           target.begin() + static_cast<long>((step + 1) * N));
    const int64_t targets = count_targets(step_target);
    model.transformer->zero_sums(ops);
    model.transformer->set_gradient_scales(device, 1.0F / static_cast<float>(targets), 1.0F);
    model.transformer->upload(device, input.data() + step * N, step_target.data(), first.data() + step * N);
    model.transformer->forward_backward(GradientMode::overwrite, ops);
    optimizer.gradient_squares(squares);
    ops.clip_scale(scale, squares, optimizer_json.at("max_grad_norm").get<float>(), 1);
    optimizer.step({static_cast<int64_t>(step), optimizer_json.at("learning_rate")}, scale);

    double norm = 0;
    for (const double square : model.fetch<double>(squares)) norm += square;
    const double loss =
        model.fetch<double>(model.transformer->sums().loss_1).front() / static_cast<double>(targets);
    // Ten steps of f32 in another order of summation: 1e-5 at first, growing with each step.
    EXPECT_NEAR(loss, losses[step], 1e-4 * losses[step]) << "step " << step;
    EXPECT_NEAR(std::sqrt(norm), norms[step], 1e-3 * norms[step]) << "step " << step;
  }
}

}  // namespace
}  // namespace moe::model
