// SPDX-License-Identifier: MIT
// The path of num_sms without bf16 dot products: the matrix tests once more in a process whose oneDNN is
// told to stay below them (the library reads the variable once, when it starts).
#include "cpu/gemm.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <string>

namespace moe::cpu {
namespace {

constexpr const char* kLimit = "DNNL_MAX_CPU_ISA";

TEST(GemmTest, NamesTheLibraryAndItsInstructions) {
  EXPECT_THAT(Gemm(1).describe(DType::bf16), testing::MatchesRegex("oneDNN [0-9.]+, .+"));
  if (std::getenv(kLimit) != nullptr) {
    EXPECT_THAT(Gemm(1).describe(DType::bf16), testing::HasSubstr("products in f32"));
  }
}

TEST(GemmTest, Bf16WorksWithoutBf16Instructions) {
  if (std::getenv(kLimit) != nullptr) GTEST_SKIP() << "already below the limit";
  const std::string self = std::filesystem::read_symlink("/proc/self/exe");
  const std::string output = testing::TempDir() + "gemm_without_bf16.log";
  const std::string command = fmt::format(
      "{}=AVX2 '{}' '--gtest_filter=GemmTest.Names*:*Matmul*:AttentionTest.RoundedTypes*' >'{}' 2>&1", kLimit,
      self, output);
  EXPECT_EQ(std::system(command.c_str()), 0) << "see " << output;
}

}  // namespace
}  // namespace moe::cpu
