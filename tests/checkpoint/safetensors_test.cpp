// SPDX-License-Identifier: MIT
// The safetensors reader and writer, held against files of the reference library
// (tools/make_safetensors_goldens.py) and against every way in which a file can lie.
#include "checkpoint/safetensors.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <cmath>
#include <fstream>

#include "base/file.h"
#include "support/errors.h"
#include "support/fixture.h"

namespace moe::checkpoint {
namespace {

using test::user_error_of;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
namespace fs = std::filesystem;

const fs::path kGolden = fs::path(MOE_SOURCE_DIR) / "tests/golden";
const fs::path kOurs = kGolden / "safetensors_ours.safetensors";

class SafetensorsTest : public ::testing::Test, public test::Machine {
 protected:
  // All tensors of a file, on the device.
  std::vector<NamedTensor> load_all(const Safetensors& file, const std::map<std::string, DType>& types) {
    std::vector<NamedTensor> tensors;
    for (const auto& entry : file.entries()) {
      tensors.push_back({entry.name, zeros(types.at(entry.dtype), entry.shape)});
      file.load(entry.name, tensors.back().tensor, device());
    }
    return tensors;
  }
  fs::path scratch(const std::string& name) const { return fs::path(::testing::TempDir()) / name; }

  const std::map<std::string, DType> types_{{"F32", DType::f32},
                                            {"F64", DType::f64},
                                            {"I32", DType::i32},
                                            {"BF16", DType::bf16},
                                            {"U8", DType::u8}};
};

// A file of this header and so many bytes of data.
std::vector<uint8_t> file_of(const std::string& header, size_t data_bytes) {
  std::vector<uint8_t> bytes;
  for (int shift = 0; shift < 64; shift += 8)
    bytes.push_back(static_cast<uint8_t>(uint64_t{header.size()} >> shift));
  bytes.insert(bytes.end(), header.begin(), header.end());
  bytes.resize(bytes.size() + data_bytes);
  return bytes;
}

TEST_F(SafetensorsTest, ReadsWhatTheLibraryWrote) {
  const Safetensors file(kOurs);
  EXPECT_EQ(file.metadata(), (Safetensors::Metadata{{"format", "pt"}}));
  EXPECT_EQ(file.entries().size(), 8u);
  EXPECT_THAT(file.values<float>("b.f32"), ElementsAre(0, 1, 2, 3, 4, 5));
  EXPECT_TRUE(std::signbit(file.values<float>("a.f32").at(0)));
  EXPECT_THAT(file.values<double>("z.f64"), ElementsAre(1.0 / 3, 1e300));
  EXPECT_THAT(file.values<int32_t>("i32"), ElementsAre(-1, 0, 2147483647));
  EXPECT_THAT(file.values<uint8_t>("codes"), ElementsAre(0, 127, 128, 254, 255));
  EXPECT_THAT(file.values<float>("none"), ElementsAre());
  EXPECT_THAT(file.values<uint8_t>("quote \" slash \\ tab \t \u00fc \u6f22 \x7f"), ElementsAre(42));
  Tensor bf16_311 = zeros(DType::bf16, {3, 1, 1});
  file.load("bf16", bf16_311, device());
  EXPECT_THAT(values(bf16_311), ElementsAre(1.5, -2.0, 0.0078125));
}

TEST_F(SafetensorsTest, ReadsTypesItNeverWrites) {
  const Safetensors file(kGolden / "safetensors_others.safetensors");
  EXPECT_EQ(file.metadata().at("kind"), "a \"test\"");
  Tensor half_2 = zeros(DType::f16, {2});
  file.load("half", half_2, device());
  EXPECT_THAT(values(half_2), ElementsAre(1, 2));
  ASSERT_TRUE(file.contains("long"));
  EXPECT_EQ(file.find("long")->dtype, "I64");
  EXPECT_THAT(file.find("long")->shape, ElementsAre(1, 2, 1, 1, 1));
  EXPECT_EQ(file.bytes(*file.find("flag")).size(), 3u);
  EXPECT_EQ(file.find("absent"), nullptr);
  Tensor scalar_1 = zeros(DType::f32, {1});
  file.load("scalar", scalar_1, device());
  EXPECT_THAT(values(scalar_1), ElementsAre(2.5));
}

TEST_F(SafetensorsTest, WritesTheBytesOfTheLibrary) {
  auto tensors = load_all(Safetensors(kOurs), types_);
  std::reverse(tensors.begin(), tensors.end());  // the order given must not matter
  const fs::path path = scratch("ours.safetensors");
  std::string observed;
  write_safetensors(path, tensors, device(), {{"format", "pt"}}, [&](const void* data, size_t size) {
    observed.append(static_cast<const char*>(data), size);
  });
  EXPECT_EQ(read_file(path), read_file(kOurs));
  EXPECT_EQ(observed, read_file(kOurs));
  EXPECT_EQ(safetensors_bytes(tensor_streams(tensors, device())), fs::file_size(kOurs));
}

TEST_F(SafetensorsTest, WritesNothingAtAll) {
  const fs::path path = scratch("empty.safetensors");
  write_safetensors(path, {}, device(), {});
  EXPECT_TRUE(Safetensors(path).entries().empty());
}

TEST_F(SafetensorsTest, WritesTensorsLargerThanAPiece) {
  constexpr int64_t kElements = (int64_t{64} << 20) + 3;  // of u8: two pieces
  Tensor large = zeros(DType::u8, {kElements});
  large.as<uint8_t>()[0] = 1;
  large.as<uint8_t>()[kElements - 4] = 2;
  large.as<uint8_t>()[kElements - 1] = 3;
  const fs::path path = scratch("large.safetensors");
  write_safetensors(path, {{"large", large}}, device());
  const Safetensors file(path);
  const auto found = file.bytes(*file.find("large"));
  EXPECT_TRUE(std::equal(found.begin(), found.end(), large.as<uint8_t>()));
  fs::remove(path);
}

TEST_F(SafetensorsTest, NamesTheTensorThatDoesNotFit) {
  const Safetensors file(kOurs);
  EXPECT_THAT(user_error_of([&] {
                file.load("b.f32", zeros(DType::f32, {3, 2}), device());
              }),
              HasSubstr("tensor b.f32: expected F32[3, 2], found F32[2, 3]"));
  EXPECT_THAT(user_error_of([&] {
                file.load("b.f32", zeros(DType::bf16, {2, 3}), device());
              }),
              HasSubstr("tensor b.f32: expected BF16, found F32"));
  EXPECT_THAT(user_error_of([&] { file.load("absent", zeros(DType::f32, {1}), device()); }),
              HasSubstr("expected a tensor absent, found none among its 8"));
  EXPECT_THAT(user_error_of([&] { file.values<int32_t>("codes"); }), HasSubstr("expected I32, found U8"));
  EXPECT_THAT(user_error_of([&] { Safetensors{fs::path("/nowhere/x")}; }), HasSubstr("/nowhere/x"));
}

struct Lie {
  std::string name, header;
  size_t data_bytes;
  std::string message;
};

class SafetensorsLieTest : public ::testing::TestWithParam<Lie> {};

TEST_P(SafetensorsLieTest, IsRefused) {
  const auto bytes = file_of(GetParam().header, GetParam().data_bytes);
  const std::string error = user_error_of([&] { Safetensors("lie.safetensors", bytes); });
  EXPECT_THAT(error, HasSubstr("lie.safetensors"));
  EXPECT_THAT(error, HasSubstr(GetParam().message));
}

INSTANTIATE_TEST_SUITE_P(
    Headers, SafetensorsLieTest,
    ::testing::Values(
        Lie{"space", R"( {"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}})", 1, "begins with {"},
        Lie{"list", "[]", 0, "begins with {"}, Lie{"empty", "", 0, "begins with {"},
        Lie{"torn", R"({"a":{"dtype":"U8")", 0, "header: expected JSON"},
        Lie{"twice_over", "{}{}", 0, "header: expected JSON"},
        Lie{"bad_utf8", "{\"\xff\":1}", 0, "header: expected JSON"},
        Lie{"duplicate",
            R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},)"
            R"("a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}})",
            1, "\"a\" twice"},
        Lie{"duplicate_field", R"({"a":{"dtype":"U8","dtype":"U8","shape":[1],"data_offsets":[0,1]}})", 1,
            "twice"},
        Lie{"duplicate_metadata", R"({"__metadata__":{"k":"1","k":"2"}})", 0, "\"k\" twice"},
        Lie{"metadata_number", R"({"__metadata__":{"k":1}})", 0, "__metadata__ entry k"},
        Lie{"metadata_text", R"({"__metadata__":"k"})", 0, "__metadata__ to be an object"},
        Lie{"not_object", R"({"a":3})", 0, "tensor a"}, Lie{"no_dtype", R"({"a":{}})", 0, "string \"dtype\""},
        Lie{"odd_dtype", R"({"a":{"dtype":"F31","shape":[1],"data_offsets":[0,4]}})", 4, "found \"F31\""},
        Lie{"no_shape", R"({"a":{"dtype":"U8","data_offsets":[0,1]}})", 1, "array \"shape\""},
        Lie{"negative", R"({"a":{"dtype":"U8","shape":[-1],"data_offsets":[0,1]}})", 1, "a dimension"},
        Lie{"fraction", R"({"a":{"dtype":"U8","shape":[1.0],"data_offsets":[0,1]}})", 1, "a dimension"},
        Lie{"huge", R"({"a":{"dtype":"U8","shape":[9223372036854775808],"data_offsets":[0,1]}})", 1,
            "below 2^63"},
        Lie{"overflow", R"({"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0]}})", 0,
            "fits 64 bits"},
        Lie{"bits", R"({"a":{"dtype":"F4","shape":[3],"data_offsets":[0,1]}})", 1, "12 bits"},
        Lie{"one_offset", R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0]}})", 1, "two data_offsets"},
        Lie{"short", R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}})", 4, "8 bytes for F32[2]"},
        Lie{"backwards", R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[1,0]}})", 1, "data_offsets [1,0]"},
        Lie{"hole", R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}})", 2,
            "neither hole nor overlap"},
        Lie{"overlap",
            R"({"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},)"
            R"("b":{"dtype":"U8","shape":[2],"data_offsets":[1,3]}})",
            3, "tensor b"},
        Lie{"more_data", R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}})", 2,
            "1 bytes of data, found 2"},
        Lie{"less_data", R"({"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}})", 3,
            "4 bytes of data, found 3"}),
    [](const auto& lie) { return lie.param.name; });

