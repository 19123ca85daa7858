// SPDX-License-Identifier: MIT
#include "data/decode.h"

#include <gmock/gmock.h>
#include <zlib.h>
#include <zstd.h>

#include "base/random.h"
#include "data/support.h"

namespace moe {
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
  spill(first, "marked\n");
  EXPECT_EQ(slurp(decoded_file(*local_file(folder / "a.txt.gz"), folder / "cache", terminal)), "marked\n");
  spill(folder / "a.txt.gz", gzip("two, longer\n"));
  EXPECT_EQ(slurp(decoded_file(*local_file(folder / "a.txt.gz"), folder / "cache", terminal)),
            "two, longer\n");
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
}  // namespace moe
