// SPDX-License-Identifier: MIT
// The contract between the model and the hardware: every operation of a training step, once. CpuOps (cpu/)
// and GpuOps (gpu/) implement it; tests hold one against the other. The CPU bodies are the specification.
//
// Letters: N tokens (= B rows x T), D d_model, H query heads, G kv heads, d head_dim, V vocabulary, E
//   experts, K experts per token, F expert width, R = N*K permuted rows, P = 2*H*d + 2*G*d packed projection.
// Types: A is the activation type, f32, bf16 or f16 (the same throughout a model). Matrix weights have type
//   A; norm weights, the router, statistics, probabilities and losses are f32, gradients of weights too, but
//   for those that matrix products make, which may have type A; indices are i32.
// Outputs come first, as Tensor; inputs after, as const Tensor. Gradients of weights accumulate (+=) but in
//   products, which do as they are told; gradients of activations are written. Outputs must not overlap
//   inputs unless an op says so.
// Accumulation is in f32 (f64 where said). Bounds are normalised mean squared errors against exact
//   arithmetic: 1e-11 for f32, 1e-5 for bf16, 1.6e-7 for f16, 2e-6 for TF32 products (docs/numerics.md);
//   twice rounded, twice that.
// Results are deterministic: reductions have a fixed order, no atomics on floats, ties go to the lower index,
//   and nothing depends on the number of threads.
// An op may return before it is done; later ops on the same object see its result; the host sees it after
//   Device::synchronize() or to_host(). Values that change from step to step are device scalars (shape [1]).
// Every op first checks shapes and types (check() of its arguments, or ops/contracts/) and throws
//   InternalError when they are wrong.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>

#include "ops/attention.h"
#include "ops/route_plan.h"
#include "tensor/tensor.h"

namespace moe {

// c = op(a) op(b): NT is forward (x w^T), NN the data gradient (dy w), TN the weight gradient (dy^T x).
enum class MatmulLayout : uint8_t { NT, NN, TN };

struct AdamW {
  enum class Order : uint8_t { pytorch, bitsandbytes };
  float learning_rate = 0, beta1 = 0.9F, beta2 = 0.95F, epsilon = 1e-8F, weight_decay = 0;
  int64_t step = 1;  // counts from 1
  Order order = Order::pytorch;
  // Of the random numbers that round a bf16 weight (ops/stochastic_rounding.h): the run's, the tensor's, and
  // the place in the whole tensor of the first element at hand, a multiple of 256.
  uint64_t seed = 0, stream = 0;
  int64_t first = 0;
};

// Runs body, which calls operations of one Ops and does nothing else: each time the same ones on the same
// tensors. So a GPU may record them and from then on replay the record without calling body (a CUDA graph).
class CapturedRegion {
 public:
  virtual ~CapturedRegion() = default;
  virtual void run(const std::function<void()>& body) { body(); }
  // From body, for what is no operation and cannot be recorded: work is called at this place in each run.
  virtual void host_callback(const std::function<void()>& work) { work(); }
};

class Ops {
 public:
  virtual ~Ops() = default;

  // For a sequence of operations that is run again and again; the object must not outlive this one.
  virtual std::unique_ptr<CapturedRegion> captured_region() { return std::make_unique<CapturedRegion>(); }

  // ---- elementwise ----
  virtual void fill(Tensor x, float value) = 0;      // any type; value converted
  virtual void copy(Tensor y, const Tensor& x) = 0;  // equal types and numel
  virtual void cast(Tensor y, const Tensor& x) = 0;  // f32 <-> bf16 or f16, equal numel
  virtual void add(Tensor y, const Tensor& x) = 0;   // y += x; f32 or i32, equal types and numel

  // ---- embedding ----
  // x[n] = w[id[n]].  0 <= id < V.
  virtual void embedding_forward(Tensor x_ND, const Tensor& id_N, const Tensor& w_VD) = 0;
  // dw[id[n]] += dx[n], in the order of n.   dw f32.
  virtual void embedding_backward(Tensor dw_VD, const Tensor& id_N, const Tensor& dx_ND) = 0;

  // ---- norm ----
  // y = w * x * rstd,  rstd = 1 / sqrt(mean(x^2) + eps)   (Zhang & Sennrich 2019).
  virtual void rms_norm_forward(Tensor y_ND, Tensor rstd_N, const Tensor& x_ND, const Tensor& w_D,
                                float eps) = 0;
  // dx = residual + d(loss)/dx of the norm;  dw += sum_n dy * x * rstd.
  //   residual may be empty (zero) or be dx.
  virtual void rms_norm_backward(Tensor dx_ND, Tensor dw_D, const Tensor& dy_ND, const Tensor& residual_ND,
                                 const Tensor& x_ND, const Tensor& w_D, const Tensor& rstd_N) = 0;

