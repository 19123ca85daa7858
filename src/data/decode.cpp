// SPDX-License-Identifier: MIT
#include "data/decode.h"

#include <fmt/format.h>
#include <zlib.h>
#include <zstd.h>

#include <algorithm>
#include <memory>
#include <string>
#include <system_error>

#include "base/error.h"
#include "base/file.h"
#include "base/parse_number.h"
#include "base/progress.h"
#include "base/random.h"
#include "data/file_kind.h"
#include "data/json_array.h"

namespace moe::data {
namespace {

constexpr int64_t kBlock = 1 << 20;

[[noreturn]] void fail(const Input& input, int64_t offset, const std::string& expected,
                       const std::string& found) {
  throw UserError(fmt::format("{}, byte {}", input.name(), offset), expected, found,
                  "the file is damaged or its download was cut short; fetch it again");
}

// Passes on what was decoded, as long as it is not too much for what was read.
class Measured {
 public:
  Measured(const Input& input, const DecodedSink& sink) : input_(input), sink_(sink) {}

  // read: compressed bytes so far.
  void write(std::string_view decoded, int64_t read) {
    written_ += std::ssize(decoded);
    if (written_ > kFreeBytes && written_ > kMostGrowth * read)
      throw UserError(
          fmt::format("{}, byte {}", input_.name(), read),
          fmt::format("at most {} bytes for each compressed one", kMostGrowth),
          fmt::format("{} bytes of {}", written_, read),
          "text does not shrink so much; if it is meant, decode the file yourself and name the result");
    sink_(decoded);
  }

 private:
  const Input& input_;
  const DecodedSink& sink_;
  int64_t written_ = 0;
};

void decode_gzip(const Input& input, const DecodedSink& sink, const OnRead& on_read) {
  Measured output_to(input, sink);
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
      output_to.write(std::string_view(output.data(), output.size() - stream.avail_out),
                      at + std::ssize(block) - int64_t{stream.avail_in});
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

void decode_zstd(const Input& input, const DecodedSink& sink, const OnRead& on_read) {
  Measured output_to(input, sink);
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
      output_to.write(std::string_view(output.data(), out.pos), at + static_cast<int64_t>(in.pos));
    } while (in.pos < in.size || (out.pos == out.size && wanted != 0));
    if (on_read) on_read(static_cast<int64_t>(block.size()));
  }
  if (wanted != 0) fail(input, input.size(), "more zstd data", "the end of the file");
}

Codec codec_of(const std::filesystem::path& name) {
  const bool gzip = has_ending(name.string(), ".gz") || has_ending(name.string(), ".dz");
  return gzip ? Codec::gzip : Codec::zstd;
}

// What a file is that has the ending of a compressed one and is none. A server or a browser may have decoded
// it.
void check_is_compressed(const Input& input, Codec codec) {
  const std::string head = input.read(0, 4);
  if (head.size() < 4 || head.starts_with(codec == Codec::gzip ? "\x1F\x8B" : "\x28\xB5\x2F\xFD")) return;
  if (codec == Codec::zstd && head.substr(1) == "\x2A\x4D\x18") return;  // a skippable frame
  const auto kind = kind_of_content(input.read(0, 4096), input.name());
  throw UserError(input.name(), codec == Codec::gzip ? "gzip data" : "zstd data",
                  kind ? kind->what : "something else",
                  "the ending of its name says so; rename it if it is not compressed, or fetch it again");
}

// The size that a copy should have; -1 when nothing says so.
int64_t noted_size(const std::filesystem::path& note) {
  std::error_code error;
  if (!std::filesystem::exists(note, error)) return -1;
  return parse_number<int64_t>(read_file(note)).value_or(-1);
}

}  // namespace

bool is_compressed(const std::filesystem::path& path) {
  const std::string name = path.string();
  return has_ending(name, ".gz") || has_ending(name, ".dz") || has_ending(name, ".zst") ||
         has_ending(name, ".zstd");
}

void decode(const Input& input, Codec codec, const DecodedSink& sink, const OnRead& on_read) {
  check_is_compressed(input, codec);
  if (codec == Codec::gzip) return decode_gzip(input, sink, on_read);
  decode_zstd(input, sink, on_read);
}

std::filesystem::path decoded_file(const DataFile& file, const std::filesystem::path& cache,
                                   Terminal& terminal, bool rows) {
  const std::filesystem::path name = std::filesystem::path(file.name()).filename();
  const bool compressed = is_compressed(name);
  const auto folder = cache / "decoded";
  auto target = folder / fmt::format("{:016x}-{}", stream_id(file.cache_key()),
                                     compressed ? name.stem().string() : name.string());
  const std::filesystem::path note = target.string() + ".size";
  std::error_code error;
  if (const auto size = std::filesystem::file_size(target, error);
      !error && static_cast<int64_t>(size) == noted_size(note))
    return target;

  make_folders(folder, "set data.cache_dir");
  const auto input = file.open_whole(terminal);
  Progress progress(terminal, "decoding " + name.string(), static_cast<uint64_t>(file.size()), "bytes");
  FileWriter writer(target);
  JsonListToLines lines(file.name(), [&](std::string_view bytes) { writer.write(bytes); });
  const auto write = [&](std::string_view bytes) { rows ? lines.write(bytes) : writer.write(bytes); };
  if (compressed) {
    decode(*input, codec_of(name), write, [&](int64_t used) { progress.add(static_cast<uint64_t>(used)); });
  } else {
    for (int64_t at = 0; at < input->size(); at += kBlock) {
      write(input->read(at, at + kBlock));
      progress.add(static_cast<uint64_t>(std::min(kBlock, input->size() - at)));
    }
  }
  if (rows) lines.finish();
  writer.commit();
  write_file_atomically(note, std::to_string(writer.written()));
  progress.done();
  return target;
}

DataFilePtr readable_file(const DataFilePtr& file, bool rows,
                          const std::function<std::filesystem::path()>& cache, Terminal& terminal,
                          int64_t blocks) {
  const bool list = rows && !is_compressed(file->name()) && has_ending(file->name(), ".json") &&
                    is_json_list(file->open()->read(0, 4096));
  if (!list && !is_compressed(file->name())) return file;
  return local_file(decoded_file(*file, cache(), terminal, rows), blocks);
}

}  // namespace moe::data
