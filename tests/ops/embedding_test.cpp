// SPDX-License-Identifier: MIT
// The embedding moves rows exactly, so expected values are the rows themselves.
#include <gtest/gtest.h>

#include <cmath>

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
  for (const DType dtype : kActivations)
    for (const auto& [n, d] : {std::pair<int64_t, int64_t>{1, 33}, {7, 520}, {129, 33}}) {
      const Tensor w = normal("w", dtype, {11, d}), id = tokens(*this, n, 11), x = zeros(dtype, {n, d});
      ops().embedding_forward(x, id, w);
      const auto got = values(x), rows = values(w), ids = values(id);
      const auto width = static_cast<size_t>(d);
      for (size_t i = 0; i < got.size(); ++i)
        ASSERT_EQ(got[i], rows[static_cast<size_t>(ids[i / width]) * width + i % width]);
    }
}

TEST_F(EmbeddingTest, AddsGradientsToTheRowsOfTheTokens) {
  for (const DType dtype : kActivations)
    for (const auto& [d, vocabulary] : {std::pair<int64_t, int64_t>{1, 9}, {33, 9}, {104, 1}, {8, 70000}}) {
      const int64_t n = vocabulary == 70000 ? 1500 : 57;
      const Tensor dx = normal("dx", dtype, {n, d}), id = tokens(*this, n, vocabulary);
      const Tensor dw = normal("dw", DType::f32, {vocabulary, d});
      auto expected = values(dw);
      const auto gradient = values(dx), ids = values(id);
      const auto width = static_cast<size_t>(d);
      for (size_t i = 0; i < gradient.size(); ++i)
        expected[static_cast<size_t>(ids[i / width]) * width + i % width] += gradient[i];
      ops().embedding_backward(dw, id, dx);
      EXPECT_TRUE(close(values(dw), expected, kBoundF32));
    }
}

TEST_F(EmbeddingTest, ScalesRowsAndTheirGradients) {
  for (const DType dtype : kActivations)
    for (const auto& [n, d] : {std::pair<int64_t, int64_t>{1, 33}, {70, 40}}) {
      const Tensor w = normal("w", dtype, {9, d}), id = tokens(*this, n, 9), x = zeros(dtype, {n, d});
      ops().embedding_forward(x, id, w, 2.5F);
      const Tensor dx = normal("dx", dtype, {n, d}), dw = normal("dw", DType::f32, {9, d});
      auto rows = values(w), ids = values(id), sums = values(dw);
      const auto gradient = values(dx);
      std::vector<double> expected;
      const auto width = static_cast<size_t>(d);
      for (size_t i = 0; i < gradient.size(); ++i) {
        const size_t at = static_cast<size_t>(ids[i / width]) * width + i % width;
        expected.push_back(2.5 * rows[at]);
        sums[at] += 2.5 * gradient[i];
      }
      EXPECT_TRUE(close(values(x), expected, bound_of(dtype)));
      ops().embedding_backward(dw, id, dx, 2.5F);
      EXPECT_TRUE(close(values(dw), sums, kBoundF32));
    }
}

TEST_F(EmbeddingTest, SameBitsWithAnyNumberOfThreads) {
  expect_same_bits([this](Machine& machine) {
    const Tensor id = tokens(machine, 300, 5), dw = machine.zeros(DType::f32, {5, 200});
    machine.ops().embedding_backward(dw, id, machine.normal("dx", DType::bf16, {300, 200}));
    return std::vector{dw};
  });
}

TEST_F(EmbeddingTest, RefusesWrongShapesAndTypes) {
  const Tensor w = zeros(DType::f32, {5, 4}), id = zeros(DType::i32, {3}), x = zeros(DType::f32, {3, 4});
  EXPECT_NO_THROW(ops().embedding_forward(x, id, w));
  EXPECT_THROW(ops().embedding_forward(zeros(DType::f32, {3, 5}), id, w), InternalError);
  EXPECT_THROW(ops().embedding_forward(zeros(DType::bf16, {3, 4}), id, w), InternalError);
  EXPECT_THROW(ops().embedding_forward(x, zeros(DType::f32, {3}), w), InternalError);
  EXPECT_THROW(ops().embedding_backward(zeros(DType::bf16, {5, 4}), id, x), InternalError);
  EXPECT_THROW(ops().embedding_backward(w, zeros(DType::i32, {2}), x), InternalError);
}

TEST_F(EmbeddingTest, ATokenOutsideTheVocabularyIsAnError) {
  const Tensor w = zeros(DType::f32, {5, 4}), x = zeros(DType::f32, {3, 4});
  for (const int wrong : {5, -1}) {
    const Tensor id = of<int>(DType::i32, {3}, {0, wrong, 1});
    if (test_device() == "cpu") {
      EXPECT_THROW(ops().embedding_forward(x, id, w), InternalError);
      EXPECT_THROW(ops().embedding_backward(w, id, x), InternalError);
      continue;
    }
    ops().embedding_forward(x, id, w);  // a kernel cannot throw
    const auto got = values(x);
    for (size_t i = 0; i < got.size(); ++i) EXPECT_EQ(std::isnan(got[i]), i / 4 == 1);
  }
}

}  // namespace
}  // namespace moe::test
