// SPDX-License-Identifier: MIT
#include "model/shared_expert.h"

namespace moe::model {

void SharedExpertWeights::declare(ParameterList& list, const MoeSpec& spec) {
  ffn.declare(list, "moe.shared", spec.shared);
  if (spec.shared_gate)
    list.matrix(gate, "moe.shared_gate.weight", "router", Role::router, {1, spec.shared.width});
}

SharedExpertSaved::SharedExpertSaved(const MoeSpec& spec, DType type, int64_t N, Recompute recompute,
                                     const SharedExpertSaved* first, Mode mode, Arena& arena)
    : ffn(spec.shared, type, N, recompute, first == nullptr ? nullptr : &first->ffn, arena) {
  if (spec.shared_gate) gate_N1 = arena.allocate("activations: dense", DType::f32, {N, 1});
  if (mode == Mode::inference) return;
  dx_ND =
      first == nullptr ? arena.allocate("activations: dense", type, {N, spec.shared.width}) : first->dx_ND;
}

SharedExpertSaved SharedExpertSaved::first(int64_t N) const {
  SharedExpertSaved view = *this;
  view.ffn = ffn.first(N);
  for (Tensor* tensor : {&view.gate_N1, &view.dx_ND})
    if (!tensor->empty()) *tensor = tensor->rows(0, N);
  return view;
}

void SharedExpert::forward(Tensor y_ND, SharedExpertSaved& saved, const Tensor& residual_ND,
                           const Tensor& x_ND, const SharedExpertWeights& weights, const DensePlan& plan,
                           const SharedExpertWorkspace& scratch, Ops& ops) const {
  if (!saved.gate_N1.empty()) {
    ops.router_logits_forward(saved.gate_N1, x_ND, weights.gate.weight);
    ops.sigmoid(saved.gate_N1, saved.gate_N1);
  }
  ffn_.forward(y_ND, saved.ffn, residual_ND, saved.gate_N1, x_ND, weights.ffn, plan, scratch.ffn, ops);
}

void SharedExpert::backward(SharedExpertSaved& saved, const Tensor& d_ND, const Tensor& x_ND,
                            const SharedExpertWeights& weights, GradientMode gradients, const DensePlan& plan,
                            const SharedExpertWorkspace& scratch, Ops& ops) const {
  ffn_.backward(saved.dx_ND, saved.ffn, d_ND, saved.gate_N1, x_ND, weights.ffn, gradients, plan, scratch.ffn,
                ops);
  if (saved.gate_N1.empty()) return;
  const Tensor& dlogit_N1 = scratch.ffn.dweight_N1;  // in place
  ops.sigmoid_backward(dlogit_N1, saved.gate_N1);
  ops.router_logits_backward({.dx_ND = saved.dx_ND,
                              .dw_ED = weights.gate.gradient,
                              .dlogits_NE = dlogit_N1,
                              .x_ND = x_ND,
                              .w_ED = weights.gate.weight});
}

}  // namespace moe::model
