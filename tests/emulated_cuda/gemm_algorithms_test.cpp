// SPDX-License-Identifier: MIT
// Which algorithm a product gets: the user's own choice, the one that came with the program, or one that is
// measured; what a damaged file and an algorithm that the library refuses come to.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <string>
#include <vector>

#include "base/file.h"
#include "base/json.h"
#include "gpu/gemm.h"
#include "gpu/gemm_algorithm_cache.h"
#include "support/folder.h"

namespace moe::gpu {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr const char* kKind = "GPU-A-cublaslt-130100";
constexpr const char* kAsset = R"({"about": "words",
  "GPU-A-cublaslt-130100": {"NT one": [1, 2, 3, 4, 5, 6, 7, 8, 1], "TN two": [9, 0, 0, 0, 0, 0, 0, 0, 4]},
  "GPU-B-cublaslt-130100": {"NT one": [5, 0, 0, 0, 0, 0, 0, 0, 1]}})";

// The first word and the parts.
std::vector<uint64_t> words(const std::optional<GemmChoice>& choice) {
  if (!choice) return {};
  return {choice->algorithm.data[0], static_cast<uint64_t>(choice->parts)};
}

GemmChoice choice(uint64_t word, int64_t parts) {
  return {{{word, 0, 0, 0, 0, 0, 0, 0}}, parts};
}

TEST(GemmAlgorithms, ComeWithTheProgram) {
  const GemmAlgorithmCache cache(kAsset, kKind, {});
  EXPECT_EQ(cache.shipped(), 2);
  EXPECT_THAT(words(cache.find("NT one")), ElementsAre(1, 1));
  EXPECT_EQ(cache.find("NT one")->algorithm.data[7], 8);
  EXPECT_THAT(words(cache.find("TN two")), ElementsAre(9, 4));
  EXPECT_FALSE(cache.find("NN three"));
}

TEST(GemmAlgorithms, OfAnotherGpuOrVersionNoneAreKnown) {
  for (const auto& kind :
       {GemmAlgorithmCache::kind_of("GPU A", 130200), GemmAlgorithmCache::kind_of("GPU C", 130100)}) {
    const GemmAlgorithmCache cache(kAsset, kind, {});
    EXPECT_EQ(cache.shipped(), 0) << kind;
    EXPECT_FALSE(cache.find("NT one")) << kind;
  }
  EXPECT_EQ(GemmAlgorithmCache::kind_of("GPU A", 130100), kKind);
  EXPECT_EQ(GemmAlgorithmCache::kind_of("NVIDIA H100 80GB HBM3", 130100),
            "NVIDIA-H100-80GB-HBM3-cublaslt-130100");
}

TEST(GemmAlgorithms, TheUsersOwnGoFirstAndOnlyTheyAreInTheFile) {
  const test::TestFolder folder;
  const auto file = folder.path() / "gpu" / "own.json";
  {
    GemmAlgorithmCache cache(kAsset, kKind, file);
    cache.keep("NT one", choice(40, 1));
    cache.keep("NN three", choice(41, 1));
    EXPECT_THAT(words(cache.find("NT one")), ElementsAre(40, 1));
  }
  const GemmAlgorithmCache again(kAsset, kKind, file);
  EXPECT_THAT(words(again.find("NT one")), ElementsAre(40, 1));
  EXPECT_THAT(words(again.find("NN three")), ElementsAre(41, 1));
  EXPECT_THAT(words(again.find("TN two")), ElementsAre(9, 4));
  EXPECT_EQ(parse_json("file", read_file(file)).size(), 2);
}

TEST(GemmAlgorithms, ADamagedFileHidesNothing) {
  const test::TestFolder folder;
  for (const char* const text : {"", "{", "[]", "{\"NT one\": \"x\"}", "{\"NT one\": [1, 2]}",
                                 "{\"NT one\": [7, 0, 0, 0, 0, 0, 0, 0, 0]}", "{\"NT one\": [-1, 0, 0.5]}"}) {
    const auto file = folder.put("own.json", text);
    GemmAlgorithmCache cache(kAsset, kKind, file);
    EXPECT_THAT(words(cache.find("NT one")), ElementsAre(1, 1)) << text;
    cache.keep("NN three", choice(3, 1));
    const GemmAlgorithmCache mended("{}", kKind, file);
    EXPECT_THAT(words(mended.find("NN three")), ElementsAre(3, 1)) << text;
  }
}

