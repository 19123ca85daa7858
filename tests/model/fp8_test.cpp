// SPDX-License-Identifier: MIT
// The model in FP8 against itself in bf16, and again.
#include <gtest/gtest.h>

#include "model/tiny_models.h"
#include "support/compare.h"

namespace moe::model {
namespace {

constexpr WeightTypes kFp8{.compute = DType::bf16, .fp8 = true};

// Some ten products one after the other round both operands to 4 bits, 1.4e-3 each, that of the loss 3.5e-3
// (docs/fp8.md): 1.6e-2 in all, and what attention makes of it.
TEST(Fp8Model, IsCloseToBf16) {
  const Ids ids(40);
  for (ModelConfig config : {test::tiny_config(), dense_config()}) {
    config.num_experts = config.top_k;  // all are chosen: rounding must not change who is
    test::TinyModel exact(config, 2, kVocabulary, DType::bf16), fp8(config, 2, kVocabulary, kFp8);
    const auto expected = gradients(exact, ids), found = gradients(fp8, ids);
    EXPECT_TRUE(test::close(found, expected, 3e-2));
    EXPECT_FALSE(test::close(found, expected, 1e-4)) << "it must differ";
  }
}

// Of variants(), with widths that FP8 products take (RunConfig::validate_fp8).
std::vector<ModelConfig> fp8_variants() {
  std::vector<ModelConfig> configs = variants();
  for (ModelConfig& config : configs)
    if (config.head_dim == 10) config.head_dim = 12;
  return configs;
}

// Rerun, recomputation, and copies of earlier weights that are still there.
TEST(Fp8Model, HasTheSameBitsAgain) {
  const Ids ids(40);
  for (ModelConfig config : fp8_variants()) {
    config.n_layers = 3;
    for (const int64_t bf16_layers : {0, 1}) {
      WeightTypes types = kFp8;
      types.fp8_bf16_layers = bf16_layers;
      test::TinyModel first(config, 2, kVocabulary, types);
      const auto expected = gradients(first, ids);
      for (const Recompute recompute : {Recompute::selective, Recompute::full}) {
        test::TinyModel again(config, 2, kVocabulary, types, 2, recompute);
        EXPECT_EQ(gradients(again, ids), expected);
      }
      test::TinyModel other(config, 2, kVocabulary, types);
      other.weights->initialise(99, *other.backend.ops);
      other.transformer->forward(*other.backend.ops);
      EXPECT_EQ(gradients(other, ids), expected);
    }
  }
}

// Every place is counted in every pass anew; nothing of these is lost.
TEST(Fp8Model, TheCensusHasEveryPlace) {
  const Ids ids(40);
  for (const ModelConfig& config : {test::tiny_config(), dense_config()}) {
    test::TinyModel model(config, 2, kVocabulary, kFp8);
    const auto counts = [&] {
      (void)gradients(model, ids);
      return model.fetch<int32_t>(model.transformer->fp8_census().all);
    };
    const auto first = counts();
    EXPECT_EQ(counts(), first);
    const auto entry = [&](int64_t layer, size_t site, Census which) {
      const size_t at = static_cast<size_t>(layer) * kFp8Sites.size() + site;
      return first[at * static_cast<size_t>(Census::kEntries) + static_cast<size_t>(which)];
    };
    for (int64_t layer = 0; layer <= config.n_layers; ++layer)
      for (size_t site = 0; site < kFp8Sites.size(); ++site) {
        const bool of_none = site >= static_cast<size_t>(Fp8Site::projection_gradient);
        const bool dense =
            site == static_cast<size_t>(Fp8Site::expert_input) && layer < config.first_dense_layers;
        const bool counted = of_none == (layer == config.n_layers) && !dense;
        EXPECT_EQ(entry(layer, site, Census::nonzero) > 0, counted) << layer << ' ' << kFp8Sites[site];
        EXPECT_EQ(entry(layer, site, Census::largest) > 0, counted) << layer << ' ' << kFp8Sites[site];
        EXPECT_EQ(entry(layer, site, Census::saturated), 0) << layer << ' ' << kFp8Sites[site];
      }
  }
}

}  // namespace
}  // namespace moe::model
