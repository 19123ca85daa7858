// SPDX-License-Identifier: MIT
// The CPU implementation of the contract in ops/ops.h: one file per family of operations (matmul.cpp,
// attention.cpp, router.cpp, ...), plain loops over rows on a thread pool; only matrix products use a library
// (gemm.h). Formulas, shapes and bounds are in ops/ops.h and are not repeated here.
#pragma once

#include "base/threads.h"
#include "cpu/gemm.h"
#include "cpu/scratch.h"
#include "ops/ops.h"

namespace moe::cpu {

class CpuOps : public Ops {
 public:
  // The pool must outlive the object. One thread at a time calls the methods; each returns when it is done.
  explicit CpuOps(ThreadPool& pool) : pool_(pool), scratch_(pool.size()), gemm_(pool.size()) {}

  // "oneDNN 2.6.3, AVX-512 BF16": for the start of a run with activations of this type.
  std::string describe(DType type) const { return gemm_.describe(type); }

  // elementwise
  void fill(Tensor x, float value) override;
  void copy(Tensor y, const Tensor& x) override;
  void cast(Tensor y, const Tensor& x) override;
  void add(Tensor y, const Tensor& x) override;

  // embedding
  void embedding_forward(Tensor x_ND, const Tensor& id_N, const Tensor& w_VD) override;
  void embedding_backward(Tensor dw_VD, const Tensor& id_N, const Tensor& dx_ND) override;

  // norm
  void rms_norm_forward(Tensor y_ND, Tensor rstd_N, const Tensor& x_ND, const Tensor& w_D,
                        float eps) override;
  void rms_norm_backward(Tensor dx_ND, Tensor dw_D, const Tensor& dy_ND, const Tensor& residual_ND,
                         const Tensor& x_ND, const Tensor& w_D, const Tensor& rstd_N) override;

  // matrix products
  void matmul(Tensor c_MN, const Tensor& a, const Tensor& b, MatmulLayout layout, bool accumulate) override;
  void matmul_add(Tensor c_MN, const Tensor& addend_MN, const Tensor& a_MK, const Tensor& b_NK) override;
  void grouped_matmul(Tensor c, const Tensor& a, const Tensor& b, const Tensor& offset_E1,
                      MatmulLayout layout, bool accumulate) override;

  // attention
  void qk_norm_rope_forward(QkNormRopeForward op) override;
  void qk_norm_rope_backward(QkNormRopeBackward op) override;

  void attention_forward(AttentionForward op) override;
  void gate_backward(GateBackward op) override;
  void attention_backward(AttentionBackward op) override;
  void attention_cached(AttentionCached op) override;

  // router
  void router_logits_forward(Tensor logits_NE, const Tensor& x_ND, const Tensor& w_ED) override;
  void router_logits_backward(Tensor dx_ND, Tensor dw_ED, const Tensor& dlogits_NE, const Tensor& x_ND,
                              const Tensor& w_ED) override;
  void route(Tensor probability_NE, Tensor lse_N, Tensor expert_NK, Tensor weight_NK, const Tensor& logits_NE,
             const Tensor& doc_start_N, bool renormalise) override;
  void route_plan(RoutePlan plan, const Tensor& expert_NK, const Capacity& capacity) override;
  void router_losses(Tensor loss_2, Tensor P_E, Tensor f_E, const Tensor& probability_NE, const Tensor& lse_N,
                     const Tensor& top1_count_E, const Tensor& doc_start_N) override;
  void route_backward(Tensor dlogits_NE, const Tensor& dweight_NK, const Tensor& probability_NE,
                      const Tensor& lse_N, const Tensor& expert_NK, const Tensor& weight_NK,
                      const Tensor& f_E, const Tensor& doc_start_N, const Tensor& scale_1,
                      float balance_weight, float z_weight, bool renormalise) override;

  // experts
  void gather_rows(Tensor y_RD, const Tensor& x_ND, const RoutePlan& plan) override;
  void combine_rows(Tensor y_ND, const Tensor& residual_ND, const Tensor& x_RD, const Tensor& weight_NK,
                    const RoutePlan& plan) override;
  void swiglu_forward(Tensor a_RF, const Tensor& h_R2F, const RoutePlan& plan) override;
  void swiglu_backward(Tensor dh_R2F, Tensor a_RF, Tensor dweight_NK, const Tensor& da_RF,
                       const Tensor& h_R2F, const Tensor& weight_NK, const RoutePlan& plan) override;

  // loss
  void cross_entropy(Tensor loss_N, Tensor logits_NV, const Tensor& target_N, int64_t vocabulary,
                     const Tensor& gradient_scale_1) override;

  // reductions and optimizer
  void sum(Tensor sum_1, const Tensor& x) override;
  void sum_squares(Tensor sum_1, const Tensor& x) override;
  void clip_scale(Tensor scale_1, const Tensor& squares_n, float max_norm, float loss_scale) override;
  void adamw8(Tensor weight, Tensor compute, const Tensor& gradient, Tensor code_m, Tensor code_v,
              Tensor absmax_m, Tensor absmax_v, const Tensor& scale_1, const AdamW& options) override;
  void adamw32(Tensor weight, Tensor compute, const Tensor& gradient, Tensor m, Tensor v,
               const Tensor& scale_1, const AdamW& options) override;

 private:
  ThreadPool& pool_;
  Scratch scratch_;
  Gemm gemm_;
};

}  // namespace moe::cpu
