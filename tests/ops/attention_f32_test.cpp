// SPDX-License-Identifier: MIT
// Attention of f32 on matrix units beside that of a CPU: as pairs of TF32 numbers, and rounded to TF32.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <vector>

#include "ops/attention_fixture.h"

namespace moe::test::attention {
namespace {

// The same on a CPU, whose sums are plain.
class CpuAttention : public AttentionTest {
 public:
  CpuAttention() : AttentionTest({}, DeviceKind::cpu) {}
  void TestBody() override {}
};

// Gradients of f32 beside those of a CPU, at the widths that a GPU's matrix units have and at others.
void check_gradients(AttentionTest& test, double bound) {
  CpuAttention cpu;
  std::vector<Shape> shapes = windowed_shapes();
  shapes.insert(shapes.end(), {Shape{4, 2, 32}, Shape{4, 1, 64}, Shape{3, 3, 64}, Shape{2, 1, 128}});
  for (const Shape& s : shapes)
    for (const auto& mask : {kMasks[1], kMasks[2]}) {
      SCOPED_TRACE(fmt::format("{}, head width {}, window {}", mask.first, s.dim, s.window));
      const Rows& rows = mask.second;
      const auto gradients = [&](AttentionTest& on) {
        const Inputs x = make_inputs(on, DType::f32, rows, s);
        const auto g =
            on.backward(x, on.forward(x), on.normal("do", DType::f32, {x.q.dim(0), s.heads, s.dim}));
        return std::vector{on.values(g.q), on.values(g.k), on.values(g.packed)};
      };
      const auto found = gradients(test), expected = gradients(cpu);
      for (size_t i = s.window == 1 ? 2 : 0; i < 3; ++i)  // the weight of a single key is 1: others are 0
        EXPECT_TRUE(close(found[i], expected[i], bound)) << "qkv"[i];
    }
}

TEST_F(AttentionTest, GradientsOfF32AreThoseOfACpu) {
  check_gradients(*this, 2 * kBoundF32);  // o comes in rounded
}

// Operands of all products are rounded, and so are the weights of the second one.
class AttentionTf32Test : public AttentionTest {
 public:
  AttentionTf32Test() : AttentionTest({DType::f32, true}) {
    if (test_device() == "gpu") lse_bound = bound = kBoundTf32;
  }
  double bound = kBoundF32;
};

TEST_F(AttentionTf32Test, MatchesPlainSoftmax) {
  check_forward(DType::f32, bound);
}

TEST_F(AttentionTf32Test, GradientsAreThoseOfACpu) {
  check_gradients(*this, 2 * bound);
}

}  // namespace
}  // namespace moe::test::attention