TEST(GemmAlgorithms, WithoutAFileAChoiceHoldsForTheRun) {
  GemmAlgorithmCache cache(kAsset, kKind, {});
  cache.keep("NN three", choice(3, 1));
  EXPECT_THAT(words(cache.find("NN three")), ElementsAre(3, 1));
}

TEST(GemmAlgorithms, TheProgramsAssetIsWhole) {
  const Json asset = parse_json("asset", GemmAlgorithmCache::asset());
  EXPECT_TRUE(asset.contains("about"));
  for (const auto& [kind, products] : asset.items()) {
    if (kind == "about") continue;
    const GemmAlgorithmCache cache(GemmAlgorithmCache::asset(), kind, {});
    EXPECT_EQ(cache.shipped(), products.size()) << kind;
  }
}

// Multiplies on the emulated GPU.
class GemmAlgorithmsOnGpu : public ::testing::Test {
 protected:
  // The notes of one product with these choices; its result must be right.
  std::vector<std::string> multiply(GemmAlgorithmCache choices) {
    GpuDevice device(0);
    Gemm gemm(device, false, std::move(choices));
    const std::vector<float> ones(64, 1);
    std::vector<float> result(64);
    float* const memory = static_cast<float*>(device.allocate(3 * 64 * 4));
    const auto matrix = [&](int i) { return Tensor(memory + 64 * i, DType::f32, {8, 8}); };
    for (const int i : {0, 1}) device.to_device(matrix(i), ones.data());
    gemm.multiply(matrix(2), matrix(0), matrix(1), MatmulLayout::NT, {});
    device.to_host(result.data(), matrix(2));
    device.release(memory);
    EXPECT_THAT(result, ::testing::Each(8));
    description_ = gemm.describe();
    return gemm.take_notes();
  }

  std::string description_;
};

TEST_F(GemmAlgorithmsOnGpu, AreMeasuredOnceWhereNoneIsKnown) {
  const test::TestFolder folder;
  const auto file = folder.path() / "own.json";
  const GemmAlgorithmCache cache("{}", kKind, file);
  EXPECT_THAT(multiply(cache), ElementsAre(HasSubstr("algorithms of 1 products were measured")));
  EXPECT_THAT(description_, HasSubstr("no shipped algorithms for this GPU and version"));
  EXPECT_THAT(multiply(GemmAlgorithmCache("{}", kKind, file)), IsEmpty());
  const std::string asset = "{\"" + std::string(kKind) + "\": " + read_file(file) + "}";
  EXPECT_THAT(multiply(GemmAlgorithmCache(asset, kKind, {})), IsEmpty());
  EXPECT_THAT(description_, HasSubstr("with 1 shipped algorithms"));
}

TEST_F(GemmAlgorithmsOnGpu, ThatTheLibraryRefusesAreMeasuredAnew) {
  const test::TestFolder folder;
  const auto file = folder.path() / "own.json";
  multiply(GemmAlgorithmCache("{}", kKind, file));
  const Json measured = parse_json("own", read_file(file));
  const std::string product = measured.begin().key();
  for (const GemmChoice& refused : {choice(kEmulatedAlgorithms, 1), choice(0, 2), choice(0, 3)}) {
    GemmAlgorithmCache cache("{}", kKind, file);
    cache.keep(product, refused);
    EXPECT_THAT(multiply(cache), ElementsAre(HasSubstr("refuses the known algorithms of 1 products"),
                                             HasSubstr("of 1 products were measured")));
    EXPECT_THAT(multiply(GemmAlgorithmCache("{}", kKind, file)), IsEmpty());
  }
}

}  // namespace
}  // namespace moe::gpu
