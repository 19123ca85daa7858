// SPDX-License-Identifier: MIT
// The CUDA implementation of the contract in ops/ops.h: one file per family of operations, with the same
// names as in cpu/. Everything is queued on the device's stream and returns at once. Formulas, shapes and
// bounds are in ops/ops.h and are not repeated here.
#pragma once

#include <memory>
#include <string>

#include "gpu/gemm.h"
#include "gpu/gpu_device.h"
#include "gpu/workspace.h"
#include "ops/arithmetic.h"
#include "ops/ops.h"

namespace moe::gpu {

// Which kernels may run: the best for the GPU, or only those that every GPU can run, so that a newer GPU
// tests these.
enum class Kernels { best, portable };

class GpuOps final : public Ops {
 public:
  // The device must outlive the object.
  explicit GpuOps(GpuDevice& device, Kernels kernels = Kernels::best, Arithmetic arithmetic = {});

  // "bf16, cuBLASLt 13.0, Hopper kernels": for the start of a run. Activations of another type than the one
  // announced are computed as well.
  std::string describe() const;

  std::unique_ptr<CapturedRegion> captured_region() override;  // a CUDA graph

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
  void expert_up(Tensor h_R2F, Tensor a_RF, Tensor rows_RD, const Tensor& x_ND, const Tensor& w_E2FD,
                 const RoutePlan& plan) override;
  void expert_down_backward(Tensor dh_R2F, Tensor a_RF, Tensor dweight_NK, Tensor rows_RD,
                            const Tensor& dy_ND, const Tensor& w_EDF, const Tensor& h_R2F,
                            const Tensor& weight_NK, const RoutePlan& plan) override;
  void expert_down_gradient(Tensor dw_EDF, Tensor rows_RD, const Tensor& dy_ND, const Tensor& a_RF,
                            const RoutePlan& plan, bool accumulate) override;
  void expert_up_gradient(Tensor dw_E2FD, Tensor rows_RD, const Tensor& dh_R2F, const Tensor& x_ND,
                          const RoutePlan& plan, bool accumulate) override;

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
  GpuDevice& device_;
  cudaStream_t stream_;
  Arithmetic arithmetic_;
  int num_sms_;                 // streaming multiprocessors
  size_t shared_of_processor_;  // bytes of shared memory that one's blocks have together
  bool sm90_;  // kernels with Hopper's own instructions are used where they take the operands
  Workspace workspace_;
  Gemm gemm_;
};

}  // namespace moe::gpu
