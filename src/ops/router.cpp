// SPDX-License-Identifier: MIT
// Shapes, types and costs of the router's operations.
#include "ops/router.h"

#include "ops/cost.h"
#include "ops/expect.h"
#include "ops/ops.h"

namespace moe {

void RouterLogitsForward::check() const {
  expect_activation(x_ND, "router_logits_forward: x", 2);
  CHECK(w_ED.rank() == 2, "router_logits_forward: w must be a matrix");
  expect(w_ED, "router_logits_forward: w", DType::f32, {w_ED.dim(0), x_ND.dim(1)});
  expect(logits_NE, "router_logits_forward: logits", DType::f32, {x_ND.dim(0), w_ED.dim(0)});
}

double RouterLogitsForward::bytes() const {
  return bytes_of({logits_NE, x_ND, w_ED});
}

void RouterLogitsBackward::check() const {
  const DType type = expect_activation(x_ND, "router_logits_backward: x", 2);
  const int64_t n = x_ND.dim(0), d = x_ND.dim(1);
  CHECK(w_ED.rank() == 2, "router_logits_backward: w must be a matrix");
  expect(w_ED, "router_logits_backward: w", DType::f32, {w_ED.dim(0), d});
  expect(dx_ND, "router_logits_backward: dx", type, {n, d});
  expect(dw_ED, "router_logits_backward: dw", DType::f32, {w_ED.dim(0), d});
  expect(dlogits_NE, "router_logits_backward: dlogits", DType::f32, {n, w_ED.dim(0)});
}

double RouterLogitsBackward::bytes() const {
  return bytes_of({dx_ND, add_to_dx ? dx_ND : Tensor(), dw_ED, dlogits_NE, x_ND, w_ED});
}

void Route::check() const {
  CHECK(logits_NE.rank() == 2 && expert_NK.rank() == 2, "route: logits and expert must be matrices");
  const int64_t n = logits_NE.dim(0), e = logits_NE.dim(1), k = expert_NK.dim(1);
  CHECK(k >= 1 && k <= e, "route: 1 <= K <= E");
  expect(logits_NE, "route: logits", DType::f32, {n, e});
  expect(probability_NE, "route: probability", DType::f32, {n, e});
  expect(lse_N, "route: lse", DType::f32, {n});
  expect(expert_NK, "route: expert", DType::i32, {n, k});
  expect(weight_NK, "route: weight", DType::f32, {n, k});
  expect_numel(doc_start_N, "route: first", DType::i32, n);
  CHECK(rule.scale > 0, "route: scale must be above 0");
  if (!bias_E.empty()) expect(bias_E, "route: bias", DType::f32, {e});
}

double Route::bytes() const {
  return bytes_of({probability_NE, lse_N, expert_NK, weight_NK, logits_NE, doc_start_N});
}

void MakeRoutePlan::check() const {
  CHECK(expert_NK.rank() == 2 && expert_NK.dtype() == DType::i32, "route_plan: expert must be an i32 matrix");
  CHECK(capacity.rows >= 1, "route_plan: an expert without room");
  CHECK(capacity.tokens >= 0, "route_plan: capacity of a negative number of tokens");
  CHECK(capacity.tokens == 0 || expert_NK.dim(0) % capacity.tokens == 0,
        "route_plan: capacity of tokens that do not divide all");
  check_plan(plan, expert_NK.numel());
}

double MakeRoutePlan::bytes() const {
  return bytes_of({expert_NK});
}

void RouterLosses::check() const {
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

double RouterLosses::bytes() const {
  return bytes_of({loss_2, P_E, f_E, probability_NE, lse_N, top1_count_E, doc_start_N});
}

void RouteBackward::check() const {
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
  CHECK(rule.scale > 0, "route_backward: scale must be above 0");
  CHECK(sequence_weight == 0 || doc_start_N.rank() == 2, "route_backward: first must be [B, T]");
  if (rule.score == RouterScore::sigmoid) expect(logits_NE, "route_backward: logits", DType::f32, {n, e});
}

double RouteBackward::bytes() const {
  return bytes_of({dlogits_NE, dweight_NK, probability_NE, lse_N, expert_NK, weight_NK, f_E, doc_start_N,
                   scale_1, logits_NE});
}

void RouterForward::check() const {
  logits.check();
  route.check();
  CHECK(route.logits_NE.data() == logits.logits_NE.data(), "router_forward: other logits");
  expect(route.logits_NE, "router_forward: logits", DType::f32, {logits.x_ND.dim(0), logits.w_ED.dim(0)});
}

double RouterForward::bytes() const {
  return logits.bytes() + route.bytes() - (keep_logits ? 1 : 2) * bytes_of({route.logits_NE});
}

void Ops::router_forward(RouterForward op) {
  op.check();
  router_logits_forward(op.logits);
  route(op.route);
}

void RouterBackward::check() const {
  route.check();
  logits.check();
  CHECK(route.dlogits_NE.data() == logits.dlogits_NE.data(), "router_backward: other dlogits");
  expect(route.dlogits_NE, "router_backward: dlogits", DType::f32, {logits.x_ND.dim(0), logits.w_ED.dim(0)});
  expect(top1_count_E, "router_backward: first choices", DType::i32, {logits.w_ED.dim(0)});
}

double RouterBackward::bytes() const {
  return logits.bytes() + route.bytes() - bytes_of({route.dlogits_NE, route.dlogits_NE});
}

void Ops::router_backward(RouterBackward op) {
  op.check();
  route_backward(op.route);
  router_logits_backward(op.logits);
}

}  // namespace moe
