// SPDX-License-Identifier: MIT
// Grouped products whose sums go to memory as they are, or are added to what is there.
#include "gpu/grouped_matmul_hopper.h"

#include "gpu/grouped_matmul_hopper.cuh"
#include "gpu/grouped_store_hopper.cuh"

namespace moe::gpu {
namespace {

template <Form form>
void run(cudaStream_t stream, int processors, Tensor& c, const Tensor& a, const Tensor& b,
         const grouped::Product& p, bool accumulate, Schedule schedule) {
  grouped::with_tile(schedule, p.n, [&]<int kN, Schedule known>() {
    grouped::run<form, kN, known, grouped::Gathered::none>(
        stream, processors, a, b, p, grouped::Store<kN>{pointer<bf16>(c), p.n, accumulate});
  });
}

}  // namespace

bool hopper_takes(std::initializer_list<Tensor> operands, int64_t experts) {
  for (const Tensor& t : operands) {
    const bool aligned = reinterpret_cast<uintptr_t>(t.data()) % 16 == 0 && t.dim(t.rank() - 1) % 8 == 0;
    if (!aligned || t.numel() == 0 || t.dim(0) >= (int64_t{1} << 31)) return false;
  }
  return experts <= grouped::kMostExperts;
}

bool hopper_takes(const Tensor& c, const Tensor& a, const Tensor& b, int64_t experts, Form form) {
  return a.dtype() == DType::bf16 && hopper_takes({c, a, b}, experts) &&
         (form != Form::NN || a.dim(1) % kLine == 0) && (form == Form::TN || c.dtype() == DType::bf16);
}

void hopper_grouped_matmul(cudaStream_t stream, int processors, Tensor& c, const Tensor& a, const Tensor& b,
                           const Tensor& offset_E1, Form form, bool accumulate, Schedule schedule) {
  const int width = static_cast<int>(a.dim(1));
  const grouped::Product p{.offset_E1 = pointer<int32_t>(offset_E1),
                           .m = form == Form::TN ? width : 0,
                           .n = static_cast<int>(c.dim(c.rank() - 1)),
                           .inner = form == Form::TN ? 0 : width,
                           .rows = static_cast<int>(a.dim(0)),
                           .experts = static_cast<int>(offset_E1.numel() - 1)};
  switch (form) {
    case Form::NT:
      return run<Form::NT>(stream, processors, c, a, b, p, accumulate, schedule);
    case Form::NN:
      return run<Form::NN>(stream, processors, c, a, b, p, accumulate, schedule);
    case Form::TN:
      return grouped::gradient<grouped::Gathered::none>(stream, processors, c, a, b, p, accumulate, schedule);
  }
}

}  // namespace moe::gpu
