// SPDX-License-Identifier: MIT
#include "ops/observed_ops.h"

namespace moe {
namespace {

const char* form_name(MatmulLayout layout) {
  return layout == MatmulLayout::NT ? " NT " : layout == MatmulLayout::NN ? " NN " : " TN ";
}

std::string sizes(int64_t m, int64_t n, int64_t k) {
  return std::to_string(m) + "x" + std::to_string(n) + "x" + std::to_string(k);
}

double product(int64_t m, int64_t n, int64_t k) {
  return 2.0 * static_cast<double>(m) * static_cast<double>(n) * static_cast<double>(k);
}

}  // namespace

void ObservedOps::measure(const std::string& name, const char* phase, double flops,
                          std::initializer_list<Tensor> tensors, const std::function<void()>& body) {
  double bytes = 0;
  for (const Tensor& tensor : tensors) bytes += static_cast<double>(tensor.bytes());
  run({name, phase, flops, bytes}, body);
}

template <class Op>
void ObservedOps::observe(const Op& op, const std::function<void()>& body) {
  double flops = 0;
  if constexpr (requires { op.flops(); }) flops = op.flops();
  run({Op::name, Op::phase, flops, op.bytes()}, body);
}

std::unique_ptr<CapturedRegion> ObservedOps::captured_region() {
  return inner_.captured_region();
}

void ObservedOps::matmul(Tensor c_MN, const Tensor& a, const Tensor& b, MatmulLayout layout,
                         bool accumulate) {
  const int64_t M = c_MN.dim(0), N = c_MN.dim(1), K = layout == MatmulLayout::TN ? a.dim(0) : a.dim(1);
  const bool head = M == vocabulary_ || N == vocabulary_ || K == vocabulary_;
  measure("matmul" + std::string(form_name(layout)) + sizes(M, N, K), head ? "head" : "projections",
          product(M, N, K), {c_MN, accumulate ? c_MN : Tensor(), a, b},
          [&] { inner_.matmul(c_MN, a, b, layout, accumulate); });
}

void ObservedOps::matmul_add(Tensor c_MN, const Tensor& addend_MN, const Tensor& a_MK, const Tensor& b_NK) {
  const int64_t M = c_MN.dim(0), N = c_MN.dim(1), K = a_MK.dim(1);
  measure("matmul_add" + sizes(M, N, K), "projections", product(M, N, K), {c_MN, addend_MN, a_MK, b_NK},
          [&] { inner_.matmul_add(c_MN, addend_MN, a_MK, b_NK); });
}

void ObservedOps::grouped_matmul(Tensor c, const Tensor& a, const Tensor& b, const Tensor& offset_E1,
                                 MatmulLayout layout, bool accumulate) {
  // a has one row for each routed row in every layout; without drops all of them are in use.
  const int64_t R = a.dim(0), inner = a.dim(1), outer = layout == MatmulLayout::TN ? b.dim(1) : c.dim(1);
  measure("grouped_matmul" + std::string(form_name(layout)) + sizes(R, outer, inner), "experts",
          product(R, outer, inner), {c, accumulate ? c : Tensor(), a, b},
          [&] { inner_.grouped_matmul(c, a, b, offset_E1, layout, accumulate); });
}

void ObservedOps::attention_forward(AttentionForward op) {
  observe(op, [&] { inner_.attention_forward(op); });
}

void ObservedOps::attention_backward(AttentionBackward op) {
  observe(op, [&] { inner_.attention_backward(op); });
}

void ObservedOps::fill(Tensor x, float value) {
  measure("fill", "other", 0, {x}, [&] { inner_.fill(x, value); });
}

void ObservedOps::copy(Tensor y, const Tensor& x) {
  measure("copy", "other", 0, {y, x}, [&] { inner_.copy(y, x); });
}

void ObservedOps::cast(Tensor y, const Tensor& x) {
  measure("cast", "other", 0, {y, x}, [&] { inner_.cast(y, x); });
}

void ObservedOps::add(Tensor y, const Tensor& x) {
  measure("add", "other", 0, {y, x}, [&] { inner_.add(y, x); });
}

void ObservedOps::embedding_forward(Tensor x_ND, const Tensor& id_N, const Tensor& w_VD) {
  measure("embedding_forward", "embedding", 0, {x_ND, x_ND},  // of the table only these rows
          [&] { inner_.embedding_forward(x_ND, id_N, w_VD); });
}

void ObservedOps::embedding_backward(Tensor dw_VD, const Tensor& id_N, const Tensor& dx_ND) {
  measure("embedding_backward", "embedding", 0, {dx_ND, dx_ND, dx_ND},
          [&] { inner_.embedding_backward(dw_VD, id_N, dx_ND); });
}

void ObservedOps::rms_norm_forward(Tensor y_ND, Tensor rstd_N, const Tensor& x_ND, const Tensor& w_D,
                                   float eps) {
  measure("rms_norm_forward", "norms", 0, {y_ND, rstd_N, x_ND, w_D},
          [&] { inner_.rms_norm_forward(y_ND, rstd_N, x_ND, w_D, eps); });
}

void ObservedOps::rms_norm_backward(Tensor dx_ND, Tensor dw_D, const Tensor& dy_ND, const Tensor& residual_ND,
                                    const Tensor& x_ND, const Tensor& w_D, const Tensor& rstd_N) {
  measure("rms_norm_backward", "norms", 0, {dx_ND, dw_D, dy_ND, residual_ND, x_ND, w_D, rstd_N},
          [&] { inner_.rms_norm_backward(dx_ND, dw_D, dy_ND, residual_ND, x_ND, w_D, rstd_N); });
}

void ObservedOps::qk_norm_rope_forward(QkNormRopeForward op) {
  observe(op, [&] { inner_.qk_norm_rope_forward(op); });
}

void ObservedOps::qk_norm_rope_backward(QkNormRopeBackward op) {
  observe(op, [&] { inner_.qk_norm_rope_backward(op); });
}

void ObservedOps::attention_cached(AttentionCached op) {
  observe(op, [&] { inner_.attention_cached(op); });
}

void ObservedOps::gate_backward(GateBackward op) {
  observe(op, [&] { inner_.gate_backward(op); });
}

void ObservedOps::router_logits_forward(Tensor logits_NE, const Tensor& x_ND, const Tensor& w_ED) {
  measure("router_logits_forward", "router", 0, {logits_NE, x_ND, w_ED},
          [&] { inner_.router_logits_forward(logits_NE, x_ND, w_ED); });
}

void ObservedOps::router_logits_backward(Tensor dx_ND, Tensor dw_ED, const Tensor& dlogits_NE,
                                         const Tensor& x_ND, const Tensor& w_ED) {
  measure("router_logits_backward", "router", 0, {dx_ND, dx_ND, dw_ED, dlogits_NE, x_ND, w_ED},
          [&] { inner_.router_logits_backward(dx_ND, dw_ED, dlogits_NE, x_ND, w_ED); });
}

void ObservedOps::route(Tensor probability_NE, Tensor lse_N, Tensor expert_NK, Tensor weight_NK,
                        const Tensor& logits_NE, const Tensor& doc_start_N, bool renormalise) {
  measure("route", "router", 0, {probability_NE, lse_N, expert_NK, weight_NK, logits_NE, doc_start_N}, [&] {
    inner_.route(probability_NE, lse_N, expert_NK, weight_NK, logits_NE, doc_start_N, renormalise);
  });
}

void ObservedOps::route_plan(RoutePlan plan, const Tensor& expert_NK, const Capacity& capacity) {
  measure("route_plan", "router", 0, {expert_NK}, [&] { inner_.route_plan(plan, expert_NK, capacity); });
}

void ObservedOps::router_losses(Tensor loss_2, Tensor P_E, Tensor f_E, const Tensor& probability_NE,
                                const Tensor& lse_N, const Tensor& top1_count_E, const Tensor& doc_start_N) {
  measure("router_losses", "router", 0, {loss_2, P_E, f_E, probability_NE, lse_N, top1_count_E, doc_start_N},
          [&] { inner_.router_losses(loss_2, P_E, f_E, probability_NE, lse_N, top1_count_E, doc_start_N); });
}

void ObservedOps::route_backward(Tensor dlogits_NE, const Tensor& dweight_NK, const Tensor& probability_NE,
                                 const Tensor& lse_N, const Tensor& expert_NK, const Tensor& weight_NK,
                                 const Tensor& f_E, const Tensor& doc_start_N, const Tensor& scale_1,
                                 float balance_weight, float z_weight, bool renormalise) {
  measure("route_backward", "router", 0,
          {dlogits_NE, dweight_NK, probability_NE, lse_N, expert_NK, weight_NK, f_E, doc_start_N, scale_1},
          [&] {
            inner_.route_backward(dlogits_NE, dweight_NK, probability_NE, lse_N, expert_NK, weight_NK, f_E,
                                  doc_start_N, scale_1, balance_weight, z_weight, renormalise);
          });
}

void ObservedOps::gather_rows(Tensor y_RD, const Tensor& x_ND, const RoutePlan& plan) {
  measure("gather_rows", "dispatch", 0, {y_RD, x_ND}, [&] { inner_.gather_rows(y_RD, x_ND, plan); });
}

void ObservedOps::combine_rows(Tensor y_ND, const Tensor& residual_ND, const Tensor& x_RD,
                               const Tensor& weight_NK, const RoutePlan& plan) {
  measure("combine_rows", "combine", 0, {y_ND, residual_ND, x_RD, weight_NK},
          [&] { inner_.combine_rows(y_ND, residual_ND, x_RD, weight_NK, plan); });
}

void ObservedOps::swiglu_forward(Tensor a_RF, const Tensor& h_R2F, const RoutePlan& plan) {
  measure("swiglu_forward", "experts", 0, {a_RF, h_R2F}, [&] { inner_.swiglu_forward(a_RF, h_R2F, plan); });
}

void ObservedOps::swiglu_backward(Tensor dh_R2F, Tensor a_RF, Tensor dweight_NK, const Tensor& da_RF,
                                  const Tensor& h_R2F, const Tensor& weight_NK, const RoutePlan& plan) {
  measure("swiglu_backward", "experts", 0, {dh_R2F, a_RF, dweight_NK, da_RF, h_R2F, weight_NK},
          [&] { inner_.swiglu_backward(dh_R2F, a_RF, dweight_NK, da_RF, h_R2F, weight_NK, plan); });
}

void ObservedOps::expert_up(Tensor h_R2F, Tensor a_RF, Tensor rows_RD, const Tensor& x_ND,
                            const Tensor& w_E2FD, const RoutePlan& plan) {
  measure("expert_up", "experts", product(h_R2F.dim(0), h_R2F.dim(1), x_ND.dim(1)),
          {h_R2F, a_RF, x_ND, w_E2FD}, [&] { inner_.expert_up(h_R2F, a_RF, rows_RD, x_ND, w_E2FD, plan); });
}

void ObservedOps::expert_down_backward(Tensor dh_R2F, Tensor a_RF, Tensor dweight_NK, Tensor rows_RD,
                                       const Tensor& dy_ND, const Tensor& w_EDF, const Tensor& h_R2F,
                                       const Tensor& weight_NK, const RoutePlan& plan) {
  measure("expert_down_backward", "experts", product(a_RF.dim(0), a_RF.dim(1), dy_ND.dim(1)),
          {dh_R2F, a_RF, dweight_NK, dy_ND, w_EDF, h_R2F, weight_NK}, [&] {
            inner_.expert_down_backward(dh_R2F, a_RF, dweight_NK, rows_RD, dy_ND, w_EDF, h_R2F, weight_NK,
                                        plan);
          });
}

void ObservedOps::expert_down_gradient(Tensor dw_EDF, Tensor rows_RD, const Tensor& dy_ND, const Tensor& a_RF,
                                       const RoutePlan& plan, bool accumulate) {
  measure("expert_down_gradient", "experts", product(a_RF.dim(0), a_RF.dim(1), dy_ND.dim(1)),
          {dw_EDF, accumulate ? dw_EDF : Tensor(), dy_ND, a_RF},
          [&] { inner_.expert_down_gradient(dw_EDF, rows_RD, dy_ND, a_RF, plan, accumulate); });
}

void ObservedOps::expert_up_gradient(Tensor dw_E2FD, Tensor rows_RD, const Tensor& dh_R2F, const Tensor& x_ND,
                                     const RoutePlan& plan, bool accumulate) {
  measure("expert_up_gradient", "experts", product(dh_R2F.dim(0), dh_R2F.dim(1), x_ND.dim(1)),
          {dw_E2FD, accumulate ? dw_E2FD : Tensor(), dh_R2F, x_ND},
          [&] { inner_.expert_up_gradient(dw_E2FD, rows_RD, dh_R2F, x_ND, plan, accumulate); });
}

void ObservedOps::cross_entropy(Tensor loss_N, Tensor logits_NV, const Tensor& target_N, int64_t vocabulary,
                                const Tensor& gradient_scale_1) {
  measure("cross_entropy", "head", 0, {loss_N, logits_NV, logits_NV, target_N, gradient_scale_1},
          [&] { inner_.cross_entropy(loss_N, logits_NV, target_N, vocabulary, gradient_scale_1); });
}

void ObservedOps::sum(Tensor sum_1, const Tensor& x) {
  measure("sum", "other", 0, {sum_1, x}, [&] { inner_.sum(sum_1, x); });
}

void ObservedOps::sum_squares(Tensor sum_1, const Tensor& x) {
  measure("sum_squares", "optimizer", 0, {sum_1, x}, [&] { inner_.sum_squares(sum_1, x); });
}

void ObservedOps::clip_scale(Tensor scale_1, const Tensor& squares_n, float max_norm, float loss_scale) {
  measure("clip_scale", "optimizer", 0, {scale_1, squares_n},
          [&] { inner_.clip_scale(scale_1, squares_n, max_norm, loss_scale); });
}

void ObservedOps::adamw8(Tensor weight, Tensor compute, const Tensor& gradient, Tensor code_m, Tensor code_v,
                         Tensor absmax_m, Tensor absmax_v, const Tensor& scale_1, const AdamW& options) {
  measure("adamw8", "optimizer", 0,
          {weight, weight, compute, gradient, code_m, code_m, code_v, code_v, absmax_m, absmax_m, absmax_v,
           absmax_v, scale_1},
          [&] {
            inner_.adamw8(weight, compute, gradient, code_m, code_v, absmax_m, absmax_v, scale_1, options);
          });
}

void ObservedOps::adamw32(Tensor weight, Tensor compute, const Tensor& gradient, Tensor m, Tensor v,
                          const Tensor& scale_1, const AdamW& options) {
  measure("adamw32", "optimizer", 0, {weight, weight, compute, gradient, m, m, v, v, scale_1},
          [&] { inner_.adamw32(weight, compute, gradient, m, v, scale_1, options); });
}

}  // namespace moe
