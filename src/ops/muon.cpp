// SPDX-License-Identifier: MIT
// Shapes, types and costs of Muon's ops, and the coefficients of its iterations.
#include "ops/muon.h"

#include <algorithm>

#include "ops/cost.h"
#include "ops/expect.h"
#include "ops/optimizer.h"

namespace moe {
namespace {

void check_stack(const MatrixStack& stack) {
  CHECK(stack.count > 0 && stack.rows > 0 && stack.cols > 0, "muon: an empty stack");
  CHECK(stack.interleaved == 0 || (stack.count == 2 && stack.rows % stack.interleaved == 0),
        "muon: two matrices take turns, whole ones");
}

DType f32_or_bf16(const Tensor& x) {
  return x.dtype() == DType::bf16 ? DType::bf16 : DType::f32;
}

void check_active(const Tensor& active_B, const MatrixStack& stack) {
  if (!active_B.empty()) expect(active_B, "muon: active", DType::i32, {stack.count});
}

}  // namespace

void MatrixActivity::check() const {
  check_stack(stack);
  expect(active_B, "matrix_activity: active", DType::i32, {stack.count});
  expect_numel(gradient, "matrix_activity: gradient", f32_or_bf16(gradient), stack.numel());
}

double MatrixActivity::bytes() const {
  return bytes_of({active_B, gradient});
}

void MuonMomentum::check() const {
  check_stack(stack);
  check_active(active_B, stack);
  const int64_t n = stack.numel();
  expect_numel(u, "muon_momentum: u", f32_or_bf16(u), n);
  expect_numel(gradient, "muon_momentum: gradient", f32_or_bf16(gradient), n);
  expect(scale_1, "muon_momentum: scale", DType::f32, {1});
  CHECK(m.empty() != code_m.empty(), "muon_momentum: the momentum is f32 or 8-bit");
  if (!m.empty()) return expect_numel(m, "muon_momentum: m", DType::f32, n);
  CHECK(stack.elements() % kAdamBlock == 0, "muon_momentum: 8-bit blocks of one matrix each");
  expect_numel(code_m, "muon_momentum: code_m", DType::u8, n);
  expect_numel(absmax_m, "muon_momentum: absmax_m", DType::f32, n / kAdamBlock);
}

double MuonMomentum::bytes() const {
  return bytes_of({u, m, m, code_m, code_m, absmax_m, absmax_m, gradient, active_B, scale_1});
}

void NewtonSchulz::check() const {
  CHECK(x_BMN.rank() == 3, "newton_schulz: x has three dimensions");
  const DType type = f32_or_bf16(x_BMN);
  const int64_t B = x_BMN.dim(0), M = x_BMN.dim(1), N = x_BMN.dim(2), S = std::min(M, N);
  expect(x_BMN, "newton_schulz: x", type, {B, M, N});
  expect(y_BMN, "newton_schulz: y", type, {B, M, N});
  expect(a_BSS, "newton_schulz: a", type, {B, S, S});
  expect(p_BSS, "newton_schulz: p", type, {B, S, S});
  CHECK(steps.count >= 1 && steps.count <= NewtonSchulzSteps::kMost, "newton_schulz: steps");
}

double newton_schulz_flops(int64_t rows, int64_t cols, int64_t steps) {
  const int64_t S = std::min(rows, cols), L = std::max(rows, cols);
  return static_cast<double>(steps) * (2 * product_flops(S, S, L) + product_flops(S, S, S));
}

double NewtonSchulz::flops() const {
  return static_cast<double>(x_BMN.dim(0)) * newton_schulz_flops(x_BMN.dim(1), x_BMN.dim(2), steps.count);
}

double NewtonSchulz::bytes() const {
  // Each of a step's three products reads its operands and writes its result once.
  const double step =
      3 * bytes_of({x_BMN}) + bytes_of({y_BMN}) + 2 * bytes_of({a_BSS}) + 2 * bytes_of({p_BSS});
  return steps.count * step + bytes_of({x_BMN, x_BMN});
}

void NormaliseRows::check() const {
  check_stack(stack);
  check_active(active_B, stack);
  expect_numel(x, "normalise_rows: x", f32_or_bf16(x), stack.numel());
  expect_numel(v, "normalise_rows: v", DType::f32, stack.count * stack.rows);
  expect(scale_1, "normalise_rows: scale", DType::f32, {1});
  CHECK(beta2 > 0 && beta2 < 1, "normalise_rows: beta2 lies between 0 and 1");
}

double NormaliseRows::bytes() const {
  return bytes_of({x, x, x, v, v, active_B, scale_1});
}

void MuonUpdate::check() const {
  check_stack(stack);
  check_active(active_B, stack);
  const int64_t n = stack.numel();
  expect_numel(weight, "muon_update: weight", f32_or_bf16(weight), n);
  if (!compute.empty()) expect_numel(compute, "muon_update: compute", DType::bf16, n);
  CHECK(compute.empty() || weight.dtype() == DType::f32, "muon_update: a bf16 weight has no other copy");
  expect_numel(x, "muon_update: x", f32_or_bf16(x), n);
  expect(scale_1, "muon_update: scale", DType::f32, {1});
  CHECK(step >= 1, "muon_update: steps count from 1");
  if (weight.dtype() == DType::f32) return;
  CHECK(first >= 0 && first % kAdamBlock == 0, "muon_update: the first element begins a block");
  // Counters of ops/stochastic_rounding.h.
  CHECK(step < (int64_t{1} << 32) && first + n <= (int64_t{1} << 35), "muon_update: out of random numbers");
}

double MuonUpdate::bytes() const {
  return bytes_of({weight, weight, compute, x, active_B, scale_1});
}

NewtonSchulzSteps quintic_steps(int count) {
  CHECK(count >= 1 && count <= NewtonSchulzSteps::kMost);
  NewtonSchulzSteps steps{.count = count};
  steps.polynomial.fill({3.4445F, -4.7750F, 2.0315F});
  return steps;
}

NewtonSchulzSteps polar_express_steps(int count) {
  CHECK(count >= 1 && count <= NewtonSchulzSteps::kMost);
  // For five steps and a safety factor of 1.02, as modded-nanogpt has them.
  constexpr std::array<NewtonSchulzSteps::Polynomial, 5> kPublished{
      {{8.156554524902461F, -22.48329292557795F, 15.878769915207462F},
       {4.042929935166739F, -2.808917465908714F, 0.5000178451051316F},
       {3.8916678022926607F, -2.772484153217685F, 0.5060648178503393F},
       {3.285753657755655F, -2.3681294933425376F, 0.46449024233003106F},
       {2.3465413258596377F, -1.7097828382687081F, 0.42323551169305323F}}};
  NewtonSchulzSteps steps{.count = count, .safety = 1.02F};
  for (size_t i = 0; i < steps.polynomial.size(); ++i)
    steps.polynomial[i] = kPublished[std::min(i, kPublished.size() - 1)];
  return steps;
}

}  // namespace moe
