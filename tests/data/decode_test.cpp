// SPDX-License-Identifier: MIT
#include "data/decode.h"

#include <gmock/gmock.h>
#include <zlib.h>
#include <zstd.h>

#include "base/random.h"
#include "data/json_array.h"
#include "data/support.h"

namespace moe::data {
namespace {

using testing::HasSubstr;

std::string decoded(std::string_view bytes, Codec codec) {
  std::string result;
  decode(MemoryInput("memory.gz", bytes), codec, [&](std::string_view part) { result += part; });
  return result;
}

TEST(Decode, ReadsWhatOthersWrote) {
  const std::string text = slurp(golden("text.txt"));
  EXPECT_EQ(decoded(slurp(golden("members.txt.gz")), Codec::gzip), text);
  EXPECT_EQ(decoded(slurp(golden("dictzip.txt.dz")), Codec::gzip), text);
  EXPECT_EQ(decoded(slurp(golden("frames.txt.zst")), Codec::zstd), text);
}

// Text that hardly shrinks, so that input and output span several blocks.
std::string noise(size_t size) {
  std::string text(size, ' ');
  const Random random(3, "noise");
  for (size_t i = 0; i < size; ++i) text[i] = static_cast<char>(random.below(i, 256));
  return text;
}

std::string gzip(const std::string& text) {
  z_stream stream{};
  EXPECT_EQ(deflateInit2(&stream, 1, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
  std::string out(deflateBound(&stream, text.size()), '\0');
  std::string in = text;
  stream.next_in = reinterpret_cast<Bytef*>(in.data());
  stream.avail_in = static_cast<uInt>(in.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  EXPECT_EQ(deflate(&stream, Z_FINISH), Z_STREAM_END);
  out.resize(stream.total_out);
  deflateEnd(&stream);
  return out;
}

std::string zstd(const std::string& text) {
  std::string out(ZSTD_compressBound(text.size()), '\0');
  out.resize(ZSTD_compress(out.data(), out.size(), text.data(), text.size(), 1));
  return out;
}

TEST(Decode, SpansBlocks) {
  for (const size_t size : {size_t{0}, size_t{1} << 20, (size_t{1} << 20) + 1, size_t{2'500'000}}) {
    const std::string text = noise(size);
    const std::string zeros(size, '\0');
    EXPECT_EQ(decoded(gzip(text) + gzip(zeros), Codec::gzip), text + zeros);
    EXPECT_EQ(decoded(zstd(text) + zstd(zeros), Codec::zstd), text + zeros);
  }
}

TEST(Decode, EveryTruncationIsAnError) {
  const std::string text = noise(200);
  const std::string g = gzip(text), z = zstd(text);
  for (size_t size = 0; size < g.size(); ++size)
    ASSERT_THAT(user_error_of([&] { decoded(g.substr(0, size), Codec::gzip); }),
                HasSubstr("memory.gz, byte " + std::to_string(size)));
  for (size_t size = 0; size < z.size(); ++size)
    ASSERT_THAT(user_error_of([&] { decoded(z.substr(0, size), Codec::zstd); }),
                HasSubstr("the end of the file"));
}

TEST(Decode, DamageIsAnError) {
  std::string bytes = gzip(noise(100'000));
  bytes[50'000] = static_cast<char>(bytes[50'000] ^ 4);
  EXPECT_THAT(user_error_of([&] { decoded(bytes, Codec::gzip); }), HasSubstr("expected gzip data, found "));
  EXPECT_THAT(user_error_of([&] { decoded(gzip("a") + "rubbish", Codec::gzip); }),
              HasSubstr("incorrect header check"));
  EXPECT_THAT(user_error_of([&] { decoded(zstd("a") + "rubbish", Codec::zstd); }),
              HasSubstr("expected zstd data"));
  EXPECT_THAT(user_error_of([&] { decoded("plain text", Codec::gzip); }), HasSubstr("expected gzip data"));
}

TEST(Decode, KeepsTheCopyUntilTheFileChanges) {
  const auto folder = fresh_folder();
  test::LogFile log;
  Terminal terminal(log.stream());
  spill(folder / "a.txt.gz", gzip("one\n"));
  const auto first = decoded_file(*local_file(folder / "a.txt.gz"), folder / "cache", terminal);
  EXPECT_EQ(slurp(first), "one\n");
  EXPECT_EQ(first.filename().string().substr(16), "-a.txt");
  spill(first, "mark");  // of the same size: it is the copy
  EXPECT_EQ(slurp(decoded_file(*local_file(folder / "a.txt.gz"), folder / "cache", terminal)), "mark");
  spill(folder / "a.txt.gz", gzip("two, longer\n"));
  EXPECT_EQ(slurp(decoded_file(*local_file(folder / "a.txt.gz"), folder / "cache", terminal)),
            "two, longer\n");
}

TEST(Decode, ACopyThatWasCutIsMadeAgain) {
  const auto folder = fresh_folder();
  test::LogFile log;
  Terminal terminal(log.stream());
  spill(folder / "a.txt.gz", gzip("one\ntwo\n"));
  const auto file = local_file(folder / "a.txt.gz");
  const auto copy = decoded_file(*file, folder / "cache", terminal);
  for (const char* damaged : {"one\n", "", "one\ntwo\nthree\n"}) {
    spill(copy, damaged);
    EXPECT_EQ(slurp(decoded_file(*file, folder / "cache", terminal)), "one\ntwo\n");
  }
  spill(copy.string() + ".size", "nonsense");
  EXPECT_EQ(slurp(decoded_file(*file, folder / "cache", terminal)), "one\ntwo\n");
}

TEST(Decode, WhatIsNotCompressedIsNamed) {
  EXPECT_THAT(user_error_of([] { decoded("plain text that a browser decoded", Codec::gzip); }),
              HasSubstr("expected gzip data, found something else"));
  EXPECT_THAT(user_error_of([] { decoded("\x28\xB5\x2F\xFD....", Codec::gzip); }),
              HasSubstr("found data compressed with zstd"));
}

// 2 MB that stand for 2 GB.
TEST(Decode, WhatGrowsWithoutBoundIsRefused) {
  const std::string zeros = gzip(std::string(64 << 20, '\0'));
  std::string bomb;
  for (int i = 0; i < 32; ++i) bomb += zeros;
  int64_t written = 0;
  EXPECT_THAT(user_error_of([&] {
                decode(MemoryInput("memory.gz", bomb), Codec::gzip,
                       [&](std::string_view part) { written += std::ssize(part); });
              }),
              HasSubstr("at most 200 bytes for each compressed one"));
  EXPECT_LE(written, kFreeBytes);
  decode(MemoryInput("memory.gz", zeros + zeros), Codec::gzip,
         [](std::string_view) {});  // small ones are let be
}

std::string lines_of(const std::string& json, size_t step) {
  std::string lines;
  JsonListToLines list("memory.json", [&](std::string_view part) { lines += part; });
  for (size_t at = 0; at < json.size(); at += step) list.write(std::string_view(json).substr(at, step));
  list.finish();
  return lines;
}

TEST(Decode, AJsonListBecomesLines) {
  const std::string list = " [\n  {\"text\": \"a, ]b\\\"[\", \"n\": [1, {}]},\n  {\"text\": \"c\"}\n]\n";
  const std::string plain = "{\"text\": \"a\"}\n{\"text\": \"b\"}\n";
  for (const size_t step : {1u, 2u, 7u, 1000u}) {
    EXPECT_EQ(lines_of(list, step), "{\"text\":\"a, ]b\\\"[\",\"n\":[1,{}]}\n{\"text\":\"c\"}\n") << step;
    EXPECT_EQ(lines_of(plain, step), plain);
    EXPECT_EQ(lines_of("\xEF\xBB\xBF[]", step), "\n");
    EXPECT_EQ(lines_of(" \n ", step), " \n ");
  }
  EXPECT_THAT(user_error_of([] { lines_of("[{\"text\":\"a\"},", 3); }),
              HasSubstr("expected the end of a JSON list"));
  EXPECT_THAT(user_error_of([] { lines_of("[1]\n[2]\n", 3); }),
              HasSubstr("memory.json, byte 4: expected the end of the file after a JSON list"));
}

TEST(Decode, AFailedDecodeLeavesNothing) {
  const auto folder = fresh_folder();
  test::LogFile log;
  Terminal terminal(log.stream());
  spill(folder / "a.txt.gz", gzip("one\n").substr(0, 15));
  EXPECT_THAT(
      user_error_of([&] { decoded_file(*local_file(folder / "a.txt.gz"), folder / "cache", terminal); }),
      HasSubstr("a.txt.gz, byte 15"));
  EXPECT_TRUE(std::filesystem::is_empty(folder / "cache/decoded"));
}

}  // namespace
}  // namespace moe::data
