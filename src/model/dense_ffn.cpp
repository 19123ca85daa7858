// SPDX-License-Identifier: MIT
#include "model/dense_ffn.h"

#include <array>
#include <numeric>
#include <vector>

#include "tensor/device.h"

namespace moe::model {

void DenseFfnWeights::declare(ParameterList& list, const std::string& name, const FfnSpec& spec) {
  const int64_t D = spec.width, F = spec.inner_width;
  list.matrix(gate_up, name + ".gate_up.weight", kDenseGroup, Role::matrix, {2 * F, D});
  list.consists_of({F, F});
  list.matrix(down, name + ".down.weight", kDenseGroup, Role::matrix, {D, F});
  list.consists_of({D});
  list.writes_to_residual();
}

DensePlan::DensePlan(int64_t N, Arena& arena) {
  const auto take = [&](std::initializer_list<int64_t> shape) {
    return arena.allocate("small", DType::i32, shape);
  };
  plan_ = {.offset_E1 = take({2}),
           .slot_R = take({N}),
           .row_NK = take({N, 1}),
           .count_E = take({1}),
           .top1_count_E = take({1})};
}

void DensePlan::upload(Device& device) const {
  if (plan_.slot_R.empty()) return;
  std::vector<int32_t> order(static_cast<size_t>(plan_.slot_R.numel()));
  std::iota(order.begin(), order.end(), 0);
  device.to_device(plan_.slot_R, order.data());
  device.to_device(plan_.row_NK, order.data());
  set_tokens(plan_.slot_R.numel(), device);
}

void DensePlan::set_tokens(int64_t N, Device& device) const {
  if (plan_.slot_R.empty()) return;
  const std::array<int32_t, 2> offset{0, static_cast<int32_t>(N)};
  device.to_device(plan_.offset_E1, offset.data());
}

DensePlan DensePlan::first(int64_t N) const {
  DensePlan view = *this;
  if (plan_.slot_R.empty()) return view;
  view.plan_.slot_R = plan_.slot_R.rows(0, N);
  view.plan_.row_NK = plan_.row_NK.rows(0, N);
  return view;
}

DenseFfnSaved::DenseFfnSaved(const FfnSpec& spec, DType type, int64_t N, Recompute recompute,
                             const DenseFfnSaved* first, Arena& arena)
    : h_N2F(recompute != Recompute::full || first == nullptr
                ? arena.allocate("activations: dense", type, {N, 2 * spec.inner_width})
                : first->h_N2F) {}

DenseFfnWorkspace::DenseFfnWorkspace(const FfnSpec& spec, bool weighted, DType type, int64_t N, Mode mode,
                                     Arena& arena)
    : a_NF(arena.allocate("activations: shared", type, {N, spec.inner_width})) {
  if (weighted) y_ND = arena.allocate("activations: shared", type, {N, spec.width});
  if (mode == Mode::inference) return;
  if (!weighted) one_N1 = arena.allocate("activations: shared", DType::f32, {N, 1});
  dweight_N1 = arena.allocate("activations: shared", DType::f32, {N, 1});
}

void DenseFfn::forward(Tensor y_ND, DenseFfnSaved& saved, const Tensor& residual_ND, const Tensor& weight_N1,
                       const Tensor& x_ND, const DenseFfnWeights& weights, const DensePlan& plan,
                       const DenseFfnWorkspace& scratch, Ops& ops) const {
  const int64_t N = x_ND.dim(0);
  const Tensor a_NF = scratch.a_NF.rows(0, N);
  ops.matmul(saved.h_N2F, x_ND, weights.gate_up.compute, MatmulLayout::NT, false);
  ops.swiglu_forward(a_NF, saved.h_N2F, plan.plan());
  if (weight_N1.empty()) return ops.matmul_add(y_ND, residual_ND, a_NF, weights.down.compute);
  const Tensor result_ND = scratch.y_ND.rows(0, N);
  ops.matmul(result_ND, a_NF, weights.down.compute, MatmulLayout::NT, false);
  ops.combine_rows({.y_ND = y_ND,
                    .residual_ND = residual_ND,
                    .x_RD = result_ND,
                    .weight_NK = weight_N1,
                    .plan = plan.plan()});
}

void DenseFfn::backward(Tensor dx_ND, DenseFfnSaved& saved, const Tensor& d_ND, const Tensor& weight_N1,
                        const Tensor& x_ND, const DenseFfnWeights& weights, GradientMode gradients,
                        const DensePlan& plan, const DenseFfnWorkspace& scratch, Ops& ops) const {
  const bool add = gradients == GradientMode::accumulate;
  const Tensor &h_N2F = saved.h_N2F, &dh_N2F = saved.h_N2F;  // h is not needed after dh
  const Tensor& a_NF = scratch.a_NF;
  if (recompute_ == Recompute::full)
    ops.matmul(h_N2F, x_ND, weights.gate_up.compute, MatmulLayout::NT, false);
  if (weight_N1.empty()) ops.fill(scratch.one_N1, 1);
  ops.matmul(a_NF, d_ND, weights.down.compute, MatmulLayout::NN, false);
  ops.swiglu_backward({.dh_R2F = dh_N2F,
                       .a_RF = a_NF,
                       .dweight_NK = scratch.dweight_N1,
                       .da_RF = a_NF,
                       .h_R2F = h_N2F,
                       .weight_NK = weight_N1.empty() ? scratch.one_N1 : weight_N1,
                       .plan = plan.plan()});
  ops.matmul(weights.down.gradient, d_ND, a_NF, MatmulLayout::TN, add);
  ops.matmul(weights.gate_up.gradient, dh_N2F, x_ND, MatmulLayout::TN, add);
  ops.matmul(dx_ND, dh_N2F, weights.gate_up.compute, MatmulLayout::NN, false);
}

}  // namespace moe::model