// A header of 80,000 lists inside one another ended the program in the message that quoted it.
TEST_F(SafetensorsTest, DeepHeadersAreRefusedInFewWords) {
  const std::string deep(80'000, '[');
  for (const std::string& header : {"{\"a\":" + deep + std::string(80'000, ']') + "}", "{\"a\":" + deep}) {
    const auto bytes = file_of(header, 0);
    const std::string error = user_error_of([&] { Safetensors("x", bytes); });
    EXPECT_THAT(error, HasSubstr("more than 64 objects and lists inside one another"));
    EXPECT_LT(error.size(), 300U);
  }
}

// Took 42 s with 40,000 names: time grew with their square.
TEST_F(SafetensorsTest, ManyNamesTakeTimeInProportion) {
  std::string header = "{";
  for (int i = 0; i < 100'000; ++i)
    header +=
        (i == 0 ? "\"" : ",\"") + std::to_string(i) + R"(":{"dtype":"U8","shape":[0],"data_offsets":[0,0]})";
  const auto bytes = file_of(header + "}", 0);
  EXPECT_EQ(Safetensors("x", bytes).entries().size(), 100'000U);
}

TEST_F(SafetensorsTest, MessagesCutTheNamesTheyQuote) {
  const std::string name(1 << 20, 'n');
  for (const std::string& header :
       {"{\"" + name + "\":3}", "{\"" + name + R"(":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}})",
        R"({"a":{"dtype":")" + name + R"(","shape":[1],"data_offsets":[0,1]}})",
        R"({"__metadata__":{")" + name + "\":1}}"}) {
    const auto bytes = file_of(header, 2);
    const std::string error = user_error_of([&] { Safetensors("x", bytes); });
    EXPECT_THAT(error, HasSubstr("nnn..."));
    EXPECT_LT(error.size(), 600U);
  }
}