  // ---- matrix products ----
  // NT: c[M,N] = a[M,K] b[N,K]^T.  NN: c[M,N] = a[M,K] b[K,N].  TN: c[M,N] = a[K,M]^T b[K,N].
  //   accumulate: c +=.
  // a, b of one type; c of that type or f32. A sum with a c of 16 bits is rounded once.
  virtual void matmul(Tensor c_MN, const Tensor& a, const Tensor& b, MatmulLayout layout,
                      bool accumulate) = 0;
  // c = addend + a b^T, of the addend's type.
  virtual void matmul_add(Tensor c_MN, const Tensor& addend_MN, const Tensor& a_MK, const Tensor& b_NK) = 0;
  // One product per expert over the rows [offset[e], offset[e+1]); rows past offset[E] are neither read nor
  // written; an expert without rows contributes nothing (TN: its block stays when accumulating, else is 0).
  // NT: c[R,N] = a[R,K] w[E,N,K]^T.  NN: c[R,K] = a[R,N] w[E,N,K].  TN: c[E,N,K] = a[R,N]^T b[R,K].
  virtual void grouped_matmul(Tensor c, const Tensor& a, const Tensor& b, const Tensor& offset_E1,
                              MatmulLayout layout, bool accumulate) = 0;

  // ---- attention (ops/attention.h) ----
  virtual void qk_norm_rope_forward(QkNormRopeForward op) = 0;
  virtual void qk_norm_rope_backward(QkNormRopeBackward op) = 0;
  virtual void attention_forward(AttentionForward op) = 0;
  virtual void gate_backward(GateBackward op) = 0;
  virtual void attention_backward(AttentionBackward op) = 0;
  virtual void attention_cached(AttentionCached op) = 0;

  // ---- router ----
  // logits = x w^T in f32 whatever the type of x.
  virtual void router_logits_forward(Tensor logits_NE, const Tensor& x_ND, const Tensor& w_ED) = 0;
  // dx += dlogits w;  dw += dlogits^T x.
  virtual void router_logits_backward(Tensor dx_ND, Tensor dw_ED, const Tensor& dlogits_NE,
                                      const Tensor& x_ND, const Tensor& w_ED) = 0;
  // probability = softmax over all E; expert = the K of the largest logits (not probabilities: their rounding
  // makes ties of its own), in descending order, ties to the lower index; weight = their probabilities,
  // divided by their sum when `renormalise`. lse = log sum exp of the logits. Padding (doc_start_N = -1):
  // probability 0, expert -1, weight 0, lse 0.
  virtual void route(Tensor probability_NE, Tensor lse_N, Tensor expert_NK, Tensor weight_NK,
                     const Tensor& logits_NE, const Tensor& doc_start_N, bool renormalise) = 0;
  // Fills the plan.
  virtual void route_plan(RoutePlan plan, const Tensor& expert_NK, const Capacity& capacity) = 0;
  // Over the M tokens that are not padding (Tutel's gshard loss and the ST-MoE z-loss, arXiv 2202.08906):
  //   P_E[e] = sum_n probability / M,  f_E[e] = top1_count_E[e] / M,
  //   loss_2 = { E * sum_e mean * share, sum_n lse^2 / M }.   All f32; zero when M = 0.
  virtual void router_losses(Tensor loss_2, Tensor P_E, Tensor f_E, const Tensor& probability_NE,
                             const Tensor& lse_N, const Tensor& top1_count_E, const Tensor& doc_start_N) = 0;
  // dlogits of  sum dweight*weight  +  scale * (balance_weight * loss_2[0] + z_weight * loss_2[1]);
  // f_E is a constant. scale_1 f32 [1]. Zero for padding.
  virtual void route_backward(Tensor dlogits_NE, const Tensor& dweight_NK, const Tensor& probability_NE,
                              const Tensor& lse_N, const Tensor& expert_NK, const Tensor& weight_NK,
                              const Tensor& f_E, const Tensor& doc_start_N, const Tensor& scale_1,
                              float balance_weight, float z_weight, bool renormalise) = 0;

