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

// Rerun, recomputation, and copies of earlier weights that are still there.
TEST(Fp8Model, HasTheSameBitsAgain) {
  const Ids ids(40);
  for (ModelConfig config : variants()) {
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

}  // namespace
}  // namespace moe::model
