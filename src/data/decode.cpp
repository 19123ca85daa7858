// SPDX-License-Identifier: MIT
#include "data/decode.h"

#include <fmt/format.h>
#include <zlib.h>
#include <zstd.h>

#include <memory>
#include <string>
#include <system_error>

#include "base/error.h"
#include "base/file.h"
#include "base/progress.h"
#include "base/random.h"

namespace moe {
namespace {

constexpr int64_t kBlock = 1 << 20;

[[noreturn]] void fail(const Input& input, int64_t offset, const std::string& expected,
                       const std::string& found) {
  throw UserError(fmt::format("{}, byte {}", input.name(), offset), expected, found,
                  "the file is damaged or its download was cut short; fetch it again");
}

void decode_gzip(const Input& input, const Sink& sink, const OnRead& on_read) {
  z_stream stream{};
  CHECK(inflateInit2(&stream, 15 + 16) == Z_OK);  // 15: largest window; + 16: gzip
  const std::unique_ptr<z_stream, int (*)(z_stream*)> guard(&stream, inflateEnd);
  std::string output(kBlock, '\0');
  bool inside = false, any = false;  // a member has begun and has not ended; one has ended
  for (int64_t at = 0; at < input.size(); at += kBlock) {
    std::string block = input.read(at, at + kBlock);
    stream.next_in = reinterpret_cast<Bytef*>(block.data());
    stream.avail_in = static_cast<uInt>(block.size());
    while (true) {
      // gzip's own tool allows zero bytes after a member: tapes and some disks pad with them.
      for (; !inside && any && stream.avail_in > 0 && *stream.next_in == 0; --stream.avail_in)
        ++stream.next_in;
      if (!inside && stream.avail_in == 0) break;
      inside = true;
      stream.next_out = reinterpret_cast<Bytef*>(output.data());
      stream.avail_out = static_cast<uInt>(output.size());
      const int result = inflate(&stream, Z_NO_FLUSH);
      if (result != Z_OK && result != Z_STREAM_END && result != Z_BUF_ERROR)
        fail(input, at + static_cast<int64_t>(block.size() - stream.avail_in), "gzip data",
             stream.msg != nullptr ? stream.msg : "damaged data");
      sink(std::string_view(output.data(), output.size() - stream.avail_out));
      if (result == Z_STREAM_END) {
        inside = false;
        any = true;
        CHECK(inflateReset(&stream) == Z_OK);
      } else if (stream.avail_in == 0 && stream.avail_out > 0) {
        break;
      }
    }
    if (on_read) on_read(static_cast<int64_t>(block.size()));
  }
  if (inside || !any) fail(input, input.size(), "more gzip data", "the end of the file");
}

void decode_zstd(const Input& input, const Sink& sink, const OnRead& on_read) {
  const std::unique_ptr<ZSTD_DCtx, size_t (*)(ZSTD_DCtx*)> context(ZSTD_createDCtx(), ZSTD_freeDCtx);
  CHECK(context != nullptr);
  // Files made with --long=31 need the largest window.
  CHECK(!ZSTD_isError(ZSTD_DCtx_setParameter(context.get(), ZSTD_d_windowLogMax, 31)));
  std::string output(kBlock, '\0');
  size_t wanted = 1;  // 0: a frame has just ended
  for (int64_t at = 0; at < input.size(); at += kBlock) {
    const std::string block = input.read(at, at + kBlock);
    ZSTD_inBuffer in{block.data(), block.size(), 0};
    ZSTD_outBuffer out{output.data(), output.size(), 0};
    do {
      out.pos = 0;
      wanted = ZSTD_decompressStream(context.get(), &out, &in);
      if (ZSTD_isError(wanted))
        fail(input, at + static_cast<int64_t>(in.pos), "zstd data", ZSTD_getErrorName(wanted));
      sink(std::string_view(output.data(), out.pos));
    } while (in.pos < in.size || (out.pos == out.size && wanted != 0));
    if (on_read) on_read(static_cast<int64_t>(block.size()));
  }
  if (wanted != 0) fail(input, input.size(), "more zstd data", "the end of the file");
}

}  // namespace

bool is_compressed(const std::filesystem::path& path) {
  const auto ending = path.extension();
  return ending == ".gz" || ending == ".dz" || ending == ".zst" || ending == ".zstd";
}

void decode(const Input& input, Codec codec, const Sink& sink, const OnRead& on_read) {
  if (codec == Codec::gzip) return decode_gzip(input, sink, on_read);
  decode_zstd(input, sink, on_read);
}

std::filesystem::path decoded_file(const DataFile& file, const std::filesystem::path& cache,
                                   Terminal& terminal) {
  const std::filesystem::path name = std::filesystem::path(file.name()).filename();
  const auto folder = cache / "decoded";
  auto target = folder / fmt::format("{:016x}-{}", stream_id(file.cache_key()), name.stem().string());
  if (std::filesystem::exists(target)) return target;

  make_folders(folder, "set data.cache_dir");
  const auto input = file.open_whole(terminal);
  const bool gzip = name.extension() == ".gz" || name.extension() == ".dz";
  Progress progress(terminal, "decoding " + name.string(), static_cast<uint64_t>(file.size()), "bytes");
  FileWriter writer(target);
  decode(
      *input, gzip ? Codec::gzip : Codec::zstd, [&](std::string_view decoded) { writer.write(decoded); },
      [&](int64_t used) { progress.add(static_cast<uint64_t>(used)); });
  writer.commit();
  progress.done();
  return target;
}

}  // namespace moe
