// SPDX-License-Identifier: MIT
// The embedding moves rows exactly, so expected values are the rows themselves.
#include <gtest/gtest.h>

#include "base/error.h"
#include "support/compare.h"
#include "support/golden.h"

namespace moe::test {
namespace {

class EmbeddingTest : public OpsTest {
 public:
  // Tokens with many repeats; some of the vocabulary never occurs.
  Tensor tokens(Machine& machine, int64_t n, int64_t vocabulary) {
    const Random random(3, "tokens");
    std::vector<int32_t> id(static_cast<size_t>(n));
    for (size_t i = 0; i < id.size(); ++i)
      id[i] = static_cast<int32_t>(random.below(i, static_cast<uint64_t>(vocabulary)));
    return machine.of(DType::i32, {n}, id);
  }
};

TEST_F(EmbeddingTest, LooksRowsUp) {
  for (const DType dtype : {DType::f32, DType::bf16})
    for (const int64_t n : {1, 7, 129}) {
      const Tensor w = normal("w", dtype, {11, 33}), id = tokens(*this, n, 11), x = zeros(dtype, {n, 33});
      ops().embedding_forward(x, id, w);
      const auto got = values(x), rows = values(w), ids = values(id);
      for (size_t i = 0; i < got.size(); ++i)
        ASSERT_EQ(got[i], rows[static_cast<size_t>(ids[i / 33]) * 33 + i % 33]);
    }
}

TEST_F(EmbeddingTest, AddsGradientsToTheRowsOfTheTokens) {
  for (const DType dtype : {DType::f32, DType::bf16})
    for (const int64_t d : {1, 33, 100}) {
      const Tensor dx = normal("dx", dtype, {57, d}), id = tokens(*this, 57, 9);
      const Tensor dw = normal("dw", DType::f32, {9, d});
      auto expected = values(dw);
      const auto gradient = values(dx), ids = values(id);
      const auto width = static_cast<size_t>(d);
      for (size_t i = 0; i < gradient.size(); ++i)
        expected[static_cast<size_t>(ids[i / width]) * width + i % width] += gradient[i];
      ops().embedding_backward(dw, id, dx);
      EXPECT_TRUE(close(values(dw), expected, kBoundF32));
    }
}

TEST_F(EmbeddingTest, SameBitsWithAnyNumberOfThreads) {
  expect_same_bits([this](Machine& machine) {
    const Tensor id = tokens(machine, 300, 5), dw = machine.zeros(DType::f32, {5, 200});
    machine.ops().embedding_backward(dw, id, machine.normal("dx", DType::bf16, {300, 200}));
    return std::vector{dw};
  });
}

TEST_F(EmbeddingTest, RefusesWrongShapesTypesAndTokens) {
  const Tensor w = zeros(DType::f32, {5, 4}), id = zeros(DType::i32, {3}), x = zeros(DType::f32, {3, 4});
  EXPECT_NO_THROW(ops().embedding_forward(x, id, w));
  EXPECT_THROW(ops().embedding_forward(zeros(DType::f32, {3, 5}), id, w), InternalError);
  EXPECT_THROW(ops().embedding_forward(zeros(DType::bf16, {3, 4}), id, w), InternalError);
  EXPECT_THROW(ops().embedding_forward(x, zeros(DType::f32, {3}), w), InternalError);
  EXPECT_THROW(ops().embedding_forward(x, of<int>(DType::i32, {3}, {0, 5, 1}), w), InternalError);
  EXPECT_THROW(ops().embedding_forward(x, of<int>(DType::i32, {3}, {0, -1, 1}), w), InternalError);
  EXPECT_THROW(ops().embedding_backward(zeros(DType::bf16, {5, 4}), id, x), InternalError);
  EXPECT_THROW(ops().embedding_backward(w, zeros(DType::i32, {2}), x), InternalError);
  EXPECT_THROW(ops().embedding_backward(w, of<int>(DType::i32, {3}, {0, 5, 1}), x), InternalError);
}

}  // namespace
}  // namespace moe::test
