// SPDX-License-Identifier: MIT
// The one place that makes bf16 and f16 of floats and floats of them (tests/base/ has the roundings
// themselves).
#include "tensor/host_floats.h"

#include <gmock/gmock.h>

#include <cstring>

#include "support/fixture.h"

namespace moe {
namespace {

TEST(HostFloats, ComeBackAsTheTensorsTypeHoldsThem) {
  test::Machine machine;
  const std::vector<float> values{0.0F, -1.0F, 12.0F, 1e-3F, 0x1.003p0F, 65504.0F};
  for (const DType type : {DType::f32, DType::bf16, DType::f16}) {
    const Tensor tensor = machine.zeros(type, {6});
    upload_floats(tensor, values, machine.device());
    const auto expected = machine.values(machine.of(type, {6}, values));
    EXPECT_EQ(machine.values(tensor), expected) << static_cast<int>(type);
    EXPECT_THAT(host_floats(tensor, machine.device()), ::testing::ElementsAreArray(expected));
  }
}

// As in a file whose header has an odd length.
TEST(HostFloats, AreReadFromAnyPlaceInMemory) {
  const std::vector<float> values{0.5F, -2.0F, 96.0F};
  for (const DType type : {DType::f32, DType::bf16, DType::f16}) {
    std::vector<uint8_t> bytes(3 * size_of(type) + 1);
    std::vector<uint8_t> aligned(3 * size_of(type));
    narrow(aligned.data(), values.data(), type, 3);
    std::memcpy(bytes.data() + 1, aligned.data(), aligned.size());
    std::vector<float> back(3);
    widen(back.data(), bytes.data() + 1, type, 3);
    EXPECT_EQ(back, values) << static_cast<int>(type);
  }
}

}  // namespace
}  // namespace moe
