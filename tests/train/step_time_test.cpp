// SPDX-License-Identifier: MIT
// The prediction of a step's time against steps that were measured, and against sums done by hand.
#include "train/step_time.h"

#include <gmock/gmock.h>

#include "model/flops.h"

namespace moe::train {
namespace {

// configs/train_config.yaml in bf16. The defaults of ModelConfig are this model.
RunConfig full() {
  RunConfig config;
  config.training.batch_size = 32;
  config.training.gradient_accumulation_steps = 4;
  config.training.mixed_precision = MixedPrecision::bf16;
  return config;
}
StepTime of(const RunConfig& config, int ranks, ParallelLayout layout, int64_t degree = 0) {
  RunConfig other = config;
  other.distributed.layout = layout;
  other.distributed.expert_parallel = degree;
  return *predict_step(other, ranks, *find_gpu("h200"));
}

// docs/benchmarks.md: four micro-batches of 32 x 1024 on one H200 took 363.0 ms, and 16 in an older state
// 1,516.7.
TEST(StepTime, OfOneH200IsWhatWasMeasured) {
  RunConfig config = full();
  EXPECT_NEAR(of(config, 1, ParallelLayout::zero1).total(), 0.363, 0.05 * 0.363);
  config.training.gradient_accumulation_steps = 16;
  const double small = of(config, 1, ParallelLayout::zero1).total();
  EXPECT_NEAR(small, 4 * 0.363, 0.06 * 4 * 0.363);
  // 64 x 1024 was 3 % faster for the same tokens.
  config.training.batch_size = 64;
  config.training.gradient_accumulation_steps = 8;
  EXPECT_NEAR(of(config, 1, ParallelLayout::zero1).total() / small, 0.97, 0.02);
  // The optimizer's pass and the sums of squares: 8.49 + 1.69 ms.
  EXPECT_NEAR(of(config, 1, ParallelLayout::zero1).optimizer, 0.0102, 0.001);
}

// A layer without experts sends no rows; a shared expert is arithmetic as projections are, and sends none.
TEST(StepTime, DensePartsSendNoRows) {
  RunConfig config = full();
  const StepTime before = of(config, 8, ParallelLayout::expert);
  const double bytes = row_bytes_of_token(config, 8);
  config.model.shared_expert_dim = 512;
  EXPECT_EQ(row_bytes_of_token(config, 8), bytes);
  EXPECT_EQ(of(config, 8, ParallelLayout::expert).rows, before.rows);
  EXPECT_GT(of(config, 8, ParallelLayout::expert).compute, before.compute);
  config.model.first_dense_layers = 4;
  EXPECT_EQ(row_bytes_of_token(config, 8), 0.75 * bytes);
}

// 48 matrices of 1024 x 1024 and 3,104 of 512 x 1024, five steps of 4 S S L + 2 S S S. One H200 took 59.7 ms
// more for a step with Muon, 53.2 of them for the iteration (docs/recipe.md).
TEST(StepTime, MuonAsMeasured) {
  RunConfig config = full();
  const double S = 512, L = 1024;
  EXPECT_NEAR(model::newton_schulz_flops(config.model, 5),
              5 * (48 * 6 * L * L * L + 3104 * (4 * S * S * L + 2 * S * S * S)), 1e6);
  const StepTime adamw = of(config, 1, ParallelLayout::zero1);
  EXPECT_EQ(adamw.newton_schulz, 0);
  config.training.optimizer = OptimizerKind::muon8bit;
  const StepTime muon = of(config, 1, ParallelLayout::zero1);
  EXPECT_NEAR(muon.newton_schulz, 0.0532, 0.002);
  EXPECT_NEAR(muon.total() - adamw.total(), 0.0597, 0.006);
  // The owners of matrices share the work, the replicas of data parallelism do not.
  EXPECT_NEAR(of(config, 8, ParallelLayout::zero1).newton_schulz, muon.newton_schulz / 8, 1e-6);
  EXPECT_EQ(of(config, 8, ParallelLayout::data_parallel).newton_schulz, muon.newton_schulz);
}

TEST(StepTime, TransfersAreThoseOfTheLayout) {
  const RunConfig config = full();
  for (const ParallelLayout layout :
       {ParallelLayout::data_parallel, ParallelLayout::zero1, ParallelLayout::expert})
    EXPECT_EQ(of(config, 1, layout).transfers(), 0) << name_of(layout);
  // 1.73 B parameters: f32 gradients there, bf16 weights back, 7/8 of them at 0.8 of 450 GB/s.
  const StepTime parts = of(config, 8, ParallelLayout::zero1),
                 everything = of(config, 8, ParallelLayout::data_parallel);
  EXPECT_NEAR(parts.gradients, 1.73e9 * 4 * 7 / 8 / 360e9, 1e-3);
  EXPECT_NEAR(parts.weights, 1.73e9 * 2 * 7 / 8 / 360e9, 1e-3);
  EXPECT_NEAR(everything.gradients, 2 * parts.gradients, 1e-6);
  EXPECT_NEAR(everything.optimizer, 8 * parts.optimizer, 1e-4);
  EXPECT_LT(parts.total(), everything.total());
  // Two choices of 1,024 elements in 16 layers, four ways, 7 of 8 elsewhere.
  EXPECT_EQ(row_bytes_of_token(config, 8), 4 * 2 * 2 * 1024 * 16 * 7 / 8);
  const StepTime experts = of(config, 8, ParallelLayout::expert);
  EXPECT_GT(experts.rows, 4 * 32768 * 229376.0 / 360e9);
  EXPECT_LT(experts.gradients, parts.gradients / 4) << "only what is no expert has to be added up";
  EXPECT_EQ(of(config, 8, ParallelLayout::expert, 1).total(), parts.total());
}

// Gradients travel beside the last backward pass, and weights beside the first forward pass, but for the
// embedding's and the first layer's; where passes are short, what is longer shows.
TEST(StepTime, TransfersAreHiddenBehindPasses) {
  RunConfig config = full();
  const StepTime two = of(config, 2, ParallelLayout::zero1);
  // Of the rest 0.4 is won: of 15 of 16 layers, f32 gradients and bf16 weights, half of them, at 0.8 of 450
  // GB/s.
  const double layers = 16.0 * (64 * 3 * 1024 * 512 + 4 * 1024 * 1024) * (4 + 2) / 2 / 360e9;
  EXPECT_NEAR(two.hidden, 0.4 * layers * 15 / 16, 0.05 * two.hidden);
  config.training.batch_size = 1;
  config.training.gradient_accumulation_steps = 1;
  const StepTime few = of(config, 8, ParallelLayout::zero1);
  EXPECT_LT(few.hidden, two.hidden);
  EXPECT_NEAR(few.hidden, 0.4 * few.compute, 0.01 * few.compute) << "as much as there is arithmetic";
  // Where some ranks may stop, all wait until none did.
  config.distributed.expert_buffer_factor = 2;
  EXPECT_GT(of(config, 8, ParallelLayout::expert, 8).hidden, 0);
  EXPECT_EQ(of(config, 16, ParallelLayout::expert, 8).hidden, 0);
  EXPECT_GT(of(config, 16, ParallelLayout::zero1).hidden, 0) << "no rows travel there";
}

// Experts that are dealt to two machines send most rows over the network.
TEST(StepTime, MachinesAreFurtherApartThanGpus) {
  const RunConfig config = full();
  EXPECT_GT(of(config, 16, ParallelLayout::expert, 16).rows,
            3 * of(config, 16, ParallelLayout::expert, 8).rows);
  EXPECT_GT(of(config, 1024, ParallelLayout::zero1).transfers(),
            of(config, 8, ParallelLayout::zero1).transfers());
}

TEST(StepTime, IsNotMadeUpWhereNothingIsKnown) {
  RunConfig config = full();
  config.training.mixed_precision = MixedPrecision::no;
  EXPECT_FALSE(predict_step(config, 8, *find_gpu("h100")).has_value());
  EXPECT_EQ(find_gpu("NVIDIA H200 (sm_90)")->name, "h200");
  for (const char* const name : {"CPU", "NVIDIA H100 PCIe", "NVIDIA GH200 480GB",
                                 "NVIDIA GeForce RTX 4090 Laptop GPU", "NVIDIA GeForce RTX 3090 Ti"})
    EXPECT_EQ(find_gpu(name), nullptr) << name;
}

TEST(StepTime, GpusAreKnownByTheNamesThatPeopleAndDriversUse) {
  for (const auto& [name, known] :
       std::initializer_list<std::pair<const char*, const char*>>{{"H100", "h100"},
                                                                  {"NVIDIA A100-SXM4-80GB", "a100"},
                                                                  {"NVIDIA A10", "a10"},
                                                                  {"NVIDIA A10G", "a10g"},
                                                                  {"RTX 4090", "rtx4090"},
                                                                  {"NVIDIA GeForce RTX 5090", "rtx5090"},
                                                                  {"rtx3090", "rtx3090"},
                                                                  {"NVIDIA L4", "l4"},
                                                                  {"NVIDIA L40S", "l40s"},
                                                                  {"NVIDIA RTX A6000", "a6000"}}) {
    ASSERT_NE(find_gpu(name), nullptr) << name;
    EXPECT_EQ(find_gpu(name)->name, known) << name;
  }
}

}  // namespace
}  // namespace moe::train