  // ---- experts ----
  // y[r] = x[slot[r] / K] for rows in use.
  virtual void gather_rows(Tensor y_RD, const Tensor& x_ND, const RoutePlan& plan) = 0;
  // y[n] = residual[n] + sum_k weight[n,k] * x[row[n,k]] over the rows kept, in the order of k. weight_NK
  // empty: all ones. residual_ND empty: zero; residual may be y.
  virtual void combine_rows(Tensor y_ND, const Tensor& residual_ND, const Tensor& x_RD,
                            const Tensor& weight_NK, const RoutePlan& plan) = 0;
  // h = [gate (F) | up (F)];  a = gate * silu(up)   (the SiLU is on `up`: the user's definition).
  virtual void swiglu_forward(Tensor a_RF, const Tensor& h_R2F, const RoutePlan& plan) = 0;
  // For y = weight * (a W_down^T) combined over k, given da = dy W_down (not yet weighted), so that the
  // expert's output is never kept (SonicMoE, arXiv 2512.14080): with w = weight of the row,
  //   dweight[slot] = <da, a>,  dh = w * d(a)/d(h) * da,  a_out = w * a (for W_down's gradient dy^T a_out).
  // dweight of dropped assignments is 0. dh may be h, a_out may be da.
  virtual void swiglu_backward(Tensor dh_R2F, Tensor a_RF, Tensor dweight_NK, const Tensor& da_RF,
                               const Tensor& h_R2F, const Tensor& weight_NK, const RoutePlan& plan) = 0;

  // The three products of an expert that read rows by token, each with what comes before and after it. The
  // bodies here are made of the operations above: the specification, for devices that have nothing faster.
  // rows_RD is memory that they may use, unspecified afterwards.
  // h[r] = x[slot[r] / K] w^T and a = gate * silu(up) of the rounded h.
  virtual void expert_up(Tensor h_R2F, Tensor a_RF, Tensor rows_RD, const Tensor& x_ND, const Tensor& w_E2FD,
                         const RoutePlan& plan);
  // da[r] = dy[slot[r] / K] w, then swiglu_backward. Rounds twice at most: da may be rounded. dh may be h.
  virtual void expert_down_backward(Tensor dh_R2F, Tensor a_RF, Tensor dweight_NK, Tensor rows_RD,
                                    const Tensor& dy_ND, const Tensor& w_EDF, const Tensor& h_R2F,
                                    const Tensor& weight_NK, const RoutePlan& plan);
  // Per expert, dw = sum over its rows of dy[slot[r] / K]^T a[r], and of dh[r]^T x[slot[r] / K]; accumulate:
  // dw +=.
  virtual void expert_down_gradient(Tensor dw_EDF, Tensor rows_RD, const Tensor& dy_ND, const Tensor& a_RF,
                                    const RoutePlan& plan, bool accumulate);
  virtual void expert_up_gradient(Tensor dw_E2FD, Tensor rows_RD, const Tensor& dh_R2F, const Tensor& x_ND,
                                  const RoutePlan& plan, bool accumulate);

  // ---- loss ----
  // loss[n] = log sum exp(logits[n, :vocabulary]) - logits[n, target[n]]; 0 where target is -1.
  // gradient_scale_1 not empty: logits become scale * (softmax - onehot), 0 in the columns past `vocabulary`
  // and in rows without a target. Rounds once more then.
  virtual void cross_entropy(Tensor loss_N, Tensor logits_NV, const Tensor& target_N, int64_t vocabulary,
                             const Tensor& gradient_scale_1) = 0;

  // ---- reductions and optimizer ----
  // sum_1 f64 += sum of x (f32), sum of x^2 (x f32 or bf16), accumulated in f64 in a fixed order.
  virtual void sum(Tensor sum_1, const Tensor& x) = 0;
  virtual void sum_squares(Tensor sum_1, const Tensor& x) = 0;
  // norm = sqrt(sum over squares_n) / loss_scale (f64), where loss_scale is a factor that all gradients
  // carry; scale_1 f32 = min(1, max_norm / (norm + 1e-6)) / loss_scale, 1 / loss_scale when max_norm is 0,
  // and -1 when norm is not finite.
  virtual void clip_scale(Tensor scale_1, const Tensor& squares_n, float max_norm, float loss_scale) = 0;
  // One step of AdamW (Loshchilov & Hutter 2019) on flat tensors of n elements: g = gradient * scale; the
  // update order is AdamW::order (docs/numerics.md states both, and the 8-bit format of bitsandbytes that the
  // states follow: blocks of 256, code_m and code_v u8 [n], absmax_m and absmax_v f32 [ceil(n/256)]). weight
  // (f32, or bf16) is updated; a bf16 one is rounded up or down at random (ops/stochastic_rounding.h).
  // compute (bf16 or empty; empty for a bf16 weight) receives a copy rounded to nearest. gradient is f32 or
  // bf16, and only read. scale_1 < 0: nothing changes.
  virtual void adamw8(Tensor weight, Tensor compute, const Tensor& gradient, Tensor code_m, Tensor code_v,
                      Tensor absmax_m, Tensor absmax_v, const Tensor& scale_1, const AdamW& options) = 0;
  // The same with f32 moments.
  virtual void adamw32(Tensor weight, Tensor compute, const Tensor& gradient, Tensor m, Tensor v,
                       const Tensor& scale_1, const AdamW& options) = 0;
};

}  // namespace moe
