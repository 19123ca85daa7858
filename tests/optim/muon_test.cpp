// SPDX-License-Identifier: MIT
// Muon's walk over the parameters, and ten steps of it against torch.optim.Muon.
#include "optim/muon.h"

#include <gmock/gmock.h>

#include <cmath>

#include "optim/optimizer_set.h"
#include "support/compare.h"
#include "support/golden.h"

namespace moe::optim {
namespace {

using ::testing::ElementsAre;

class MuonOptimizerTest : public ::testing::Test, public test::Machine {
 protected:
  Parameter parameter(const std::string& name, Role role, const std::vector<int64_t>& shape,
                      std::vector<int64_t> matrix_rows, int64_t interleaved = 0) {
    Parameter p{.name = name,
                .group = role == Role::expert ? "experts"
                         : role == Role::norm ? "norms"
                                              : "attention",
                .role = role,
                .matrix_rows = std::move(matrix_rows),
                .interleaved = interleaved,
                .weight = normal(name, DType::f32, shape, 0.1F),
                .compute = {},
                .gradient = zeros(DType::f32, shape)};
    p.compute = p.weight;
    return p;
  }
  Tensor scale(float value) { return of<float>(DType::f32, {1}, {value}); }
  static OptimizerConfig muon(bool eight_bit = false) {
    OptimizerConfig config{.eight_bit = eight_bit};
    config.muon.enabled = true;
    config.muon.type = DType::f32;
    return config;
  }
  // A step with random gradients, the same for the same name, step and shape.
  void step(OptimizerSet& optimizer, std::vector<Parameter>& parameters, int64_t number) {
    for (Parameter& p : parameters)
      set(p.gradient, values(normal(p.name + std::to_string(number), DType::f32, {p.gradient.numel()})));
    optimizer.step({number, 0.02}, scale(1));
  }
  Arena arena_{device(), 1 << 22};
};

// Weights of about 0.1 after ten steps, each of products that are good to a few units in the last place.
TEST_F(MuonOptimizerTest, IsThatOfTorch) {
  const test::Golden golden("muon.safetensors");
  for (const std::string name : {"rms", "spectral", "plain"}) {
    std::vector<Parameter> parameters;
    std::vector<Tensor> gradients, ends, momenta;
    for (int i = 0; i < 4; ++i) {
      const std::string prefix = name + "." + std::to_string(i);
      const std::string number = std::to_string(i);
      const Tensor start = golden.tensor(*this, "start." + number);
      parameters.push_back(parameter(prefix, Role::matrix, {start.dim(0), start.dim(1)}, {start.dim(0)}));
      set(parameters.back().weight, values(start));
      gradients.push_back(golden.tensor(*this, "gradient." + number));
      ends.push_back(golden.tensor(*this, prefix + ".end"));
      momenta.push_back(golden.tensor(*this, prefix + ".momentum"));
    }
    OptimizerConfig config = muon();
    config.weight_decay = 0.1;
    config.muon.steps = quintic_steps(5);
    config.muon.nesterov = name != "plain";
    config.muon.scale = name == "spectral" ? MuonScale::spectral : MuonScale::rms;
    OptimizerSet optimizer(config, parameters, arena_, ops());
    for (int64_t number = 0; number < 10; ++number) {
      for (size_t i = 0; i < parameters.size(); ++i) {
        const Tensor& p = parameters[i].weight;
        const Tensor gradient = gradients[i].rows(number, number + 1).reshape({p.dim(0), p.dim(1)});
        set(parameters[i].gradient, values(gradient));
      }
      optimizer.step({number, 0.02}, scale(1));
    }
    const auto state = optimizer.state();
    for (size_t i = 0; i < parameters.size(); ++i) {
      const auto actual = values(parameters[i].weight), expected = values(ends[i]);
      for (size_t k = 0; k < actual.size(); ++k)
        ASSERT_NEAR(actual[k], expected[k], 1e-6) << name << " " << i << " [" << k << "]";
      EXPECT_TRUE(test::close(values(state[i].local), values(momenta[i]), test::kBoundF32)) << name << i;
    }
  }
}

TEST_F(MuonOptimizerTest, MatricesHaveMuonAndTheRestAdamW) {
  auto parameters = std::vector<Parameter>{
      parameter("qkvg", Role::matrix, {96, 64}, {32, 32, 16, 16}, 16),
      parameter("odd", Role::matrix, {70, 65}, {70}),
      parameter("norm", Role::norm, {128}, {}),
      parameter("gate_up", Role::expert, {3, 64, 32}, {32, 32}),
  };
  for (const bool eight_bit : {false, true}) {
    Arena planning, real(device(), 1 << 22);
    const OptimizerSet optimizer(muon(eight_bit), parameters, real, ops());
    const OptimizerSet planned(muon(eight_bit), parameters, planning, ops());
    EXPECT_EQ(planning.used(), real.used());
    std::vector<std::string> lines;
    for (const NamedShard& part : optimizer.state())
      lines.push_back(part.name + " " + part.global.describe());
    if (eight_bit) {
      EXPECT_THAT(lines, ElementsAre("norm.m f32[128]", "norm.v f32[128]", "qkvg.m.codes u8[96, 64]",
                                     "qkvg.m.absmax f32[24]", "odd.m f32[70, 65]",
                                     "gate_up.m.codes u8[3, 64, 32]", "gate_up.m.absmax f32[24]"));
    } else {
      EXPECT_THAT(lines, ElementsAre("norm.m f32[128]", "norm.v f32[128]", "qkvg.m f32[96, 64]",
                                     "odd.m f32[70, 65]", "gate_up.m f32[3, 64, 32]"));
    }
    OptimizerConfig rows = muon(eight_bit);
    rows.muon.beta2 = 0.9;
    Arena other(device(), 1 << 22);
    lines.clear();
    for (const NamedShard& part : OptimizerSet(rows, parameters, other, ops()).state())
      if (part.name.find(".v") != std::string::npos)
        lines.push_back(part.name + " " + part.global.describe());
    EXPECT_THAT(lines,
                ElementsAre("norm.v f32[128]", "qkvg.v f32[96]", "odd.v f32[70]", "gate_up.v f32[192]"));
    const auto summary = optimizer.summary();
    EXPECT_EQ(summary[0].algorithm, Algorithm::muon);
    EXPECT_EQ(summary[1].algorithm, Algorithm::adamw);
    EXPECT_EQ(summary[0].eight_bit, eight_bit ? 96 * 64 : 0);
  }
}

// Packed together, cut out of one parameter, or each a parameter: the same bits.
TEST_F(MuonOptimizerTest, AMatrixIsUpdatedAsIfAlone) {
  for (const bool eight_bit : {false, true}) {
    auto together = std::vector<Parameter>{parameter("qkvg", Role::matrix, {96, 64}, {32, 32, 16, 16}, 16)};
    std::vector<Parameter> apart;
    // Sixteen rows at a time, of q, of its gate, of k and of v.
    const std::vector<std::vector<int64_t>> sixteens{{0, 2}, {1, 3}, {4}, {5}};
    const auto pick = [&](const Tensor& tensor, size_t matrix) {
      const auto all = values(tensor);
      std::vector<double> some;
      for (const int64_t block : sixteens[matrix])
        some.insert(some.end(), all.begin() + block * 16 * 64, all.begin() + (block + 1) * 16 * 64);
      return some;
    };
    for (size_t i = 0; i < sixteens.size(); ++i) {
      const int64_t height = 16 * std::ssize(sixteens[i]);
      apart.push_back(parameter(std::string(i + 1, 'w'), Role::matrix, {height, 64}, {height}));
      set(apart.back().weight, pick(together[0].weight, i));
    }
    Arena other(device(), 1 << 22);
    OptimizerConfig config = muon(eight_bit);
    OptimizerSet one(config, together, arena_, ops()), many(config, apart, other, ops());
    for (int64_t number = 0; number < 3; ++number) {
      set(together[0].gradient, values(normal("g" + std::to_string(number), DType::f32, {96 * 64})));
      for (size_t i = 0; i < apart.size(); ++i) set(apart[i].gradient, pick(together[0].gradient, i));
      one.step({number, 0.02}, scale(1));
      many.step({number, 0.02}, scale(1));
    }
    // Blocks of 8-bit momentum hold the same elements in both: 16 rows are 4 blocks.
    for (size_t i = 0; i < apart.size(); ++i) {
      if (eight_bit && apart[i].weight.numel() < 4096) continue;  // its momentum is f32
      EXPECT_EQ(pick(together[0].weight, i), values(apart[i].weight)) << i;
    }
  }
}

TEST_F(MuonOptimizerTest, AnExpertWithoutTokensStays) {
  for (const bool eight_bit : {false, true}) {
    Arena arena(device(), 1 << 22);
    auto parameters = std::vector<Parameter>{parameter("gate_up", Role::expert, {3, 64, 32}, {32, 32}),
                                             parameter("down", Role::expert, {3, 32, 32}, {32})};
    OptimizerSet optimizer(muon(eight_bit), parameters, arena, ops());
    step(optimizer, parameters, 0);
    const auto expert = [&](const Tensor& tensor, int64_t e) {
      const int64_t n = tensor.numel() / 3;
      return values(tensor.reshape({tensor.numel()}).rows(e * n, (e + 1) * n));
    };
    const auto before = std::vector{expert(parameters[0].weight, 1), expert(parameters[1].weight, 1)};
    const auto others = std::vector{expert(parameters[0].weight, 2), expert(parameters[1].weight, 2)};
    for (Parameter& p : parameters) {
      auto gradient = values(normal(p.name + "1", DType::f32, {p.gradient.numel()}));
      const size_t n = gradient.size() / 3;
      std::fill_n(gradient.begin() + static_cast<std::ptrdiff_t>(n), n, 0.0);
      set(p.gradient, gradient);
    }
    optimizer.step({1, 0.02}, scale(1));
    for (size_t i = 0; i < 2; ++i) {
      EXPECT_EQ(expert(parameters[i].weight, 1), before[i]);
      EXPECT_NE(expert(parameters[i].weight, 2), others[i]);
    }
  }
}

// More matrices than fit into scratch memory at a time.
TEST_F(MuonOptimizerTest, ManyMatricesAreTakenInTurns) {
  // 2 (512 x 512 + 512 x 512) f32 a matrix: 64 of them have 256 MiB.
  Arena planning;
  const auto parameters = std::vector<Parameter>{parameter("w", Role::expert, {1, 512, 512}, {512})};
  Parameter many = parameters[0];
  many.weight = Tensor(nullptr, DType::f32, {100, 512, 512});
  many.compute = many.weight;
  many.gradient = many.weight;
  const OptimizerSet optimizer(muon(), {many}, planning, ops());
  for (const auto& [category, size] : planning.table())
    EXPECT_LE(category == "optimizer scratch" ? size : 0, (int64_t{256} << 20) + 4096) << category;
}

TEST_F(MuonOptimizerTest, MakesALossSmaller) {
  for (const bool eight_bit : {false, true}) {
    Arena arena(device(), 1 << 22);
    std::vector<Parameter> parameters{parameter("w", Role::matrix, {64, 80}, {64})};
    const auto target = values(normal("target", DType::f32, {64, 80}, 0.1F));
    OptimizerConfig config = muon(eight_bit);
    config.weight_decay = 0;
    OptimizerSet optimizer(config, parameters, arena, ops());
    const auto distance = [&] { return test::normalised_error(values(parameters[0].weight), target); };
    const double before = distance();
    for (int64_t number = 0; number < 100; ++number) {
      auto gradient = values(parameters[0].weight);
      for (size_t i = 0; i < gradient.size(); ++i) gradient[i] -= target[i];
      set(parameters[0].gradient, gradient);
      optimizer.step({number, 0.02 * (1 - static_cast<double>(number) / 100)}, scale(1));
    }
    EXPECT_LT(distance(), 1e-2 * before);
  }
}

// From zero, the momentum is (1 - momentum) times the gradient.
TEST_F(MuonOptimizerTest, MomentumRises) {
  for (const int64_t number : {0, 5, 10, 20}) {
    Arena arena(device(), 1 << 22);
    std::vector<Parameter> parameters{parameter("w", Role::matrix, {8, 8}, {8})};
    OptimizerConfig config = muon();
    config.muon.momentum_warmup_steps = 10;
    OptimizerSet optimizer(config, parameters, arena, ops());
    step(optimizer, parameters, number);
    const double momentum = number < 10 ? 0.85 + 0.01 * static_cast<double>(number) : 0.95;
    auto expected = values(parameters[0].gradient);
    for (double& value : expected) value *= 1 - momentum;
    EXPECT_TRUE(test::close(values(optimizer.state()[0].local), expected, 1e-11)) << number;
  }
}

}  // namespace
}  // namespace moe::optim
