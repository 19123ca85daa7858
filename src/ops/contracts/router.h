// SPDX-License-Identifier: MIT
// Shapes and types of the router: logits, choice of experts, its losses and their gradient.
#pragma once

#include "ops/contracts/expect.h"

namespace moe::contracts {

inline void check_router_logits_forward(const Tensor& logits_NE, const Tensor& x_ND, const Tensor& w_ED) {
  expect_activation(x_ND, "router_logits_forward: x", 2);
  CHECK(w_ED.rank() == 2, "router_logits_forward: w must be a matrix");
  expect(w_ED, "router_logits_forward: w", DType::f32, {w_ED.dim(0), x_ND.dim(1)});
  expect(logits_NE, "router_logits_forward: logits", DType::f32, {x_ND.dim(0), w_ED.dim(0)});
}

inline void check_router_logits_backward(const Tensor& dx_ND, const Tensor& dw_ED, const Tensor& dlogits_NE,
                                         const Tensor& x_ND, const Tensor& w_ED) {
  const DType type = expect_activation(x_ND, "router_logits_backward: x", 2);
  const int64_t n = x_ND.dim(0), d = x_ND.dim(1);
  CHECK(w_ED.rank() == 2, "router_logits_backward: w must be a matrix");
  expect(w_ED, "router_logits_backward: w", DType::f32, {w_ED.dim(0), d});
  expect(dx_ND, "router_logits_backward: dx", type, {n, d});
  expect(dw_ED, "router_logits_backward: dw", DType::f32, {w_ED.dim(0), d});
  expect(dlogits_NE, "router_logits_backward: dlogits", DType::f32, {n, w_ED.dim(0)});
}

inline void check_route(const Tensor& probability_NE, const Tensor& lse_N, const Tensor& expert_NK,
                        const Tensor& weight_NK, const Tensor& logits_NE, const Tensor& doc_start_N) {
  CHECK(logits_NE.rank() == 2 && expert_NK.rank() == 2, "route: logits and expert must be matrices");
  const int64_t n = logits_NE.dim(0), e = logits_NE.dim(1), k = expert_NK.dim(1);
  CHECK(k >= 1 && k <= e, "route: 1 <= K <= E");
  expect(logits_NE, "route: logits", DType::f32, {n, e});
  expect(probability_NE, "route: probability", DType::f32, {n, e});
  expect(lse_N, "route: lse", DType::f32, {n});
  expect(expert_NK, "route: expert", DType::i32, {n, k});
  expect(weight_NK, "route: weight", DType::f32, {n, k});
  expect_numel(doc_start_N, "route: first", DType::i32, n);
}

inline void check_router_losses(const Tensor& loss_2, const Tensor& P_E, const Tensor& f_E,
                                const Tensor& probability_NE, const Tensor& lse_N, const Tensor& top1_count_E,
                                const Tensor& doc_start_N) {
  CHECK(probability_NE.rank() == 2, "router_losses: probability must be a matrix");
  const int64_t n = probability_NE.dim(0), e = probability_NE.dim(1);
  expect(probability_NE, "router_losses: probability", DType::f32, {n, e});
  expect(loss_2, "router_losses: loss", DType::f32, {2});
  expect(P_E, "router_losses: mean", DType::f32, {e});
  expect(f_E, "router_losses: share", DType::f32, {e});
  expect(lse_N, "router_losses: lse", DType::f32, {n});
  expect(top1_count_E, "router_losses: first choices", DType::i32, {e});
  expect_numel(doc_start_N, "router_losses: first", DType::i32, n);
}

inline void check_route_backward(const Tensor& dlogits_NE, const Tensor& dweight_NK,
                                 const Tensor& probability_NE, const Tensor& lse_N, const Tensor& expert_NK,
                                 const Tensor& weight_NK, const Tensor& f_E, const Tensor& doc_start_N,
                                 const Tensor& scale_1) {
  CHECK(probability_NE.rank() == 2 && expert_NK.rank() == 2,
        "route_backward: probability and expert must be matrices");
  const int64_t n = probability_NE.dim(0), e = probability_NE.dim(1), k = expert_NK.dim(1);
  expect(probability_NE, "route_backward: probability", DType::f32, {n, e});
  expect(dlogits_NE, "route_backward: dlogits", DType::f32, {n, e});
  expect(dweight_NK, "route_backward: dweight", DType::f32, {n, k});
  expect(lse_N, "route_backward: lse", DType::f32, {n});
  expect(expert_NK, "route_backward: expert", DType::i32, {n, k});
  expect(weight_NK, "route_backward: weight", DType::f32, {n, k});
  expect(f_E, "route_backward: share", DType::f32, {e});
  expect_numel(doc_start_N, "route_backward: first", DType::i32, n);
  expect(scale_1, "route_backward: scale", DType::f32, {1});
}

}  // namespace moe::contracts
