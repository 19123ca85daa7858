// SPDX-License-Identifier: MIT
// Grouped products whose sums go to memory as they are, or are added to what is there.
#include "gpu/sm90/grouped_matmul.h"

#include "gpu/sm90/grouped_matmul.cuh"
#include "gpu/sm90/grouped_store.cuh"
#include "gpu/sm90/half_type.cuh"

namespace moe::gpu {
namespace {

template <class T, MatmulLayout layout>
void run(cudaStream_t stream, int num_sms, Tensor& c, const Tensor& a, const Tensor& b,
         const grouped::Product& p, bool accumulate, Schedule schedule) {
  grouped::with_tile(schedule, p.n, [&]<int kN, Schedule known>() {
    grouped::run<T, layout, kN, known, grouped::Gathered::none>(
        stream, num_sms, a, b, p, grouped::Store<T, kN>{pointer<T>(c), p.n, accumulate});
  });
}

}  // namespace

bool sm90_takes(std::initializer_list<Tensor> operands, int64_t experts) {
  for (const Tensor& t : operands) {
    const bool aligned = reinterpret_cast<uintptr_t>(t.data()) % 16 == 0 && t.dim(t.rank() - 1) % 8 == 0;
    if (!aligned || t.numel() == 0 || t.dim(0) >= (int64_t{1} << 31)) return false;
  }
  return experts <= grouped::kMostExperts;
}

bool sm90_takes(const GroupedMatmul& op) {
  return is_half_type(op.a.dtype()) && sm90_takes({op.c, op.a, op.b}, op.offset_E1.numel() - 1) &&
         (op.layout != MatmulLayout::NN || op.a.dim(1) % kLine == 0) &&
         (op.layout == MatmulLayout::TN || op.c.dtype() == op.a.dtype());
}

void sm90_grouped_matmul(cudaStream_t stream, int num_sms, GroupedMatmul op, Schedule schedule) {
  const int width = static_cast<int>(op.a.dim(1));
  const grouped::Product p{.offset_E1 = pointer<int32_t>(op.offset_E1),
                           .m = op.layout == MatmulLayout::TN ? width : 0,
                           .n = static_cast<int>(op.c.dim(op.c.rank() - 1)),
                           .inner = op.layout == MatmulLayout::TN ? 0 : width,
                           .rows = static_cast<int>(op.a.dim(0)),
                           .experts = static_cast<int>(op.offset_E1.numel() - 1)};
  with_half_type(op.a.dtype(), [&]<class T>() {
    switch (op.layout) {
      case MatmulLayout::NT:
        return run<T, MatmulLayout::NT>(stream, num_sms, op.c, op.a, op.b, p, op.accumulate, schedule);
      case MatmulLayout::NN:
        return run<T, MatmulLayout::NN>(stream, num_sms, op.c, op.a, op.b, p, op.accumulate, schedule);
      case MatmulLayout::TN:
        return grouped::gradient<T, grouped::Gathered::none>(stream, num_sms, op.c, op.a, op.b, p,
                                                             op.accumulate, schedule);
    }
  });
}

}  // namespace moe::gpu
