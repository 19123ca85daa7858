// SPDX-License-Identifier: MIT
#include "model/dense_layer.h"

namespace moe::model {

void DenseLayerWeights::declare(ParameterList& list, const DenseSpec& spec) {
  list.norm(norm, "dense_norm.weight", spec.ffn.width);
  ffn.declare(list, "dense", spec.ffn);
}

DenseLayerSaved::DenseLayerSaved(const DenseSpec& spec, DType type, int64_t N, Recompute recompute,
                                 const DenseLayerSaved* first, Arena& arena)
    : ffn(spec.ffn, type, N, recompute, first == nullptr ? nullptr : &first->ffn, arena) {
  const bool own = recompute == Recompute::none || first == nullptr;
  norm_ND = own ? arena.allocate("activations: dense", type, {N, spec.ffn.width}) : first->norm_ND;
  rstd_N = own ? arena.allocate("activations: dense", DType::f32, {N}) : first->rstd_N;
}

DenseLayerSaved DenseLayerSaved::first(int64_t N) const {
  DenseLayerSaved view = *this;
  view.norm_ND = norm_ND.rows(0, N);
  view.rstd_N = rstd_N.rows(0, N);
  view.ffn = ffn.first(N);
  return view;
}

DenseLayerWorkspace::DenseLayerWorkspace(const DenseSpec& spec, DType type, int64_t N, Mode mode,
                                         Arena& arena)
    : ffn(spec.ffn, false, type, N, mode, arena) {
  if (mode == Mode::training) dnorm_ND = arena.allocate("activations: shared", type, {N, spec.ffn.width});
}

DenseLayer::DenseLayer(const DenseSpec& spec, Recompute recompute)
    : eps_(spec.norm_eps), recompute_(recompute), ffn_(recompute) {}

void DenseLayer::norm(DenseLayerSaved& saved, const Tensor& x_ND, const DenseLayerWeights& weights,
                      Ops& ops) const {
  ops.rms_norm_forward(saved.norm_ND, saved.rstd_N, x_ND, weights.norm.weight, eps_);
}

void DenseLayer::forward(Tensor y_ND, DenseLayerSaved& saved, const Tensor& x_ND,
                         const DenseLayerWeights& weights, const DensePlan& plan,
                         const DenseLayerWorkspace& scratch, Ops& ops) const {
  norm(saved, x_ND, weights, ops);
  ffn_.forward(y_ND, saved.ffn, x_ND, {}, saved.norm_ND, weights.ffn, plan, scratch.ffn, ops);
}

void DenseLayer::backward(Tensor d_ND, const ScaledRows& d8_ND, DenseLayerSaved& saved, const Tensor& x_ND,
                          const DenseLayerWeights& weights, GradientMode gradients, const DensePlan& plan,
                          const DenseLayerWorkspace& scratch, Ops& ops) const {
  if (recompute_ != Recompute::none) norm(saved, x_ND, weights, ops);
  ffn_.backward(scratch.dnorm_ND, saved.ffn, d_ND, {}, saved.norm_ND, weights.ffn, gradients, plan,
                scratch.ffn, ops);
  ops.rms_norm_backward({.dx_ND = d_ND,
                         .dw_D = weights.norm.gradient,
                         .dy_ND = scratch.dnorm_ND,
                         .residual_ND = d_ND,
                         .x_ND = x_ND,
                         .w_D = weights.norm.weight,
                         .rstd_N = saved.rstd_N,
                         .dx8_ND = d8_ND});
}

}  // namespace moe::model