TEST_F(SafetensorsTest, RefusesLengthsBeyondTheFile) {
  const std::vector<uint8_t> nothing;
  EXPECT_THAT(user_error_of([&] { Safetensors("x", nothing); }),
              HasSubstr("at least 8 bytes, found 0 bytes"));
  auto bytes = file_of("{}", 0);
  bytes[0] = 3;
  EXPECT_THAT(user_error_of([&] { Safetensors("x", bytes); }), HasSubstr("at most 2 bytes, found 3"));
  std::fill_n(bytes.begin(), 8, uint8_t{0xff});
  EXPECT_THAT(user_error_of([&] { Safetensors("x", bytes); }), HasSubstr("found 18446744073709551615"));
  // The format's own limit, in a file that would be long enough; a hole in a file costs nothing.
  const fs::path path = scratch("long_header.safetensors");
  const uint64_t length = 100'000'001;
  std::ofstream(path, std::ios::binary).write(reinterpret_cast<const char*>(&length), 8);
  fs::resize_file(path, length + 8);
  EXPECT_THAT(user_error_of([&] { Safetensors{path}; }),
              HasSubstr("at most 100000000 bytes, found 100000001"));
  fs::remove(path);
}

TEST_F(SafetensorsTest, RefusesEveryTruncationOfAGoodFile) {
  const std::string good = read_file(kOurs);
  const auto* data = reinterpret_cast<const uint8_t*>(good.data());
  ASSERT_EQ(user_error_of([&] { Safetensors("x", std::span(data, good.size())); }), "");
  for (size_t size = 0; size < good.size(); ++size) {
    EXPECT_NE(user_error_of([&] { Safetensors("x", std::span(data, size)); }), "") << size;
  }
}

}  // namespace
}  // namespace moe::checkpoint
